//! How the updates of a run are checked and counted, and the limits of what it keeps for that.

use tributary_aggregator::{Codec, FixedPoint, RobustSpec, UnknownCodec};
use tributary_model::{ModelFile, Personalisation};
use tributary_privacy::ftrl::Strategy;
use tributary_privacy::{LocalNoise, VectorError};

use super::costs::RunCosts;
use super::payload::PayloadLayout;
use crate::CoordinatorError;
use tributary_recipe::{PrivacyMode, RunSpec};
use tributary_store::blob::MAX_BLOB_BYTES;

/// Memory that the updates of one robust round may take.
const MAX_RESERVOIR: u64 = 1 << 30;

/// How to check and count an update of this run.
#[derive(Debug, Clone)]
pub struct Format {
    /// The plan's codec.
    pub codec: Codec,
    /// The plan's clip, and the payload's length.
    pub fixed: FixedPoint,
    /// What the payload is made of.
    pub payload: PayloadLayout,
    /// The rule that makes one update of many; none for the mean.
    pub robust: Option<RobustSpec>,
    /// Rounds that an update may be late.
    pub staleness_cap: u32,
    /// True when there is noise: what is found inside an update is then told to nobody.
    pub is_private: bool,
}

/// How updates of a run are checked and counted, and what they cost; `known` is the strategy of its
/// correlated noise, where it has begun.
///
/// # Errors
/// When the codec, the clip, the personal layers or the rule don't fit the model.
pub fn format(
    spec: &RunSpec,
    base: &ModelFile,
    known: Option<&Strategy>,
) -> Result<(Format, RunCosts), CoordinatorError> {
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
    let is_private = spec.privacy.mode.has_noise();
    // a run from before compression was refused goes on as it is
    let codec = match is_private {
        true => codec.of_fixed_length().unwrap_or(codec),
        false => codec,
    };
    let mut payload = PayloadLayout::new(&spec.training, &graph);
    if is_private {
        payload.ignore_weights();
    }
    let fixed = grid(spec, spec.privacy.clip, payload.len())?;
    let robust = spec.aggregation.robust(spec.rounds.minimum());
    check_reservoir(spec, robust.as_ref(), payload.len())?;
    let costs = RunCosts::new(spec, &fixed, known).map_err(unplannable)?;
    let format = Format {
        codec,
        fixed,
        payload,
        robust,
        staleness_cap: spec.rounds.staleness_cap(),
        is_private,
    };
    Ok((format, costs))
}

/// What the recipe asks for and nobody can compute: the recipe's fault, not the coordinator's.
fn unplannable(error: CoordinatorError) -> CoordinatorError {
    match error {
        CoordinatorError::Accounting(_)
        | CoordinatorError::Ftrl(_)
        | CoordinatorError::AdaptiveClip(_)
        | CoordinatorError::LocalNoise(_) => CoordinatorError::Invalid {
            field: "privacy",
            problem: format!("can't be planned: {error}"),
            remedy: "mend the value named there",
        },
        other => other,
    }
}

/// The grid that updates are checked on in a round with this clip: under local noise they are longer.
fn grid(spec: &RunSpec, clip: f32, values: usize) -> Result<FixedPoint, CoordinatorError> {
    let invalid = |error: VectorError| CoordinatorError::Invalid {
        field: "privacy.clip",
        problem: error.to_string(),
        remedy: "use a clip above 0 and a model within the limits",
    };
    let norm = if spec.privacy.mode == PrivacyMode::Local {
        let noise = LocalNoise::new(clip, values, spec.privacy.noise_multiplier);
        let noise = noise.map_err(|error| unplannable(error.into()))?;
        noise.wire_clip()
    } else {
        clip
    };
    FixedPoint::new(norm, values).map_err(invalid)
}

impl Format {
    /// The same for rounds with another clip.
    ///
    /// # Errors
    /// When the clip is not usable.
    pub fn with_clip(&self, spec: &RunSpec, clip: f32) -> Result<Self, CoordinatorError> {
        Ok(Self {
            fixed: grid(spec, clip, self.payload.len())?,
            ..self.clone()
        })
    }
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
pub fn check_server_state(
    spec: &RunSpec,
    costs: &RunCosts,
    parameters: usize,
) -> Result<(), CoordinatorError> {
    let models = match &spec.training.personalisation {
        Some(Personalisation::RegionHeads { .. }) => spec.regions.len(),
        Some(Personalisation::Ifca { clusters }) => *clusters as usize,
        _ => 1,
    };
    let vectors = spec.server.optimiser.state_vectors();
    let noise = costs.strategy().map_or(0, |strategy| {
        strategy.state_bytes(spec.rounds.count, parameters) as u64
    });
    let bytes = noise + 4 * models as u64 * vectors as u64 * parameters as u64;
    // the centre of a robust rule and headers beside it
    let most = MAX_BLOB_BYTES - 8 * parameters as u64 - 1024 * models as u64;
    if bytes <= most {
        return Ok(());
    }
    Err(CoordinatorError::Invalid {
        field: "server.optimiser",
        problem: format!(
            "keeps {vectors} vectors for each of {models} models of {parameters} parameters, with \
             the state of correlated noise {} MiB in all, above the limit of {} MiB",
            bytes >> 20,
            most >> 20
        ),
        remedy: "use fedavg, fewer regions or clusters, blt instead of tree, or a smaller model",
    })
}
