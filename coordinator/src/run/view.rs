//! What others see of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_model::Digest;
use tributary_privacy::Mechanism;
use tributary_proto::v1;

use super::health::hints;
use crate::engine::{
    AssignmentState, DropReason, Phase, RoundRecord, RunState, RunStatus, Unheard,
};
use crate::epoch::Place;
use crate::ledger::spend;
use crate::quarantine::Cause;
use tributary_recipe::{NoiseMechanism, PrivacyMode, PrivacySpec, RoundSpec, RunSpec};

/// A run as the control service shows it.
#[derive(Debug, Clone, Default)]
pub struct RunView {
    /// The run.
    pub run: v1::Run,
    /// Rounds that are over, oldest first.
    pub history: Arc<Vec<v1::Round>>,
    /// The open round; absent when the run is over.
    pub open: Option<v1::Round>,
    /// What its rounds ask of the fleet; absent where it is not known to run.
    pub rounds: Option<RoundSpec>,
    pub(super) place: Option<Place>,
    /// Why it is set aside; none while it is not.
    pub(super) aside: Option<Cause>,
}

impl RunView {
    /// True when the run is over.
    pub fn is_over(&self) -> bool {
        self.run.state() != v1::RunState::Running
    }

    /// The newest versions of the run.
    pub fn versions(&self) -> impl Iterator<Item = Digest> {
        let digests = std::iter::once(&self.run.model_digest).chain(&self.run.variant_digests);
        digests.filter_map(|digest| digest.parse().ok())
    }

    /// The open round and its attempt; the last ones when the run is over.
    pub fn place(&self) -> Place {
        self.place.unwrap_or(Place::of_round(0, 0))
    }

    /// Shows that the run is set aside.
    pub(super) fn set_aside(&mut self, run: v1::Run, cause: Cause) {
        self.run = run;
        self.open = None;
        self.aside = Some(cause);
    }

    /// Brings the view up to date.
    pub fn update(&mut self, state: &RunState, reason: &str) {
        if self.history.len() < state.history.len() {
            let history = Arc::make_mut(&mut self.history);
            for record in &state.history[history.len()..] {
                let of_round = |earlier: &&v1::Round| earlier.round == record.number;
                let before = history.iter().rev().take_while(of_round).count();
                history.push(round(state, record, before as u32 + 1));
            }
            self.run.privacy = history.last().and_then(|last| last.privacy.clone());
        }
        self.place = Some(state.place());
        self.open = state.is_running().then(|| open_round(state));
        if self.rounds.is_none() {
            self.rounds = Some(state.spec.rounds.clone());
        }
        let privacy = self.run.privacy.take();
        let nothing = || statement(state, 0);
        self.run = run(state, reason, privacy.unwrap_or_else(nothing));
    }
}

fn run(state: &RunState, reason: &str, privacy: v1::PrivacySpend) -> v1::Run {
    let (run_state, failure) = match &state.status {
        RunStatus::Running => (v1::RunState::Running, None),
        RunStatus::Completed => (v1::RunState::Completed, None),
        RunStatus::Stopped => (v1::RunState::Stopped, None),
        RunStatus::Failed(why) => (v1::RunState::Failed, Some(why.clone())),
    };
    let counts = state.contributions_by_region();
    v1::Run {
        run_id: state.id.to_string(),
        name: state.spec.name.clone(),
        state: run_state.into(),
        round: state.round.number,
        rounds: state.spec.rounds.count,
        model_digest: state.model.to_string(),
        contributions_total: counts.iter().sum(),
        regions: regions(state, &counts),
        privacy: Some(privacy),
        // what it waited for is no matter once it is over
        reason: match failure {
            Some(failure) => failure,
            None if state.is_running() => reason.to_owned(),
            None => String::new(),
        },
        task: state.spec.task.clone(),
        phase: if state.is_running() {
            phase(state).to_owned()
        } else {
            String::new()
        },
        started_unix_ms: state.started_ms,
        drift_id: state.drift_id.clone().unwrap_or_default(),
        method: method(&state.spec),
        hints: hints(&state.spec, &state.releases),
        variant_digests: state.variants.iter().map(ToString::to_string).collect(),
        drops: drops(&all_drops(state)),
        // of this moment: added by whoever answers
        warnings: Vec::new(),
        marks: state.marks().names(),
    }
}

/// Assignments of all rounds that came to nothing, the open one included.
fn all_drops(state: &RunState) -> BTreeMap<DropReason, u64> {
    let mut all = BTreeMap::new();
    let open = state.is_running().then_some(&state.round.drops);
    let over = state.history.iter().map(|record| &record.drops);
    for (reason, count) in over.chain(open).flatten() {
        *all.entry(*reason).or_default() += count;
    }
    all
}

fn drops(counts: &BTreeMap<DropReason, u64>) -> Vec<v1::DropCount> {
    let wire = |(reason, count): (&DropReason, &u64)| v1::DropCount {
        reason: reason.wire().into(),
        count: *count,
    };
    counts.iter().map(wire).collect()
}

/// How the run learns, for people.
fn method(spec: &RunSpec) -> String {
    let training = &spec.training;
    let mut parts = vec![training.algorithm.name().to_owned()];
    if spec.server.optimiser.name() != parts[0] {
        parts.push(format!("server {}", spec.server.optimiser.name()));
    }
    if let Some(method) = &training.personalisation {
        parts.push(method.name().to_owned());
    }
    if let Some(cap) = training.examples_cap {
        parts.push(format!("weights by examples up to {cap}"));
    }
    if spec.rounds.staleness_cap() > 0 {
        parts.push(format!(
            "buffered, staleness at most {}",
            spec.rounds.staleness_cap()
        ));
    }
    parts.extend(protection(&spec.privacy));
    let robust = spec.aggregation.robust(spec.rounds.minimum());
    parts.extend(robust.map(|robust| format!("robust: {robust}")));
    parts.push(training.codec.clone());
    parts.join(", ")
}

/// What is not plain about the noise and the clip, for people.
fn protection(privacy: &PrivacySpec) -> Option<String> {
    let noise = match (privacy.mode, privacy.mechanism) {
        (PrivacyMode::Local, _) => Some("noise on the devices"),
        (_, NoiseMechanism::Independent) => None,
        (_, NoiseMechanism::Blt) => Some("correlated noise (blt)"),
        (_, NoiseMechanism::Tree) => Some("correlated noise (tree)"),
    };
    let clip = privacy.adaptive_clip.map(|adaptive| match adaptive.rounds {
        None => "adaptive clip".to_owned(),
        Some(rounds) => format!("clip estimated in {rounds} rounds"),
    });
    match (noise, clip) {
        (Some(noise), Some(clip)) => Some(format!("{noise}, {clip}")),
        (noise, clip) => noise.map(str::to_owned).or(clip),
    }
}

/// What a device of the run that spent so much has lost.
fn statement(state: &RunState, pico_rho: u64) -> v1::PrivacySpend {
    let privacy = &state.spec.privacy;
    let mechanism = privacy.mechanism(state.spec.is_seeded());
    spend(
        pico_rho,
        privacy.delta,
        match state.after_loss && mechanism.is_private() {
            true => Mechanism::RestoredNotPrivate,
            false => mechanism,
        },
        privacy.adjacency(),
        privacy.adaptive_clip.is_some(),
    )
}

fn phase(state: &RunState) -> &'static str {
    match state.round.phase {
        Phase::Selecting => "selecting",
        Phase::Collecting => "collecting",
        Phase::Sealing => "sealing",
        Phase::Releasing => "releasing",
    }
}

fn open_round(state: &RunState) -> v1::Round {
    let round = &state.round;
    v1::Round {
        round: round.number,
        phase: phase(state).to_owned(),
        assigned: round.leases.len() as u64,
        counted: round.counted() as u64,
        dropped: round.in_state(AssignmentState::Dropped) as u64,
        regions: regions(state, &round.counted_by_region(state.spec.regions.len())),
        clip: state.clip(),
        drops: drops(&round.drops),
        attempt: round.attempt,
        reason: remark("", round.unheard),
        ..v1::Round::default()
    }
}

fn round(state: &RunState, record: &RoundRecord, attempt: u32) -> v1::Round {
    v1::Round {
        round: record.number,
        phase: if record.model.is_some() {
            "published"
        } else {
            "aborted"
        }
        .to_owned(),
        assigned: record.assigned,
        counted: record.counted.iter().sum(),
        dropped: record.dropped,
        model_digest: record
            .model
            .map_or(String::new(), |model| model.to_string()),
        bytes_down: record.bytes_down,
        bytes_up: record.bytes_up,
        privacy: Some(statement(state, record.worst_pico_rho)),
        reason: remark(&record.reason, record.unheard),
        regions: regions(state, &record.counted),
        clip: record.clip,
        drops: drops(&record.drops),
        attempt,
    }
}

/// Why a round was given up, and that it went on with fewer devices than it waited for.
fn remark(reason: &str, unheard: Option<Unheard>) -> String {
    match unheard {
        None => reason.to_owned(),
        Some(count) if reason.is_empty() => count.to_string(),
        Some(count) => format!("{reason}; {count}"),
    }
}

fn regions(state: &RunState, counts: &[u64]) -> Vec<v1::RegionCount> {
    let pairs = state.spec.regions.iter().zip(counts);
    let count = |(region, &contributions): (&tributary_proto::RegionId, &u64)| v1::RegionCount {
        region: region.to_string(),
        contributions,
    };
    pairs.map(count).collect()
}
