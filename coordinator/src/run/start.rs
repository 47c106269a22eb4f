//! New runs, and old ones after a restart.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tributary_aggregator::{Codec, FixedPoint, OptimiserState};
use tributary_model::{Digest, ModelFile, initialise};
use tributary_proto::RunId;

use super::actor::Actor;
use super::collect::{Collection, without_owner};
use super::journal::{Journal, run_ids};
use super::plan::{RunCosts, check_budget, costs};
use super::view::RunView;
use super::{Format, RunHandle};
use crate::CoordinatorError;
use crate::core::{Core, random_bytes, seeded_bytes};
use crate::engine::RunState;
use crate::registry::ModelRecord;
use crate::spec::{ModelSource, RunSpec};
use crate::store::{Batch, Expect, StoreError, Table};

/// Commands that may wait for a run.
const COMMANDS: usize = 1_024;

/// Where a run comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Chosen by the caller: the same key never starts two runs. Empty for none.
    pub idempotency_key: String,
    /// The drift that a playbook answers.
    pub drift_id: Option<String>,
}

/// Starts a run: checks its plan and budget, registers its first model, makes it durable.
///
/// # Errors
/// When the plan can't last, the model is not known, or a store refuses.
pub async fn start_run(
    core: &Arc<Core>,
    spec: RunSpec,
    origin: Origin,
) -> Result<RunHandle, CoordinatorError> {
    spec.check()?;
    let _turn = core.starting.lock().await;
    if let Some(known) = known_run(core, &origin)? {
        return core.run(&known);
    }
    let mut batch = Batch::new();
    let id = next_id(core, &spec)?;
    let key = match spec.seed {
        Some(seed) => seeded_bytes(seed, &[b"run", id.as_str().as_bytes()]),
        None => random_bytes()?,
    };
    let (model, base) = first_model(core, &spec, &id, key, &mut batch).await?;
    let (format, costs) = format(&spec, base.weights.len())?;
    check_budget(&spec, &costs, core.ledger.worst_of(&spec.regions))?;
    let mut state = RunState::new(id, spec, key, model, core.clock.now_ms());
    state.drift_id = origin.drift_id;
    if !origin.idempotency_key.is_empty() {
        let key = start_key(&origin.idempotency_key);
        batch.put_json(Table::Meta, key, &state.id, Expect::Absent)?;
    }
    let journal = Journal::create(core, &state, batch).await?;
    let optimiser = OptimiserState::new(state.spec.server.optimiser, base.weights.len())?;
    spawn(core, state, journal, base, optimiser, format, costs).await
}

/// Goes on with every run that is on disk.
///
/// # Errors
/// When a run's records are damaged.
pub async fn recover_runs(core: &Arc<Core>) -> Result<(), CoordinatorError> {
    let mut recovered = Vec::new();
    let mut named = HashSet::new();
    for id in run_ids(core)? {
        let (journal, state) = Journal::recover(core, &id).await?;
        named.extend(journal.snapshot_digest());
        named.extend(state.server);
        if state.is_running() {
            named.extend(state.round.segments.iter().map(|segment| segment.digest));
        }
        recovered.push((id, journal, state));
    }
    // a crash between a blob and its record, or between a record and a deletion, left these
    let removed = core.vault.keep_only(&named).await?;
    tracing::debug!(removed, "swept the vault");
    for (id, journal, state) in recovered {
        let base = core.registry.file(&state.model).await?;
        let (format, costs) = format(&state.spec, base.weights.len())?;
        let optimiser = match &state.server {
            Some(digest) => {
                let bytes = core.vault.get(digest).await?;
                let bytes = without_owner(&id, &bytes);
                let optimiser = state.spec.server.optimiser;
                OptimiserState::from_bytes(optimiser, base.weights.len(), bytes)?
            }
            None => OptimiserState::new(state.spec.server.optimiser, base.weights.len())?,
        };
        if state.is_running() {
            let held = state.round.leases.keys().cloned().collect();
            core.fleet.reserve(held);
            tracing::info!(run = %id, round = state.round.number, "run goes on");
        }
        spawn(core, state, journal, base, optimiser, format, costs).await?;
    }
    Ok(())
}

async fn spawn(
    core: &Arc<Core>,
    state: RunState,
    journal: Journal,
    base: ModelFile,
    optimiser: OptimiserState,
    format: Format,
    costs: RunCosts,
) -> Result<RunHandle, CoordinatorError> {
    let dimension = base.weights.len();
    let regions = state.spec.regions.len();
    let segments = if state.is_running() {
        state.round.segments.as_slice()
    } else {
        &[]
    };
    let collection = Collection::recover(core, &state.id, regions, dimension, segments).await?;
    let (sender, commands) = mpsc::channel(COMMANDS);
    let mut view = RunView::default();
    view.update(&state, "");
    let (view, follow) = watch::channel(view);
    let handle = RunHandle {
        id: state.id.clone(),
        format: format.clone(),
        commands: sender,
        view: follow,
    };
    core.add_run(state.id.clone(), handle.clone());
    let actor = Actor {
        core: core.clone(),
        state,
        journal,
        costs,
        format,
        collection,
        base,
        optimiser,
        released: None,
        commands,
        view,
        abandoned: Vec::new(),
        open_since: None,
        seal_every: Duration::ZERO,
        next_selection: Instant::now(),
        waiting_since_ms: core.clock.now_ms(),
        reason: String::new(),
    };
    let monitored = actor.state.clone();
    let core = core.clone();
    let mut follow = handle.follow();
    tokio::spawn(actor.run());
    tokio::spawn(async move {
        // a run that is over keeps its last view; a stopping coordinator drops the sender
        if follow.wait_for(RunView::is_over).await.is_ok() {
            let model = follow.borrow().run.model_digest.clone();
            if let Err(error) = crate::monitor::start(&core, &monitored, &model).await {
                tracing::error!(run = %monitored.id, %error, "the monitor can't start");
            }
        }
    });
    Ok(handle)
}

fn format(spec: &RunSpec, parameters: usize) -> Result<(Format, RunCosts), CoordinatorError> {
    let codec: Codec = spec
        .training
        .codec
        .parse()
        .map_err(|_| CoordinatorError::Invalid {
            field: "training.codec",
            problem: format!("is {:?}", spec.training.codec),
            remedy: "use f32 or f16",
        })?;
    let fixed = FixedPoint::new(spec.privacy.clip, parameters).map_err(|error| {
        CoordinatorError::Invalid {
            field: "privacy.clip",
            problem: error.to_string(),
            remedy: "use a clip above 0 and a model within the limits",
        }
    })?;
    let costs = costs(&spec.privacy, &fixed)?;
    Ok((Format { codec, fixed }, costs))
}

async fn first_model(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    key: [u8; 32],
    batch: &mut Batch,
) -> Result<(Digest, ModelFile), CoordinatorError> {
    match &spec.model {
        ModelSource::Version(source) => {
            let record = core.registry.find(&source.version)?;
            Ok((record.digest, core.registry.file(&record.digest).await?))
        }
        ModelSource::Architecture(architecture) => {
            let graph = architecture.graph()?;
            let purpose: &[&[u8]] = &[b"initialise", &key];
            let seed = seeded_bytes(0, purpose);
            let file = ModelFile {
                spec: architecture.clone(),
                weights: initialise(&graph, seed),
            };
            let describe = |digest, parameters| ModelRecord {
                digest,
                name: architecture.name.clone(),
                parent: None,
                run_id: id.to_string(),
                round: 0,
                parameters,
                created_ms: core.clock.now_ms(),
                regions: spec.regions.iter().map(ToString::to_string).collect(),
            };
            let digest = core.registry.add_model(&file, describe, batch).await?;
            Ok((digest, file))
        }
    }
}

fn start_key(idempotency_key: &str) -> String {
    format!("start/{idempotency_key}")
}

fn known_run(core: &Core, origin: &Origin) -> Result<Option<RunId>, CoordinatorError> {
    if origin.idempotency_key.is_empty() {
        return Ok(None);
    }
    let key = start_key(&origin.idempotency_key);
    let record = core.store.get(Table::Meta, key.as_bytes())?;
    Ok(record.map(|record| record.json()).transpose()?)
}

/// The next free id of the recipe's name: `name-1`, `name-2`, ... Counting instead of drawing keeps
/// seeded runs repeatable, since ids enter the devices' randomness.
fn next_id(core: &Core, spec: &RunSpec) -> Result<RunId, CoordinatorError> {
    for number in 1..=u32::MAX {
        let id: RunId = format!("{}-{number}", spec.name).parse()?;
        if core.run(&id).is_err() {
            return Ok(id);
        }
    }
    Err(CoordinatorError::Store(StoreError::Encoding {
        message: "no run id is free".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::core;

    #[tokio::test]
    async fn what_no_record_names_is_gone_before_anything_is_served() {
        let core = core().await;
        let sum = core
            .vault
            .put(b"an exact partial sum".to_vec())
            .await
            .unwrap();
        let version = core
            .blobs
            .put(b"a release without record".to_vec())
            .await
            .unwrap();
        core.registry.sweep().await.unwrap();
        recover_runs(&core).await.unwrap();
        assert!(!core.vault.exists(&sum).await.unwrap());
        assert!(!core.blobs.exists(&version).await.unwrap());
    }
}
