//! Keeping in touch with the coordinator: a stream that is opened again after every break, or polls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Response, Status, Streaming};
use tributary_proto::v1::connect_response::Message as Down;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_proto::v1::orchestration_service_client::OrchestrationServiceClient;
use tributary_proto::v1::{CheckInRequest, CheckInResponse, ConnectResponse, Directive};

use crate::agent::core::Core;
use crate::agent::options::{AgentError, SessionMode};
use crate::agent::stream::{SessionCodec, SessionControl, outbound};
use crate::state::randomness::uniform_below;
use crate::state::tally::OpenSession;
use crate::transport::backoff::Backoff;
use crate::transport::connections::Leased;

const CONNECT: &str = "/tributary.v1.OrchestrationService/Connect";
/// Polls are never closer than this, whatever the coordinator says.
const SHORTEST_POLL: Duration = Duration::from_millis(10);
/// Nor further apart than this.
const LONGEST_POLL: Duration = Duration::from_secs(6 * 3600);

/// Why a session is over.
enum Lost {
    /// A call failed.
    Call(Status),
    /// The device will never be taken.
    Fatal(AgentError),
}

/// A stream that was welcomed.
struct Opened {
    answers: Streaming<ConnectResponse>,
    control: Arc<SessionControl>,
    leased: Leased,
    _open: OpenSession,
}

impl Core {
    /// Holds sessions, one after the other, until the outbox is closed.
    pub(crate) async fn sessions(self: &Arc<Self>, mode: SessionMode) -> Result<(), AgentError> {
        let timing = self.environment.timing;
        let mut backoff = Backoff::new(timing.backoff);
        let mut enrolled = false;
        while !self.outbox.is_closed() {
            let started = Instant::now();
            let ended = match mode {
                SessionMode::Stream => self.hold_stream(&mut enrolled).await,
                SessionMode::Poll => Box::pin(self.poll(&mut enrolled)).await,
            };
            self.finish_shape();
            match ended {
                Ok(()) => self.environment.tally.count("session", "ended"),
                Err(Lost::Fatal(error)) => return Err(error),
                Err(Lost::Call(status)) => {
                    self.environment.tally.count("session", "lost");
                    enrolled &= status.code() != Code::Unauthenticated;
                }
            }
            if started.elapsed() >= timing.stable {
                backoff.reset();
            }
            if !self.outbox.is_closed() {
                let wait = backoff.next(&mut *self.rng());
                sleep(wait).await;
            }
        }
        Ok(())
    }

    /// One stream from its hello to its end.
    async fn hold_stream(self: &Arc<Self>, enrolled: &mut bool) -> Result<(), Lost> {
        // boxed: what opening needs is freed before the long wait
        let mut opened = Box::pin(self.open_stream(enrolled)).await?;
        let ended = self.listen(&mut opened.answers).await;
        opened.control.end();
        if let Err(status) = &ended {
            self.link().note_failure(status, &opened.leased);
        }
        ended.map_err(Lost::Call)
    }

    async fn listen(&self, answers: &mut Streaming<ConnectResponse>) -> Result<(), Status> {
        while let Some(answer) = answers.message().await? {
            if let Some(Down::Directive(directive)) = answer.message {
                self.sort_directive(directive);
            }
        }
        Ok(())
    }

    fn sort_directive(&self, directive: Directive) {
        match directive.directive {
            Some(Order::Reject(reject)) => {
                self.step('#');
                self.environment.tally.rejected(reject.reason());
            }
            Some(Order::ModelPublished(_)) => self.environment.tally.count("model", "published"),
            Some(order) => self.take_order(order),
            None => self.environment.tally.count("dropped", "unknown_directive"),
        }
    }

    async fn open_stream(self: &Arc<Self>, enrolled: &mut bool) -> Result<Opened, Lost> {
        let _permit = self.environment.enrolment.acquire().await;
        let leased = self.link().lease();
        self.enrol_once(&leased, enrolled).await?;
        let control = Arc::new(SessionControl::default());
        let stream = outbound(Arc::clone(self), Arc::clone(&control));
        let mut grpc = Grpc::new(leased.channel.clone());
        let welcomed = self
            .link()
            .call(&leased, async {
                grpc.ready()
                    .await
                    .map_err(|error| Status::unavailable(error.to_string()))?;
                let path = PathAndQuery::from_static(CONNECT);
                let response = grpc
                    .streaming(Request::new(stream), path, SessionCodec)
                    .await?;
                let (metadata, mut answers, extensions) = response.into_parts();
                let welcome = match answers.message().await?.and_then(|answer| answer.message) {
                    Some(Down::Welcome(welcome)) => welcome,
                    _ => {
                        return Err(Status::internal(
                            "the coordinator did not begin with welcome",
                        ));
                    }
                };
                Ok(Response::from_parts(
                    metadata,
                    (answers, welcome),
                    extensions,
                ))
            })
            .await;
        let (answers, welcome) = match welcomed {
            Ok(welcomed) => welcomed,
            Err(status) => {
                control.end();
                return Err(Lost::Call(status));
            }
        };
        control.set_heartbeat(welcome.heartbeat_ms);
        self.step('-');
        self.environment.tally.count("session", "welcomed");
        tracing::debug!(device = self.identity.hashed_id(), "session open");
        Ok(Opened {
            answers,
            control,
            leased,
            _open: self.environment.tally.session_opened(),
        })
    }

    /// Enrols unless that was done already.
    async fn enrol_once(&self, leased: &Leased, enrolled: &mut bool) -> Result<(), Lost> {
        if *enrolled {
            return Ok(());
        }
        let mut client = EnrolmentServiceClient::new(leased.channel.clone());
        let answer = match self
            .link()
            .call(leased, client.enrol(self.identity.enrol_request()))
            .await
        {
            Ok(answer) => answer,
            Err(status) if is_final(status.code()) => return Err(self.refused(&status)),
            Err(status) => return Err(Lost::Call(status)),
        };
        self.installer.trust(&answer.build_key);
        self.environment.tally.count("session", "enrolled");
        *enrolled = true;
        Ok(())
    }

    fn refused(&self, status: &Status) -> Lost {
        self.environment.tally.count("session", "enrolment_refused");
        let (code, message) = (status.code(), status.message().chars().take(400).collect());
        Lost::Fatal(AgentError::EnrolmentRefused { code, message })
    }

    /// Polls until a call fails or the outbox is closed.
    async fn poll(self: &Arc<Self>, enrolled: &mut bool) -> Result<(), Lost> {
        let mut open = None;
        let mut received = 0;
        while !self.outbox.is_closed() {
            let leased = self.link().lease();
            self.enrol_once(&leased, enrolled).await?;
            let answer = self.check_in(&leased, received).await;
            let answer = answer.map_err(Lost::Call)?;
            received = answer.number;
            open.get_or_insert_with(|| {
                self.step('-');
                self.environment.tally.count("session", "welcomed");
                self.environment.tally.session_opened()
            });
            let wait = self.poll_wait(&answer);
            for directive in answer.directives {
                self.sort_directive(directive);
            }
            sleep(wait).await;
        }
        Ok(())
    }

    /// One poll, of a device that got the answer with the number `received` last. What could not be
    /// told is kept for the next.
    async fn check_in(&self, leased: &Leased, received: u64) -> Result<CheckInResponse, Status> {
        let events = self.outbox.drain();
        let request = CheckInRequest {
            hello: Some(self.hello()),
            events: events.clone(),
            received,
        };
        let mut client = OrchestrationServiceClient::new(leased.channel.clone());
        let answer = self.link().call(leased, client.check_in(request)).await;
        if answer.is_err() && !events.is_empty() {
            self.outbox.put_back(events);
        }
        answer
    }

    /// A moment drawn uniformly from the window that the coordinator named.
    fn poll_wait(&self, answer: &CheckInResponse) -> Duration {
        let width = answer.retry_before_ms.saturating_sub(answer.retry_after_ms);
        let within = uniform_below(&mut *self.rng(), width.saturating_add(1));
        let wait = Duration::from_millis(answer.retry_after_ms.saturating_add(within));
        wait.clamp(SHORTEST_POLL, LONGEST_POLL)
    }
}

/// Enrolment answers that another try can't change.
const fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
    )
}
