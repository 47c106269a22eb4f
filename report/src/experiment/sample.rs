//! A realistic report for tests and for looking at.

use super::{
    AccuracySummary, Build, DriftPoint, DriftSummary, Event, EventKind, Fact, LedgerLine, Phase,
    PrivacySummary, Report, RoundPoint, RoundSeries, Summary, Verdict, WireBytes, WirePoint,
};

const REGIONS: [&str; 3] = ["north", "east", "west"];
const TRAINING: u64 = 60;
const ROUNDS: u64 = 78;

/// A number in -1..=1 that looks random and never changes.
fn jitter(seed: u64) -> f64 {
    let mixed = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d);
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Shaped like the watch demonstration: training, drift in `west`, retraining of `west`.
pub(crate) fn sample() -> Report {
    Report {
        title: "A fleet that notices when the watch changes arms".into(),
        subtitle:
            "4,000 simulated wearables in three regions learn seven shoulder exercises under \
                   device-level differential privacy. Then everyone in west moves the watch to the \
                   other arm."
                .into(),
        summary: summary(),
        seed: Some(7),
        seeds: Vec::new(),
        phases: vec![
            Phase {
                name: "training".into(),
                first_round: 1,
                last_round: TRAINING,
            },
            Phase {
                name: "retraining west".into(),
                first_round: TRAINING + 1,
                last_round: ROUNDS,
            },
        ],
        accuracy: accuracy(),
        epsilon: epsilon(),
        epsilon_conditions: Vec::new(),
        epsilon_cap: Some(8.0),
        drift: drift(),
        wire: wire(),
        events: vec![
            event(EventKind::DriftInjected, TRAINING, 9),
            event(EventKind::DriftDetected, TRAINING, 10),
            event(EventKind::Recovered, ROUNDS, 12),
        ],
        ledger: ledger(),
        facts: [
            ("Command", "tributary demo --seed 7"),
            ("Data", "watch, 3,209 training and 1,188 held-out windows"),
            ("Machine", "2 cores"),
        ]
        .map(|(name, value)| Fact {
            name: name.into(),
            value: value.into(),
        })
        .into(),
    }
}

fn event(kind: EventKind, round: u64, window: u64) -> Event {
    let region = "west".into();
    Event {
        kind,
        region,
        round: Some(round),
        window: Some(window),
        label: String::new(),
    }
}

fn summary() -> Summary {
    let build = |profile: &str, format: &str, bytes, slot, on, accuracy, decision: &str| Build {
        region: "west".into(),
        profile: profile.into(),
        format: format.into(),
        bytes,
        arena_bytes: bytes / 28,
        slot_bytes: Some(slot),
        ram_bytes: Some(2048),
        installed_on: on,
        accuracy: Some(accuracy),
        decision: decision.into(),
    };
    Summary {
        headline: String::new(),
        devices: 4000,
        regions: REGIONS.map(String::from).into(),
        rounds: ROUNDS,
        accuracy: AccuracySummary {
            initial: Some(0.138),
            trained: Some(0.884),
            drifted: Some(0.343),
            recovered: Some(0.791),
            recovered_int8: Some(0.789),
        },
        privacy: PrivacySummary {
            epsilon: 7.62,
            delta: 1e-5,
            rho: 1.021,
            adjacency: "zero-out-one-device".into(),
            mechanism: "discrete Gaussian, uniform mean".into(),
        },
        drift: Some(DriftSummary {
            region: "west".into(),
            injected_window: 9,
            detected_window: Some(10),
            false_alarms: 0,
        }),
        builds: vec![
            build(
                "watch-m4",
                "int8",
                7_412,
                16_384,
                803,
                0.789,
                "full 8-bit fits",
            ),
            build(
                "band-m0",
                "int8 half width",
                4_180,
                6_144,
                397,
                0.764,
                "full 8-bit does not fit: needs 7,412 B, slot has 6,144 B",
            ),
        ],
        marks: Vec::new(),
        model_digest: "9f2c5a1be0d47c3386f1a05b7e92d6c41f8830aa5be7d2196c04fe7713ab58d2".into(),
        report: "tributary-report/report.html".into(),
        wire_bytes: WireBytes {
            down: 412_000_000,
            up: 167_000_000,
        },
        wall_s: Some(112.4),
        peak_rss_bytes: Some(386_000_000),
    }
}

fn accuracy() -> Vec<RoundSeries> {
    let level = [0.90, 0.87, 0.88];
    let learned = |region: usize, round: u64| {
        let progress = 1.0 - (-(round as f64) / 11.0).exp();
        0.14 + (level[region] - 0.14) * progress + 0.014 * jitter(round * 3 + region as u64)
    };
    let series = |region: usize| {
        let mut points: Vec<RoundPoint> = (0..=TRAINING)
            .map(|round| RoundPoint::new(round, learned(region, round)))
            .collect();
        if region == 2 {
            let regained = |round: u64| {
                let progress = 1.0 - (-((round - TRAINING) as f64) / 5.0).exp();
                0.343 + 0.46 * progress + 0.012 * jitter(round)
            };
            points.extend((TRAINING..=ROUNDS).map(|round| RoundPoint::new(round, regained(round))));
        }
        RoundSeries {
            variant: String::new(),
            region: REGIONS[region].into(),
            points,
        }
    };
    (0..3).map(series).collect()
}

fn epsilon() -> Vec<RoundSeries> {
    let spent = |rho: f64| rho + 2.0 * (rho * 1e5f64.ln()).sqrt();
    let series = |region: &str, last: u64, end: f64| RoundSeries {
        variant: String::new(),
        region: region.into(),
        points: (0..=last)
            .map(|round| {
                let trained = 0.74 * round.min(TRAINING) as f64 / TRAINING as f64;
                let retrained = round.saturating_sub(TRAINING) as f64 / (ROUNDS - TRAINING) as f64;
                RoundPoint::new(round, spent(trained + end * retrained) * 0.95)
            })
            .collect(),
    };
    vec![
        series("west", ROUNDS, 0.28),
        series("others", TRAINING, 0.0),
    ]
}

fn drift() -> Vec<DriftPoint> {
    let mut points = Vec::new();
    for (index, region) in REGIONS.into_iter().enumerate() {
        for window in 1..=14u64 {
            for (quantity, threshold) in [("confidence", 31.4), ("class", 24.9)] {
                let chance = 14.0 + 7.0 * jitter(window * 31 + index as u64 * 7 + threshold as u64);
                let drifting = region == "west" && (9..12).contains(&window);
                let verdict = match window {
                    1..=4 => Verdict::WarmUp,
                    9 if drifting => Verdict::Warning,
                    10 if drifting => Verdict::Drift,
                    11 if drifting => Verdict::Mitigating,
                    12 if region == "west" => Verdict::Validating,
                    6 if region == "east" => Verdict::InsufficientData,
                    _ => Verdict::Ok,
                };
                let missing = verdict == Verdict::WarmUp || verdict == Verdict::InsufficientData;
                let statistic = if drifting { chance * 95.0 } else { chance };
                points.push(DriftPoint {
                    region: region.into(),
                    quantity: quantity.into(),
                    window,
                    statistic: if missing { f64::NAN } else { statistic },
                    threshold,
                    verdict,
                });
            }
        }
    }
    points
}

fn wire() -> Vec<WirePoint> {
    let point = |round: u64| {
        let devices = if round <= TRAINING { 270.0 } else { 90.0 };
        let bytes = |each: f64| (devices * each * (1.0 + 0.06 * jitter(round + 5))) as u64;
        WirePoint {
            variant: String::new(),
            round,
            down: bytes(20_700.0),
            up: bytes(10_400.0),
        }
    };
    (1..=ROUNDS).map(point).collect()
}

fn ledger() -> Vec<LedgerLine> {
    let line = |kind: &str, region: &str, charges, charges_per_device, rho| LedgerLine {
        kind: kind.into(),
        region: region.into(),
        charges,
        charges_per_device,
        rho,
        adjacency: "zero-out-one-device".into(),
        mechanism: "discrete Gaussian".into(),
    };
    vec![
        line("training round", "", 60, 4, 0.64),
        line("drift window", "west", 14, 14, 0.098),
        line("retraining round", "west", 18, 6, 0.27),
        line("range calibration", "west", 1, 1, 0.013),
    ]
}
