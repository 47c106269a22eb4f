//! Under privacy nothing about a device's data decides whether it is seen to answer.

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_device::TallySnapshot;
use tributary_model::ModelFile;
use tributary_proto::v1::watch_response::Event;
use tributary_proto::v1::{PrivacyAccount, Round, Run, WatchRequest};

use crate::harness::agent::{Found, RealAgent};
use crate::harness::operator::of;
use crate::harness::recipe::PARAMETERS;
use crate::harness::tap::{message_bytes, tap};
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet, within};

/// Devices of region `eu`, whose data are as usual. Region `us` has one device, whose data are not.
const OTHERS: usize = 3;
/// The probability of class 1 is exactly 1 in `f32` with this much bias.
const CERTAIN: f32 = 300.0;

/// Everything that anybody sees of a run: whoever runs it, watches it, reads its metrics and its ledger, or
/// counts the bytes that a device sends.
#[derive(Debug, PartialEq)]
struct Observed {
    run: Run,
    rounds: Vec<Round>,
    events: BTreeSet<String>,
    accounts: Vec<PrivacyAccount>,
    windows: Vec<(String, u64, u64, u64)>,
    metrics: Vec<String>,
    message_bytes: Vec<usize>,
    sent: u64,
    received: u64,
}

/// A model that is certain of class 1, so that a device that holds nothing else has nothing to change.
async fn certain(operator: &Operator) -> ModelFile {
    let probe = operator
        .start(&Recipe::new().set("regions", vec!["nowhere"]))
        .await;
    let digest = of(&operator.show(&probe).await).model_digest.clone();
    operator.stop(&probe).await.unwrap();
    let mut file = operator.file(&digest).await;
    let last = file.weights.len() - 1;
    file.weights[last] = CERTAIN;
    file
}

/// One feature, alive in one unit only above the threshold .5, and then beyond all numbers: what a
/// coordinator sends that wants to read a pixel.
fn reader(mut file: ModelFile) -> ModelFile {
    const HUGE: f32 = 2e38;
    // weight [in, out], so the first row is the first feature's; bias; weight; bias
    let (first, rest) = file.weights.split_at_mut(4 * 6 + 6);
    first.fill(0.0);
    first[..6].fill(HUGE);
    first[4 * 6..].fill(-HUGE / 2.0);
    rest[..6 * 2].fill(HUGE);
    file
}

fn normalised(mut round: Round) -> Round {
    round.model_digest.clear();
    // with an adaptive clip it is a released, noised value
    round.clip = 0.0;
    round
}

/// Runs a recipe on a model with one device that finds `found`, and looks at everything.
async fn observe(
    recipe: &Recipe,
    model: impl Fn(ModelFile) -> ModelFile,
    found: Found,
    windows: usize,
) -> (Observed, TallySnapshot) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let file = model(certain(&operator).await);
    let imported = operator.import(file.to_bytes().unwrap()).await.unwrap();
    let mut version = toml::Table::new();
    version.insert("version".to_owned(), imported.digest.into());
    let recipe = recipe.clone().set("model", version);

    let others = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", OTHERS));
    let address = coordinator.endpoint();
    let (endpoint, bytes) = tap(address.trim_start_matches("http://").parse().unwrap()).await;
    let target = RealAgent::start(&endpoint, "us", "us-target", found);
    others.wait_connected(OTHERS).await;
    within("the target", target.connected()).await;

    let watched = operator
        .control
        .clone()
        .watch(WatchRequest::default())
        .await;
    let mut watched = watched.unwrap().into_inner();
    let run = operator.start(&recipe).await;
    let shown = operator.completed(&run).await;
    let mut events = BTreeSet::new();
    loop {
        let event = within("an event", watched.message())
            .await
            .unwrap()
            .unwrap();
        match event.event.unwrap() {
            Event::Round(change) => {
                let round = normalised(change.round.unwrap());
                events.insert(format!("{round:?}"));
            }
            Event::Run(change) if change.run_id == run => {
                events.insert(format!(
                    "{:?} {}",
                    change.state(),
                    change.contributions_total
                ));
                if change.state() != tributary_proto::v1::RunState::Running {
                    break;
                }
            }
            _ => {}
        }
    }
    let judged = match windows {
        0 => Vec::new(),
        windows => judged(&operator, &run, windows).await,
    };
    let metrics = coordinator.metrics().await;
    let metrics = metrics
        .lines()
        .filter(|line| line.starts_with("tributary_"))
        // counted a moment after the run is seen to be over
        .filter(|line| !line.starts_with("tributary_rounds_published_total"));
    let metrics = metrics.map(str::to_owned).collect();
    let tally = target.tally();
    target.stop().await;
    others.shutdown().await;
    let mut shown_run = of(&shown).clone();
    shown_run.model_digest.clear();
    shown_run.started_unix_ms = 0;
    shown_run.hints.clear(); // made of released, noised values
    let observed = Observed {
        run: shown_run,
        rounds: shown.rounds.into_iter().map(normalised).collect(),
        events,
        accounts: operator.privacy("").await.accounts,
        windows: judged,
        metrics,
        message_bytes: message_bytes(&bytes.lock().unwrap()),
        sent: tally.bytes_up,
        received: tally.bytes_down,
    };
    (observed, tally)
}

/// The windows of a run's monitor: region, number, devices, and charge in 1e-12 of zCDP.
async fn judged(operator: &Operator, run: &str, windows: usize) -> Vec<(String, u64, u64, u64)> {
    let begun = std::time::Instant::now();
    loop {
        let monitor = operator.monitor(run).await;
        let all = monitor.map_or_else(Vec::new, |monitor| monitor.windows);
        if all.len() == 2 * windows {
            let mut seen: Vec<_> = all
                .into_iter()
                .map(|one| (one.region, one.window, one.devices, (one.rho * 1e12) as u64))
                .collect();
            seen.sort();
            return seen;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited in vain for windows: {all:?}"
        );
        tokio::time::sleep(GLANCE).await;
    }
}

/// The words under which a device's own counters have a training and a vote that came to nothing.
type Nothing = (Option<&'static str>, Option<&'static str>);

/// What a device may find, and what comes to nothing then.
fn findings() -> Vec<(&'static str, Found, Nothing)> {
    let both = |because| (Some(because), Some(because));
    // a vote has a bin for what is not a number, and does not look at labels
    let training = |because| (Some(because), None);
    let usual = fleet::shard(7, false);
    let usual = Found::Examples(usual.inputs.to_vec(), usual.labels.to_vec());
    vec![
        ("usual", usual, (None, None)),
        (
            "nothing to change",
            Found::copies(8, [0.5; 4], 1),
            (None, None),
        ),
        (
            "not a number",
            Found::copies(8, [f32::NAN; 4], 0),
            training("model"),
        ),
        (
            // whether it does depends on the model, whose first weights and noise are drawn
            "diverging",
            Found::copies(8, [3e38, -3e38, 3e38, 3e38], 0),
            (None, None),
        ),
        (
            "no examples",
            Found::Examples(Vec::new(), Vec::new()),
            both("no_examples"),
        ),
        ("one example", Found::copies(1, [0.5; 4], 0), (None, None)),
        (
            "another width",
            Found::Examples(vec![1.0; 9], vec![0; 3]),
            both("model"),
        ),
        (
            "a class that is not there",
            Found::copies(8, [0.5; 4], 9),
            training("model"),
        ),
        ("unreadable", Found::Unreadable, both("no_data")),
        ("panics", Found::Panic, both("crashed")),
        (
            "hangs",
            Found::Hangs(Duration::from_millis(400)),
            both("late"),
        ),
    ]
}

/// All that a device may find looks the same from outside.
async fn nothing_shows(recipe: Recipe, windows: usize) {
    let mut first = None;
    for (name, found, (trained, voted)) in findings() {
        let (observed, tally) = observe(&recipe, |file| file, found, windows).await;
        // in its own counters alone; a panic that prints its trace may also come too late
        let nothing = |kind: &str, because: &str| {
            let events = BTreeSet::from([because, "late"].map(|word| format!("{kind}.{word}")));
            events.iter().map(|event| tally.count(event)).sum::<u64>()
        };
        if let Some(because) = trained {
            assert!(nothing("constant_form", because) > 0, "{name}: {tally:?}");
        }
        if let Some(because) = voted {
            let blank = nothing("blank", because);
            assert_eq!(blank, windows as u64, "{name}: {tally:?}");
        }
        match &first {
            None => {
                assert!(observed.rounds.iter().all(|round| round.counted == 4));
                assert!(observed.rounds.iter().all(|round| round.dropped == 0));
                assert!(
                    observed
                        .metrics
                        .iter()
                        .all(|line| !line.contains("rejects_total{"))
                );
                assert!(!observed.message_bytes.is_empty());
                assert!(observed.windows.iter().all(|window| window.3 > 0));
                first = Some(observed);
            }
            Some(first) => assert_eq!(&observed, first, "{name}"),
        }
    }
}

fn recipe() -> Recipe {
    Recipe::private()
        .rounds(2, 1 + OTHERS as i64)
        .set("privacy.clip", 0.5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_dp_nothing_shows_what_a_device_found() {
    nothing_shows(recipe(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_an_adaptive_clip_nothing_shows_what_a_device_found() {
    let mut clip = toml::Table::new();
    clip.insert("count_noise".to_owned(), 2.0.into());
    nothing_shows(recipe().set("privacy.adaptive_clip", clip), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_blt_nothing_shows_what_a_device_found() {
    let blt = recipe()
        .set("privacy.mechanism", "blt")
        .set("rounds.max_participations", 2);
    nothing_shows(blt, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_under_local_noise_nothing_shows_what_a_device_found() {
    let local = recipe()
        .set("privacy.mode", "local")
        .set("privacy.noise_multiplier", 4.0)
        .set("training.codec", "int8");
    nothing_shows(local, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_with_sparse_updates_nothing_shows_what_a_device_found() {
    nothing_shows(recipe().set("training.codec", "topk:0.2"), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_in_drift_windows_nothing_shows_what_a_device_found() {
    const WINDOWS: usize = 3;
    let watched = recipe()
        .set("drift.interval_ms", 1)
        .set("drift.windows", WINDOWS as i64)
        .set("drift.warm_up", 2)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 1)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.mean_windows_between_false_alarms", 100.0)
        .set("drift.quantities", crate::invariant_7::quantities());
    nothing_shows(watched, WINDOWS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_11_a_crafted_model_reads_no_pixel() {
    // a unit is alive only where the pixel is above .5, and then training leaves the finite numbers;
    // otherwise there is nothing to change: both used to show, exactly
    for recipe in [
        recipe(),
        recipe()
            .set("privacy.mode", "local")
            .set("privacy.noise_multiplier", 4.0),
    ] {
        let mut seen = Vec::new();
        for pixel in [0.1, 0.49, 0.51, 0.9] {
            let found = Found::copies(8, [pixel, 0.0, 0.0, 0.0], 1);
            let (observed, tally) = observe(&recipe, reader, found, 0).await;
            let failed = tally.count("constant_form.model") > 0;
            assert_eq!(failed, pixel > 0.5, "the model reads the pixel: {tally:?}");
            seen.push(observed);
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
        assert_eq!(seen[0].sent, 2 * 4 * PARAMETERS as u64);
    }
}
