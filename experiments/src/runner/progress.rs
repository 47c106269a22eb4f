//! What a long run tells while it goes on, for progress bars.

use super::Interrupt;

/// A round that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundNews {
    /// The run.
    pub run_id: String,
    /// The round, from 1.
    pub round: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// Contributions counted.
    pub contributions: u64,
    /// Held-out accuracy of the new version, 0 to 1.
    pub accuracy: f64,
    /// Epsilon of the device of this run that spent most in it; infinite without noise.
    pub epsilon: f64,
    /// The delta of that epsilon.
    pub delta: f64,
    /// Which fleets it compares, as the coordinator names it.
    pub adjacency: String,
    /// The mechanism.
    pub mechanism: String,
}

/// A drift window that was judged.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowNews {
    /// The window, from 1.
    pub window: u64,
    /// The region.
    pub region: String,
    /// The verdict as a word.
    pub verdict: String,
    /// Largest statistic as a share of its threshold; 0 while there is no reference.
    pub share_of_threshold: f64,
    /// What the verdict triggered; empty when nothing.
    pub playbook: String,
}

/// Hears how a run goes on, and may ask it to end early. Every method may be left out.
pub trait Progress: Send + Sync {
    /// What asks the run to end: it then closes in order and reports what is there.
    fn interrupt(&self) -> Interrupt {
        Interrupt::never()
    }

    /// A new stage begins, named in a few words.
    fn stage(&self, name: &str) {
        let _ = name;
    }

    /// So many of all devices are connected.
    fn connected(&self, devices: usize, all: usize) {
        let _ = (devices, all);
    }

    /// A round was published.
    fn round(&self, news: &RoundNews) {
        let _ = news;
    }

    /// A window was judged.
    fn window(&self, news: &WindowNews) {
        let _ = news;
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}
