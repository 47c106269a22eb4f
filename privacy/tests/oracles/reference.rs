//! Reading the reference file.

use std::path::PathBuf;

use serde_json::Value;

/// The reference file; the folder can be replaced by `TRIBUTARY_ORACLES`.
pub fn file() -> Value {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles");
    let folder = std::env::var_os("TRIBUTARY_ORACLES").unwrap_or_else(|| default.into());
    let path = PathBuf::from(folder).join("dp.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    // the reference tool writes bare infinities and NaN, which JSON does not know
    let text = text
        .replace(": Infinity", ": null")
        .replace(": NaN", ": null");
    serde_json::from_str(&text).unwrap()
}

/// One block of the reference file that is a list.
pub fn cases(block: &str) -> Vec<Value> {
    let file = file();
    let cases = file[block]
        .as_array()
        .unwrap_or_else(|| panic!("block {block} is missing"));
    assert!(!cases.is_empty(), "block {block} is empty");
    cases.clone()
}

pub fn number(case: &Value, field: &str) -> f64 {
    case[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field} is missing in {case}"))
}

pub fn assert_close(actual: f64, expected: f64, tolerance: f64, case: &Value) {
    let difference = (actual - expected).abs();
    assert!(
        difference <= tolerance * expected.abs(),
        "{actual} instead of {expected} in {case}"
    );
}

/// Everything in the reference file, and where it is read.
const READ: [(&str, &str); 18] = [
    ("_about", "a note to readers"),
    ("rdp_orders", "rdp"),
    ("rdp_single_step_poisson", "rdp"),
    ("poisson_gaussian_add_remove", "rdp, pld"),
    ("calibration_poisson", "pld"),
    ("without_replacement_replace_one", "sampling"),
    ("tree_single_participation", "sampling, zcdp"),
    ("ddg", "ddg"),
    ("zcdp_to_eps", "zcdp"),
    ("zcdp_compositions", "zcdp"),
    ("analytic_gaussian_delta", "zcdp"),
    ("analytic_gaussian_sigma", "zcdp"),
    ("discrete_gaussian_pmf", "zcdp"),
    ("matrix_factorisation", "ftrl"),
    ("blt_stream", "ftrl"),
    ("blt_optimised", "ftrl"),
    ("adaptive_clip_noise_split", "adaptive_clip"),
    ("adaptive_clip_noiseless_trajectory", "adaptive_clip"),
];

#[test]
fn every_block_of_the_reference_file_is_read_by_some_test() {
    let file = file();
    for block in file.as_object().unwrap().keys() {
        let known = READ.iter().any(|(name, _)| name == block);
        assert!(known, "no test reads block {block}");
    }
    for (name, test) in READ {
        assert!(!file[name].is_null(), "block {name} of {test} is missing");
    }
}
