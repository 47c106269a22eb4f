//! What a run reserves for its rounds, windows, playbook runs and calibrations is what they charge.

use tributary_device_sim::DriftInjection;
use tributary_proto::v1::{GetPrivacyResponse, PrivacyReservation};

use crate::harness::operator::of;
use crate::harness::{Coordinator, GLANCE, Operator, PATIENCE, Recipe, fleet};

/// Devices in each region: a calibration under two votes of noise needs 24.
const DEVICES: usize = 26;
/// First window with shifted data in `us`.
const INJECTED: u64 = 5;
const WINDOWS: i64 = 12;
const LAYERS: &str = r#"
layers = [
    { kind = "dense", units = 24 },
    { kind = "relu" },
    { kind = "dense", units = 2 },
    { kind = "softmax" },
]
"#;
/// Rounding of rho to a number of 64 bits.
const ROUNDING: f64 = 1e-9;

/// Under a cap, with noise that nobody knows, and a model that learns, so that a drift of its predictions is
/// one to retrain for. Everybody is in every round, so nobody is charged less than the worst case.
fn recipe() -> Recipe {
    let z = |recipe: Recipe| {
        let recipe = recipe.set("privacy.noise_multiplier", 0.5);
        // long enough that a busy machine has trained by then: a late answer is zeros, of which no model learns
        let recipe = recipe.set("privacy.answer_window_ms", vec![600, 700]);
        recipe.set("training.epochs", 8)
    };
    // enough units that some are alive whatever is drawn, and enough rounds that the model tells the classes apart
    let layers: toml::Table = toml::from_str(LAYERS).unwrap();
    let retraining = z(Recipe::private().rounds(2, DEVICES as i64));
    let playbook: toml::Table = toml::from_str(&retraining.text()).unwrap();
    let mut recipe = z(Recipe::private().rounds(10, 2 * DEVICES as i64))
        .set("model.layers", layers["layers"].clone())
        .set("privacy.epsilon", 100.0)
        .set("drift.interval_ms", 1)
        .set("drift.windows", WINDOWS)
        .set("drift.warm_up", 4)
        .set("drift.noise_votes", 1.0)
        .set("drift.minimum_devices", 20)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.mean_windows_between_false_alarms", 1e5)
        .set("drift.quantities", crate::invariant_7::quantities())
        .set("builds.widths", vec![1.0])
        .set("builds.calibration_noise_votes", 2.0);
    for section in ["rounds", "privacy", "training"] {
        recipe = recipe.set(&format!("playbook.{section}"), playbook[section].clone());
    }
    recipe
}

/// Waits until nothing is reserved any more.
async fn all_released(operator: &Operator) -> GetPrivacyResponse {
    let begun = std::time::Instant::now();
    loop {
        let privacy = operator.privacy("").await;
        if privacy.reservations.is_empty() {
            return privacy;
        }
        let held = &privacy.reservations;
        assert!(begun.elapsed() < PATIENCE, "still reserved: {held:?}");
        tokio::time::sleep(GLANCE).await;
    }
}

fn part(held: &PrivacyReservation, name: &str) -> f64 {
    let part = held.parts.iter().find(|part| part.name == name);
    part.unwrap_or_else(|| panic!("no {name} in {held:?}")).rho
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capped_run_with_a_playbook_and_builds_charges_what_it_reserved_and_gives_it_back() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = ["eu", "us"].map(|region| fleet::devices(region, DEVICES));
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.concat());
    fleet.inject(DriftInjection {
        region: "us".parse().unwrap(),
        from_window: INJECTED,
    });
    fleet.wait_connected(2 * DEVICES).await;
    let run = operator.start(&recipe()).await;
    let held = operator.privacy(&run).await.reservations.remove(0);
    let names: Vec<&str> = held.parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["training", "windows", "playbooks", "calibrations"]);
    // while it goes on nobody else gets what it will need
    let other = Recipe::private().set("privacy.noise_multiplier", 0.2);
    let refused = operator.refused(&other.rounds(2, 2).text()).await;
    assert!(refused.message().contains("reserved by"), "{refused:?}");
    assert!(of(&operator.completed(&run).await).marks.is_empty());

    let privacy = all_released(&operator).await;
    let monitor = operator.monitor(&run).await.unwrap();
    let west = monitor.regions.iter().find(|region| region.region == "us");
    let child = west.unwrap().mitigation_run_id.clone();
    assert!(!child.is_empty(), "the drift was not seen: {monitor:?}");
    let watched = format!("{run}-drift");
    let mut sum = 0.0;
    for (name, account, kind) in [
        ("training", &run, "training"),
        ("windows", &watched, "drift"),
        ("playbooks", &child, "training"),
        ("calibrations", &watched, "calibration"),
    ] {
        let charged = privacy.accounts.iter();
        let mut charged = charged.filter(|one| one.id == *account && one.kind == kind);
        let charged = charged.next().unwrap_or_else(|| panic!("no {name}"));
        let rho = charged.spend.as_ref().unwrap().rho;
        let reserved = part(&held, name);
        assert!(
            (rho - reserved).abs() < ROUNDING,
            "{name}: {rho} of {reserved}"
        );
        assert!(charged.budget_rho > 0.0, "it is under the cap");
        sum += reserved;
    }
    let worst = privacy.worst_device.unwrap();
    assert!((worst.rho - sum).abs() < ROUNDING, "{} of {sum}", worst.rho);
    assert!(!worst.not_private && privacy.worst_region == "us");
    // what was given back is there for another run, over a restart too
    fleet.shutdown().await;
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    assert!(operator.privacy("").await.reservations.is_empty());
    let left = privacy.caps.iter().map(|cap| cap.rho - sum);
    let left = left.fold(f64::INFINITY, f64::min);
    let z = (1.0 / (2.0 * left)).sqrt();
    let next = |z: f64| {
        let recipe = Recipe::private().set("privacy.noise_multiplier", z);
        recipe.rounds(1, 2)
    };
    operator.refused(&next(z * 0.99).text()).await;
    operator.start(&next(z * 1.01)).await;
}
