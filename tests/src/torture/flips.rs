//! One flipped byte in any file of a store: it must refuse, or everything acknowledged is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::child::{Children, FAULT, REFUSED, Running};
use super::truth::Truth;
use super::{Fault, Outcome, faults_json};

/// Batches of each writer in the store that is damaged, in two lives of the process.
const BATCHES: u64 = 60;

/// What a series of flips showed.
#[derive(Debug, Default)]
pub struct Flipped {
    /// Flips in all.
    pub flips: u64,
    /// Everything acknowledged was there.
    pub without_effect: u64,
    /// The store refused to open.
    pub refused_at_open: u64,
    /// The store opened and refused the read of the damaged record.
    pub refused_at_read: u64,
    /// By the name of the file: flips, and those that were refused.
    pub files: BTreeMap<String, (u64, u64)>,
    /// Silence, a crash, a hang, or a refusal that changed the files.
    pub faults: Vec<Fault>,
}

impl Flipped {
    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        let file = |(name, (flips, refused)): (&String, &(u64, u64))| {
            let counts = serde_json::json!({ "flips": flips, "refused": refused });
            (name.clone(), counts)
        };
        let files: serde_json::Map<_, _> = self.files.iter().map(file).collect();
        serde_json::json!({
            "flips": self.flips,
            "without_effect": self.without_effect,
            "refused_at_open": self.refused_at_open,
            "refused_at_read": self.refused_at_read,
            "files": files,
            "silent_or_crashed": self.faults.len(),
            "faults": faults_json(&self.faults),
        })
    }
}

/// Files by their path below a folder.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Flips one byte at a time in copies of one store below `root`.
///
/// # Errors
/// When a child or a folder can't be managed.
pub fn run(children: &Children, root: &Path, flips: u64) -> Outcome<Flipped> {
    let folder = root.join("flips");
    let (gold, truth) = make_gold(children, &folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(children.seed ^ 0xF11B);
    let mut flipped = Flipped::default();
    while flipped.flips < flips {
        let (path, at, mask) = choose(&gold, &mut random);
        let mut files = gold.clone();
        if let Some(bytes) = files.get_mut(&path) {
            bytes[at] ^= mask;
        }
        write_all(&folder, &files)?;
        let ended = children.verify(&folder, &truth)?;
        let name = kind_of(&path);
        let counts = flipped.files.entry(name).or_default();
        counts.0 += 1;
        let fault = match ended.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => {
                flipped.without_effect += 1;
                None
            }
            Some(REFUSED) => {
                counts.1 += 1;
                if ended.opened() {
                    flipped.refused_at_read += 1;
                } else {
                    flipped.refused_at_open += 1;
                }
                let left = read_all(&folder)?;
                let same = |(path, bytes): (&PathBuf, &Vec<u8>)| left.get(path) == Some(bytes);
                let changed = !ended.opened() && !files.iter().all(same);
                changed.then(|| format!("refused, but changed the files: {}", ended.summary()))
            }
            Some(FAULT) => Some(format!("silent: {}", ended.summary())),
            _ => Some(format!("crashed or hung: {}", ended.summary())),
        };
        if let Some(what) = fault {
            let what = format!("{} byte {at} ^ {mask:#04x}: {what}", path.display());
            let attempt = flipped.flips;
            flipped.faults.push(Fault { attempt, what });
        }
        flipped.flips += 1;
    }
    fs::remove_dir_all(&folder)?;
    Ok(flipped)
}

/// A store after two lives, the second ended by a kill, and what must be in it.
fn make_gold(children: &Children, folder: &Path) -> Outcome<(Files, Truth)> {
    let mut truth = Truth::default();
    for life in 0..2 {
        let mut command = children.command(folder, &truth, BATCHES << life);
        let mut child = Running::start(&mut command)?;
        let ended = match life {
            0 => child.wait(super::child::PATIENCE)?,
            _ => {
                child.wait_open();
                std::thread::sleep(std::time::Duration::from_millis(400));
                child.kill()?
            }
        };
        ended.marks.iter().for_each(|&mark| truth.learn(mark));
        if life == 0 && ended.code() != Some(0) {
            return Err(std::io::Error::other(ended.summary()));
        }
    }
    Ok((read_all(folder)?, truth))
}

/// Some byte: in half of the flips of any file with the same chance, else of all bytes. Zeros, which are
/// mostly room that was never used, are passed over.
fn choose(files: &Files, random: &mut ChaCha8Rng) -> (PathBuf, usize, u8) {
    let used = |bytes: &Vec<u8>| bytes.iter().filter(|byte| **byte != 0).count() as u64;
    let filled: Vec<(&PathBuf, &Vec<u8>, u64)> = files
        .iter()
        .map(|(path, bytes)| (path, bytes, used(bytes)))
        .filter(|(_, _, used)| *used > 0)
        .collect();
    let (path, bytes, nth) = if random.next_u64().is_multiple_of(2) {
        let (path, bytes, used) = filled[random.next_u64() as usize % filled.len()];
        (path, bytes, random.next_u64() % used)
    } else {
        let total: u64 = filled.iter().map(|(_, _, used)| used).sum();
        let mut nth = random.next_u64() % total;
        let mut files = filled.iter();
        loop {
            match files.next() {
                Some((path, bytes, used)) if nth < *used => break (*path, *bytes, nth),
                Some((_, _, used)) => nth -= used,
                // not reached: nth is less than all of them together
                None => break (filled[0].0, filled[0].1, 0),
            }
        }
    };
    let mut places = (0..bytes.len()).filter(|&at| bytes[at] != 0);
    let at = places.nth(nth as usize).unwrap_or(0);
    (path.clone(), at, 1 << (random.next_u64() % 8))
}

/// The file's name without digits that differ from store to store.
fn kind_of(path: &Path) -> String {
    let name = path.display().to_string();
    match name.split_once("snap.") {
        Some((before, _)) => format!("{before}snap"),
        None => name,
    }
}

/// Every file below a folder.
///
/// # Errors
/// When one can't be read.
pub fn read_all(folder: &Path) -> Outcome<Files> {
    let mut files = Files::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(entry.path())?;
                files.insert(path, bytes);
            }
        }
    }
    Ok(files)
}

/// Makes `folder` hold exactly these files.
fn write_all(folder: &Path, files: &Files) -> Outcome<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}
