//! Sessions and polls.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status, Streaming};
use tributary_proto::DeviceId;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::orchestration_service_server::OrchestrationService;
use tributary_proto::v1::{
    AssignmentAbandoned, CheckInRequest, CheckInResponse, ConnectRequest, ConnectResponse,
    DeviceEvent, Directive, Hello, Reject, RejectReason, SummaryReport, Welcome, connect_request,
    connect_response, device_event, directive,
};

use super::answers::Answers;
use super::strangers::{Stranger, Strangers};
use super::unreadable;
use crate::coordinator::Coordinator;
use crate::core::Core;
use crate::engine::DropReason;
use crate::epoch::Witness;
use crate::error::CoordinatorError;

/// Milliseconds between signs of life.
const HEARTBEAT_MS: u64 = 30_000;
/// Streams that may be open without having said hello.
const WITHOUT_HELLO: usize = 4_096;
/// Most events of one poll: as many as a device keeps.
const MAX_EVENTS: usize = 256;

/// The orchestration service.
pub struct Orchestration {
    coordinator: Arc<Coordinator>,
    strangers: Arc<Strangers>,
}

impl Orchestration {
    /// The service of a coordinator.
    pub fn new(coordinator: Arc<Coordinator>) -> Self {
        Self {
            coordinator,
            strangers: Strangers::new(WITHOUT_HELLO, "too many streams have not said hello yet"),
        }
    }

    /// The first message of a stream, which must come soon.
    async fn hello(
        &self,
        messages: &mut Streaming<ConnectRequest>,
        stranger: Stranger,
    ) -> Result<Hello, Status> {
        let late = CoordinatorError::Slow {
            what: "the hello",
            remedy: "send it first on every stream, at once",
        };
        let first = stranger.first(messages.message(), self.coordinator.core.hello(), late);
        let first = first.await?;
        match first.and_then(|first| first.message) {
            Some(connect_request::Message::Hello(hello)) => Ok(hello),
            _ => Err(CoordinatorError::Invalid {
                field: "message",
                problem: "is no hello".to_owned(),
                remedy: "send a hello first on every stream",
            }
            .into()),
        }
    }
}

#[tonic::async_trait]
impl OrchestrationService for Orchestration {
    type ConnectStream = Answers<ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let stranger = self.strangers.enter(request.extensions());
        let mut messages = request.into_inner();
        let hello = self.hello(&mut messages, stranger).await?;
        let (coordinator, core) = (&self.coordinator, &self.coordinator.core);
        let (id, device) = core.fleet.authenticate(hello.credentials.as_ref())?;
        // before it is within reach of anything that could ask it
        let witnesses = coordinator.witness(&id, &hello.tickets).await?;
        let (number, directives) = core.fleet.connect(&id);
        core.telemetry.sessions.fetch_add(1, Ordering::Relaxed);
        let welcome = Welcome {
            region: device.region.to_string(),
            heartbeat_ms: HEARTBEAT_MS,
        };
        let welcome = answer(connect_response::Message::Welcome(welcome));
        let (fault, faulted) = oneshot::channel();
        let reading = read_session(coordinator.clone(), id.clone(), number, messages, fault);
        tokio::spawn(reading);
        announce(coordinator, &id, &witnesses);
        let directives = until_ended(directives, Box::pin(ending(core.clone(), faulted)));
        let answers = futures::stream::once(async move { Ok(welcome) }).chain(directives);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        let request = request.into_inner();
        let hello = request.hello.unwrap_or_default();
        let (coordinator, core) = (&self.coordinator, &self.coordinator.core);
        let (id, _) = core.fleet.authenticate(hello.credentials.as_ref())?;
        if request.events.len() > MAX_EVENTS {
            return Err(CoordinatorError::Invalid {
                field: "events",
                problem: format!("has {} entries", request.events.len()),
                remedy: "tell at most 256 at a time, the oldest first",
            }
            .into());
        }
        let is_new = !core.fleet.is_polling(&id, request.received);
        let witnesses = match is_new {
            true => coordinator.witness(&id, &hello.tickets).await?,
            // it has learnt nothing since that was not said here
            false => Vec::new(),
        };
        for event in request.events {
            handle(coordinator, &id, event).await;
        }
        let (number, directives) = core.fleet.poll(&id, request.received);
        if is_new {
            // after a restart it may hold an assignment that it can only hear of by polling
            announce(coordinator, &id, &witnesses);
        }
        let (earliest, latest) = core.fleet.poll_window();
        Ok(Response::new(CheckInResponse {
            directives,
            retry_after_ms: earliest.as_millis() as u64,
            retry_before_ms: latest.as_millis() as u64,
            number,
        }))
    }
}

fn answer(message: connect_response::Message) -> ConnectResponse {
    ConnectResponse {
        message: Some(message),
    }
}

/// Why a session ends that neither the device nor a newer session ends.
async fn ending(core: Arc<Core>, faulted: oneshot::Receiver<Status>) -> Status {
    tokio::select! {
        () = core.stopping.cancelled() => CoordinatorError::Stopping.into(),
        fault = faulted => match fault {
            Ok(status) => status,
            // the device said all that it had to say; what is told to it goes on
            Err(_) => futures::future::pending().await,
        },
    }
}

/// Directives until they end by themselves, or with the status of `ending`.
fn until_ended(
    directives: mpsc::Receiver<Directive>,
    ending: Pin<Box<impl Future<Output = Status> + Send + 'static>>,
) -> Answers<ConnectResponse> {
    let open = Some((directives, ending));
    Box::pin(futures::stream::unfold(open, |open| async move {
        let (mut directives, mut ending) = open?;
        tokio::select! {
            biased;
            status = &mut ending => Some((Err(status), None)),
            directive = directives.recv() => {
                let message = connect_response::Message::Directive(directive?);
                Some((Ok(answer(message)), Some((directives, ending))))
            }
        }
    }))
}

/// Tells runs and monitors that a device is within reach: what it has not answered is sent again.
fn announce(coordinator: &Coordinator, id: &DeviceId, witnesses: &[Witness]) {
    for run in coordinator.runs.live() {
        run.connected(id.clone(), witnesses);
    }
    for monitor in coordinator.monitors.all() {
        monitor.connected(&coordinator.core, id, witnesses);
    }
}

/// Reads a session until it ends.
async fn read_session(
    coordinator: Arc<Coordinator>,
    id: DeviceId,
    number: u64,
    mut messages: Streaming<ConnectRequest>,
    fault: oneshot::Sender<Status>,
) {
    loop {
        match messages.message().await {
            Ok(Some(request)) => match request.message {
                Some(connect_request::Message::Event(event)) => {
                    handle(&coordinator, &id, event).await
                }
                _ => refuse(
                    &coordinator.core,
                    &id,
                    RejectReason::Protocol,
                    "send events after the hello",
                ),
            },
            Ok(None) => break,
            Err(status) => {
                // a device that has gone away hears nothing of it and comes back by itself
                let _ = fault.send(unreadable(&status));
                break;
            }
        }
    }
    coordinator.core.fleet.disconnect(&id, number);
}

/// Takes an event. Never waits for a run: a busy one must not hold up the session of another.
async fn handle(coordinator: &Coordinator, id: &DeviceId, event: DeviceEvent) {
    match event.event {
        None | Some(device_event::Event::Heartbeat(_)) => {}
        Some(device_event::Event::OrderRefused(refused)) => {
            match coordinator.witness(id, refused.newest.as_slice()).await {
                Ok(witnesses) => {
                    let runs = coordinator.runs.live();
                    runs.iter().for_each(|run| run.showed(id, &witnesses));
                }
                Err(error) => tracing::error!(%error, "what a device has seen can't be compared"),
            }
        }
        Some(device_event::Event::AssignmentAbandoned(given_back)) => {
            abandoned(coordinator, id, &given_back);
        }
        Some(device_event::Event::SummaryReport(report)) => voted(coordinator, id, &report),
        Some(device_event::Event::SummaryDeclined(declined)) => {
            let monitor = declined.monitor_id.parse().ok();
            if let Some(monitor) = monitor.and_then(|known| coordinator.monitors.get(&known)) {
                monitor.declined(id.clone(), declined.window).await;
            }
        }
        Some(device_event::Event::InstallReport(report)) => {
            coordinator.core.fleet.answered(id, |order| {
                matches!(order, Order::BuildOffer(offer)
                    if offer.build_digest == report.build_digest)
            });
            for monitor in coordinator.monitors.all() {
                monitor.installed(id, &report);
            }
        }
    }
}

/// A device gives an assignment back.
fn abandoned(coordinator: &Coordinator, id: &DeviceId, given_back: &AssignmentAbandoned) {
    let core = &coordinator.core;
    core.fleet.answered(id, |order| {
        matches!(order, Order::Assignment(order)
            if order.run_id == given_back.run_id && order.round == given_back.round)
    });
    let run = given_back.run_id.parse().map_err(CoordinatorError::from);
    match run.and_then(|run| coordinator.runs.handle(&run)) {
        Ok(run) => run.abandon(id.clone(), given_back.round, DropReason::stated(given_back)),
        // a run that is over or set aside needs no notice
        Err(CoordinatorError::Reject(_) | CoordinatorError::SetAside { .. }) => {}
        Err(_) => {
            let message = "this run is not known here";
            refuse(core, id, RejectReason::UnknownRun, message);
        }
    }
}

/// A device votes in a window or calibration.
fn voted(coordinator: &Coordinator, id: &DeviceId, report: &SummaryReport) {
    let core = &coordinator.core;
    core.fleet.answered(id, |order| {
        matches!(order, Order::SummaryRequest(order)
            if order.monitor_id == report.monitor_id && order.window == report.window)
    });
    let known = report.monitor_id.parse().ok();
    match known.and_then(|known| coordinator.monitors.get(&known)) {
        Some(monitor) => monitor.vote(core, id, report),
        None => {
            let message = "this monitor is not known here";
            refuse(core, id, RejectReason::BadVote, message);
        }
    }
}

fn refuse(core: &Core, id: &DeviceId, reason: RejectReason, message: &str) {
    core.telemetry.rejected(reason);
    let reject = Reject {
        reason: reason.into(),
        message: message.to_owned(),
        ..Reject::default()
    };
    let directive = Directive {
        directive: Some(directive::Directive::Reject(reject)),
    };
    core.fleet.send(id, directive);
}
