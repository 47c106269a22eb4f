//! What one device changes through its real agent, with usual data against its constant form: at most what is
//! charged, under every mechanism and in drift windows.

use serde_json::Value;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{ClipReport, UploadHeader};
use tributary_store::{Store as _, Table};

use crate::harness::agent::{Found, RealAgent};
use crate::harness::hand::{delta, encoded, hands};
use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, PATIENCE, Recipe, fleet, within};

/// Devices beside the one that is looked at, which send the same every time.
const OTHERS: usize = 2;
/// Planned devices of a round, by which sums are divided.
const DEVICES: f64 = 3.0;
/// So small that every update of usual data is as long as it.
const CLIP: f64 = 0.05;
/// Noise of a sum, in clips.
const MULTIPLIER: f64 = 4.0;
/// Step of the clip's logarithm where it adapts.
const RATE: f64 = 0.5;
/// Rounding of weights, clips and codecs, in clips.
const ROUNDING: f64 = 1e-3;

/// What a seeded run released, and what it charged.
struct Released {
    versions: Vec<Vec<f32>>,
    clips: Vec<f64>,
    rho: f64,
}

/// Equal noise in all runs of a recipe: what differs is what the device sent.
fn recipe(rounds: u32) -> Recipe {
    Recipe::private()
        .rounds(rounds.into(), DEVICES as i64)
        .seeded(11)
        .set("privacy.clip", CLIP)
        .set("privacy.noise_multiplier", MULTIPLIER)
}

/// Usual examples of class 0 or 1.
fn usual(label: u32) -> Found {
    Found::copies(8, [0.5, -1.0, 0.25, 2.0], label)
}

/// Runs a recipe in which one agent finds this.
async fn released(recipe: &Recipe, rounds: u32, found: Found) -> Released {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut others = hands(&coordinator.channel().await, OTHERS).await;
    // local noise comes from the device, and from the run's seed in a simulation alone
    let agent = RealAgent::simulated(&coordinator.endpoint(), "us", "us-target", found);
    within("the agent", agent.connected()).await;
    let run = operator.start(recipe).await;
    for round in 1..=rounds {
        for (number, (hand, session)) in (0..).zip(&mut others) {
            let order = session.assignment().await;
            assert_eq!(order.round, round);
            let small: Vec<f32> = delta(number).iter().map(|v| v * CLIP as f32).collect();
            let bytes = encoded(&small);
            let report = match order.plan.as_ref().unwrap().report_within_clip {
                true => ClipReport::Within,
                false => ClipReport::Unspecified,
            };
            let header = UploadHeader {
                clip_report: report.into(),
                ..hand.header(&order, &bytes)
            };
            let answer = hand.upload_as(header, &bytes).await.unwrap();
            assert!(matches!(answer, Answer::Receipt(_)), "{answer:?}");
        }
    }
    let shown = operator.completed(&run).await;
    assert!(shown.rounds.iter().all(|round| round.counted == 3));
    agent.stop().await;
    let mut versions = Vec::new();
    for round in &shown.rounds {
        versions.push(operator.file(&round.model_digest).await.weights);
    }
    Released {
        versions,
        clips: shown.rounds.iter().map(|round| round.clip.into()).collect(),
        rho: of(&shown).privacy.as_ref().unwrap().rho,
    }
}

/// What two runs' sums differ by in each round, in clips.
fn apart(one: &Released, other: &Released) -> Vec<f64> {
    // the version before the first round is the same
    let step = |run: &Released, round: usize, index: usize| {
        let before = round
            .checked_sub(1)
            .map(|before| run.versions[before][index]);
        f64::from(run.versions[round][index]) - before.map_or(0.0, f64::from)
    };
    let in_round = |round: usize| {
        let indices = 0..one.versions[round].len();
        let squares = indices.map(|at| (step(one, round, at) - step(other, round, at)).powi(2));
        squares.sum::<f64>().sqrt() * DEVICES / CLIP
    };
    (0..one.versions.len()).map(in_round).collect()
}

/// The agent with usual data is one clip away from its constant form in every round, two of them at most
/// two, and the charge covers it. `relative` says that noise is planned for all rounds of a device together.
async fn one_clip_a_round(recipe: &Recipe, rounds: u32, relative: bool) {
    let nothing = released(recipe, rounds, Found::Unreadable).await;
    let some = released(recipe, rounds, usual(1)).await;
    let others = released(recipe, rounds, usual(0)).await;
    for run in [&some, &others] {
        let changes = apart(run, &nothing);
        for change in &changes {
            assert!((0.99..=1.0 + ROUNDING).contains(change), "{changes:?}");
        }
        let squares = changes.iter().map(|change| change * change);
        let needed = match relative {
            // noise of MULTIPLIER times all that one device changes
            true => squares.sum::<f64>() / f64::from(rounds),
            false => squares.sum(),
        };
        let needed = needed / (2.0 * MULTIPLIER * MULTIPLIER);
        assert!(
            run.rho >= needed * (1.0 - ROUNDING),
            "{} for {needed}",
            run.rho
        );
    }
    for change in apart(&some, &others) {
        assert!(change <= 2.0 + ROUNDING, "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_an_agent_under_fresh_noise_differs_from_its_constant_form_by_one_clip() {
    one_clip_a_round(&recipe(2), 2, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_an_agent_under_correlated_noise_differs_by_one_clip_in_each_of_its_rounds() {
    let blt = recipe(2)
        .set("privacy.mechanism", "blt")
        .set("rounds.max_participations", 2)
        .set("rounds.min_separation", 1);
    one_clip_a_round(&blt, 2, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_an_agent_with_its_own_noise_differs_from_its_constant_form_by_one_clip() {
    one_clip_a_round(&recipe(2).set("privacy.mode", "local"), 2, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_an_agents_report_on_the_clip_moves_it_by_half_a_device() {
    let mut adaptive = toml::Table::new();
    adaptive.insert("count_noise".to_owned(), 10.0.into());
    adaptive.insert("learning_rate".to_owned(), RATE.into());
    let recipe = recipe(2).set("privacy.adaptive_clip", adaptive);
    let nothing = released(&recipe, 2, Found::Unreadable).await;
    let above = released(&recipe, 2, usual(1)).await;
    // a model that is certain has nothing to change: zeros are within every clip
    let within = released(&recipe, 2, Found::copies(8, [0.0; 4], 0)).await;
    let half = RATE / (2.0 * DEVICES);
    let moved = |run: &Released| (run.clips[1] / nothing.clips[1]).ln();
    assert!((moved(&above) - half).abs() < ROUNDING, "{}", moved(&above));
    assert!(
        moved(&within).abs() <= half + ROUNDING,
        "{}",
        moved(&within)
    );
    let change = apart(&above, &nothing)[0];
    assert!(change <= 1.0 + ROUNDING, "{change}");
}

/// Noise on a bin, in votes.
const VOTES: f64 = 0.5;
/// What is voted on: not on the model, which differs with what the agent trained.
const QUANTITIES: [&str; 2] = ["feature:0", "feature:3"];

fn watched() -> Recipe {
    let quantity = |source: &str| {
        let mut table = toml::Table::new();
        table.insert("source".to_owned(), source.into());
        table.insert("edges".to_owned(), vec![0.0, 1.0].into());
        toml::Value::Table(table)
    };
    recipe(1)
        .set("regions", vec!["us"])
        .set("drift.interval_ms", 1)
        .set("drift.windows", 1)
        .set("drift.warm_up", 3)
        .set("drift.noise_votes", VOTES)
        .set("drift.minimum_devices", 1)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.quantities", QUANTITIES.map(quantity).to_vec())
}

/// All counts of references in the making.
fn counts_in(record: &Value, found: &mut Vec<Vec<i64>>) {
    match record {
        Value::Object(fields) => {
            if let Some(counts) = record.pointer("/reference/sum/counts") {
                found.push(serde_json::from_value(counts.clone()).unwrap());
            }
            fields.values().for_each(|value| counts_in(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| counts_in(value, found)),
        _ => {}
    }
}

/// The noised counts of the first window, and what it charged.
async fn first_window(found: Found) -> (Vec<Vec<i64>>, f64) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let others = fleet::start(&coordinator.endpoint(), 2, fleet::devices("us", OTHERS));
    others.wait_connected(OTHERS).await;
    let agent = RealAgent::start(&coordinator.endpoint(), "us", "us-target", found);
    within("the agent", agent.connected()).await;
    let run = operator.start(&watched()).await;
    operator.completed(&run).await;
    let begun = std::time::Instant::now();
    let window = loop {
        let monitor = operator.monitor(&run).await;
        if let Some(window) = monitor.and_then(|monitor| monitor.windows.into_iter().next()) {
            break window;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for a window");
        tokio::time::sleep(GLANCE).await;
    };
    assert_eq!(window.devices, 3);
    agent.stop().await;
    others.shutdown().await;
    let folder = coordinator.crash();
    let store = crate::quarantine::store(&folder).await;
    let rows = store.scan(Table::Monitors, b"", None, 64).unwrap();
    let mut counts = Vec::new();
    for (_, record) in rows {
        counts_in(&record.json().unwrap(), &mut counts);
    }
    assert_eq!(counts.len(), QUANTITIES.len(), "{counts:?}");
    (counts, window.rho)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_an_agents_votes_differ_from_blank_ones_by_what_is_charged() {
    let (blank, _) = first_window(Found::Unreadable).await;
    let (low, rho) = first_window(Found::copies(8, [-1.0; 4], 1)).await;
    let (high, _) = first_window(Found::copies(8, [5.0; 4], 1)).await;
    let squares = |one: &[Vec<i64>], other: &[Vec<i64>]| -> f64 {
        let pairs = one.iter().flatten().zip(other.iter().flatten());
        pairs.map(|(a, b)| ((a - b) * (a - b)) as f64).sum()
    };
    // one vote for each quantity against blank ones; against other data each moves from bin to bin
    let each = QUANTITIES.len() as f64;
    let charged = rho * 2.0 * VOTES * VOTES;
    assert!((charged - each).abs() < ROUNDING, "{charged}");
    assert_eq!(squares(&low, &blank), each, "{low:?} {blank:?}");
    assert_eq!(squares(&high, &blank), each, "{high:?} {blank:?}");
    assert_eq!(squares(&high, &low), 2.0 * each, "{high:?} {low:?}");
}
