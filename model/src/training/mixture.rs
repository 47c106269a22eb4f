//! Training of a shared and a personal model side by side.

use rand_chacha::ChaCha20Rng;

use super::check_finite;
use super::correction::{Correction, Corrector};
use super::passes::passes;
use super::settings::{LocalTraining, TrainReport};
use crate::engine::check_len;
use crate::{Batch, Engine, ModelError};

/// A personal model v beside a shared one w; the device uses alpha v + (1 - alpha) w.
#[derive(Debug)]
pub struct Mixture<'a> {
    /// The personal model v; one value per parameter.
    pub personal: &'a mut [f32],
    /// Its share alpha, 0 to 1.
    pub alpha: &'a mut f32,
    /// Whether alpha takes a gradient step at the round's first batch.
    pub adaptive: bool,
}

/// Adaptive personalised federated learning (Deng, Kamani, Mahdavi 2020, algorithm 1): on each batch
/// `shared` takes its usual step w -= rate x grad f(w), and v -= rate x alpha x grad f(m) at the
/// mixture m = alpha v + (1 - alpha) w of the values before the step. An adaptive alpha moves by
/// -rate x <v - w, grad f(m)> (equation 10), here once per call, at the first batch, and stays in
/// [0, 1]. `shared` ends with the bits that [`super::train_corrected`] gives.
///
/// # Errors
/// As [`super::train_corrected`]; all three values should then be thrown away.
pub fn train_mixture(
    engine: &mut dyn Engine,
    shared: &mut [f32],
    mixture: Mixture<'_>,
    data: Batch<'_>,
    settings: &LocalTraining,
    correction: &Correction<'_>,
    rng: &mut ChaCha20Rng,
) -> Result<TrainReport, ModelError> {
    settings.check()?;
    data.check(engine.graph())?;
    let Mixture {
        personal,
        alpha,
        adaptive,
    } = mixture;
    check_len("personal parameters", shared.len(), personal.len())?;
    check_alpha(*alpha)?;
    let features = engine.graph().features();
    let rate = settings.learning_rate;
    let mut corrector = Corrector::new(*correction, shared.len())?;
    let (mut mixed, mut gradient) = (vec![0.0; shared.len()], vec![0.0; shared.len()]);
    let mut adapts = adaptive;
    let report = passes(data, features, settings, rng, |batch| {
        let share = *alpha;
        mix(share, personal, shared, &mut mixed);
        engine.gradient(&mixed, batch, &mut gradient)?;
        if std::mem::take(&mut adapts) {
            *alpha = (share - rate * slope(personal, shared, &gradient)).clamp(0.0, 1.0);
        }
        for (value, gradient) in personal.iter_mut().zip(&gradient) {
            *value -= rate * share * gradient;
        }
        corrector.step(engine, shared, batch, rate)
    })?;
    check_finite(shared)?;
    check_finite(personal)?;
    check_alpha(*alpha)?;
    Ok(report)
}

fn check_alpha(alpha: f32) -> Result<(), ModelError> {
    if (0.0..=1.0).contains(&alpha) {
        return Ok(());
    }
    Err(ModelError::Training {
        field: "personalisation.alpha",
        rule: "must be 0 to 1",
        value: alpha.to_string(),
    })
}

/// `mixed = share x personal + (1 - share) x shared`.
fn mix(share: f32, personal: &[f32], shared: &[f32], mixed: &mut [f32]) {
    for (mixed, (personal, shared)) in mixed.iter_mut().zip(personal.iter().zip(shared)) {
        *mixed = share * personal + (1.0 - share) * shared;
    }
}

/// `<personal - shared, gradient>`, the derivative of the loss by alpha.
fn slope(personal: &[f32], shared: &[f32], gradient: &[f32]) -> f32 {
    let apart = personal.iter().zip(shared).map(|(v, w)| v - w);
    let products = apart
        .zip(gradient)
        .map(|(d, g)| f64::from(d) * f64::from(*g));
    products.sum::<f64>() as f32
}
