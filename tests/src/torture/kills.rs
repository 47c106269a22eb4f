//! SIGKILL at random moments, also while the store is being opened.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::child::{Children, Ended, Running};
use super::truth::Truth;
use super::{Fault, Outcome, faults_json};

/// Kills after which a new folder is begun: long enough that logs are compacted.
const KILLS_PER_FOLDER: u64 = 200;
/// Longest time that a child works before it is killed.
const WORK: Duration = Duration::from_millis(60);
/// Opening takes about this long at first; measured from then on.
const FIRST_OPENING: Duration = Duration::from_millis(20);

/// What a series of kills showed.
#[derive(Debug, Default)]
pub struct Killed {
    /// Kills in all.
    pub kills: u64,
    /// Of them before the store was open.
    pub while_opening: u64,
    /// Batches that were acknowledged and had to be found again.
    pub acknowledged: u64,
    /// Folders that were begun.
    pub folders: u64,
    /// What was lost or wrong.
    pub faults: Vec<Fault>,
}

impl Killed {
    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "kills": self.kills,
            "while_opening": self.while_opening,
            "acknowledged": self.acknowledged,
            "folders": self.folders,
            "lost": self.faults.len(),
            "faults": faults_json(&self.faults),
        })
    }
}

/// One folder and what must be in it.
struct Series<'c> {
    children: &'c Children,
    root: &'c Path,
    folder: PathBuf,
    truth: Truth,
    random: ChaCha8Rng,
    opening: Duration,
    killed: Killed,
}

/// Kills children of stores below `root` so often, at least `opening` times before the store is open.
///
/// # Errors
/// When a child or a folder can't be managed.
pub fn run(children: &Children, root: &Path, kills: u64, opening: u64) -> Outcome<Killed> {
    let mut series = Series {
        children,
        root,
        folder: PathBuf::new(),
        truth: Truth::default(),
        random: ChaCha8Rng::seed_from_u64(children.seed),
        opening: FIRST_OPENING,
        killed: Killed::default(),
    };
    series.begin()?;
    let mut since = 0;
    while series.killed.kills < kills {
        let left = kills - series.killed.kills;
        let wanted = opening.saturating_sub(series.killed.while_opening);
        // spread over the series, and all that are left if need be; aimed kills may come too late
        let aims = wanted > 0 && (left <= wanted || series.chance(left) < wanted + wanted / 2 + 1);
        let healthy = series.kill(aims)?;
        since += 1;
        if !healthy || since == KILLS_PER_FOLDER {
            if healthy {
                series.finish()?;
            }
            series.begin()?;
            since = 0;
        }
    }
    series.finish()?;
    std::fs::remove_dir_all(&series.folder)?;
    Ok(series.killed)
}

impl Series<'_> {
    fn chance(&mut self, of: u64) -> u64 {
        self.random.next_u64() % of
    }

    fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64((self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// A new folder; the one before stays only where it shows a fault.
    fn begin(&mut self) -> Outcome<()> {
        if self.folder.exists() && !self.kept() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        self.folder = self.root.join(format!("kills-{}", self.killed.folders));
        self.killed.folders += 1;
        self.truth = Truth::default();
        Ok(())
    }

    fn kept(&self) -> bool {
        let folder = self.folder.display().to_string();
        self.killed
            .faults
            .iter()
            .any(|fault| fault.what.contains(&folder))
    }

    /// One child, one kill; false when the store is lost or wrong.
    fn kill(&mut self, while_opening: bool) -> Outcome<bool> {
        let mut command = self.children.command(&self.folder, &self.truth, u64::MAX);
        let mut child = Running::start(&mut command)?;
        if while_opening {
            let delay = self.within(self.opening.mul_f64(1.1));
            std::thread::sleep(delay);
        } else if let Some(after) = child.wait_open() {
            self.opening = (self.opening * 3 + after) / 4;
            let delay = self.within(WORK);
            std::thread::sleep(delay);
        }
        let ended = child.kill()?;
        self.killed.kills += 1;
        self.killed.while_opening += u64::from(!ended.opened());
        self.learn(&ended);
        // a kill has no code: with one, the child ended because of what it found
        Ok(ended.code().is_none() || self.fault(&ended))
    }

    fn learn(&mut self, ended: &Ended) {
        let before = self.truth.total;
        ended.marks.iter().for_each(|&mark| self.truth.learn(mark));
        self.killed.acknowledged += self.truth.total - before;
    }

    fn fault(&mut self, ended: &Ended) -> bool {
        self.killed.faults.push(Fault {
            attempt: self.killed.kills,
            what: format!(
                "{} (expected {}) {}",
                self.folder.display(),
                self.truth,
                ended.summary()
            ),
        });
        false
    }

    /// Opens the folder once more in peace.
    fn finish(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        let ended = self.children.verify(&self.folder, &self.truth)?;
        if ended.code() != Some(0) {
            self.fault(&ended);
        }
        self.opening = (self.opening + begun.elapsed()) / 2;
        Ok(())
    }
}
