//! New runs, and old ones after a restart.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tributary_model::{Digest, ModelFile, Personalisation, initialise};
use tributary_proto::RunId;

use super::actor::{Actor, Listening};
use super::collect::{Collection, without_owner};
use super::costs::RunCosts;
use super::format::{check_server_state, format};
use super::journal::{Journal, run_ids};
use super::plan::check_budget;
use super::server_state::{NoiseShape, ServerState, Shape};
use super::view::RunView;
use super::{Format, RunHandle};
use crate::CoordinatorError;
use crate::core::{Core, random_bytes, seeded_bytes};
use crate::engine::RunState;
use crate::registry::ModelRecord;
use crate::spec::{ModelSource, RunSpec, check_features};
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
    mut spec: RunSpec,
    origin: Origin,
) -> Result<RunHandle, CoordinatorError> {
    spec.check()?;
    if let ModelSource::Version(source) = &mut spec.model {
        // the recipe may name its beginning; what is kept is the whole digest
        source.version = core.registry.find(&source.version)?.digest.to_string();
    }
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
    if let Some(drift) = &spec.drift {
        check_features(drift, base.spec.graph()?.shapes()[0].iter().product())?;
    }
    let (format, costs) = format(&spec, &base, None)?;
    check_server_state(&spec, &costs, format.payload.len())?;
    let spent = core.ledger.worst_of(&spec.regions);
    check_budget(&spec, &costs, &format.fixed, spent)?;
    let (variants, bases) =
        first_clusters(core, &spec, &id, key, (model, base), &mut batch).await?;
    let mut state = RunState::new(id, spec, key, model, core.clock.now_ms());
    state.variants = variants;
    state.drift_id = origin.drift_id;
    state.strategy = costs.strategy().cloned();
    if !origin.idempotency_key.is_empty() {
        let key = start_key(&origin.idempotency_key);
        batch.put_json(Table::Meta, key, &state.id, Expect::Absent)?;
    }
    let journal = Journal::create(core, &state, batch).await?;
    let bases = of_each_model(&format, state.spec.regions.len(), bases);
    let server = ServerState::new(&shape(&state.spec, &format, &costs, &bases))?;
    spawn(core, state, journal, bases, server, (format, costs), None).await
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
    let controls = recovered.iter().filter_map(|(_, _, state)| state.control);
    core.registry.sweep(controls).await?;
    for (id, _, state) in &recovered {
        if let Some(control) = state.control {
            core.controls.claim(id, control).await;
        }
    }
    for (id, journal, state) in recovered {
        let bases = current_models(core, &state).await?;
        let (mut format, costs) = format(&state.spec, &bases[0], state.strategy.as_ref())?;
        if let Some(clip) = state.clip {
            format = format.with_clip(&state.spec, clip)?;
        }
        let bases = of_each_model(&format, state.spec.regions.len(), bases);
        let shape = shape(&state.spec, &format, &costs, &bases);
        let server = match &state.server {
            Some(digest) => {
                let bytes = core.vault.get(digest).await?;
                let bytes = without_owner(&id, &bytes);
                ServerState::from_bytes(&shape, bytes)?
            }
            None => ServerState::new(&shape)?,
        };
        if state.is_running() {
            let held = state.round.leases.keys().cloned().collect();
            core.fleet.reserve(held);
            tracing::info!(run = %id, round = state.round.number, "run goes on");
        }
        let listening = Listening::after_start(&state);
        let shared = (format, costs);
        spawn(core, state, journal, bases, server, shared, listening).await?;
    }
    Ok(())
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

async fn spawn(
    core: &Arc<Core>,
    state: RunState,
    journal: Journal,
    bases: Vec<ModelFile>,
    server: ServerState,
    (format, costs): (Format, RunCosts),
    listening: Option<Listening>,
) -> Result<RunHandle, CoordinatorError> {
    let format = Arc::new(format);
    let regions = state.spec.regions.len();
    let segments = if state.is_running() {
        state.round.segments.as_slice()
    } else {
        &[]
    };
    let collection =
        Collection::recover(core, &state.id, format.clone(), regions, segments).await?;
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
        bases,
        server,
        released: None,
        commands,
        view,
        abandoned: Vec::new(),
        open_since: None,
        seal_every: Duration::ZERO,
        next_selection: Instant::now(),
        waiting_since_ms: core.clock.now_ms(),
        reason: String::new(),
        listening,
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

/// The first models of all clusters; no digests and the one model where there are no clusters.
async fn first_clusters(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    key: [u8; 32],
    (model, base): (Digest, ModelFile),
    batch: &mut Batch,
) -> Result<(Vec<Digest>, Vec<ModelFile>), CoordinatorError> {
    let Some(Personalisation::Ifca { clusters }) = spec.training.personalisation else {
        return Ok((Vec::new(), vec![base]));
    };
    let (mut digests, mut files) = (vec![model], vec![base]);
    for cluster in 1..clusters {
        let purpose: &[&[u8]] = &[b"cluster", &key, &cluster.to_be_bytes()];
        let weights = initialise(&files[0].spec.graph()?, seeded_bytes(0, purpose));
        let file = ModelFile {
            spec: files[0].spec.clone(),
            weights,
        };
        let describe = |digest, parameters| ModelRecord {
            name: format!("{} cluster {}", file.spec.name, cluster + 1),
            ..first_record(core, spec, id, digest, parameters)
        };
        digests.push(core.registry.add_model(&file, describe, batch).await?);
        files.push(file);
    }
    Ok((digests, files))
}

fn first_record(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    digest: Digest,
    parameters: u64,
) -> ModelRecord {
    ModelRecord {
        digest,
        name: String::new(),
        parent: None,
        run_id: id.to_string(),
        round: 0,
        parameters,
        created_ms: core.clock.now_ms(),
        regions: spec.regions.iter().map(ToString::to_string).collect(),
    }
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
                name: architecture.name.clone(),
                ..first_record(core, spec, id, digest, parameters)
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
        recover_runs(&core).await.unwrap();
        assert!(!core.vault.exists(&sum).await.unwrap());
        assert!(!core.blobs.exists(&version).await.unwrap());
    }
}
