//! From recipes to bins, and from bins to the wire.

use tributary_drift::{Binning, Quantity, Role};
use tributary_proto::v1::QuantitySpec;

use crate::CoordinatorError;
use crate::spec::QuantityRecipe;

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
