//! Sessions and polls.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tributary_proto::DeviceId;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::orchestration_service_server::OrchestrationService;
use tributary_proto::v1::{
    CheckInRequest, CheckInResponse, ConnectRequest, ConnectResponse, DeviceEvent, Directive,
    Reject, RejectReason, Welcome, connect_request, connect_response, device_event, directive,
};

use super::Answers;
use crate::core::Core;
use crate::engine::DropReason;
use crate::epoch::Witness;
use crate::error::CoordinatorError;

/// Milliseconds between signs of life.
const HEARTBEAT_MS: u64 = 30_000;
/// The orchestration service.
pub struct Orchestration(pub Arc<Core>);

#[tonic::async_trait]
impl OrchestrationService for Orchestration {
    type ConnectStream = Answers<ConnectResponse>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(connect_request::Message::Hello(hello)) = first else {
            return Err(CoordinatorError::Invalid {
                field: "message",
                problem: "is no hello".to_owned(),
                remedy: "send a hello first on every stream",
            }
            .into());
        };
        let core = self.0.clone();
        let (id, device) = core.fleet.authenticate(hello.credentials.as_ref())?;
        // before it is within reach of anything that could ask it
        let witnesses = core.witness(&id, &hello.tickets).await?;
        let (number, directives) = core.fleet.connect(&id);
        core.telemetry.sessions.fetch_add(1, Ordering::Relaxed);
        let welcome = Welcome {
            region: device.region.to_string(),
            heartbeat_ms: HEARTBEAT_MS,
        };
        let welcome = connect_response::Message::Welcome(welcome);
        tokio::spawn(read_session(core.clone(), id.clone(), number, messages));
        announce(&core, &id, &witnesses).await;
        let answer = |message| {
            Ok(ConnectResponse {
                message: Some(message),
            })
        };
        let directives = ReceiverStream::new(directives)
            .map(move |directive| answer(connect_response::Message::Directive(directive)));
        let answers = futures::stream::once(async move { answer(welcome) }).chain(directives);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn check_in(
        &self,
        request: Request<CheckInRequest>,
    ) -> Result<Response<CheckInResponse>, Status> {
        let request = request.into_inner();
        let hello = request.hello.unwrap_or_default();
        let core = &self.0;
        let (id, _) = core.fleet.authenticate(hello.credentials.as_ref())?;
        let is_new = !core.fleet.is_polling(&id, request.received);
        let witnesses = match is_new {
            true => core.witness(&id, &hello.tickets).await?,
            // it has learnt nothing since that was not said here
            false => Vec::new(),
        };
        for event in request.events {
            handle(core, &id, event).await;
        }
        let (number, directives) = core.fleet.poll(&id, request.received);
        if is_new {
            // after a restart it may hold an assignment that it can only hear of by polling
            announce(core, &id, &witnesses).await;
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

/// Tells runs and monitors that a device is within reach: what it has not answered is sent again.
async fn announce(core: &Core, id: &DeviceId, witnesses: &[Witness]) {
    for run in core.runs() {
        run.connected(id.clone(), witnesses).await;
    }
    for monitor in core.monitors() {
        monitor.connected(core, id.clone()).await;
    }
}

/// Reads a session until it ends.
async fn read_session(
    core: Arc<Core>,
    id: DeviceId,
    number: u64,
    mut messages: Streaming<ConnectRequest>,
) {
    // an error ends the session as its end does; the device comes back by itself
    while let Ok(Some(request)) = messages.message().await {
        match request.message {
            Some(connect_request::Message::Event(event)) => handle(&core, &id, event).await,
            _ => refuse(
                &core,
                &id,
                RejectReason::Protocol,
                "send events after the hello",
            ),
        }
    }
    core.fleet.disconnect(&id, number);
}

async fn handle(core: &Core, id: &DeviceId, event: DeviceEvent) {
    match event.event {
        None | Some(device_event::Event::Heartbeat(_)) => {}
        Some(device_event::Event::OrderRefused(refused)) => {
            let newest = refused.newest.as_slice();
            if let Err(error) = core.witness(id, newest).await {
                tracing::error!(%error, "what a device has seen can't be compared");
            }
        }
        Some(device_event::Event::AssignmentAbandoned(abandoned)) => {
            core.fleet.answered(id, |order| {
                matches!(order, Order::Assignment(order)
                    if order.run_id == abandoned.run_id && order.round == abandoned.round)
            });
            let run = abandoned.run_id.parse().map_err(CoordinatorError::from);
            match run.and_then(|run| core.run(&run)) {
                Ok(run) => {
                    let reason = DropReason::stated(&abandoned);
                    run.abandon(id.clone(), abandoned.round, reason).await;
                }
                // a run that is over needs no notice
                Err(CoordinatorError::Reject(_)) => {}
                Err(_) => refuse(
                    core,
                    id,
                    RejectReason::UnknownRun,
                    "this run is not known here",
                ),
            }
        }
        Some(device_event::Event::SummaryReport(report)) => {
            core.fleet.answered(id, |order| {
                matches!(order, Order::SummaryRequest(order)
                    if order.monitor_id == report.monitor_id && order.window == report.window)
            });
            let monitor = report
                .monitor_id
                .parse()
                .ok()
                .and_then(|known| core.monitor(&known));
            match monitor {
                Some(monitor) => monitor.vote(core, id.clone(), report).await,
                None => refuse(
                    core,
                    id,
                    RejectReason::BadVote,
                    "this monitor is not known here",
                ),
            }
        }
        Some(device_event::Event::SummaryDeclined(declined)) => {
            let monitor = declined.monitor_id.parse().ok();
            if let Some(monitor) = monitor.and_then(|known| core.monitor(&known)) {
                monitor.declined(id.clone(), declined.window).await;
            }
        }
        Some(device_event::Event::InstallReport(report)) => {
            core.fleet.answered(id, |order| {
                matches!(order, Order::BuildOffer(offer)
                    if offer.build_digest == report.build_digest)
            });
            for monitor in core.monitors() {
                monitor.installed(id.clone(), report.clone()).await;
            }
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
