//! What a device has done in a run: how often it took part, and how often it was asked in vain.

use serde::{Deserialize, Serialize};

/// What a device has done in this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participation {
    /// Published rounds that it is in.
    pub count: u32,
    /// The last of them; 0 for none.
    pub last_round: u32,
    /// The attempt at it, also of one that was given up; 0 where it is not known, as in records of before it
    /// was kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub last_attempt: u32,
    /// Those of them that only estimated the clip.
    #[serde(default)]
    pub estimated: u32,
    /// Rounds that it was in and that were given up: nothing was released and nothing charged, but the
    /// device's own record counts them.
    #[serde(default)]
    pub given_up: u32,
    /// By when it was in the last of them, in milliseconds of service time.
    #[serde(default)]
    pub last_ms: u64,
    /// Times in a row that it was asked in vain: it gave its assignment back, its lease ended, or its
    /// update was refused. A published round that it is in makes them 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub setbacks: u32,
    /// The attempt of the run, counted from 0, until which others are asked first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_until: u32,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// How much a device that could be asked is to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It was never asked in vain since it was last counted.
    Good,
    /// It was, and its time to be tried again has come.
    OnTrial,
    /// It was, a moment ago.
    Held,
}

impl Participation {
    /// Published rounds that it is in and that released a model.
    pub fn trained(&self) -> u32 {
        self.count - self.estimated
    }

    /// Where the device stands when attempt `attempt` of the run begins.
    pub fn standing(&self, attempt: u32) -> Standing {
        match self.setbacks {
            0 => Standing::Good,
            _ if attempt < self.held_until => Standing::Held,
            _ => Standing::OnTrial,
        }
    }
}
