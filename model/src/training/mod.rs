//! Local training and its measure.

mod correction;
mod measure;
mod mixture;
mod passes;
mod settings;

use rand_chacha::ChaCha20Rng;

pub use self::correction::{Correction, Proximal};
pub use self::measure::{accuracy, mean_loss};
pub use self::mixture::{Mixture, train_mixture};
pub use self::settings::{LocalTraining, MAX_EPOCHS, TrainReport};

use self::correction::Corrector;
use self::passes::passes;
use crate::{Batch, Engine, ModelError};

/// Trains `params` in place on `data`, in a new order each epoch drawn from `rng`.
///
/// The same engine type, parameters, data, settings and generator state give the same bits.
///
/// # Errors
/// On settings out of range, data that don't fit the graph, or a loss or parameter that is no
/// longer finite; `params` are then partly trained and should be thrown away.
pub fn train(
    engine: &mut dyn Engine,
    params: &mut [f32],
    data: Batch<'_>,
    settings: &LocalTraining,
    rng: &mut ChaCha20Rng,
) -> Result<TrainReport, ModelError> {
    train_corrected(engine, params, data, settings, &Correction::default(), rng)
}

/// Like [`train`], with every gradient corrected. Without a correction it is [`train`], to the bit.
///
/// # Errors
/// As [`train`], or if a slice of the correction has not one value per parameter.
pub fn train_corrected(
    engine: &mut dyn Engine,
    params: &mut [f32],
    data: Batch<'_>,
    settings: &LocalTraining,
    correction: &Correction<'_>,
    rng: &mut ChaCha20Rng,
) -> Result<TrainReport, ModelError> {
    settings.check()?;
    data.check(engine.graph())?;
    let features = engine.graph().features();
    let mut corrector = Corrector::new(*correction, params.len())?;
    let report = passes(data, features, settings, rng, |batch| {
        corrector.step(engine, params, batch, settings.learning_rate)
    })?;
    check_finite(params)?;
    Ok(report)
}

fn check_finite(params: &[f32]) -> Result<(), ModelError> {
    match params.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            what: "trained parameters",
            index,
        }),
        None => Ok(()),
    }
}
