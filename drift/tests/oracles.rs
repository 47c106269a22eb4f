//! Statistics against values computed by scipy and numpy (`tests/oracles/drift.json`).
//!
//! `TRIBUTARY_ORACLES` names another folder to read them from.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed unwrap fails the test

use std::path::PathBuf;

use serde_json::Value;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use tributary_drift::{Histogram, Quantity, js_distance, psi, single_window_threshold, wald};

fn oracles() -> Value {
    let folder = std::env::var_os("TRIBUTARY_ORACLES").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles")),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(folder.join("drift.json"))
        .expect("the oracle file is in the repository");
    serde_json::from_str(&text).expect("the oracle file is JSON")
}

fn histogram(counts: &Value, devices: Option<u64>, noise_variance: f64) -> Histogram {
    let counts: Vec<i64> = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_f64().unwrap() as i64)
        .collect();
    histogram_of(counts, devices, noise_variance)
}

/// A quantity always has a missing bin, so the oracle's last bin takes that place.
fn histogram_of(counts: Vec<i64>, devices: Option<u64>, noise_variance: f64) -> Histogram {
    let quantity = Quantity::prediction("oracle", counts.len() - 1).unwrap();
    let devices = devices.unwrap_or_else(|| counts.iter().sum::<i64>().unsigned_abs());
    Histogram::new(&quantity, counts, devices, noise_variance).unwrap()
}

fn assert_close(found: f64, expected: &Value, relative: f64, what: &str) {
    let expected = expected
        .as_f64()
        .unwrap_or_else(|| panic!("{what}: no oracle value"));
    let error = (found - expected).abs();
    assert!(
        error <= relative * expected.abs() + 1e-14,
        "{what}: {found}, oracle {expected}"
    );
}

#[test]
fn the_wald_statistic_matches_a_dense_inverse_of_its_covariance() {
    let oracles = oracles();
    let cases = oracles["dp_wald"]["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 2);
    for (index, case) in cases.iter().enumerate() {
        let side = |counts: &str, devices: &str, variance: &str| {
            histogram(
                &case[counts],
                case[devices].as_u64(),
                case[variance].as_f64().unwrap(),
            )
        };
        let (x, y) = (side("x", "n", "s2x"), side("y", "m", "s2y"));
        let found = wald(&x, &y).unwrap();
        assert_eq!(found.degrees as usize, x.counts().len());
        assert_close(
            found.statistic,
            &case["T"],
            1e-10,
            &format!("T of case {index}"),
        );
        assert_close(
            found.p_value,
            &case["p"],
            1e-8,
            &format!("p of case {index}"),
        );
    }
}

#[test]
fn without_noise_the_wald_statistic_is_the_homogeneity_chi_square() {
    let oracles = oracles();
    for case in oracles["histograms"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (current, reference) = (
            histogram(&case["cur"], None, 0.0),
            histogram(&case["ref"], None, 0.0),
        );
        let found = wald(&current, &reference).unwrap();
        assert_eq!(
            u64::from(found.degrees),
            case["df"].as_u64().unwrap(),
            "{name}"
        );
        assert_close(found.statistic, &case["chi2_homog"], 1e-10, name);
        assert_close(found.p_value, &case["chi2_homog_p"], 1e-8, name);
    }
}

#[test]
fn psi_and_jensen_shannon_match_on_shifted_identical_and_disjoint_histograms() {
    let oracles = oracles();
    let cases = oracles["histograms"].as_array().unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let (current, reference) = (
            histogram(&case["cur"], None, 0.0),
            histogram(&case["ref"], None, 0.0),
        );
        assert_close(
            psi(&current, &reference).unwrap(),
            &case["psi_half_count"],
            1e-10,
            name,
        );
        let distance = js_distance(&current, &reference).unwrap();
        assert_close(distance, &case["js_distance_nat"], 1e-10, name);
    }
}

#[test]
fn chi_square_tails_and_quantiles_match() {
    let oracles = oracles();
    for case in oracles["special"]["chi2_sf"].as_array().unwrap() {
        let law = ChiSquared::new(case[1].as_f64().unwrap()).unwrap();
        assert_close(
            law.sf(case[0].as_f64().unwrap()),
            &case[2],
            1e-8,
            "chi2 tail",
        );
    }
    for case in oracles["special"]["chi2_ppf"].as_array().unwrap() {
        let interval = (1.0 / (1.0 - case[0].as_f64().unwrap())).round() as u32;
        let degrees = case[1].as_u64().unwrap() as u32;
        assert_close(
            single_window_threshold(degrees, interval),
            &case[2],
            1e-8,
            "chi2 quantile",
        );
    }
}
