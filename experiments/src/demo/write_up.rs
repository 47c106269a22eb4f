//! From what was seen to the report.

use tributary_privacy::{Rho, epsilon_cks20};
use tributary_proto::v1::{DriftWindow, PrivacyAccount};
use tributary_report::experiment::{
    AccuracySummary, Build, DriftPoint, DriftSummary, Event, EventKind, Fact, LedgerLine, Phase,
    Report, RoundPoint, RoundSeries, Summary, Verdict, WireBytes, WirePoint,
};
use tributary_report::number::count;

use super::act::{BuildResult, Story};
use super::config::{DRIFTING, DemoConfig, INJECTED_WINDOW, REGIONS, wrist_large, wrist_small};
use crate::runner::{RoundResult, RunResult, Score, conditions, privacy_summary};

/// The variant that has all units of the model.
const FULL: &str = "full";

/// The report of the demo; bytes, time and memory are filled in by the caller.
pub(super) fn write_up(config: &DemoConfig, story: &Story, epsilon_cap: Option<f64>) -> Report {
    let (training, retraining) = (&story.training, &story.watch.retraining);
    let trained = training.rounds.len() as u64;
    let all = trained + retraining.rounds.len() as u64;
    let phase = |name: &str, first_round, last_round| Phase {
        name: name.to_owned(),
        first_round,
        last_round,
    };
    Report {
        title: "A fleet that notices when the watch changes arms".to_owned(),
        subtitle: format!(
            "{} simulated wearables in three regions learn seven shoulder exercises under \
             device-level differential privacy, over gRPC. Then everyone in {DRIFTING} moves the \
             watch to the other arm.",
            count(config.devices.into())
        ),
        summary: summary(config, story),
        seed: config.seed,
        seeds: Vec::new(),
        phases: vec![
            phase("training", 1, trained),
            phase(&format!("retraining {DRIFTING}"), trained + 1, all),
        ],
        accuracy: accuracy(story, trained),
        epsilon: epsilon(story, trained),
        epsilon_conditions: vec![conditions(story.privacy.worst_device.as_ref()); REGIONS.len()],
        epsilon_cap,
        drift: story.watch.windows.iter().flat_map(drift_points).collect(),
        wire: wire(&training.rounds, 0)
            .chain(wire(&retraining.rounds, trained))
            .collect(),
        events: events(story, trained, all),
        ledger: ledger(story),
        facts: facts(config, story),
    }
}

fn summary(config: &DemoConfig, story: &Story) -> Summary {
    let retraining = &story.watch.retraining;
    let full = story
        .builds
        .iter()
        .find(|result| result.build.variant == FULL);
    Summary {
        devices: config.devices.into(),
        regions: REGIONS.map(|(region, _)| region.to_owned()).into(),
        rounds: (story.training.rounds.len() + retraining.rounds.len()) as u64,
        accuracy: AccuracySummary {
            initial: Some(story.training.first_score.overall),
            trained: Some(story.training.last_score().overall),
            drifted: Some(story.drifted),
            recovered: Some(retraining.last_score().overall),
            recovered_int8: full.map(|result| result.accuracy),
        },
        marks: retraining.run.marks.clone(),
        privacy: privacy_summary(story.privacy.worst_device.as_ref()),
        drift: Some(DriftSummary {
            region: DRIFTING.to_owned(),
            injected_window: INJECTED_WINDOW,
            detected_window: story.watch.detected_window(),
            false_alarms: story.watch.false_alarms(),
        }),
        builds: story.builds.iter().map(build).collect(),
        model_digest: retraining.run.model_digest.clone(),
        wire_bytes: WireBytes::default(),
        ..Summary::default()
    }
}

fn build(result: &BuildResult) -> Build {
    let build = &result.build;
    let hardware = [wrist_large(), wrist_small()];
    let hardware = hardware
        .into_iter()
        .find(|hardware| hardware.name == build.profile);
    Build {
        region: build.region.clone(),
        profile: build.profile.clone(),
        format: format!("{} {}", build.format, build.variant),
        bytes: build.bytes,
        arena_bytes: build.arena_bytes,
        slot_bytes: hardware.as_ref().map(|hardware| hardware.flash_slot_bytes),
        ram_bytes: hardware.as_ref().map(|hardware| hardware.ram_bytes),
        installed_on: build.installed_on,
        accuracy: Some(result.accuracy),
        decision: build.decision.clone(),
    }
}

/// The scores of region `index` by round, from `before` on.
fn points(run: &RunResult, before: u64, index: usize) -> Vec<RoundPoint> {
    let value = |score: &Score| score.by_region.get(index).copied().unwrap_or(f64::NAN);
    let first = RoundPoint::new(before, value(&run.first_score));
    let later = run.rounds.iter();
    let later = later.map(|result| {
        RoundPoint::new(before + u64::from(result.round.round), value(&result.score))
    });
    std::iter::once(first).chain(later).collect()
}

/// Right arms while all train; the drifting region goes on with left arms.
fn accuracy(story: &Story, trained: u64) -> Vec<RoundSeries> {
    let series = |(index, (region, _)): (usize, &(&str, _))| {
        let mut points = points(&story.training, 0, index);
        if *region == DRIFTING {
            points.extend(self::points(&story.watch.retraining, trained, 0));
        }
        RoundSeries {
            variant: String::new(),
            region: (*region).to_owned(),
            points,
        }
    };
    REGIONS.iter().enumerate().map(series).collect()
}

/// What devices had spent at most after each round, from what rounds and windows say of themselves, so that
/// it does not depend on when they were looked at. In the drifting region the retraining comes on top of the
/// training and of the windows up to the one that started it. The last point of a region is what its most
/// charged device had spent in the end: windows and the calibration cost something after the last round too.
fn epsilon(story: &Story, trained: u64) -> Vec<RoundSeries> {
    let (training, retraining) = (&story.training.rounds, &story.watch.retraining.rounds);
    let series = |(region, _): &(&str, _)| {
        let mut points = vec![RoundPoint::new(0, 0.0)];
        points.extend(spent(training, 0, 0.0));
        if *region == DRIFTING {
            let earlier = training.last().map_or(0.0, rho) + watched(&story.watch.windows);
            points.extend(spent(retraining, trained, earlier));
        }
        let round = points.last().map_or(0, |last| last.round);
        points.extend(in_the_end(story, region).map(|epsilon| RoundPoint::new(round, epsilon)));
        RoundSeries {
            variant: String::new(),
            region: (*region).to_owned(),
            points,
        }
    };
    REGIONS.iter().map(series).collect()
}

/// The epsilon of the most charged device of a region in the end: in the drifting one that of the whole fleet, in
/// the others training and all windows that were seen.
fn in_the_end(story: &Story, region: &str) -> Option<f64> {
    let (worst, last) = (
        story.privacy.worst_device.as_ref()?,
        story.training.rounds.last()?,
    );
    if region == story.privacy.worst_region {
        return Some(worst.epsilon);
    }
    let windows = story.watch.windows.iter();
    let windows = windows.filter(|window| window.region == region);
    let total = rho(last) + windows.map(|window| window.rho).sum::<f64>();
    epsilon_cks20(Rho::from_f64(total).ok()?, worst.delta).ok()
}

/// The loss of the device that has lost most in a run so far.
fn rho(result: &RoundResult) -> f64 {
    let spend = result.round.privacy.as_ref();
    spend.map_or(0.0, |spend| spend.rho)
}

/// What the windows of the drifting region cost a device until the retraining began.
fn watched(windows: &[DriftWindow]) -> f64 {
    let here = windows.iter().filter(|window| window.region == DRIFTING);
    let mut total = 0.0;
    for window in here {
        total += window.rho;
        if !window.playbook.is_empty() {
            break;
        }
    }
    total
}

/// Epsilon after each of these rounds, of a device that had lost `earlier` before them.
fn spent(
    results: &[RoundResult],
    before: u64,
    earlier: f64,
) -> impl Iterator<Item = RoundPoint> + use<'_> {
    results.iter().map(move |result| {
        let delta = result.round.privacy.as_ref().map_or(f64::NAN, |s| s.delta);
        let total = Rho::from_f64(earlier + rho(result)).ok();
        let epsilon = total.and_then(|total| epsilon_cks20(total, delta).ok());
        RoundPoint::new(
            before + u64::from(result.round.round),
            epsilon.unwrap_or(f64::NAN),
        )
    })
}

fn drift_points(window: &DriftWindow) -> Vec<DriftPoint> {
    let point = |stream: &tributary_proto::v1::StreamReading| {
        let (single, smooth) = (
            (stream.statistic, stream.threshold),
            (stream.ewma, stream.ewma_threshold),
        );
        // of the two tests the one that is nearer to calling drift
        let share = |(statistic, threshold): (f64, f64)| statistic / threshold;
        let judged = if share(smooth) > share(single) {
            smooth
        } else {
            single
        };
        let known = judged.1 > 0.0;
        DriftPoint {
            region: window.region.clone(),
            quantity: stream.quantity.clone(),
            window: window.window,
            statistic: if known { judged.0 } else { f64::NAN },
            threshold: if known { judged.1 } else { f64::NAN },
            verdict: verdict(&window.verdict),
        }
    };
    window.streams.iter().map(point).collect()
}

fn verdict(word: &str) -> Verdict {
    match word {
        "warm-up" => Verdict::WarmUp,
        "ok" => Verdict::Ok,
        "warning" => Verdict::Warning,
        "drift" => Verdict::Drift,
        "mitigating" => Verdict::Mitigating,
        "validating" => Verdict::Validating,
        "cooldown" => Verdict::Cooldown,
        _ => Verdict::InsufficientData,
    }
}

fn wire(rounds: &[RoundResult], before: u64) -> impl Iterator<Item = WirePoint> {
    rounds.iter().map(move |result| WirePoint {
        variant: String::new(),
        round: before + u64::from(result.round.round),
        down: result.round.bytes_down,
        up: result.round.bytes_up,
    })
}

fn events(story: &Story, trained: u64, all: u64) -> Vec<Event> {
    let event = |kind, round, window| Event {
        kind,
        region: DRIFTING.to_owned(),
        round: Some(round),
        window,
        label: String::new(),
    };
    let detected = story.watch.detected_window();
    let here = story
        .watch
        .windows
        .iter()
        .filter(|window| window.region == DRIFTING);
    let back = here
        .filter(|window| window.verdict == "validating")
        .map(|window| window.window);
    let mut events = vec![event(
        EventKind::DriftInjected,
        trained,
        Some(INJECTED_WINDOW),
    )];
    if detected.is_some() {
        events.push(event(EventKind::DriftDetected, trained, detected));
    }
    events.push(event(EventKind::Recovered, all, back.min()));
    events
}

fn ledger(story: &Story) -> Vec<LedgerLine> {
    let (training, retraining) = (&story.training, &story.watch.retraining);
    let window = story
        .watch
        .windows
        .iter()
        .map(|window| window.rho)
        .fold(0.0, f64::max);
    let line = |account: &PrivacyAccount| {
        let first = |run: &RunResult| {
            let spend = run
                .rounds
                .first()
                .and_then(|first| first.round.privacy.as_ref());
            spend.map_or(0.0, |spend| spend.rho)
        };
        let own = account.id == training.run.run_id;
        let (kind, region, each) = match account.kind.as_str() {
            "training" if own => ("training round", "", first(training)),
            "training" => ("retraining round", DRIFTING, first(retraining)),
            "drift" => ("drift window", "", window),
            "calibration" => ("range calibration", DRIFTING, 0.0),
            other => (other, "", 0.0),
        };
        let spent = account.spend.clone().unwrap_or_default();
        let rho = spent.rho;
        LedgerLine {
            kind: kind.to_owned(),
            region: region.to_owned(),
            charges: account.charges,
            charges_per_device: if each > 0.0 {
                (rho / each).round() as u64
            } else {
                1
            },
            rho,
            adjacency: spent.adjacency,
            mechanism: spent.mechanism,
        }
    };
    story.privacy.accounts.iter().map(line).collect()
}

fn facts(config: &DemoConfig, story: &Story) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact {
        name: name.to_owned(),
        value,
    };
    let command = match config.seed {
        Some(seed) => format!("tributary demo --devices {} --seed {seed}", config.devices),
        None => format!("tributary demo --devices {}", config.devices),
    };
    vec![
        fact("Command", command),
        fact("Version", env!("CARGO_PKG_VERSION").to_owned()),
        fact(
            "Data",
            "watch: each device holds 8 training windows of one arm of one subject; scores are on \
             windows that share no sample with any of them"
                .to_owned(),
        ),
        fact(
            "Inputs",
            "scaled by public constants, so no statistic of the data is published".to_owned(),
        ),
        fact(
            "Contributions",
            story.training.run.contributions_total.to_string(),
        ),
        fact("Trained model", story.training.run.model_digest.clone()),
    ]
}
