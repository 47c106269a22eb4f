//! The main promise, small: a region drifts, the monitor sees it, the region is retrained, and its
//! devices switch to builds that fit them.

use std::collections::BTreeMap;

use tributary_device::Hardware;
use tributary_device_sim::{DriftInjection, SimDevice};
use tributary_model::prune::prune_width;
use tributary_model::{ActivationRanges, ModelFile, quantise};
use tributary_proto::v1::{DriftWindow, Monitor};

use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet};

/// Devices in each region.
pub const DEVICES: usize = 51;
/// First window with shifted data in `us`.
pub const INJECTED: u64 = 6;
/// Windows of the monitor.
const WINDOWS: usize = 16;

pub fn recipe() -> Recipe {
    let retraining = Recipe::private()
        .rounds(6, 40)
        .set("privacy.noise_multiplier", 0.3);
    let playbook: toml::Table = toml::from_str(&retraining.text()).unwrap();
    let mut recipe = Recipe::private()
        .rounds(6, 80)
        .seeded(5)
        .set("rounds.population", 2 * DEVICES as i64)
        .set("training.epochs", 4)
        .set("drift.interval_ms", 1)
        .set("drift.windows", WINDOWS as i64)
        .set("drift.warm_up", 4)
        .set("drift.noise_votes", 0.5)
        .set("drift.minimum_devices", 20)
        .set("drift.mean_windows_between_false_alarms", 100.0)
        .set("drift.quantities", crate::invariant_7::quantities())
        .set("builds.widths", vec![1.0, 0.5])
        .set("builds.calibration_noise_votes", 0.5);
    for section in ["rounds", "privacy"] {
        recipe = recipe.set(&format!("playbook.{section}"), playbook[section].clone());
    }
    recipe
        .set("playbook.training", playbook["training"].clone())
        .set("playbook.training.epochs", 4)
}

/// Bytes of flash of the whole model's build and of the half one.
fn build_sizes(file: &ModelFile) -> (u64, u64) {
    let flash = |spec: &tributary_model::ModelSpec, weights: &[f32]| {
        let graph = spec.graph().unwrap();
        let ranges = vec![(-1.0, 1.0); graph.shapes().len()];
        let ranges = ActivationRanges::new(ranges).unwrap();
        quantise(&graph, weights, &ranges).unwrap().flash_bytes() as u64
    };
    let half = prune_width(&file.spec.graph().unwrap(), &file.weights, 0.5).unwrap();
    (flash(&file.spec, &file.weights), flash(&half.0, &half.1))
}

async fn monitored(operator: &Operator, run: &str) -> Monitor {
    let begun = std::time::Instant::now();
    loop {
        let monitor = operator.monitor(run).await;
        let last = |monitor: &Monitor, region: &str| {
            monitor
                .windows
                .iter()
                .filter(|window| window.region == region)
                .count()
                == WINDOWS
        };
        if let Some(monitor) = monitor
            && last(&monitor, "eu")
            && last(&monitor, "us")
        {
            return monitor;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited in vain for {WINDOWS} windows"
        );
        tokio::time::sleep(GLANCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drift_in_one_region_is_seen_and_mended_with_builds_that_fit_its_devices() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    // sizes of builds depend on the architecture only
    let probe = operator
        .start(&Recipe::new().set("regions", vec!["nowhere"]))
        .await;
    let probe = of(&operator.show(&probe).await).model_digest.clone();
    let (full, half) = build_sizes(&operator.file(&probe).await);
    assert!(half < full, "{half} of {full}");
    let hardware = |number: usize| match number % 3 {
        0 => Hardware::int8("large", "cortex-m7", 1 << 20, full),
        1 => Hardware::int8("small", "cortex-m0", 1 << 20, full - 1),
        _ => Hardware::int8("tiny", "cortex-m0", 1 << 20, half - 1),
    };
    let fitted = |(number, device): (usize, SimDevice)| SimDevice {
        hardware: hardware(number),
        ..device
    };
    let devices = ["eu", "us"].into_iter().flat_map(|region| {
        fleet::devices(region, DEVICES)
            .into_iter()
            .enumerate()
            .map(fitted)
    });
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.collect());
    fleet.inject(DriftInjection {
        region: "us".parse().unwrap(),
        from_window: INJECTED,
    });
    fleet.wait_connected(2 * DEVICES).await;
    let run = operator.start(&recipe()).await;
    let trained = of(&operator.completed(&run).await).model_digest.clone();
    let trained = operator.file(&trained).await;
    let accuracy = (
        fleet::held_out_accuracy(&trained, false),
        fleet::held_out_accuracy(&trained, true),
    );
    assert!(
        accuracy.0 > 0.9 && accuracy.1 < 0.5,
        "before and after the drift: {accuracy:?}"
    );

    // what the monitor said
    let monitor = monitored(&operator, &run).await;
    let is_marked = |window: &DriftWindow| window.marks == ["SEEDED"];
    assert!(
        monitor.windows.iter().all(is_marked),
        "as the run that they watch"
    );
    let of_region = |region: &str| -> Vec<&DriftWindow> {
        monitor
            .windows
            .iter()
            .filter(|window| window.region == region)
            .collect()
    };
    let verdicts = |region: &str| -> Vec<&str> {
        of_region(region)
            .iter()
            .map(|window| window.verdict.as_str())
            .collect()
    };
    assert_eq!(verdicts("us")[..3], ["warm-up"; 3], "{:?}", verdicts("us"));
    assert!(verdicts("us")[..5].contains(&"ok"), "{:?}", verdicts("us"));
    let calm = verdicts("eu")
        .iter()
        .all(|verdict| ["warm-up", "ok", "warning"].contains(verdict));
    assert!(calm, "a false alarm in eu: {:?}", verdicts("eu"));
    let alarm = of_region("us")
        .into_iter()
        .find(|window| !window.playbook.is_empty())
        .unwrap();
    assert!(
        (INJECTED..INJECTED + 5).contains(&alarm.window),
        "{:?}",
        verdicts("us")
    );
    assert_eq!(
        (alarm.verdict.as_str(), alarm.playbook.as_str()),
        ("drift", "retrain-region")
    );
    let loudest = |window: &DriftWindow| window.streams.iter().any(|s| s.statistic > s.threshold);
    assert!(loudest(alarm), "{alarm:?}");
    let validated = of_region("us")
        .into_iter()
        .any(|window| window.playbook == "validated");
    assert!(validated, "{:?}", verdicts("us"));
    let west = monitor
        .regions
        .iter()
        .find(|region| region.region == "us")
        .unwrap();
    assert!(
        ["cooldown", "ok"].contains(&west.verdict.as_str()),
        "{west:?}"
    );
    assert_eq!(west.reference_version, 2);

    // what the playbook did
    let retraining = operator.completed(&west.mitigation_run_id).await;
    assert!(!of(&retraining).drift_id.is_empty());
    assert_eq!(of(&retraining).regions.len(), 1);
    assert_eq!(of(&retraining).regions[0].region, "us");
    let mended = of(&retraining).model_digest.clone();
    let recovered = fleet::held_out_accuracy(&operator.file(&mended).await, true);
    assert!(recovered > 0.85, "recovered accuracy {recovered}");

    // what devices run now
    let mut builds = BTreeMap::new();
    for build in operator.try_model(&mended).await.unwrap().builds {
        assert_eq!(
            (build.region.as_str(), build.failed_on),
            ("us", 0),
            "{build:?}"
        );
        assert_eq!(build.installed_on, build.offered_to, "{build:?}");
        assert_eq!(build.marks, ["SEEDED"], "as the version that it is made of");
        builds.insert(build.profile.clone(), build);
    }
    let variants: Vec<(&str, &str, u64)> = builds
        .iter()
        .map(|(profile, build)| (profile.as_str(), build.variant.as_str(), build.bytes))
        .collect();
    assert_eq!(
        variants,
        [("large", "full", full), ("small", "width-0.5", half)]
    );
    let mut installed = BTreeMap::new();
    for active in fleet.installed() {
        assert_eq!(
            (active.region.as_str(), active.model_digest.as_str()),
            ("us", mended.as_str())
        );
        assert_eq!(
            builds[&active.hardware].digest,
            active.build.digest.to_string()
        );
        installed.insert(active.hardware, active.devices);
    }
    let third = DEVICES / 3;
    let expected = [("large".to_owned(), third), ("small".to_owned(), third)];
    assert_eq!(
        installed,
        expected.into(),
        "devices that nothing fits keep what they have"
    );

    // what it cost: training, windows, calibration and retraining are all in the ledger
    let privacy = operator.privacy("").await;
    let kinds: std::collections::BTreeSet<&str> = privacy
        .accounts
        .iter()
        .map(|account| account.kind.as_str())
        .collect();
    assert_eq!(kinds, ["calibration", "drift", "training"].into());
    assert_eq!(privacy.worst_region, "us");
}
