//! A run's state and progress.

use crate::output::Tone;
use crate::view::RunSummary;

/// The tone of a run's state.
pub fn tone(state: &str) -> Tone {
    match state {
        "completed" => Tone::Good,
        "failed" | "quarantined" => Tone::Bad,
        "stopped" => Tone::Warn,
        _ => Tone::Accent,
    }
}

/// `3/20`: the round and how many are planned.
pub fn progress(run: &RunSummary) -> String {
    format!("{}/{}", run.round, run.rounds)
}
