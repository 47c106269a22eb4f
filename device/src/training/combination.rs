//! Options of a plan that exclude each other, refused by the field of the plan.
//!
//! Which ones do is decided in [`tributary_recipe::compatibility`], for recipes and devices alike: a device
//! takes no coordinator's word that a plan makes sense. Under local noise the coordinator is not trusted, so
//! nothing may leave that was not noised. That rules out, beside what is in the table there:
//!
//! | refused | because |
//! |---|---|
//! | `report_within_clip` | it would tell the length of the update |
//! | a seed, on a real device | the coordinator could work out the noise and subtract it |
//!
//! Under local noise, and in every run whose plan has an answer window, a device answers whatever its data
//! are: see the module `in_time`. Nothing of the answer's length or header may tell of the data then: no
//! compressed or varying codec, no weight, no cluster.

use tributary_aggregator::Codec;
use tributary_model::Personalisation;
use tributary_recipe::compatibility::{Conflict, LocalOptions};

use crate::training::error::TrainingError;

/// Refuses what has no meaning together, but for a cap on examples.
///
/// # Errors
/// The first field that does not go with another.
pub(crate) fn check_method(options: &LocalOptions<'_>) -> Result<(), TrainingError> {
    check(
        options,
        &[
            Conflict::StateAndPersonalisation,
            Conflict::StateAndMomentum,
            Conflict::ModelsAndMomentum,
            Conflict::ClustersAndSparse,
        ],
    )
}

/// Refuses a cap on examples where updates can't be weighed by them.
///
/// # Errors
/// Names the cap.
pub(crate) fn check_cap(options: &LocalOptions<'_>) -> Result<(), TrainingError> {
    check(options, &[Conflict::LossesAndCap, Conflict::StateAndCap])
}

/// Refuses what would leave the device without its noise.
///
/// # Errors
/// The first field that does not go with local noise.
pub(crate) fn check_local_noise(
    options: &LocalOptions<'_>,
    report_within_clip: bool,
) -> Result<(), TrainingError> {
    check(
        options,
        &[
            Conflict::SparseAndLocalNoise,
            Conflict::StateAndLocalNoise,
            Conflict::MomentumAndLocalNoise,
            Conflict::CapAndLocalNoise,
        ],
    )?;
    if report_within_clip {
        let problem = "does not go with local noise, for it tells the update's length";
        return Err(TrainingError::plan("report_within_clip", problem));
    }
    if options.has(Conflict::ClustersAndPrivacy) {
        let problem = "does not go with local noise, for ifca's cluster tells of the data";
        return Err(TrainingError::plan("personalisation", problem));
    }
    Ok(())
}

/// Refuses what would tell of the data by the length or the header of an answer.
///
/// # Errors
/// The first field that would.
pub(crate) fn check_form(codec: Codec, options: &LocalOptions<'_>) -> Result<(), TrainingError> {
    if codec.of_fixed_length() != Some(codec) {
        let problem = format!(
            "is {codec}, whose length tells of the update: use a codec without +zstd, and topk-fixed for topk"
        );
        return Err(TrainingError::plan("codec", problem));
    }
    check(
        options,
        &[Conflict::WeightAndPrivacy, Conflict::ClustersAndPrivacy],
    )
}

/// Refuses the first of `conflicts` that the options have.
fn check(options: &LocalOptions<'_>, conflicts: &[Conflict]) -> Result<(), TrainingError> {
    match conflicts.iter().find(|conflict| options.has(**conflict)) {
        Some(conflict) => Err(TrainingError::plan(
            field(*conflict),
            problem(*conflict, options),
        )),
        None => Ok(()),
    }
}

/// The field that is refused for a conflict.
const fn field(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::StateAndMomentum
        | Conflict::ModelsAndMomentum
        | Conflict::MomentumAndLocalNoise => "momentum",
        Conflict::ClustersAndSparse | Conflict::SparseAndLocalNoise => "codec",
        Conflict::LossesAndCap | Conflict::StateAndCap | Conflict::CapAndLocalNoise => {
            "examples_cap"
        }
        Conflict::StateAndPersonalisation | Conflict::ClustersAndPrivacy => "personalisation",
        Conflict::WeightAndPrivacy | Conflict::StateAndLocalNoise => "algorithm",
    }
}

/// What is wrong with that field.
fn problem(conflict: Conflict, options: &LocalOptions<'_>) -> String {
    let algorithm = options.algorithm.name();
    let no_local = "does not go with local noise";
    match conflict {
        Conflict::StateAndPersonalisation => {
            let personal = options.personalisation.map_or("", Personalisation::name);
            format!("{personal} does not go with the algorithm {algorithm}; use fedavg or fedprox")
        }
        Conflict::StateAndMomentum => {
            format!("does not go with the algorithm {algorithm}; use fedavg or fedprox")
        }
        Conflict::ModelsAndMomentum => {
            "does not go with ifca, whose devices change between models".to_owned()
        }
        Conflict::ClustersAndSparse => {
            "does not go with the personalisation ifca: what topk leaves out \
             of one model would be added to another"
                .to_owned()
        }
        Conflict::LossesAndCap => {
            "does not go with qfedavg, which weighs updates by their loss".to_owned()
        }
        Conflict::StateAndCap => {
            "does not go with scaffold or feddyn: the device's state would move by \
             the whole change and the server's by a share of it"
                .to_owned()
        }
        Conflict::WeightAndPrivacy => format!(
            "{algorithm} does not go with privacy: its weight would tell of the data; use fedavg or \
             fedprox"
        ),
        Conflict::ClustersAndPrivacy => {
            "does not go with privacy, for ifca's cluster tells of the data".to_owned()
        }
        Conflict::StateAndLocalNoise => format!(
            "{algorithm} {no_local}: its state or its weight would go beside the noise; use fedavg or \
             fedprox"
        ),
        Conflict::MomentumAndLocalNoise => {
            format!("{no_local}, which would cover one round's update in many")
        }
        Conflict::CapAndLocalNoise => {
            format!("{no_local}, for the weight tells the number of examples")
        }
        Conflict::SparseAndLocalNoise => {
            format!("{no_local}: topk would keep what was not noised and send it later; use int8")
        }
    }
}
