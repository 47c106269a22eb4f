//! How the updates of a run are checked and counted, and the limits of what it keeps for that.

use tributary_aggregator::{Codec, FixedPoint, RobustSpec, UnknownCodec, UpdateError};
use tributary_model::{ModelFile, Personalisation};

use super::Format;
use super::payload::Payload;
use super::plan::{RunCosts, costs};
use crate::CoordinatorError;
use crate::blob::MAX_BLOB_BYTES;
use crate::spec::RunSpec;

/// Memory that the updates of one robust round may take.
const MAX_RESERVOIR: u64 = 1 << 30;

/// How updates of a run are checked and counted, and what they cost.
///
/// # Errors
/// When the codec, the clip, the personal layers or the rule don't fit the model.
pub fn format(spec: &RunSpec, base: &ModelFile) -> Result<(Format, RunCosts), CoordinatorError> {
    let graph = base.spec.graph()?;
    if let Some(personalisation) = &spec.training.personalisation {
        personalisation.check(&graph)?;
    }
    let codec: Codec =
        spec.training
            .codec
            .parse()
            .map_err(|error: UnknownCodec| CoordinatorError::Invalid {
                field: "training.codec",
                problem: error.to_string(),
                remedy: "use one of the codecs named there",
            })?;
    let payload = Payload::new(&spec.training, &graph);
    let invalid = |error: UpdateError| CoordinatorError::Invalid {
        field: "privacy.clip",
        problem: error.to_string(),
        remedy: "use a clip above 0 and a model within the limits",
    };
    let fixed = FixedPoint::new(spec.privacy.clip, payload.len()).map_err(invalid)?;
    let robust = spec.aggregation.robust(spec.rounds.minimum());
    check_reservoir(spec, robust.as_ref(), payload.len())?;
    let costs = costs(&spec.privacy, &fixed)?;
    let format = Format {
        codec,
        fixed,
        payload,
        robust,
        staleness_cap: spec.rounds.staleness_cap(),
    };
    Ok((format, costs))
}

/// Refuses a robust round whose updates would not fit the memory that one release may take.
fn check_reservoir(
    spec: &RunSpec,
    robust: Option<&RobustSpec>,
    values: usize,
) -> Result<(), CoordinatorError> {
    let Some(robust) = robust else {
        return Ok(());
    };
    let most = spec.rounds.to_select() as usize;
    let bytes = robust.memory_bytes(most, values);
    if bytes <= MAX_RESERVOIR {
        return Ok(());
    }
    let fits = MAX_RESERVOIR / (bytes / most as u64).max(1);
    Err(CoordinatorError::Invalid {
        field: "aggregation.mode",
        problem: format!(
            "is robust, which needs {} MiB for {most} updates of {values} values, above the limit \
             of {} MiB; about {fits} updates fit",
            bytes >> 20,
            MAX_RESERVOIR >> 20
        ),
        remedy: "lower rounds.cohort or rounds.over_selection, or use mode mean",
    })
}

/// Refuses a run whose optimisers would not fit one blob: they are stored with every version.
///
/// # Errors
/// With the number of models and the size.
pub fn check_server_state(spec: &RunSpec, parameters: usize) -> Result<(), CoordinatorError> {
    let models = match &spec.training.personalisation {
        Some(Personalisation::RegionHeads { .. }) => spec.regions.len(),
        Some(Personalisation::Ifca { clusters }) => *clusters as usize,
        _ => 1,
    };
    let vectors = spec.server.optimiser.state_vectors();
    let bytes = 4 * models as u64 * vectors as u64 * parameters as u64;
    // the centre of a robust rule and headers beside it
    let most = MAX_BLOB_BYTES - 8 * parameters as u64 - 1024 * models as u64;
    if bytes <= most {
        return Ok(());
    }
    Err(CoordinatorError::Invalid {
        field: "server.optimiser",
        problem: format!(
            "keeps {vectors} vectors for each of {models} models of {parameters} parameters, {} MiB \
             in all, above the limit of {} MiB",
            bytes >> 20,
            most >> 20
        ),
        remedy: "use fedavg, fewer regions or clusters, or a smaller model",
    })
}
