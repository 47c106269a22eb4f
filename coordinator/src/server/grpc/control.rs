//! What operators do.

use std::sync::Arc;

use futures::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};
use tributary_proto::v1::control_service_server::ControlService;
use tributary_proto::v1::{
    self, FleetGroup, GetDriftRequest, GetDriftResponse, GetFleetRequest, GetFleetResponse,
    GetModelRequest, GetModelResponse, GetPrivacyRequest, GetPrivacyResponse, GetRunRequest,
    GetRunResponse, ImportModelRequest, ImportModelResponse, ListModelsRequest, ListModelsResponse,
    ListRunsRequest, ListRunsResponse, MoveDeviceRequest, MoveDeviceResponse, PinModelRequest,
    PinModelResponse, PruneModelsRequest, PruneModelsResponse, Run, SetPrivacyCapRequest,
    SetPrivacyCapResponse, StartRunRequest, StartRunResponse, StopMonitorRequest,
    StopMonitorResponse, StopRunRequest, StopRunResponse, WatchRequest, WatchResponse,
    watch_response,
};
use tributary_proto::{DeviceId, RegionId, RunId};

use super::answers::{Answers, until_stopped};
use super::turns::{CHANGES, READS, on_a_thread_of_its_own};
use super::{pages, privacy, terms};
use crate::coordinator::Coordinator;
use crate::error::CoordinatorError;
use crate::monitor::problem_of;
use crate::registry::ModelRecord;
use crate::retention;
use crate::run::{Listed, Origin, RunView, give_up, start_run};
use tributary_recipe::{RoundSpec, RunSpec};

/// Rows listed when no limit is asked for.
const ROWS: usize = 100;
/// Most bytes of an idempotency key.
const MAX_KEY: usize = 128;

/// The control service.
pub struct Control(pub Arc<Coordinator>);

impl Control {
    /// What a run looks like. One that is over is read from disk.
    pub(super) async fn view(&self, id: &str) -> Result<RunView, CoordinatorError> {
        let (runs, id) = (self.0.runs.clone(), id.parse::<RunId>()?);
        if let Ok(live) = runs.handle(&id) {
            return Ok(live.view());
        }
        let core = self.0.core.clone();
        let reading = async move {
            let mut view = runs.run_view(&id).await?;
            view.run.warnings.extend(problem_of(&core, &id));
            Ok(view)
        };
        on_a_thread_of_its_own((&READS, "reading a run"), reading).await
    }

    /// What the fleet of this moment can't do for a recipe, as sentences.
    fn warnings(
        &self,
        task: &str,
        regions: &[RegionId],
        rounds: Option<&RoundSpec>,
    ) -> Vec<String> {
        let fleet = &self.0.core.fleet;
        let shortage = rounds.and_then(|rounds| fleet.shortage(task, regions, rounds));
        let mut warnings = fleet.warnings(task, regions);
        warnings.extend(shortage);
        warnings
    }

    /// # Errors
    /// When there is no such run.
    fn must_know(&self, id: &str) -> Result<RunId, CoordinatorError> {
        let id = id.parse()?;
        self.0.runs.catalogue.must_know(&id)?;
        Ok(id)
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
        let runs = self.0.runs.clone();
        let run = on_a_thread_of_its_own((&CHANGES, "starting a run"), async move {
            let spec = RunSpec::from_toml(&request.recipe)?;
            let origin = Origin {
                idempotency_key: request.idempotency_key,
                allow_no_privacy: request.allow_no_privacy,
                ..Origin::default()
            };
            let asked = spec.clone();
            Ok((start_run(&runs, spec, origin).await?, asked))
        });
        let (run, asked) = Box::pin(run).await?;
        Ok(Response::new(StartRunResponse {
            run_id: run.id.to_string(),
            warnings: self.warnings(&asked.task, &asked.regions, Some(&asked.rounds)),
        }))
    }

    async fn list_runs(
        &self,
        request: Request<ListRunsRequest>,
    ) -> Result<Response<ListRunsResponse>, Status> {
        let request = request.into_inner();
        let size = pages::size(request.limit, ROWS);
        let id = |run: &Listed| run.id.to_string();
        let listed = self.0.runs.catalogue.newest();
        let (listed, next_page_token) = pages::after(listed, &request.page_token, size, id)?;
        let known = self.0.runs.clone();
        let reading = async move { known.list_runs(listed).await };
        let runs = on_a_thread_of_its_own((&READS, "listing the runs"), reading).await?;
        Ok(Response::new(ListRunsResponse {
            runs,
            next_page_token,
            halted: self.0.core.halt.reason().unwrap_or_default(),
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
            run.warnings = self.warnings(&run.task, &regions, view.rounds.as_ref());
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
        let stopped = match self.0.runs.handle(&run) {
            Ok(handle) => handle.stop().await,
            Err(CoordinatorError::SetAside { .. }) => give_up(&self.0.runs, &run).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stopped {
            return Err(self.why_not_stopped(&run, error).await.into());
        }
        Ok(Response::new(StopRunResponse {
            run: Some(self.view(run.as_str()).await?.run),
        }))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let only = request.into_inner().run_id;
        let events = BroadcastStream::new(self.0.core.watch());
        // the state at the beginning first, so that a watcher misses nothing between two calls
        let mut runs: Vec<Run> = self
            .0
            .runs
            .live()
            .iter()
            .map(|run| run.view().run)
            .collect();
        if !only.is_empty() {
            // it may be over
            runs = vec![self.view(&only).await?.run];
        }
        let now = runs.into_iter().map(|run| WatchResponse {
            unix_ms: self.0.core.clock.now_ms(),
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
        Ok(Response::new(until_stopped(&self.0.core, chosen)))
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let (core, request) = (self.0.core.clone(), request.into_inner());
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
        let (runs, request) = (self.0.runs.clone(), request.into_inner());
        if !request.run_id.is_empty() {
            self.must_know(&request.run_id)?;
        }
        let pruned = on_a_thread_of_its_own((&CHANGES, "pruning models"), async move {
            let only = (!request.run_id.is_empty()).then_some(request.run_id.as_str());
            retention::prune(&runs, request.keep as usize, only, request.delete).await
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
        let model = self
            .0
            .core
            .registry
            .pin(&request.digest, request.pinned)
            .await?;
        Ok(Response::new(PinModelResponse {
            model: Some(model.into()),
        }))
    }

    async fn get_model(
        &self,
        request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let model = self.0.core.registry.find(&request.into_inner().digest)?;
        let builds = self
            .0
            .core
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
        let core = self.0.core.clone();
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
        let groups = self.0.core.fleet.groups();
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
        let core = &self.0.core;
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
            run => Some(self.must_know(run)?),
        };
        let (rows, before) = (request.windows, request.before_window);
        let monitors = crate::monitor::list(&self.0.monitors, only.as_ref(), rows, before)?;
        Ok(Response::new(GetDriftResponse { monitors }))
    }

    async fn stop_monitor(
        &self,
        request: Request<StopMonitorRequest>,
    ) -> Result<Response<StopMonitorResponse>, Status> {
        let monitor =
            crate::monitor::stop(&self.0.monitors, &request.into_inner().monitor_id).await?;
        Ok(Response::new(StopMonitorResponse {
            monitor: Some(monitor),
        }))
    }

    async fn get_privacy(
        &self,
        request: Request<GetPrivacyRequest>,
    ) -> Result<Response<GetPrivacyResponse>, Status> {
        let (runs, request) = (self.0.runs.clone(), request.into_inner());
        let answer = async move { privacy::show(&runs, &request).await };
        let answer = on_a_thread_of_its_own((&READS, "reading the ledger"), answer);
        Ok(Response::new(answer.await?))
    }

    async fn set_privacy_cap(
        &self,
        request: Request<SetPrivacyCapRequest>,
    ) -> Result<Response<SetPrivacyCapResponse>, Status> {
        let answer = terms::set_cap(&self.0.core, request.into_inner()).await?;
        Ok(Response::new(answer))
    }
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
            window.monitor_id == crate::names::monitor_of(only)
        }
        _ => false,
    }
}
