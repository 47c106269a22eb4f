//! All parts of an audit, side by side.

use tributary_report::audit::{AdaptiveOutcome, AuditOutcome, NoiseOutcome};

use super::recipe::AuditRecipe;
use super::{AuditError, adaptive, canary, mechanism, noise, sensitivity};
use crate::runner::Progress;

/// Runs an audit. Needs a tokio runtime; every run gets a coordinator of its own on a loopback port.
///
/// # Errors
/// [`AuditError::Setting`] for a recipe that makes no sense; others when a run does not reach its end.
/// A verdict that fails is no error: the outcome says so.
pub async fn run_audit(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<AuditOutcome, AuditError> {
    recipe.check()?;
    // most of the time is waiting for rounds: the parts have coordinators of their own and go on
    // side by side
    let (laws, (sensitivity, mut field), canaries, adaptive) = tokio::try_join!(
        Box::pin(laws(recipe, progress)),
        Box::pin(sensitivity::audit(recipe, progress)),
        Box::pin(canary::audit(recipe, progress)),
        Box::pin(clips(recipe, progress)),
    )?;
    field.field_clip_ratio = adaptive.as_ref().and_then(worst_ratio);
    let parts = [sensitivity.passed, canaries.passed];
    let passed = laws.iter().all(|law| law.passed)
        && parts.iter().all(|passed| *passed)
        && adaptive.as_ref().is_none_or(|adaptive| adaptive.passed);
    Ok(AuditOutcome {
        title: recipe.title.clone(),
        description: recipe.description.clone(),
        noise: laws,
        sensitivity,
        canaries,
        adaptive,
        field,
        passed,
    })
}

/// The smallest ratio of a clip by the field's rule to the one before.
fn worst_ratio(adaptive: &AdaptiveOutcome) -> Option<f64> {
    let pairs = adaptive
        .runs
        .iter()
        .flat_map(|run| run.field_clips.windows(2));
    pairs.map(|pair| pair[1] / pair[0]).min_by(f64::total_cmp)
}

async fn laws(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<Vec<NoiseOutcome>, AuditError> {
    let mut laws = Vec::with_capacity(recipe.noise.mechanisms.len());
    for &mechanism in &recipe.noise.mechanisms {
        progress.stage(&format!("noise: {mechanism}"));
        let measured = mechanism::run(recipe, mechanism).await?;
        laws.push(noise::judge(&measured, recipe.false_alarm));
    }
    Ok(laws)
}

async fn clips(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<Option<AdaptiveOutcome>, AuditError> {
    match &recipe.adaptive {
        Some(settings) => adaptive::audit(recipe, settings, progress).await.map(Some),
        None => Ok(None),
    }
}
