//! When devices answer: windows that leave room for the answer.

use crate::error::refuse_if;
use crate::{AnswerTime, PrivacySpec, RunSpec, SpecError};

/// Shortest part of a deadline that is left for sending.
const SENDING: u64 = 2;

impl RunSpec {
    /// Checks the answer windows of the run, of its monitor and builds, and of its playbook.
    ///
    /// # Errors
    /// The first window that is wrong, with the remedy.
    pub(crate) fn check_answers(&self) -> Result<(), SpecError> {
        let mut deadlines = vec![("rounds.deadline_ms", self.rounds.deadline_ms)];
        let drift = self.drift.as_ref();
        deadlines.extend(drift.map(|drift| ("drift.deadline_ms", drift.deadline_ms)));
        let builds = self.builds.as_ref();
        deadlines.extend(builds.map(|builds| ("builds.deadline_ms", builds.deadline_ms)));
        check_window("privacy", &self.privacy, &deadlines)?;
        let Some(playbook) = &self.playbook else {
            return Ok(());
        };
        let deadlines = [("playbook.rounds.deadline_ms", playbook.rounds.deadline_ms)];
        check_window("playbook.privacy", &playbook.privacy, &deadlines)
    }
}

fn check_window(
    path: &str,
    privacy: &PrivacySpec,
    deadlines: &[(&str, u64)],
) -> Result<(), SpecError> {
    let field = format!("{path}.answer_window_ms");
    let as_trained = privacy.answer_time == AnswerTime::AsTrained;
    refuse_if(
        !privacy.mode.has_noise() && as_trained,
        &format!("{path}.answer_time"),
        "is set although privacy.mode is none, where no answer is hidden",
        "remove it, or set privacy.mode to dp",
    )?;
    let Some([from, until]) = privacy.answer_window_ms else {
        return Ok(());
    };
    refuse_if(
        !privacy.mode.has_noise() || as_trained,
        &field,
        "is set although no moment is drawn",
        "remove it, or set privacy.mode to dp and answer_time to drawn",
    )?;
    refuse_if(
        until == 0 || from >= until,
        &field,
        format!("is [{from}, {until}]"),
        "give a begin and a later end, for example [200, 400]",
    )?;
    for (name, deadline) in deadlines {
        refuse_if(
            until > deadline / SENDING,
            &field,
            format!(
                "ends at {until}, which leaves less than half of {name} for fetching and sending"
            ),
            "end it earlier, or raise that deadline",
        )?;
    }
    Ok(())
}
