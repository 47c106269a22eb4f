//! The audit as a whole, small; and every verdict with wrong numbers.

use super::*;
use crate::runner::Silent;

/// 508 parameters and few rounds.
fn small() -> AuditRecipe {
    let mut recipe = AuditRecipe::from_toml(PRIVACY_AUDIT).unwrap();
    recipe.model = ModelRecipe {
        features: 16,
        hidden: 24,
        classes: 4,
    };
    (recipe.noise.devices, recipe.noise.rounds) = (3, 4);
    (recipe.sensitivity.devices, recipe.sensitivity.rounds) = (3, 1);
    recipe
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_passes_its_audit() {
    let outcome = run_audit(&small(), &Silent).await.unwrap();
    assert!(outcome.passed, "{outcome:#?}");
}
