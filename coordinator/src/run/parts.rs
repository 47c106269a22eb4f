//! What the actor of a run needs beside its state, new or from the blobs that the state names.

use std::sync::Arc;

use tributary_model::ModelFile;

use super::Format;
use super::collect::{RoundSums, without_owner};
use super::costs::RunCosts;
use super::format::format;
use super::server_state::{NoiseShape, ServerState, Shape};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::RunState;
use tributary_recipe::RunSpec;

/// What the actor of a run needs beside its state.
pub(super) struct Parts {
    pub format: Arc<Format>,
    pub costs: RunCosts,
    pub bases: Vec<ModelFile>,
    pub server: ServerState,
    pub collection: RoundSums,
}

impl Parts {
    /// Those of a run at its first round.
    ///
    /// # Errors
    /// When the optimiser's or the noise's state can't be made.
    pub(super) fn new(
        spec: &RunSpec,
        format: Format,
        costs: RunCosts,
        bases: Vec<ModelFile>,
    ) -> Result<Self, CoordinatorError> {
        let regions = spec.regions.len();
        let bases = of_each_model(&format, regions, bases);
        let server = ServerState::new(&shape(spec, &format, &costs, &bases))?;
        let format = Arc::new(format);
        Ok(Self {
            collection: RoundSums::new(format.clone(), regions),
            format,
            costs,
            bases,
            server,
        })
    }
}

/// One version for each model of the run: the same for every region before the first round.
fn of_each_model(format: &Format, regions: usize, mut bases: Vec<ModelFile>) -> Vec<ModelFile> {
    if format.payload.heads().is_some() && bases.len() == 1 {
        bases.resize(regions, bases[0].clone());
    }
    bases
}

/// What the server's state of a run is made of.
fn shape(spec: &RunSpec, format: &Format, costs: &RunCosts, bases: &[ModelFile]) -> Shape {
    let strategy = costs.strategy().cloned();
    Shape {
        optimiser: spec.server.optimiser,
        models: bases.len(),
        dimension: bases[0].weights.len(),
        noise: strategy.map(|strategy| NoiseShape {
            strategy,
            length: format.payload.len(),
            rounds: spec.rounds.count - spec.privacy.estimation_rounds(),
        }),
    }
}

/// Everything that the actor of a run needs beside its state, from the blobs that the state names.
///
/// # Errors
/// When one of them is missing or damaged.
pub(super) async fn assemble(core: &Core, state: &RunState) -> Result<Parts, CoordinatorError> {
    let bases = current_models(core, state).await?;
    let (mut format, costs) = format(&state.spec, &bases[0], state.strategy.as_ref())?;
    if let Some(clip) = state.clip {
        format = format.with_clip(&state.spec, clip)?;
    }
    let regions = state.spec.regions.len();
    let bases = of_each_model(&format, regions, bases);
    let shape = shape(&state.spec, &format, &costs, &bases);
    let server = match &state.server {
        Some(digest) => {
            let bytes = core.vault.get(digest).await?;
            ServerState::from_bytes(&shape, without_owner(&state.id, &bytes))?
        }
        None => ServerState::new(&shape)?,
    };
    if let Some(control) = &state.control {
        // devices fetch it, and the next release goes on from it
        core.blobs.check(control).await?;
    }
    let format = Arc::new(format);
    let segments = &state.round.segments;
    let collection = RoundSums::recover(core, &state.id, format.clone(), regions, segments).await?;
    Ok(Parts {
        format,
        costs,
        bases,
        server,
        collection,
    })
}

/// The newest version, or those of all regions or clusters.
async fn current_models(core: &Core, state: &RunState) -> Result<Vec<ModelFile>, CoordinatorError> {
    if state.variants.is_empty() {
        return Ok(vec![core.registry.file(&state.model).await?]);
    }
    let mut files = Vec::with_capacity(state.variants.len());
    for digest in &state.variants {
        files.push(core.registry.file(digest).await?);
    }
    Ok(files)
}
