//! A region from warm-up to drift, mitigation and back.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed unwrap fails the test

#[path = "../fleet/mod.rs"]
mod fleet;

mod mitigation;

use std::sync::Mutex;

use fleet::{Fleet, falling};
use tributary_drift::{
    Calibrator, Circumstances, DriftError, DriftId, Histogram, MonitorConfig, Movement, Playbook,
    Quantity, RegionMonitor, Role, Scope, Verdict, WindowReport, choose_playbook, drift_scope,
};

const DEVICES: u64 = 1200;

fn quantities() -> Vec<Quantity> {
    vec![
        Quantity::with_edges("level", vec![-2.0, -1.0, 0.0, 1.0, 2.0]).unwrap(),
        Quantity::new(
            "prediction",
            Role::Prediction,
            tributary_drift::Binning::Classes(8),
        )
        .unwrap(),
    ]
}

fn config() -> MonitorConfig {
    MonitorConfig {
        regions: 3,
        ..MonitorConfig::default()
    }
}

/// Shared, so that each key is simulated once for all tests.
static CALIBRATOR: Mutex<Calibrator> = Mutex::new(Calibrator::new());

/// A region whose devices are drawn anew each window.
struct Region {
    monitor: RegionMonitor,
    fleet: Fleet,
    sigma: f64,
    next: u64,
}

impl Region {
    fn new(config: MonitorConfig, sigma: f64, seed: u64) -> Self {
        Self {
            monitor: RegionMonitor::new("west", quantities(), config).unwrap(),
            fleet: Fleet::new(seed),
            sigma,
            next: 0,
        }
    }

    /// One window; `shift` moves that share of the devices from the first bin to the last known one.
    fn window(&mut self, devices: u64, shift: f64) -> WindowReport {
        let sigma = self.sigma;
        let histograms: Vec<Histogram> = quantities()
            .iter()
            .map(|quantity| {
                let mut shares = falling(quantity.bins(), 0.9);
                let moved = shares[0].min(shift);
                shares[0] -= moved;
                shares[quantity.missing_bin() - 1] += moved;
                self.fleet.private_window(quantity, &shares, devices, sigma)
            })
            .collect();
        self.next += 1;
        let mut calibrator = CALIBRATOR.lock().unwrap();
        self.monitor
            .observe(self.next, &histograms, &mut calibrator)
            .unwrap()
    }

    fn windows(&mut self, count: usize, shift: f64) -> Vec<Verdict> {
        (0..count)
            .map(|_| self.window(DEVICES, shift).verdict)
            .collect()
    }

    fn drifted(config: MonitorConfig) -> (Self, DriftId) {
        let mut region = Self::new(config, 20.0, 3);
        region.windows(4, 0.0);
        let drift = region
            .window(DEVICES, 0.2)
            .drift
            .expect("a shift of a fifth is seen at once");
        (region, drift)
    }
}

#[test]
fn a_large_shift_is_caught_in_its_first_two_windows_at_any_noise() {
    for (sigma, seed) in [(0.0, 1), (10.0, 2), (30.0, 3)] {
        let mut region = Region::new(config(), sigma, seed);
        let before = region.windows(8, 0.0);
        assert_eq!(before[..3], [Verdict::WarmUp; 3]);
        assert!(
            before[3..].iter().all(|verdict| *verdict == Verdict::Ok),
            "{sigma}: {before:?}"
        );
        let after = region.windows(2, 0.2);
        assert!(after.contains(&Verdict::Drift), "sigma {sigma}: {after:?}");
    }
}

#[test]
fn a_small_shift_that_noise_hides_from_one_window_is_caught_by_the_mean_of_several() {
    let (mut at_once, mut in_time) = (0, 0);
    for seed in 0..40 {
        let mut region = Region::new(
            MonitorConfig {
                warm_up_windows: 8,
                ..config()
            },
            20.0,
            seed,
        );
        region.windows(12, 0.0);
        let verdicts = region.windows(12, 0.035);
        at_once += u32::from(verdicts[0] == Verdict::Drift);
        in_time += u32::from(verdicts.contains(&Verdict::Drift));
    }
    assert!(at_once <= 10, "{at_once} of 40 in the first window");
    assert!(in_time >= 34, "{in_time} of 40 within 12 windows");
}

#[test]
fn false_drift_verdicts_are_as_rare_as_configured() {
    // 200 regions of 40 tested windows each at one false alarm in 1,000 windows of a fleet of one region
    // of two quantities: 8 alarms expected, more than 17 once in 500 seeds
    let config = MonitorConfig {
        regions: 1,
        ..MonitorConfig::default()
    };
    let mut alarms = 0;
    for seed in 0..200 {
        let mut region = Region::new(config.clone(), 15.0, 1000 + seed);
        alarms += u32::from((0..43).any(|_| region.window(400, 0.0).verdict == Verdict::Drift));
    }
    assert!((1..=17).contains(&alarms), "{alarms}");
}

#[test]
fn evidence_exposes_the_statistic_with_its_threshold_and_the_playbook_follows() {
    let mut region = Region::new(config(), 20.0, 5);
    region.windows(4, 0.0);
    let report = region.window(DEVICES, 0.2);
    assert!(report.opened);
    for observation in &report.observations {
        let test = observation.test.expect("the reference is complete");
        assert!(test.statistic() >= test.thresholds.drift);
        assert!(test.single.p_value < 1e-4 && test.effect.psi > 0.1);
        assert!(test.effect.js_distance > 0.05 && test.minimal_psi < 1.0);
        assert!((1000..1400).contains(&observation.devices));
    }
    assert_eq!(report.evidence.features, Movement::Up);
    let playbook = choose_playbook(&report.evidence, &Circumstances::default());
    assert_eq!(playbook, Playbook::RetrainRegion);
}

#[test]
fn a_drift_ends_only_after_calm_windows_in_a_row() {
    let config = MonitorConfig {
        exit_windows: 3,
        smoothing: 0.9,
        ..config()
    };
    let (mut region, drift) = Region::drifted(config);
    assert_eq!(region.windows(2, 0.0), [Verdict::Drift; 2]);
    assert_eq!(region.windows(1, 0.2), [Verdict::Drift]);
    let back = region.windows(5, 0.0);
    let ended = back
        .iter()
        .position(|verdict| *verdict == Verdict::Ok)
        .expect("it ends");
    assert!(ended >= 2, "{back:?}");
    assert!(
        back[..ended]
            .iter()
            .all(|verdict| *verdict == Verdict::Drift)
    );
    assert_eq!(region.monitor.drift(), None);
    let again = region.window(DEVICES, 0.2);
    assert!(again.opened && again.drift != Some(drift));
}

#[test]
fn too_few_devices_keep_the_state_and_freeze_the_timers() {
    let config = MonitorConfig {
        exit_windows: 2,
        smoothing: 0.9,
        ..config()
    };
    let (mut region, drift) = Region::drifted(config);
    let before = region.monitor.clone();
    let report = region.window(0, 0.0);
    assert_eq!(report.verdict, Verdict::InsufficientData);
    assert_eq!(report.drift, Some(drift));
    assert_eq!(region.monitor.state(), Verdict::Drift);
    assert_eq!(region.monitor.streams(), before.streams());
    // one calm window, a long silence, and still one more calm window is needed
    assert_eq!(region.windows(2, 0.0)[1], Verdict::Drift);
    for _ in 0..5 {
        assert_eq!(region.window(0, 0.0).verdict, Verdict::InsufficientData);
    }
    assert_eq!(region.monitor.state(), Verdict::Drift);
    let back = region.windows(4, 0.0);
    assert_eq!(back[3], Verdict::Ok, "{back:?}");
}

#[test]
fn noise_that_hides_every_shift_worth_acting_on_is_insufficient_data_not_ok() {
    let mut region = Region::new(
        MonitorConfig {
            min_devices: 1,
            ..config()
        },
        60.0,
        4,
    );
    assert_eq!(region.windows(3, 0.0), [Verdict::WarmUp; 3]);
    let report = region.window(300, 0.0);
    assert_eq!(report.verdict, Verdict::InsufficientData);
    let test = report.observations[0]
        .test
        .expect("the numbers are shown all the same");
    assert!(test.minimal_psi > 1.0);
}

#[test]
fn a_monitor_read_back_from_json_goes_on_to_the_same_bits() {
    let (mut region, _) = Region::drifted(config());
    let text = serde_json::to_string(&region.monitor).unwrap();
    let mut copy: RegionMonitor = serde_json::from_str(&text).unwrap();
    assert_eq!(copy, region.monitor);
    let quantity = &quantities()[0];
    let window = region
        .fleet
        .private_window(quantity, &falling(quantity.bins(), 0.9), 900, 20.0);
    let mut fresh = Calibrator::new();
    let next = region.next + 1;
    let report = copy
        .observe(next, std::slice::from_ref(&window), &mut fresh)
        .unwrap();
    let expected = region
        .monitor
        .observe(next, &[window], &mut Calibrator::new())
        .unwrap();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        serde_json::to_string(&expected).unwrap()
    );
    assert_eq!(copy, region.monitor);
}

#[test]
fn a_window_sent_twice_or_with_foreign_counts_is_refused_and_changes_nothing() {
    let (mut region, _) = Region::drifted(config());
    let before = region.monitor.clone();
    let quantity = &quantities()[0];
    let known = Histogram::new(quantity, vec![50; quantity.bins()], 50 * 7, 0.0).unwrap();
    let foreign = Histogram::empty(&Quantity::prediction("other", 4).unwrap());
    let mut calibrator = Calibrator::new();
    let mut send = |window, histograms: &[Histogram]| {
        region
            .monitor
            .observe(window, histograms, &mut calibrator)
            .unwrap_err()
    };
    let known = || known.clone();
    assert!(matches!(
        send(5, &[known()]),
        DriftError::WindowOutOfOrder { window: 5, last: 5 }
    ));
    assert!(matches!(
        send(6, &[known(), foreign]),
        DriftError::UnknownQuantity { .. }
    ));
    assert!(matches!(
        send(6, &[known(), known()]),
        DriftError::DuplicateQuantity { .. }
    ));
    assert_eq!(region.monitor, before);
}

#[test]
fn a_missing_quantity_is_insufficient_and_keeps_the_others_going() {
    let mut region = Region::new(config(), 0.0, 8);
    region.windows(4, 0.0);
    let quantity = &quantities()[0];
    let shares = falling(quantity.bins(), 0.9);
    let mut calibrator = Calibrator::new();
    let window = region.fleet.window(quantity, &shares, DEVICES, 0.0);
    let report = region
        .monitor
        .observe(9, &[window], &mut calibrator)
        .unwrap();
    assert_eq!(report.verdict, Verdict::Ok);
    let sufficient: Vec<bool> = report.observations.iter().map(|o| o.sufficient).collect();
    assert_eq!(sufficient, [true, false]);
    let silent = region.monitor.observe(10, &[], &mut calibrator).unwrap();
    assert_eq!(silent.verdict, Verdict::InsufficientData);
}

#[test]
fn regions_that_move_alike_are_one_drift_of_the_fleet() {
    let report = |shift: f64, name: &str| {
        let mut region = Region::new(config(), 10.0, 6);
        region.windows(4, 0.0);
        WindowReport {
            region: name.to_owned(),
            ..region.window(DEVICES, shift)
        }
    };
    let (east, west) = (report(0.2, "east"), report(0.2, "west"));
    let (north, south) = (report(0.0, "north"), report(0.0, "south"));
    assert_eq!(drift_scope(&[north.clone(), south.clone()]), Scope::None);
    let regional = drift_scope(&[east.clone(), north.clone(), south.clone()]);
    assert_eq!(regional, Scope::Regional(vec!["east".to_owned()]));
    assert_eq!(drift_scope(&[east, west, north, south]), Scope::Fleet);
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let refused = |config: MonitorConfig, name: &str| {
        let error = RegionMonitor::new("west", quantities(), config).unwrap_err();
        assert!(
            matches!(error, DriftError::BadConfig { field, .. } if field == name),
            "{error}"
        );
    };
    refused(
        MonitorConfig {
            regions: 0,
            ..config()
        },
        "regions",
    );
    refused(
        MonitorConfig {
            warm_up_windows: 0,
            ..config()
        },
        "warm_up_windows",
    );
    refused(
        MonitorConfig {
            max_invisible_psi: f64::NAN,
            ..config()
        },
        "max_invisible_psi",
    );
    refused(
        MonitorConfig {
            smoothing: 0.0,
            ..config()
        },
        "smoothing",
    );
    refused(
        MonitorConfig {
            warning_interval: 2000,
            ..config()
        },
        "warning_interval",
    );
    refused(
        MonitorConfig {
            exit_windows: 0,
            ..config()
        },
        "exit_windows",
    );
    refused(
        MonitorConfig {
            horizon: u32::MAX,
            ..config()
        },
        "horizon",
    );
    let twice = [quantities(), quantities()].concat();
    let error = RegionMonitor::new("west", twice, config()).unwrap_err();
    assert!(matches!(error, DriftError::DuplicateQuantity { .. }));
}
