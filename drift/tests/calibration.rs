//! Thresholds keep their promise. All seeds are fixed, so no test fails by chance; each bound says how
//! often it would fail with a fresh seed.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed unwrap fails the test

mod fleet;

use fleet::{Fleet, falling};
use tributary_drift::{Calibrator, Level, MonitorConfig, Quantity, StreamMonitor, wald};

/// Share of windows without drift whose p-value is at most 0.05, of 4,000.
fn false_positive_rate(bins: usize, devices: u64, sigma: f64, private: bool) -> f64 {
    const RUNS: usize = 4000;
    let mut fleet = Fleet::new(7 + devices + sigma as u64);
    let quantity = Quantity::prediction("class", bins - 1).unwrap();
    let shares = falling(bins, 0.75);
    let mut hits = 0;
    for _ in 0..RUNS {
        let mut draw = |devices| match private {
            true => fleet.private_window(&quantity, &shares, devices, sigma),
            false => fleet.window(&quantity, &shares, devices, sigma),
        };
        let (current, reference) = (draw(devices), draw(3 * devices));
        hits += usize::from(wald(&current, &reference).unwrap().p_value <= 0.05);
    }
    hits as f64 / RUNS as f64
}

#[test]
fn the_statistic_keeps_its_level_at_any_size_and_noise() {
    // standard error 0.0034: a fresh seed leaves [0.038, 0.062] once in 2,000
    for (bins, devices, sigma) in [
        (8, 300, 0.0),
        (8, 300, 10.0),
        (8, 1200, 0.0),
        (10, 1200, 10.0),
        (10, 1200, 30.0),
    ] {
        let rate = false_positive_rate(bins, devices, sigma, false);
        assert!(
            (0.038..=0.062).contains(&rate),
            "{bins} bins, {devices} devices, {sigma}: {rate}"
        );
    }
}

#[test]
fn a_private_device_count_costs_a_degree_of_freedom_and_not_the_level() {
    for (bins, devices, sigma) in [(8, 300, 10.0), (10, 1200, 30.0)] {
        let rate = false_positive_rate(bins, devices, sigma, true);
        assert!(
            (0.038..=0.062).contains(&rate),
            "{bins} bins, {devices} devices, {sigma}: {rate}"
        );
    }
}

/// Share of streams without drift that reach the drift level within the horizon.
fn false_alarm_share(devices: u64, sigma: f64, interval: u32, streams: u32) -> f64 {
    let config = MonitorConfig {
        horizon: 60,
        max_invisible_psi: 1e9,
        ..MonitorConfig::default()
    };
    let quantity = Quantity::prediction("class", 7).unwrap();
    let shares = falling(8, 0.8);
    let mut fleet = Fleet::new(2026);
    let mut calibrator = Calibrator::new();
    let mut alarms = 0;
    for _ in 0..streams {
        let mut stream = StreamMonitor::new(quantity.clone());
        let windows = config.warm_up_windows + config.horizon;
        alarms += u32::from((0..windows).any(|_| {
            let window = fleet.window(&quantity, &shares, devices, sigma);
            let seen = stream
                .observe(
                    &window,
                    window.devices(),
                    &config,
                    [interval; 3],
                    &mut calibrator,
                )
                .unwrap();
            seen.test.is_some_and(|test| test.level == Level::Drift)
        }));
    }
    f64::from(alarms) / f64::from(streams)
}

#[test]
fn windows_between_false_alarms_are_as_many_as_asked_for() {
    // the chance of an alarm in the first 60 windows gives the interval back; about 180 alarms, standard
    // error 7 %: a fresh seed leaves the bounds once in 500

    const STREAMS: u32 = 1000;
    for sigma in [0.0, 12.0] {
        let share = false_alarm_share(300, sigma, 300, STREAMS);
        let interval = -60.0 / (-share).ln_1p();
        assert!(
            (225.0..=375.0).contains(&interval),
            "sigma {sigma}: {interval} windows"
        );
    }
}

#[test]
fn thresholds_for_a_fleet_are_split_over_its_streams() {
    let config = MonitorConfig {
        regions: 3,
        ..MonitorConfig::default()
    };
    assert_eq!(
        config.stream_intervals(6),
        [50, 200, 1000].map(|interval| interval * 3 * 6)
    );
}

#[test]
fn the_far_tail_is_no_heavier_than_promised_even_with_rare_bins_and_no_noise() {
    // 20 expected; more than 34 once in 600 seeds
    const RUNS: usize = 20_000;
    let mut fleet = Fleet::new(7);
    let quantity = Quantity::prediction("class", 7).unwrap();
    let shares = falling(8, 0.5);
    let hits = (0..RUNS)
        .filter(|_| {
            let current = fleet.window(&quantity, &shares, 200, 0.0);
            let reference = fleet.window(&quantity, &shares, 600, 0.0);
            wald(&current, &reference).unwrap().p_value <= 0.001
        })
        .count();
    assert!(hits <= 34, "{hits}");
}
