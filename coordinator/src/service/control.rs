//! What operators do.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};
use tributary_proto::v1::control_service_server::ControlService;
use tributary_proto::v1::{
    self, FleetGroup, GetDriftRequest, GetDriftResponse, GetFleetRequest, GetFleetResponse,
    GetModelRequest, GetModelResponse, GetPrivacyRequest, GetPrivacyResponse, GetRunRequest,
    GetRunResponse, ImportModelRequest, ImportModelResponse, ListModelsRequest, ListModelsResponse,
    ListRunsRequest, ListRunsResponse, MoveDeviceRequest, MoveDeviceResponse, PinModelRequest,
    PinModelResponse, PrivacyAccount, PruneModelsRequest, PruneModelsResponse, Run,
    SetPrivacyCapRequest, SetPrivacyCapResponse, StartRunRequest, StartRunResponse,
    StopMonitorRequest, StopMonitorResponse, StopRunRequest, StopRunResponse, WatchRequest,
    WatchResponse, watch_response,
};
use tributary_proto::{DeviceId, RegionId, RunId};

use super::{Answers, pages, terms, until_stopped};
use crate::core::Core;
use crate::error::CoordinatorError;
use crate::registry::ModelRecord;
use crate::retention;
use crate::run::{Origin, RunView, start_run};
use crate::spec::RunSpec;

/// Delta of statements that belong to no run.
const DELTA: f64 = 1e-5;
/// Decisions about caps that are shown.
const DECISIONS: usize = 1_000;
/// Rows listed when no limit is asked for.
const ROWS: usize = 100;
/// Most bytes of an idempotency key.
const MAX_KEY: usize = 128;

/// The control service.
pub struct Control(pub Arc<Core>);

impl Control {
    async fn view(&self, id: &str) -> Result<RunView, CoordinatorError> {
        self.0.run_view(&id.parse()?).await
    }
}

impl Control {
    /// What to say of a run that is not known: a monitor has a verb of its own.
    fn monitor_instead(&self, name: &str, error: CoordinatorError) -> CoordinatorError {
        let known = name.parse().ok().and_then(|id| self.0.monitor(&id));
        if known.is_none() {
            return error;
        }
        CoordinatorError::Over(format!(
            "{name} is a monitor, not a run: end it with `tributary monitor stop {name}`"
        ))
    }

    /// What to say to an operator who stops a run that can't be stopped. That of one that has ended may
    /// still have a monitor at work.
    async fn why_not_stopped(&self, run: &RunId, error: CoordinatorError) -> CoordinatorError {
        if !matches!(
            error,
            CoordinatorError::Reject(crate::engine::Reject::RunOver)
        ) {
            return self.monitor_instead(run.as_str(), error);
        }
        let view = match self.0.run_view(run).await {
            Ok(view) => view,
            Err(error) => return error,
        };
        let state = match view.run.state() {
            v1::RunState::Completed => "completed",
            v1::RunState::Failed => "failed",
            _ => "stopped",
        };
        let name = run.to_string();
        let monitor = crate::monitor::id_of(&name).parse().ok();
        let watched = monitor.is_some_and(|id| self.0.monitor(&id).is_some());
        let remedy = if watched {
            format!("its monitor is at work; end it with `tributary monitor stop {name}`")
        } else {
            "there is nothing left to stop".to_owned()
        };
        CoordinatorError::Over(format!("the run is over ({state}): {remedy}"))
    }

    /// The accounts with the marks of their runs.
    async fn marked(&self, mut accounts: Vec<PrivacyAccount>) -> Vec<PrivacyAccount> {
        for account in &mut accounts {
            for id in [&*account.id, crate::monitor::run_of(&account.id)] {
                let Ok(id) = id.parse() else { continue };
                if let Ok(view) = self.0.run_view(&id).await {
                    account.marks = view.run.marks;
                    break;
                }
            }
        }
        accounts
    }
}

#[tonic::async_trait]
impl ControlService for Control {
    type WatchStream = Answers<WatchResponse>;

    async fn start_run(
        &self,
        request: Request<StartRunRequest>,
    ) -> Result<Response<StartRunResponse>, Status> {
        let request = request.into_inner();
        if request.idempotency_key.len() > MAX_KEY {
            return Err(CoordinatorError::Invalid {
                field: "idempotency_key",
                problem: format!("has {} bytes", request.idempotency_key.len()),
                remedy: "use at most 128",
            }
            .into());
        }
        let core = self.0.clone();
        let run = on_a_thread_of_its_own((&CHANGES, "starting a run"), async move {
            let spec = RunSpec::from_toml(&request.recipe)?;
            let origin = Origin {
                idempotency_key: request.idempotency_key,
                allow_no_privacy: request.allow_no_privacy,
                ..Origin::default()
            };
            let (task, regions) = (spec.task.clone(), spec.regions.clone());
            Ok((start_run(&core, spec, origin).await?, task, regions))
        });
        let (run, task, regions) = Box::pin(run).await?;
        Ok(Response::new(StartRunResponse {
            run_id: run.id.to_string(),
            warnings: self.0.fleet.warnings(&task, &regions),
        }))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let request = request.into_inner();
        let runs = self.0.list_runs(usize::MAX).await?;
        let size = pages::size(request.limit, ROWS);
        let id = |run: &Run| run.run_id.clone();
        let (runs, next_page_token) = pages::after(runs, &request.page_token, size, id)?;
        Ok(Response::new(ListRunsResponse {
            runs,
            next_page_token,
            halted: self.0.halt.reason().unwrap_or_default(),
        }))
    }

    async fn get_run(
        &self,
        request: Request<GetRunRequest>,
    ) -> Result<Response<GetRunResponse>, Status> {
        let request = request.into_inner();
        let view = self.view(&request.run_id).await?;
        let size = pages::size(request.page_size, pages::DEFAULT);
        let (mut rounds, next_page_token) =
            pages::before(&view.history, &request.page_token, size)?;
        if request.page_token.is_empty() {
            rounds.extend(view.open);
        }
        let mut run = view.run;
        if run.state() == v1::RunState::Running {
            let regions = run.regions.iter();
            let regions: Vec<RegionId> = regions
                .filter_map(|count| count.region.parse().ok())
                .collect();
            run.warnings = self.0.fleet.warnings(&run.task, &regions);
        }
        Ok(Response::new(GetRunResponse {
            run: Some(run),
            rounds,
            next_page_token,
        }))
    }

    async fn stop_run(
        &self,
        request: Request<StopRunRequest>,
    ) -> Result<Response<StopRunResponse>, Status> {
        let run: RunId = request
            .into_inner()
            .run_id
            .parse()
            .map_err(CoordinatorError::from)?;
        let stopped = match self.0.run(&run) {
            Ok(handle) => handle.stop().await,
            Err(error) => Err(error),
        };
        if let Err(error) = stopped {
            return Err(self.why_not_stopped(&run, error).await.into());
        }
        Ok(Response::new(StopRunResponse {
            run: Some(self.0.run_view(&run).await?.run),
        }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let only = request.into_inner().run_id;
        let events = BroadcastStream::new(self.0.watch());
        // the state at the beginning first, so that a watcher misses nothing between two calls
        let mut runs: Vec<Run> = self.0.runs().iter().map(|run| run.view().run).collect();
        if !only.is_empty() {
            // it may be over
            runs = vec![self.view(&only).await?.run];
        }
        let now = runs.into_iter().map(|run| WatchResponse {
            unix_ms: self.0.clock.now_ms(),
            event: Some(watch_response::Event::Run(run)),
        });
        let now: Vec<WatchResponse> = now.collect();
        let events = futures::stream::iter(now.into_iter().map(Ok)).chain(events);
        let chosen = events.filter_map(move |event| {
            let chosen = match event {
                Ok(event) => concerns(&event, &only).then_some(Ok(event)),
                Err(_) => Some(Err(CoordinatorError::FellBehind.into())),
            };
            futures::future::ready(chosen)
        });
        Ok(Response::new(until_stopped(&self.0, chosen)))
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let (core, request) = (self.0.clone(), request.into_inner());
        let page = on_a_thread_of_its_own((&READS, "listing the models"), async move {
            let models = core.registry.models(usize::MAX)?;
            let size = pages::size(request.limit, ROWS);
            let digest = |model: &ModelRecord| model.digest.to_string();
            pages::after(models, &request.page_token, size, digest)
        });
        let (models, next_page_token) = page.await?;
        Ok(Response::new(ListModelsResponse {
            models: models.into_iter().map(Into::into).collect(),
            next_page_token,
        }))
    }

    async fn prune_models(
        &self,
        request: Request<PruneModelsRequest>,
    ) -> Result<Response<PruneModelsResponse>, Status> {
        let (core, request) = (self.0.clone(), request.into_inner());
        if !request.run_id.is_empty() {
            self.view(&request.run_id).await?;
        }
        let pruned = on_a_thread_of_its_own((&CHANGES, "pruning models"), async move {
            let only = (!request.run_id.is_empty()).then_some(request.run_id.as_str());
            retention::prune(&core, request.keep as usize, only, request.delete).await
        });
        let pruned = pruned.await?;
        Ok(Response::new(PruneModelsResponse {
            models: pruned.models.into_iter().map(Into::into).collect(),
            all: pruned.all as u64,
            bytes: pruned.bytes,
        }))
    }

    async fn pin_model(
        &self,
        request: Request<PinModelRequest>,
    ) -> Result<Response<PinModelResponse>, Status> {
        let request = request.into_inner();
        let model = self.0.registry.pin(&request.digest, request.pinned).await?;
        Ok(Response::new(PinModelResponse {
            model: Some(model.into()),
        }))
    }

    async fn get_model(
        &self,
        request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let model = self.0.registry.find(&request.into_inner().digest)?;
        let builds = self
            .0
            .registry
            .builds(&model.digest)?
            .into_iter()
            .map(Into::into)
            .collect();
        Ok(Response::new(GetModelResponse {
            model: Some(model.into()),
            builds,
        }))
    }

    async fn import_model(
        &self,
        request: Request<ImportModelRequest>,
    ) -> Result<Response<ImportModelResponse>, Status> {
        let bytes = request.into_inner().safetensors;
        let core = self.0.clone();
        let model = on_a_thread_of_its_own((&CHANGES, "importing a model"), async move {
            core.registry.import(bytes, core.clock.now_ms()).await
        })
        .await?;
        Ok(Response::new(ImportModelResponse {
            model: Some(model.into()),
        }))
    }

    async fn get_fleet(
        &self,
        request: Request<GetFleetRequest>,
    ) -> Result<Response<GetFleetResponse>, Status> {
        let request = request.into_inner();
        let size = pages::size(request.page_size, pages::DEFAULT);
        let name = |group: &FleetGroup| format!("{}/{}", group.region, group.profile);
        let groups = self.0.fleet.groups();
        let (groups, next_page_token) = pages::after(groups, &request.page_token, size, name)?;
        Ok(Response::new(GetFleetResponse {
            groups,
            next_page_token,
        }))
    }

    async fn move_device(
        &self,
        request: Request<MoveDeviceRequest>,
    ) -> Result<Response<MoveDeviceResponse>, Status> {
        let request = request.into_inner();
        let device: DeviceId = request.device_id.parse().map_err(CoordinatorError::from)?;
        let region: RegionId = request.region.parse().map_err(CoordinatorError::from)?;
        let answer = MoveDeviceResponse {
            device_id: device.to_string(),
            from_region: String::new(),
            region: region.to_string(),
        };
        let core = &self.0;
        let moved = core.fleet.relocate(&core.ledger, &device, region).await?;
        Ok(Response::new(MoveDeviceResponse {
            from_region: moved.to_string(),
            ..answer
        }))
    }

    async fn get_drift(
        &self,
        request: Request<GetDriftRequest>,
    ) -> Result<Response<GetDriftResponse>, Status> {
        let request = request.into_inner();
        let only = match request.run_id.as_str() {
            "" => None,
            run => Some(
                self.view(run)
                    .await?
                    .run
                    .run_id
                    .parse()
                    .map_err(CoordinatorError::from)?,
            ),
        };
        let (rows, before) = (request.windows, request.before_window);
        let monitors = crate::monitor::list(&self.0, only.as_ref(), rows, before)?;
        Ok(Response::new(GetDriftResponse { monitors }))
    }

    async fn stop_monitor(
        &self,
        request: Request<StopMonitorRequest>,
    ) -> Result<Response<StopMonitorResponse>, Status> {
        let monitor = crate::monitor::stop(&self.0, &request.into_inner().monitor_id).await?;
        Ok(Response::new(StopMonitorResponse {
            monitor: Some(monitor),
        }))
    }

    async fn get_privacy(
        &self,
        request: Request<GetPrivacyRequest>,
    ) -> Result<Response<GetPrivacyResponse>, Status> {
        let only = request.into_inner().run_id;
        let deltas = self.0.catalogue.deltas().into_iter();
        let deltas: HashMap<String, f64> = deltas
            .map(|(run, delta)| (run.to_string(), delta))
            .collect();
        if !only.is_empty() {
            self.view(&only).await?;
        }
        let delta = deltas.get(&only).copied().unwrap_or(DELTA);
        let delta_of_account = |run: &str| deltas.get(run).copied().unwrap_or(DELTA);
        let ledger = &self.0.ledger;
        let (worst_device, worst_region) = ledger.worst(delta);
        Ok(Response::new(GetPrivacyResponse {
            accounts: self
                .marked(ledger.accounts((!only.is_empty()).then_some(&only), delta_of_account))
                .await,
            worst_device: Some(worst_device),
            worst_region,
            regions: ledger.worst_by_region(delta),
            caps: ledger.caps().into_iter().map(terms::cap).collect(),
            reservations: ledger
                .reservations()
                .into_iter()
                .filter(|held| only.is_empty() || held.id == only)
                .map(terms::reservation)
                .collect(),
            decisions: ledger
                .decisions(DECISIONS)
                .into_iter()
                .map(terms::decision)
                .collect(),
        }))
    }

    async fn set_privacy_cap(
        &self,
        request: Request<SetPrivacyCapRequest>,
    ) -> Result<Response<SetPrivacyCapResponse>, Status> {
        let caps = terms::set_cap(&self.0, request.into_inner()).await?;
        Ok(Response::new(SetPrivacyCapResponse {
            caps: caps.into_iter().map(terms::cap).collect(),
        }))
    }
}

/// Calls that start, import or delete: one after the other.
static CHANGES: Semaphore = Semaphore::const_new(1);
/// Calls that read much: they share the processor with the rounds.
static READS: Semaphore = Semaphore::const_new(2);

/// Does what reads, parses or computes much beside the threads that answer calls, when it is its
/// turn. A caller that hangs up does not leave it half done.
async fn on_a_thread_of_its_own<T: Send + 'static>(
    (turns, what): (&'static Semaphore, &'static str),
    work: impl Future<Output = Result<T, CoordinatorError>> + Send + 'static,
) -> Result<T, CoordinatorError> {
    let turn = turns.acquire().await;
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        runtime.block_on(work)
    });
    done.await
        .map_err(|error| CoordinatorError::of_task(what, &error))?
}

/// Whether an event is about the run that a watcher asked for.
fn concerns(event: &WatchResponse, only: &str) -> bool {
    if only.is_empty() {
        return true;
    }
    match &event.event {
        Some(watch_response::Event::Run(run)) => run.run_id == only,
        Some(watch_response::Event::Round(changed)) => changed.run_id == only,
        Some(watch_response::Event::Window(window)) => {
            window.monitor_id == crate::monitor::id_of(only)
        }
        _ => false,
    }
}
