//! Power cuts: what was not synced is forgotten, whole or in part.
//!
//! A child works under the recording library. Then the parent replays the record up to a random
//! moment, makes the folder as a cut at that moment would leave it, and verifies it against what had
//! been acknowledged by then. Most children go on where a cut left off, so recovery is cut too.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::child::{Children, PATIENCE, Running};
use super::disk::{Disk, Leaves, Record, read_records};
use super::truth::{Mark, Truth};
use super::{Fault, Outcome, faults_json};
use crate::preload::Recorder;

/// Batches of each writer in most records, and in one of [`LONG_EVERY`]: so many that engines move
/// records and write over what they moved them from.
const BATCHES: u64 = 12;
const LONG: u64 = 250;
const LONG_EVERY: u64 = 8;
/// Cuts of one record.
const CUTS_PER_RECORD: usize = 20;

/// What a series of cuts showed.
#[derive(Debug, Default)]
pub struct Cut {
    /// Cuts in all.
    pub cuts: u64,
    /// Of them while the store was being opened.
    pub while_opening: u64,
    /// Batches that had been acknowledged at the moments of the cuts, and had to be found.
    pub acknowledged: u64,
    /// Syncs of files and folders in the records.
    pub syncs: u64,
    /// What was lost, refused or wrong.
    pub faults: Vec<Fault>,
}

impl Cut {
    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "cuts": self.cuts,
            "while_opening": self.while_opening,
            "acknowledged": self.acknowledged,
            "syncs": self.syncs,
            "lost": self.faults.len(),
            "faults": faults_json(&self.faults),
        })
    }
}

/// Cuts the power of stores below `root` so often.
///
/// # Errors
/// When a child or a folder can't be managed, or nothing was recorded.
pub fn run(children: &Children, root: &Path, cuts: u64) -> Outcome<Cut> {
    let root = root.canonicalize()?;
    let recorder = Recorder::new(&root)?;
    let (live, image) = (root.join("live"), root.join("image"));
    let mut random = ChaCha8Rng::seed_from_u64(children.seed ^ 0xC075);
    let mut cut = Cut::default();
    let mut truth = Truth::default();
    std::fs::create_dir_all(&live)?;
    while cut.cuts < cuts {
        let mut disk = Disk::holding(&live)?;
        let batches = match random.next_u64().is_multiple_of(LONG_EVERY) {
            true => LONG,
            false => BATCHES,
        };
        let records = record(children, &recorder, &root, &truth, batches)?;
        let mut seen = Seen::new(truth.clone());
        let moments = moments(&records, cuts - cut.cuts, &mut random);
        let mut goes_on = None;
        for (number, taken) in records.iter().enumerate() {
            disk.take(taken)?;
            seen.take(taken);
            cut.syncs += u64::from(matches!(taken.kind, b'S' | b'F' | b'G'));
            if !moments.contains(&number) {
                continue;
            }
            let leaves = Leaves::choose(&mut random);
            disk.cut(&image, leaves, &mut random)?;
            let ended = children.verify(&image, &seen.truth)?;
            if ended.code() == Some(0) {
                goes_on = Some(Truth::found(&ended.marks));
            } else {
                goes_on = None;
                let what = format!(
                    "after record {number} of {}, {leaves:?} kept (expected {}): {}",
                    records.len(),
                    seen.truth,
                    ended.summary()
                );
                let attempt = cut.cuts;
                cut.faults.push(Fault { attempt, what });
            }
            cut.cuts += 1;
            cut.while_opening += u64::from(!seen.is_open);
            cut.acknowledged += seen.truth.total;
        }
        std::fs::remove_dir_all(&live)?;
        let go_on = !random.next_u64().is_multiple_of(4);
        truth = match goes_on.filter(|_| go_on) {
            Some(found) => {
                std::fs::rename(&image, &live)?;
                found
            }
            None => Truth::default(),
        };
        std::fs::create_dir_all(&live)?;
    }
    Ok(cut)
}

/// What had been acknowledged up to some record.
struct Seen {
    truth: Truth,
    is_open: bool,
    line: Vec<u8>,
}

impl Seen {
    fn new(truth: Truth) -> Self {
        Self {
            truth: Truth { total: 0, ..truth },
            is_open: false,
            line: Vec::new(),
        }
    }

    fn take(&mut self, record: &Record) {
        if record.kind != b'A' {
            return;
        }
        for &byte in &record.payload {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if let Ok(mark) = String::from_utf8_lossy(&line).parse::<Mark>() {
                self.is_open |= mark == Mark::Open;
                self.truth.learn(mark);
            }
        }
    }
}

/// Lets a child work on `root/live` under the recorder.
fn record(
    children: &Children,
    recorder: &Recorder,
    root: &Path,
    expected: &Truth,
    batches: u64,
) -> Outcome<Vec<Record>> {
    let (live, marks, log) = (root.join("live"), root.join("marks"), root.join("record"));
    for old in [&marks, &log] {
        if old.exists() {
            std::fs::remove_file(old)?;
        }
    }
    let mut command = children.command(&live, expected, batches);
    command
        .arg("--marks")
        .arg(&marks)
        .envs(recorder.environment(&live, &marks, &log));
    let ended = Running::start(&mut command)?.wait(PATIENCE)?;
    if ended.code() != Some(0) {
        return Err(std::io::Error::other(ended.summary()));
    }
    let records = read_records(&log)?;
    // a library that was not loaded must not look like a store that lost nothing
    if !records.iter().any(|record| record.kind == b'W') {
        return Err(std::io::Error::other(
            "nothing was recorded: was the library loaded?",
        ));
    }
    Ok(records)
}

/// Moments to cut at: half of them right after a mark, where most depends on what was synced.
fn moments(records: &[Record], most: u64, random: &mut ChaCha8Rng) -> Vec<usize> {
    let marked: Vec<usize> = (0..records.len())
        .filter(|&number| records[number].kind == b'A')
        .collect();
    let wanted = CUTS_PER_RECORD.min(most as usize).min(records.len());
    let mut moments = Vec::with_capacity(wanted);
    while moments.len() < wanted {
        let any = random.next_u64() as usize;
        let number = match random.next_u64() % 2 {
            0 if !marked.is_empty() => marked[any % marked.len()],
            _ => any % records.len(),
        };
        if !moments.contains(&number) {
            moments.push(number);
        }
    }
    moments
}
