//! The checks of what is monitored and built.

use crate::error::{in_range, refuse_if};
use crate::{BuildSpec, DriftSpec, PrivacyMode, QuantityRecipe, SpecError};

const MAX_QUANTITIES: usize = 64;
const MAX_EDGES: usize = 256;

pub(crate) fn check_drift(drift: &DriftSpec, mode: PrivacyMode) -> Result<(), SpecError> {
    in_range(
        "drift.interval_ms",
        drift.interval_ms as f64,
        0.0,
        604_800_000.0,
    )?;
    in_range(
        "drift.deadline_ms",
        drift.deadline_ms as f64,
        100.0,
        604_800_000.0,
    )?;
    if let Some(windows) = drift.windows {
        in_range("drift.windows", windows as f64, 1.0, 1e9)?;
    }
    in_range("drift.warm_up", f64::from(drift.warm_up), 1.0, 1_000.0)?;
    in_range(
        "drift.minimum_devices",
        f64::from(drift.minimum_devices),
        1.0,
        1e9,
    )?;
    let length = drift.mean_windows_between_false_alarms;
    in_range("drift.mean_windows_between_false_alarms", length, 20.0, 1e5)?;
    in_range(
        "drift.max_invisible_psi",
        drift.max_invisible_psi,
        0.01,
        1e6,
    )?;
    in_range(
        "drift.noise_votes",
        drift.noise_votes,
        least_votes(mode),
        1e6,
    )?;
    let count = drift.quantities.len();
    refuse_if(
        count == 0 || count > MAX_QUANTITIES,
        "drift.quantities",
        format!("names {count}"),
        "name 1 to 64",
    )?;
    let mut sources = std::collections::BTreeSet::new();
    for quantity in &drift.quantities {
        refuse_if(
            !sources.insert(&quantity.source),
            "drift.quantities.source",
            format!("names {} twice", quantity.source),
            "name each quantity once",
        )?;
        check_source(&quantity.source)?;
        check_edges(quantity)?;
    }
    Ok(())
}

/// Bins that cover the line, in order.
fn check_edges(quantity: &QuantityRecipe) -> Result<(), SpecError> {
    let edges = &quantity.edges;
    let rising = edges.windows(2).all(|pair| pair[0] < pair[1]);
    let finite = edges.iter().all(|edge| edge.is_finite());
    let counted = edges.len() <= MAX_EDGES;
    let wanted = quantity.source == "prediction" || !edges.is_empty();
    refuse_if(
        !(rising && finite && counted && wanted),
        "drift.quantities.edges",
        format!(
            "of {} are missing, too many, not finite or not rising",
            quantity.source
        ),
        "list 1 to 256 rising numbers",
    )
}

/// A source that devices can measure.
fn check_source(source: &str) -> Result<(), SpecError> {
    const FIELD: &str = "drift.quantities.source";
    let remedy = match source {
        "loss" | "accuracy" | "error" => {
            "devices in the field have no labels: watch prediction, confidence or feature:N, where N \
             is the place of an input value, from 0"
        }
        _ => {
            "use prediction, confidence or feature:N, where N is the place of an input value, from 0"
        }
    };
    let is_plain = source == "prediction" || source == "confidence";
    refuse_if(
        !is_plain && feature(source).is_none(),
        FIELD,
        format!("is {source:?}"),
        remedy,
    )
}

/// The place of the input value that a source names.
fn feature(source: &str) -> Option<u32> {
    source.strip_prefix("feature:")?.parse().ok()
}

/// Refuses a feature that the model's input does not have.
///
/// # Errors
/// The source, with the places that there are.
pub fn check_features(drift: &DriftSpec, inputs: usize) -> Result<(), SpecError> {
    let sources = drift.quantities.iter().map(|quantity| &quantity.source);
    for source in sources {
        refuse_if(
            feature(source).is_some_and(|place| place as usize >= inputs),
            "drift.quantities.source",
            format!("is {source:?}, but the model's input has {inputs} values"),
            &format!("use feature:0 to feature:{}", inputs.saturating_sub(1)),
        )?;
    }
    Ok(())
}

/// Least noise on a bin, in votes: nothing exact leaves the coordinator while privacy is on.
fn least_votes(mode: PrivacyMode) -> f64 {
    if mode.has_noise() { 0.5 } else { 0.0 }
}

pub(crate) fn check_builds(builds: &BuildSpec, mode: PrivacyMode) -> Result<(), SpecError> {
    let votes = builds.calibration_noise_votes;
    in_range(
        "builds.calibration_noise_votes",
        votes,
        least_votes(mode),
        1e6,
    )?;
    in_range(
        "builds.deadline_ms",
        builds.deadline_ms as f64,
        100.0,
        604_800_000.0,
    )?;
    let widths = &builds.widths;
    let falling = widths.windows(2).all(|pair| pair[0] > pair[1]);
    let valid = widths.iter().all(|width| *width > 0.0 && *width <= 1.0);
    refuse_if(
        widths.is_empty() || widths.len() > 16 || !falling || !valid,
        "builds.widths",
        "is empty or not falling within (0, 1]",
        "list the shares of hidden units to try, widest first, for example [1.0, 0.5]",
    )
}
