//! What every call passes before its service and its answer passes after it.
//!
//! - Nothing new begins while the coordinator stops.
//! - The request of a call that is no stream has a length and a time to arrive, whatever its type.
//! - One model is imported at a time, so that its bytes are in memory once.
//! - Requests on their way and answers that nobody takes are within a number of bytes, over all calls.
//! - What the gRPC library says of bytes that it can't read becomes a refusal with a stable code: it
//!   calls them an internal error.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::{Code, Status};
use tower_layer::Layer;

use crate::error::CoordinatorError;
use crate::server::calls::arriving::{Arriving, Pace};
use crate::server::calls::leaving::{Leaving, Outgoing};
use crate::server::calls::room::{NoRoom, Place, Room};
use crate::server::calls::streams::{Open, Placed, Streams};
use crate::server::grpc::{Caller, unreadable};
use crate::server::listener::connection::Connection;
use crate::status;

/// Most bytes of a request that is no stream and no import.
const MOST_REQUEST: u64 = 1024 * 1024;
/// Most bytes of an imported model's file, and of what surrounds it.
pub(in crate::server) const MOST_IMPORT: usize = 256 * 1024 * 1024;
const SURROUNDING: u64 = 64;
/// How long an import waits for the one before it.
const IMPORT_WAIT: Duration = Duration::from_secs(10);
/// When to try again, in milliseconds.
const IMPORT_RETRY_MS: u64 = 5_000;
const IMPORT: &str = "/tributary.v1.ControlService/ImportModel";
const DOWNLOAD: &str = "/tributary.v1.TransferService/Download";
/// Streams that only watch, and that nobody has to say who he is for.
const WATCHES: [&str; 2] = [
    "/tributary.v1.ControlService/Watch",
    "/grpc.health.v1.Health/Watch",
];
const CONNECT: &str = "/tributary.v1.OrchestrationService/Connect";
const UPLOAD: &str = "/tributary.v1.TransferService/Upload";
/// What a call takes up beside its bytes.
const CALL_BYTES: usize = 4 * 1024;

/// Wraps services in [`Calls`].
#[derive(Clone)]
pub(in crate::server) struct CallLayer {
    pub(in crate::server) request: Duration,
    pub(in crate::server) importing: Arc<Semaphore>,
    pub(in crate::server) stopping: CancellationToken,
    pub(in crate::server) streams: Arc<Streams>,
    pub(in crate::server) room: Arc<Room>,
    pub(in crate::server) outgoing: Outgoing,
}

/// A request that may go on to its service.
struct Admitted {
    request: Request<Body>,
    connection: Arc<Connection>,
    kind: Kind,
    /// Held until the request is worked off, not only until it is read.
    place: Arc<Place>,
    /// What the call takes up beside the bytes of its request.
    call_bytes: usize,
    /// Held until the answer is taken.
    open: Open,
    _turn: Option<OwnedSemaphorePermit>,
}

/// What bounds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its length and its time.
    Whole,
    /// Its turn.
    Import,
    /// The same as [`Kind::Whole`]; its answer is long.
    Download,
    /// Its messages, a device and its outbox.
    Session,
    /// Its messages, and the budget of uploads.
    Upload,
}

impl Kind {
    fn of(path: &str) -> Self {
        match path {
            IMPORT => Self::Import,
            DOWNLOAD => Self::Download,
            CONNECT => Self::Session,
            UPLOAD => Self::Upload,
            _ => Self::Whole,
        }
    }

    fn is_stream(self) -> bool {
        matches!(self, Self::Session | Self::Upload)
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Calls {
            inner,
            rules: self.clone(),
        }
    }
}

/// A service behind the rules of this page.
#[derive(Clone)]
pub(in crate::server) struct Calls<S> {
    inner: S,
    rules: CallLayer,
}

type Answer = Result<Response<Body>, Infallible>;

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // the one that was found ready is used, its copy stays
        let copy = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, copy);
        let rules = self.rules.clone();
        Box::pin(async move {
            let admitted = match rules.admit(request).await {
                Ok(admitted) => admitted,
                Err(error) => return Ok(Status::from(error).into_http()),
            };
            let response = inner.call(admitted.request).await?;
            if admitted.kind.is_stream() {
                // what is still to come counts as it comes
                admitted.place.give_back(admitted.call_bytes);
            }
            let is_patient = admitted.kind == Kind::Download;
            Ok(truthful(response).map(|body| {
                let body = match admitted.kind {
                    Kind::Session => body,
                    _ => {
                        let connection = admitted.connection;
                        Body::new(Leaving::new(body, rules.outgoing, connection, is_patient))
                    }
                };
                Body::new(Placed::new(body, admitted.open))
            }))
        })
    }
}

impl CallLayer {
    async fn admit(&self, mut request: Request<Body>) -> Result<Admitted, CoordinatorError> {
        if self.stopping.is_cancelled() {
            return Err(CoordinatorError::Stopping);
        }
        let connection = request.extensions().get::<Arc<Connection>>();
        let connection = connection
            .cloned()
            // none only beside a server
            .unwrap_or_else(|| Connection::new(CancellationToken::new()));
        let path = request.uri().path();
        let kind = Kind::of(path);
        let open = self.streams.open(&connection, WATCHES.contains(&path))?;
        request.extensions_mut().insert(Caller(connection.number));
        let call_bytes = CALL_BYTES + length_of(request.headers());
        let place = self.room.open(connection.number, call_bytes);
        let place = Arc::new(place.map_err(|NoRoom| crate::server::calls::arriving::busy())?);
        let turn = if kind == Kind::Import {
            place.is_whole(true);
            Some(self.turn_to_import().await?)
        } else {
            None
        };
        let held = place.clone();
        let request = request.map(|body| {
            Body::new(match kind {
                Kind::Import => {
                    let pace = Pace::of_import(MOST_IMPORT as u64 + SURROUNDING);
                    Arriving::uncounted(body, pace, held)
                }
                Kind::Whole | Kind::Download => {
                    let pace = Pace::whole_within(MOST_REQUEST, self.request);
                    Arriving::whole(body, pace, held)
                }
                Kind::Session => Arriving::messages(body, held, false),
                Kind::Upload => Arriving::messages(body, held, true),
            })
        });
        Ok(Admitted {
            request,
            connection,
            kind,
            place,
            call_bytes,
            open,
            _turn: turn,
        })
    }

    async fn turn_to_import(&self) -> Result<OwnedSemaphorePermit, CoordinatorError> {
        let turn = self.importing.clone().acquire_owned();
        match tokio::time::timeout(IMPORT_WAIT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(CoordinatorError::Busy {
                what: "another model is being imported",
                retry_after_ms: IMPORT_RETRY_MS,
            }),
        }
    }
}

/// Bytes of a list of headers (RFC 9113, section 6.5.2).
fn length_of(headers: &HeaderMap) -> usize {
    let lengths = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32);
    lengths.sum()
}

/// Replaces the library's words about a request that it can't read, or a method that is not there.
fn truthful(response: Response<Body>) -> Response<Body> {
    let Some(status) = of_library(response.headers()) else {
        return response;
    };
    match status.code() {
        Code::Internal | Code::Unknown | Code::OutOfRange => unreadable(&status).into_http(),
        Code::Unimplemented => unknown_call(&status).into_http(),
        _ => response,
    }
}

/// The status in the head of a response, if it is not one of ours.
fn of_library(headers: &HeaderMap) -> Option<Status> {
    if headers.contains_key(status::CODE) {
        return None;
    }
    Status::from_header_map(headers)
}

fn unknown_call(status: &Status) -> Status {
    let mut told = status::coded(
        Code::Unimplemented,
        &format!(
            "this coordinator (version {}) does not know the call, or how it is encoded: {}",
            env!("CARGO_PKG_VERSION"),
            match status.message() {
                "" => "use a client of its version",
                why => why,
            }
        ),
        "TRB-0104",
        0,
    );
    // what encodings would do
    if let Some(accepted) = status.metadata().get("grpc-accept-encoding") {
        told.metadata_mut()
            .insert("grpc-accept-encoding", accepted.clone());
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_s_internal_errors_become_refusals_and_ours_stay() {
        let of_library = Status::internal("failed to decode Protobuf message: buffer underflow");
        let told = truthful(of_library.into_http());
        let told = Status::from_header_map(told.headers()).unwrap();
        assert_eq!(told.code(), Code::InvalidArgument);
        assert!(told.message().contains("buffer underflow"), "{told:?}");
        assert_eq!(told.metadata().get(status::CODE).unwrap(), "TRB-0102");

        let ours = Status::from(CoordinatorError::Entropy("none".to_owned()));
        let told = truthful(ours.into_http());
        let told = Status::from_header_map(told.headers()).unwrap();
        assert_eq!(told.code(), Code::Internal);
        assert_eq!(told.metadata().get(status::CODE).unwrap(), "TRB-0400");

        let told = truthful(Status::unimplemented("").into_http());
        let told = Status::from_header_map(told.headers()).unwrap();
        assert_eq!(told.code(), Code::Unimplemented);
        assert!(told.message().contains("client of its version"), "{told:?}");
    }
}
