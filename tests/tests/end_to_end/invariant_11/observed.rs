//! Everything that anybody sees of a run in which one device finds what it finds.

use std::collections::BTreeSet;

use tributary_device::TallySnapshot;
use tributary_model::ModelFile;
use tributary_proto::v1::watch_response::Event;
use tributary_proto::v1::{PrivacyAccount, Round, Run, WatchRequest};

use crate::harness::agent::{Found, RealAgent};
use crate::harness::operator::of;
use crate::harness::tap::{message_bytes, tap};
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet, within};

/// The probability of class 1 is exactly 1 in `f32` with this much bias.
const CERTAIN: f32 = 300.0;

/// What a monitor asks of the devices after the training.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Windows in each region.
    pub windows: usize,
    /// Calibrations, each with a build for the devices that took part.
    pub calibrations: usize,
}

/// Everything that anybody sees of a run: whoever runs it, watches it, reads its metrics and its ledger, or
/// counts the bytes that a device sends.
#[derive(Debug, PartialEq)]
pub struct Observed {
    pub run: Run,
    pub rounds: Vec<Round>,
    pub events: BTreeSet<String>,
    pub accounts: Vec<PrivacyAccount>,
    pub windows: Vec<(String, u64, u64, u64)>,
    pub builds: Vec<SeenBuild>,
    pub metrics: Vec<String>,
    pub message_bytes: Vec<usize>,
    pub sent: u64,
    pub received: u64,
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

fn normalised(mut round: Round) -> Round {
    round.model_digest.clear();
    // with an adaptive clip it is a released, noised value
    round.clip = 0.0;
    round
}

/// Runs a recipe on a model with one device of region `us` that finds `found` beside so many others, and looks
/// at everything.
pub async fn observe(
    recipe: &Recipe,
    model: impl Fn(ModelFile) -> ModelFile,
    found: Found,
    (region, others): (&str, usize),
    asked: Asked,
) -> (Observed, TallySnapshot) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let file = model(certain(&operator).await);
    let imported = operator.import(file.to_bytes().unwrap()).await.unwrap();
    let mut version = toml::Table::new();
    version.insert("version".to_owned(), imported.digest.into());
    let recipe = recipe.clone().set("model", version);

    let count = others;
    let others = fleet::start(&coordinator.endpoint(), 2, fleet::devices(region, count));
    let address = coordinator.endpoint();
    let (endpoint, bytes) = tap(address.trim_start_matches("http://").parse().unwrap()).await;
    let target = RealAgent::start(&endpoint, "us", "us-target", found);
    others.wait_connected(count).await;
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
    let windows = match asked.windows {
        0 => Vec::new(),
        windows => judged(&operator, &run, windows).await,
    };
    let digest = &of(&shown).model_digest;
    let builds = installed(&operator, digest, asked.calibrations).await;
    let metrics = coordinator.metrics().await;
    let metrics = metrics
        .lines()
        .filter(|line| line.starts_with("tributary_"))
        // counted a moment after the run is seen to be over
        .filter(|line| !line.starts_with("tributary_rounds_published_total"))
        // how many answers of drawn moments met: differs between two runs on the same data
        .filter(|line| !line.contains("_bytes_most "));
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
        windows,
        builds,
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

/// A build: its region and profile, its variant and length, and how many devices were offered it, run it and
/// refused it. Its bytes hold released, noised values.
type SeenBuild = (String, String, String, u64, [u64; 3]);

/// The builds of a version once every device has said what became of them.
async fn installed(operator: &Operator, version: &str, builds: usize) -> Vec<SeenBuild> {
    let begun = std::time::Instant::now();
    loop {
        let all = operator.try_model(version).await.unwrap().builds;
        let is_done = |build: &tributary_proto::v1::Build| {
            build.installed_on + build.failed_on == build.offered_to
        };
        if all.len() == builds && all.iter().all(is_done) {
            let seen = all.into_iter().map(|build| {
                let devices = [build.offered_to, build.installed_on, build.failed_on];
                let (region, profile) = (build.region, build.profile);
                (region, profile, build.variant, build.bytes, devices)
            });
            return seen.collect();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited in vain for builds: {all:?}"
        );
        tokio::time::sleep(GLANCE).await;
    }
}
