//! Tests of the writers as a whole.

use proptest::prelude::*;

use super::sample::sample;
use super::*;
use crate::json;
use crate::picture::{TerminalOptions, terminal};

/// Every address that a browser would fetch starts with one of these.
const FETCHES: [&str; 9] = [
    "http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<iframe",
];

fn refers_to_nothing(text: &str) {
    // the namespace is a name, not an address
    let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for fetch in FETCHES {
        assert!(!text.contains(fetch), "found {fetch}");
    }
}

/// A report in which every text tries to break out and every number is missing.
fn hostile() -> Report {
    let evil = || "<script>alert('x')</script>&\"]]>".to_owned();
    let mut report = sample();
    report.title = evil();
    report.subtitle = evil();
    report.summary.regions = vec![evil()];
    report.summary.privacy.adjacency = evil();
    report.summary.privacy.epsilon = f64::NAN;
    report.summary.privacy.delta = f64::NAN;
    report.summary.privacy.rho = f64::INFINITY;
    report.summary.accuracy.trained = Some(f64::NAN);
    report.summary.builds[0].decision = evil();
    report.summary.builds[0].accuracy = Some(f64::NAN);
    report.epsilon_cap = Some(f64::NAN);
    report.events[0].label = evil();
    report.phases[0].name = evil();
    report.ledger[0].kind = evil();
    report.facts[0].value = evil();
    for series in report.accuracy.iter_mut().chain(&mut report.epsilon) {
        series.region = evil();
        series
            .points
            .iter_mut()
            .for_each(|point| point.value = f64::NAN);
    }
    for point in &mut report.drift {
        (point.region, point.quantity) = (evil(), evil());
        (point.statistic, point.threshold) = (f64::NEG_INFINITY, f64::NAN);
    }
    report
}

/// The part of a drawing between its tags, where NaN would break a coordinate.
fn has_no_broken_number(text: &str) {
    for broken in ["NaN", "inf\"", "inf "] {
        assert!(!text.contains(broken), "found {broken}");
    }
}

#[test]
fn the_page_and_the_pictures_fetch_nothing() {
    for report in [sample(), Report::default()] {
        refers_to_nothing(&page(&report));
        refers_to_nothing(&key_plots(&report, Appearance::Adaptive));
    }
    refers_to_nothing(&terminal("text", &TerminalOptions::default()));
}

#[test]
fn every_text_is_escaped_and_missing_numbers_are_dashes() {
    let report = hostile();
    for text in [page(&report), key_plots(&report, Appearance::Dark)] {
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"));
        has_no_broken_number(&text);
    }
}

#[test]
fn the_page_shows_the_headline_numbers() {
    let text = page(&sample());
    for shown in [
        "4,000",
        "88.4",
        "34.3",
        "79.1",
        "78.9",
        "7.62",
        "10\u{207b}\u{2075}",
    ] {
        assert!(text.contains(shown), "{shown} is missing");
    }
    assert!(text.contains("zero out one device") && text.contains("discrete Gaussian"));
    assert!(text.contains("full 8-bit does not fit: needs 7,412 B, slot has 6,144 B"));
    assert!(text.contains("drift injected in west") && text.contains("recovered in west"));
}

#[test]
fn only_a_seeded_run_is_marked_not_private() {
    let mut report = sample();
    assert!(page(&report).contains("NOT PRIVATE"));
    assert!(key_plots(&report, Appearance::Light).contains("NOT PRIVATE"));
    report.seed = None;
    assert!(!page(&report).contains("NOT PRIVATE"));
    assert!(!key_plots(&report, Appearance::Light).contains("NOT PRIVATE"));
}

#[test]
fn a_page_of_several_seeds_names_them_all() {
    let report = Report {
        seed: Some(1),
        seeds: vec![1, 2, 3],
        ..sample()
    };
    assert!(page(&report).contains("<code>1, 2, 3</code>"));
}

#[test]
fn a_result_that_is_better_than_the_beginning_is_no_alarm() {
    let mut report = sample();
    report.summary.accuracy = AccuracySummary {
        initial: Some(0.12),
        trained: Some(0.97),
        ..AccuracySummary::default()
    };
    let shown = page(&report);
    let begins = shown.find("class=\"journey\"").unwrap();
    let ends = begins + shown[begins..].find("</svg>").unwrap();
    assert!(!shown[begins..ends].contains("dot bad"));
    assert!(page(&sample()).contains("dot bad"), "a drift is one");
}

#[test]
fn the_ledger_of_a_variant_without_noise_states_no_loss() {
    let mut report = sample();
    report.ledger[0].rho = f64::INFINITY;
    let shown = page(&report);
    assert!(shown.contains("no bound") && shown.contains("where there is noise"));
    report.summary.privacy.epsilon = f64::INFINITY;
    let shown = page(&report);
    assert!(shown.contains("Without noise no"), "no number in its place");
    assert!(!shown.contains("\u{3b5} = \u{2013}"));
}

#[test]
fn an_empty_report_and_empty_series_still_give_every_file() {
    let mut report = Report::default();
    assert!(page(&report).contains("Not measured"));
    report.accuracy = vec![RoundSeries::default()];
    report.epsilon = vec![RoundSeries::default()];
    has_no_broken_number(&page(&report));
    assert_eq!(csv_files(&report).unwrap().len(), 7);
}

#[test]
fn the_epsilon_plot_of_runs_without_privacy_says_so_and_draws_nothing() {
    const SENTENCE: &str = "No noise was added: nothing here is private";
    let mut report = sample();
    assert!(!page(&report).contains(SENTENCE));
    report.epsilon.iter_mut().for_each(|series| {
        let points = series.points.iter_mut();
        points.for_each(|point| point.value = f64::INFINITY);
    });
    for text in [page(&report), key_plots(&report, Appearance::Light)] {
        has_no_broken_number(&text);
        assert_eq!(text.matches(SENTENCE).count(), 1);
    }
    // neither the cap nor a line of a region is drawn over the sentence
    let plot = plots::epsilon(&report, 500.0)
        .nested(0.0, 0.0)
        .into_string();
    assert!(plot.contains(SENTENCE), "{plot}");
    assert!(!plot.contains("<path") && !plot.contains("<line"), "{plot}");
}

#[test]
fn series_of_one_point_are_drawn() {
    let mut report = sample();
    report
        .accuracy
        .iter_mut()
        .for_each(|series| series.points.truncate(1));
    report
        .epsilon
        .iter_mut()
        .for_each(|series| series.points.truncate(1));
    report.drift.truncate(1);
    report.wire.truncate(1);
    let text = page(&report);
    has_no_broken_number(&text);
    assert!(text.contains("id=\"accuracy-title\"") && text.contains("id=\"drift-title\""));
}

#[test]
fn a_missed_drift_says_so() {
    let mut report = sample();
    report.summary.drift.as_mut().unwrap().detected_window = None;
    assert!(page(&report).contains("never called"));
}

#[test]
fn forced_appearances_carry_one_set_of_colours() {
    let report = sample();
    let adaptive = key_plots(&report, Appearance::Adaptive);
    assert!(adaptive.contains("prefers-color-scheme"));
    let (light, dark) = (
        key_plots(&report, Appearance::Light),
        key_plots(&report, Appearance::Dark),
    );
    assert!(!light.contains("prefers-color-scheme") && !dark.contains("prefers-color-scheme"));
    assert_eq!(light.matches("--paper:#").count(), 1);
    assert_eq!(dark.matches("--paper:#").count(), 2);
    assert_eq!(light.matches('{').count(), light.matches('}').count());
    assert_eq!(dark.matches('{').count(), dark.matches('}').count());
}

#[test]
fn json_reads_back_and_missing_numbers_come_back_as_nan() {
    let report = sample();
    let text = json(&report).unwrap();
    assert!(text.contains("\"statistic\": null"));
    let back: Report = serde_json::from_str(&text).unwrap();
    assert!(back.drift[0].statistic.is_nan());
    assert_eq!(back.summary, report.summary);
    assert_eq!(json(&back).unwrap(), text);
}

#[test]
fn csv_keeps_full_precision_and_quotes_what_needs_it() {
    let mut report = sample();
    report.accuracy[0].region = "a,\"b\"".into();
    report.accuracy[0].points[0] = RoundPoint::new(3, 0.1 + 0.2);
    let files = csv_files(&report).unwrap();
    let accuracy = &files
        .iter()
        .find(|file| file.name == "accuracy.csv")
        .unwrap()
        .text;
    assert_eq!(
        accuracy.lines().nth(1),
        Some(",\"a,\"\"b\"\"\",3,0.30000000000000004")
    );
    let drift = &files
        .iter()
        .find(|file| file.name == "drift.csv")
        .unwrap()
        .text;
    assert_eq!(
        drift.lines().nth(1),
        Some("north,confidence,1,,31.4,warm-up")
    );
}

#[test]
fn long_runs_keep_the_page_small() {
    let mut report = sample();
    report.wire = (1..=20_000)
        .map(|round| WirePoint {
            variant: String::new(),
            round,
            down: round,
            up: 2 * round,
        })
        .collect();
    let text = page(&report);
    assert!(text.len() < 400_000, "{} bytes", text.len());
    assert!(text.contains("of 20,000 rows"));
}

proptest! {
    #[test]
    fn any_numbers_give_a_page_without_broken_coordinates(
        rounds in prop::collection::vec((any::<u64>(), any::<f64>()), 0..12),
        windows in prop::collection::vec((any::<u64>(), any::<f64>(), any::<f64>()), 0..12),
        bytes in prop::collection::vec(any::<(u64, u64, u64)>(), 0..12),
        cap in any::<f64>(), rho in any::<f64>(), seconds in any::<f64>(),
    ) {
        let points: Vec<RoundPoint> =
            rounds.into_iter().map(|(round, value)| RoundPoint::new(round, value)).collect();
        let mut report = sample();
        report.accuracy = vec![RoundSeries { variant: String::new(), region: "west".into(), points: points.clone() }];
        report.epsilon = vec![RoundSeries { variant: String::new(), region: "all".into(), points }];
        report.epsilon_cap = Some(cap);
        report.drift = windows.into_iter().map(|(window, statistic, threshold)| DriftPoint {
            region: "west".into(), window, statistic, threshold, ..DriftPoint::default()
        }).collect();
        report.wire =
            bytes.into_iter().map(|(round, down, up)| WirePoint { variant: String::new(), round, down, up }).collect();
        report.ledger[0].rho = rho;
        report.summary.wall_s = Some(seconds);
        report.phases[0].last_round = u64::MAX;
        has_no_broken_number(&page(&report));
        has_no_broken_number(&key_plots(&report, Appearance::Light));
    }
}
