//! Runs and rounds.

use serde::Serialize;
use tributary_proto::v1::{self, RunState};

use super::Spend;

/// One run, as `run ls` lists it and as events carry it.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: String,
    /// The recipe's name.
    pub name: String,
    /// The task.
    pub task: String,
    /// `running`, `completed`, `stopped`, `failed` or `quarantined`.
    pub state: &'static str,
    /// What the open round is doing; empty when none is open.
    pub phase: String,
    /// The round that is open, or the last one, from 1.
    pub round: u32,
    /// Rounds planned.
    pub rounds: u32,
    /// Digest of the newest model version.
    pub model_version: String,
    /// Contributions counted in all rounds.
    pub contributions_total: u64,
    /// By region.
    pub regions: Vec<RegionView>,
    /// Spend of the device that spent most in this run.
    pub privacy: Spend,
    /// Why it waits or failed; empty when all is well.
    pub reason: String,
    /// Milliseconds since 1970 when it was started.
    pub started_unix_ms: u64,
    /// The drift that made a playbook start it; empty for an operator's run.
    pub drift: String,
    /// How it learns: algorithm, personalisation, aggregation, codec.
    pub method: String,
    /// What the fleet of this moment can't do for it; only in `run show`.
    pub warnings: Vec<String>,
    /// Assignments that came to nothing, by reason, over all rounds.
    pub drops: Vec<DropView>,
    /// `SEEDED` where its noise is known, `NO NOISE` where there was none, `RESTORED` where earlier spending
    /// was lost with a data folder, also in what it comes from.
    pub marks: Vec<String>,
    /// What the released models and means say of its health, and what its recipe leaves open.
    pub hints: Vec<String>,
}

/// Assignments that came to nothing for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct DropView {
    /// The reason as a word, for example `model_mismatch`.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// `run show`: a run with its rounds.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// The run.
    #[serde(flatten)]
    pub run: RunSummary,
    /// Its rounds, oldest first.
    pub round_log: Vec<RoundView>,
}

/// Contributions of one region.
#[derive(Debug, Clone, Serialize)]
pub struct RegionView {
    /// The region.
    pub region: String,
    /// Contributions counted.
    pub contributions: u64,
}

/// One round.
#[derive(Debug, Clone, Serialize)]
pub struct RoundView {
    /// Its number, from 1.
    pub round: u32,
    /// How it ended or stands.
    pub phase: String,
    /// Devices that were given an assignment.
    pub assigned: u64,
    /// Contributions counted.
    pub counted: u64,
    /// Devices that gave up or were refused.
    pub dropped: u64,
    /// The model version that it made; empty when none.
    pub model_version: String,
    /// Bytes of models sent to devices.
    pub bytes_down: u64,
    /// Bytes of updates received.
    pub bytes_up: u64,
    /// Spend of the worst device after this round.
    pub privacy: Spend,
    /// The L2 norm that updates of this round were clipped to; 0 from older coordinators.
    pub clip: f32,
    /// Why it was aborted; empty otherwise.
    pub reason: String,
    /// By region.
    pub regions: Vec<RegionView>,
    /// Assignments that came to nothing, by reason.
    pub drops: Vec<DropView>,
    /// The attempt at this round, from 1; 0 from older coordinators.
    pub attempt: u32,
}

impl RoundView {
    /// Whether nothing more will happen in it.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "published" | "aborted")
    }
}

/// A run's state as a word.
fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Unspecified => "unknown",
        RunState::Running => "running",
        RunState::Completed => "completed",
        RunState::Stopped => "stopped",
        RunState::Failed => "failed",
        RunState::Quarantined => "quarantined",
    }
}

impl From<v1::Run> for RunSummary {
    fn from(run: v1::Run) -> Self {
        Self {
            state: state_name(run.state()),
            run: run.run_id,
            name: run.name,
            task: run.task,
            phase: run.phase,
            round: run.round,
            rounds: run.rounds,
            model_version: run.model_digest,
            contributions_total: run.contributions_total,
            regions: regions(run.regions),
            privacy: run.privacy.into(),
            reason: run.reason,
            started_unix_ms: run.started_unix_ms,
            drift: run.drift_id,
            method: run.method,
            drops: drops(&run.drops),
            warnings: run.warnings,
            marks: run.marks,
            hints: run.hints,
        }
    }
}

impl From<v1::Round> for RoundView {
    fn from(round: v1::Round) -> Self {
        Self {
            round: round.round,
            phase: round.phase,
            assigned: round.assigned,
            counted: round.counted,
            dropped: round.dropped,
            model_version: round.model_digest,
            bytes_down: round.bytes_down,
            bytes_up: round.bytes_up,
            privacy: round.privacy.into(),
            clip: round.clip,
            reason: round.reason,
            drops: drops(&round.drops),
            attempt: round.attempt,
            regions: regions(round.regions),
        }
    }
}

impl From<v1::GetRunResponse> for RunView {
    fn from(answer: v1::GetRunResponse) -> Self {
        Self {
            run: answer.run.unwrap_or_default().into(),
            round_log: answer.rounds.into_iter().map(RoundView::from).collect(),
        }
    }
}

fn drops(counts: &[v1::DropCount]) -> Vec<DropView> {
    let word = |reason: v1::DropReason| match reason {
        v1::DropReason::Unspecified => "not_stated".to_owned(),
        reason => reason
            .as_str_name()
            .trim_start_matches("DROP_REASON_")
            .to_lowercase(),
    };
    let view = |one: &v1::DropCount| DropView {
        reason: word(one.reason()),
        count: one.count,
    };
    counts.iter().map(view).collect()
}

fn regions(counts: Vec<v1::RegionCount>) -> Vec<RegionView> {
    let view = |count: v1::RegionCount| RegionView {
        region: count.region,
        contributions: count.contributions,
    };
    counts.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_the_fields_that_scripts_rely_on() {
        let run = v1::Run {
            run_id: "r1".into(),
            state: RunState::Completed.into(),
            round: 20,
            rounds: 20,
            model_digest: "ab".into(),
            contributions_total: 900,
            regions: vec![v1::RegionCount {
                region: "eu".into(),
                contributions: 900,
            }],
            privacy: Some(v1::PrivacySpend {
                epsilon: 4.0,
                delta: 1e-5,
                rho: 0.2,
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = v1::GetRunResponse {
            run: Some(run),
            rounds: vec![v1::Round::default()],
            ..v1::GetRunResponse::default()
        };
        let json = serde_json::to_value(RunView::from(answer)).unwrap();
        assert_eq!(json["run"], "r1");
        assert_eq!(json["state"], "completed");
        assert_eq!(
            (json["round"].as_u64(), json["rounds"].as_u64()),
            (Some(20), Some(20))
        );
        assert_eq!(json["model_version"], "ab");
        assert_eq!(json["contributions_total"], 900);
        assert_eq!(json["regions"][0]["region"], "eu");
        assert_eq!(json["regions"][0]["contributions"], 900);
        let privacy = &json["privacy"];
        for key in ["epsilon", "delta", "rho", "adjacency", "mechanism"] {
            assert!(!privacy[key].is_null(), "{key}: {privacy}");
        }
        assert_eq!(json["round_log"].as_array().unwrap().len(), 1);
    }
}
