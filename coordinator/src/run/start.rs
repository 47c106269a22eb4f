//! New runs.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tributary_proto::RunId;

use super::RunHandle;
use super::actor::{Actor, Ends};
use super::catalogue::Catalogue;
use super::first_models::{first_clusters, first_model};
use super::format::{check_server_state, format};
use super::journal::Journal;
use super::notices::{Notices, forward};
use super::origin::Origin;
use super::parts::Parts;
use super::reserve::WorstCase;
use super::roll::soon_after_start;
use super::runs::Runs;
use super::supervise::supervise;
use super::terms::{Plan, terms};
use super::view::RunView;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Reject, RunState};
use crate::epoch::RollCall;
use crate::random::{random_bytes, seeded_bytes};
use tributary_recipe::{ModelSource, RunSpec, check_features};
use tributary_store::{Batch, Expect, StoreError, Table};

/// Commands that may wait for a run.
const COMMANDS: usize = 1_024;

/// A run that was started, now or before.
#[derive(Debug, Clone)]
pub struct StartedRun {
    /// The run.
    pub id: RunId,
    view: watch::Receiver<RunView>,
}

impl StartedRun {
    /// Follows the run to its end.
    pub fn follow(&self) -> watch::Receiver<RunView> {
        self.view.clone()
    }
}

impl From<RunHandle> for StartedRun {
    fn from(handle: RunHandle) -> Self {
        Self {
            view: handle.follow(),
            id: handle.id,
        }
    }
}

/// Starts a run: checks its plan and budget, registers its first model, makes it durable.
///
/// # Errors
/// When the plan can't last, the model is not known, or a store refuses.
pub async fn start_run(
    runs: &Arc<Runs>,
    mut spec: RunSpec,
    origin: Origin,
) -> Result<StartedRun, CoordinatorError> {
    spec.check()?;
    let core = &runs.core;
    if let ModelSource::Version(source) = &mut spec.model {
        // the recipe may name its beginning; what is kept is the whole digest
        source.version = core.registry.find(&source.version)?.digest.to_string();
    }
    let turn = runs.starting.clone().lock_owned().await;
    if let Some(known) = known_run(core, &origin.idempotency_key)? {
        return known_start(runs, known).await;
    }
    let mut batch = Batch::new();
    let id = next_id(&runs.catalogue, &spec)?;
    let key = key_of(&spec, &id)?;
    let (model, base) = first_model(core, &spec, &id, key, &mut batch).await?;
    if let Some(drift) = &spec.drift {
        check_features(drift, base.spec.graph()?.shapes()[0].iter().product())?;
    }
    let (format, costs) = format(&spec, &base, None)?;
    check_server_state(&spec, &costs, format.payload.len())?;
    let inherited = core.registry.marks(&model)?;
    let worst = WorstCase::of(&spec, &costs, &base)?;
    let (variants, bases) =
        first_clusters(core, &spec, &id, key, (model, base), &mut batch).await?;
    // nobody charges or reserves between the check and the commit
    let hold = core.ledger.hold().await;
    let plan = Plan {
        spec: &spec,
        costs: &costs,
        format: &format,
        worst: &worst,
    };
    let terms = terms(core, &hold, &id, &origin, &plan)?;
    hold.put(&terms, &mut batch)?;
    let mut state = RunState::new(id, spec, key, model, core.clock.now_ms());
    state.variants = variants;
    state.inherited = inherited;
    state.drift_id = origin.drift_id;
    state.after_loss = core.ledger.has_marked(&state.spec.regions);
    state.strategy = costs.strategy().cloned();
    if !origin.idempotency_key.is_empty() {
        let key = start_key(&origin.idempotency_key);
        batch.put_json(Table::Meta, key, &state.id, Expect::Absent)?;
    }
    let parts = Parts::new(&state.spec, format, costs, bases)?;
    let runs = runs.clone();
    // a task of its own: whoever goes away meanwhile must not leave a run on disk that nobody runs
    let starting = tokio::spawn(async move {
        let _turn = turn;
        let journal = Journal::create(&runs.core, &mut state, batch).await?;
        hold.apply(terms);
        drop(hold);
        let listening = soon_after_start(&runs.core, &state);
        Ok(spawn(&runs, state, journal, parts, listening).into())
    });
    starting
        .await
        .map_err(|error| CoordinatorError::of_task("starting a run", &error))?
}

/// The run's secret: whatever it draws begins here.
fn key_of(spec: &RunSpec, id: &RunId) -> Result<[u8; 32], CoordinatorError> {
    match spec.seed {
        Some(seed) => Ok(seeded_bytes(seed, &[b"run", id.as_str().as_bytes()])),
        None => random_bytes(),
    }
}

/// The run that a key has started, once nobody is about to start one.
///
/// # Errors
/// When the store can't be read.
pub async fn started_with(
    runs: &Runs,
    idempotency_key: &str,
) -> Result<Option<RunId>, CoordinatorError> {
    let _turn = runs.starting.lock().await;
    known_run(&runs.core, idempotency_key)
}

/// Puts a run into the catalogue and starts its task, which first hears those of `listening`: none but after
/// a start of the coordinator.
pub(super) fn spawn(
    runs: &Arc<Runs>,
    state: RunState,
    journal: Journal,
    parts: Parts,
    listening: Option<RollCall>,
) -> RunHandle {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let mut view = RunView::default();
    view.update(&state, "");
    let (view, follow) = watch::channel(view);
    let notices = Arc::new(Notices::default());
    tokio::spawn(forward(notices.clone(), sender.clone()));
    let handle = RunHandle {
        id: state.id.clone(),
        format: parts.format.clone(),
        commands: sender,
        notices,
        view: follow,
    };
    runs.catalogue.add(state.id.clone(), handle.clone());
    let held = state.round.leases.keys().cloned();
    let ends = Ends::new(commands, view, held, listening);
    let actor = Actor::new(runs.clone(), state, journal, parts, ends.clone());
    tokio::spawn(supervise(runs.clone(), actor, ends));
    handle
}

/// A run that the same key started before: it may be over.
async fn known_start(runs: &Runs, id: RunId) -> Result<StartedRun, CoordinatorError> {
    match runs.handle(&id) {
        Ok(handle) => Ok(handle.into()),
        Err(CoordinatorError::Reject(Reject::RunOver)) => {
            let view = runs.run_view(&id).await?;
            let (_, view) = watch::channel(view);
            Ok(StartedRun { id, view })
        }
        Err(error) => Err(error),
    }
}

fn start_key(idempotency_key: &str) -> String {
    format!("start/{idempotency_key}")
}

fn known_run(core: &Core, idempotency_key: &str) -> Result<Option<RunId>, CoordinatorError> {
    if idempotency_key.is_empty() {
        return Ok(None);
    }
    let key = start_key(idempotency_key);
    let record = core.store.get(Table::Meta, key.as_bytes())?;
    Ok(record.map(|record| record.json()).transpose()?)
}

/// The next free id of the recipe's name: `name-1`, `name-2`, ... Counting instead of drawing keeps
/// seeded runs repeatable, since ids enter the devices' randomness.
fn next_id(catalogue: &Catalogue, spec: &RunSpec) -> Result<RunId, CoordinatorError> {
    for number in 1..=u32::MAX {
        let id: RunId = format!("{}-{number}", spec.name).parse()?;
        if !catalogue.is_known(&id) {
            return Ok(id);
        }
    }
    Err(CoordinatorError::Store(StoreError::Encoding {
        message: "no run id is free".to_owned(),
    }))
}
