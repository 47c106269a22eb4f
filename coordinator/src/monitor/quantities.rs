//! From recipes to bins and settings, and from bins to the wire.

use tributary_drift::{Binning, MonitorConfig, Quantity, Role};
use tributary_proto::v1::QuantitySpec;

use crate::CoordinatorError;
use tributary_recipe::{DriftSpec, QuantityRecipe};

/// The quantities of a recipe for a model of so many classes.
///
/// # Errors
/// When bins are not valid.
pub fn of_recipe(
    recipes: &[QuantityRecipe],
    classes: usize,
) -> Result<Vec<Quantity>, CoordinatorError> {
    recipes
        .iter()
        .map(|recipe| of_one(recipe, classes))
        .collect()
}

/// The quantities of a run's monitor. One that is there for builds alone asks none; it has the
/// predicted class, since a region's monitor watches something.
///
/// # Errors
/// When bins are not valid.
pub fn of_run(
    drift: Option<&DriftSpec>,
    classes: usize,
) -> Result<Vec<Quantity>, CoordinatorError> {
    match drift {
        Some(drift) => of_recipe(&drift.quantities, classes),
        None => Ok(vec![Quantity::prediction("prediction", classes)?]),
    }
}

fn of_one(recipe: &QuantityRecipe, classes: usize) -> Result<Quantity, CoordinatorError> {
    let (role, bins) = match recipe.source.as_str() {
        "prediction" => (Role::Prediction, Binning::Classes(classes)),
        "confidence" => (Role::Confidence, Binning::Edges(recipe.edges.clone())),
        _ => (Role::Feature, Binning::Edges(recipe.edges.clone())),
    };
    Ok(Quantity::new(recipe.source.clone(), role, bins)?)
}

/// What a device is asked. A quantity's name is its source.
pub fn wire(quantity: &Quantity) -> QuantitySpec {
    let edges = match quantity.binning() {
        Binning::Edges(edges) => edges.clone(),
        Binning::Classes(_) => Vec::new(),
    };
    QuantitySpec {
        quantity_id: quantity.id().as_str().to_owned(),
        source: quantity.name().to_owned(),
        edges,
        bins: quantity.bins() as u32,
    }
}

/// The settings of a region's statistics, in a monitor of so many regions.
pub fn settings(drift: Option<&DriftSpec>, regions: usize) -> MonitorConfig {
    let default = MonitorConfig {
        regions: regions as u32,
        ..MonitorConfig::default()
    };
    let Some(drift) = drift else {
        return default; // builds alone: no window is asked
    };
    let interval = drift.mean_windows_between_false_alarms as u32;
    MonitorConfig {
        warm_up_windows: drift.warm_up,
        min_devices: drift.minimum_devices.into(),
        max_invisible_psi: drift.max_invisible_psi,
        drift_interval: interval,
        warning_interval: default.warning_interval.min(interval),
        exit_interval: default.exit_interval.min(interval),
        ..default
    }
}
