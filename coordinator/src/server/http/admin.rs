//! The admin page on a thread of its own: it answers while everything else is busy, and while the
//! data folder is being opened.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::codegen::Service as _;

use crate::server::listener::acceptor::Door;
use crate::server::listener::guarded::{Guarded, Patience};
use crate::server::listener::places::Places;
use crate::status;

/// Connections at a time.
const CONNECTIONS: usize = 256;
/// A page is asked for, and read, within these.
const PATIENCE: Patience = Patience {
    begin: Duration::from_secs(10),
    life: Some(Duration::from_secs(120)),
};
/// How long a page that is being read may take once the coordinator stops.
const FAREWELL: Duration = Duration::from_millis(200);

/// What the page shows once the coordinator is open.
pub(in crate::server) type Pages = Arc<OnceLock<Router>>;

/// Serves the page until `stop`; then the port is closed, and who is being answered gets the answer. The
/// receiver hears that all of it has ended.
///
/// # Errors
/// When the thread can't be started, or the listener can't move to it.
pub(in crate::server) fn serve(
    listener: TcpListener,
    grpc: SocketAddr,
    pages: Pages,
    stop: CancellationToken,
) -> std::io::Result<oneshot::Receiver<()>> {
    let listener = listener.into_std()?;
    let (ends, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = move || {
        runtime.block_on(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => {
                    tracing::error!(%error, "the admin page can't be served");
                    return;
                }
            };
            let places = Places::new(CONNECTIONS, 0);
            let address = listener.local_addr();
            // its connections live as long as the page
            let cut = CancellationToken::new();
            let door = Door::new("admin", listener, places, PATIENCE, cut);
            let entrance = Entrance {
                door: Some(door),
                address,
                stop: stop.clone(),
            };
            let served = axum::serve(entrance, router(grpc, pages)).into_future();
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::error!(%error, "the admin page ended");
                },
                () = async { stop.cancelled().await; tokio::time::sleep(FAREWELL).await } => {}
            }
        });
        drop(runtime);
        drop(ends);
    };
    std::thread::Builder::new()
        .name("tributary-admin".to_owned())
        .spawn(work)?;
    Ok(ended)
}

/// The door while it is open.
struct Entrance {
    door: Option<Door>,
    address: std::io::Result<SocketAddr>,
    stop: CancellationToken,
}

impl Listener for Entrance {
    type Io = Guarded;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let Some(door) = &mut self.door else {
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            connection = door.next_even_without_descriptors() => return connection,
        }
        // nobody else comes in: connections that wait are refused
        self.door = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

fn router(grpc: SocketAddr, pages: Pages) -> Router {
    Router::new().fallback(move |request: Request| {
        let pages = pages.clone();
        async move { page(grpc, &pages, request).await }
    })
}

async fn page(grpc: SocketAddr, pages: &Pages, request: Request) -> Response {
    if speaks_grpc(&request) {
        return not_here(grpc);
    }
    match pages.get() {
        Some(router) => match router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None if request.uri().path() == "/livez" => "ok\n".into_response(),
        None => (
            StatusCode::SERVICE_UNAVAILABLE,
            "not ready: the data folder is being opened\n",
        )
            .into_response(),
    }
}

fn speaks_grpc(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Says in gRPC where gRPC is spoken.
fn not_here(grpc: SocketAddr) -> Response {
    let text = format!(
        "this is the admin page (metrics and health over HTTP): devices and operators connect to \
         http://{grpc}"
    );
    let status = status::coded(Code::FailedPrecondition, &text, "TRB-0105", 0);
    status.into_http::<Body>()
}
