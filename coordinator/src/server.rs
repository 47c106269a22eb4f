//! Opening a data folder and serving it.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tributary_proto::v1::control_service_server::ControlServiceServer;
use tributary_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tributary_proto::v1::orchestration_service_server::OrchestrationServiceServer;
use tributary_proto::v1::transfer_service_server::TransferServiceServer;

use crate::clock::{SharedClock, SystemClock};
use crate::core::Core;
use crate::error::CoordinatorError;
use crate::failpoint::{NoFailpoint, SharedFailpoint};
use crate::service::{Control, Enrolment, Orchestration, Transfer};
use crate::store::EngineKind;
use crate::telemetry::admin;

/// Streams that one connection may carry: a gateway speaks for thousands of devices.
const STREAMS_PER_CONNECTION: u32 = 16_384;
/// Flow-control window of a stream. Small: there are many.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a connection.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Largest message; updates come in chunks, only an imported model is larger.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
const MAX_IMPORT: usize = 256 * 1024 * 1024;
/// How long a shutdown waits for open calls.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// How often the store is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Where to serve what.
#[derive(Clone)]
pub struct ServerConfig {
    /// The data folder; made when it is not there.
    pub data: PathBuf,
    /// Where devices and operators connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics and health are served; none for no admin page.
    pub admin: Option<SocketAddr>,
    /// Threads that sum updates of 256 KiB and more together, each a part of the parameters. The sums
    /// are the same bit for bit.
    pub sum_threads: NonZeroUsize,
    /// The engine that holds the metadata. `None` takes what the folder holds, and
    /// [`crate::store::DEFAULT_ENGINE`] for a new one.
    pub engine: Option<EngineKind>,
    /// The time.
    pub clock: SharedClock,
    /// Where a test can make the coordinator fail.
    pub failpoint: SharedFailpoint,
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ServerConfig")
            .field("data", &self.data)
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("sum_threads", &self.sum_threads)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl ServerConfig {
    /// Without an admin page, summing on one thread.
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            admin: None,
            sum_threads: NonZeroUsize::MIN,
            engine: None,
            clock: Arc::new(SystemClock::new()),
            failpoint: Arc::new(NoFailpoint),
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data folder can't be used.
    #[error("data folder {}: {source}", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: CoordinatorError,
    },
    /// An address can't be bound.
    #[error("{flag} {address} can't be bound ({source}): choose a free port, or stop what uses it")]
    Bind {
        /// The flag that named it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Plain text outside this machine.
    #[error(
        "{flag} {address} is not a loopback address: plain text is served on loopback only; use \
         127.0.0.1 and let a TLS proxy face the network"
    )]
    NotLoopback {
        /// The flag that named it.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
    },
}

/// A coordinator that serves.
pub struct Server {
    core: Arc<Core>,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    /// Why nothing can go on in this process.
    failure: watch::Receiver<Option<String>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the data folder, goes on with its runs and monitors, and serves.
    ///
    /// # Errors
    /// When the folder or an address can't be used.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let grpc = bind("--listen", config.listen).await?;
        let admin_listener = match config.admin {
            Some(address) => Some(bind("--admin", address).await?),
            None => None,
        };
        let folder = config.data.clone();
        let open = |source| ServerError::Open {
            folder: folder.clone(),
            source,
        };
        let (clock, failpoint) = (config.clock, config.failpoint);
        let threads = config.sum_threads;
        let core = Core::open(&config.data, config.engine, clock, threads, failpoint)
            .await
            .map_err(open)?;
        crate::run::recover_runs(&core).await.map_err(open)?;
        crate::monitor::recover(&core).await.map_err(open)?;
        let stop = CancellationToken::new();
        let mut server = Self {
            listen: grpc.local_addr().unwrap_or(config.listen),
            admin: admin_listener
                .as_ref()
                .and_then(|listener| listener.local_addr().ok()),
            failure: watch_store(core.clone()),
            core,
            stop,
            tasks: Vec::new(),
        };
        server.serve_grpc(grpc).await;
        if let Some(listener) = admin_listener {
            server.serve_admin(listener);
        }
        let keeping = crate::service_time::keep(server.core.clone(), server.stop.clone());
        server.tasks.push(tokio::spawn(keeping));
        server.core.telemetry.set_ready(true);
        tracing::info!(listen = %server.listen, admin = ?server.admin, "serving");
        Ok(server)
    }

    async fn serve_grpc(&mut self, listener: TcpListener) {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_serving::<ControlServiceServer<Control>>().await;
        health
            .set_serving::<OrchestrationServiceServer<Orchestration>>()
            .await;
        let core = &self.core;
        let control = ControlServiceServer::new(Control(core.clone()));
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(1024 * 1024)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .tcp_nodelay(true)
            .add_service(health_service)
            .add_optional_service(reflection())
            .add_service(EnrolmentServiceServer::new(Enrolment(core.clone())))
            .add_service(OrchestrationServiceServer::new(Orchestration(core.clone())))
            .add_service(
                TransferServiceServer::new(Transfer::new(core.clone()))
                    .max_decoding_message_size(MAX_MESSAGE),
            )
            .add_service(control.max_decoding_message_size(MAX_IMPORT));
        let stopped = self.stop.clone().cancelled_owned();
        let incoming = TcpListenerStream::new(listener);
        self.tasks.push(tokio::spawn(async move {
            if let Err(error) = router.serve_with_incoming_shutdown(incoming, stopped).await {
                tracing::error!(%error, "the gRPC server ended");
            }
        }));
    }

    fn serve_admin(&mut self, listener: TcpListener) {
        let quarantine = self.core.quarantine.clone();
        let router = admin(self.core.telemetry.clone(), quarantine);
        let stopped = self.stop.clone().cancelled_owned();
        self.tasks.push(tokio::spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the admin server ended");
            }
        }));
    }

    /// Where devices and operators connect.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where metrics and health are served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Waits until nothing can go on in this process, and says why: the metadata store has stopped.
    /// `/readyz` says it too.
    pub async fn failed(&mut self) -> String {
        match self.failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // the watcher ends only by telling
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops serving. What has a receipt is durable already; the rest is sent again later.
    pub async fn shutdown(self) {
        self.core.telemetry.set_ready(false);
        self.stop.cancel();
        for mut task in self.tasks {
            // devices hold their streams open, so the server would wait for ever
            if tokio::time::timeout(SHUTDOWN, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// Looks again and again whether the store has stopped, and tells once.
fn watch_store(core: Arc<Core>) -> watch::Receiver<Option<String>> {
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if sender.is_closed() {
                return;
            }
            if let Some(error) = core.store.failure() {
                core.telemetry.health.stopped(error.to_string());
                sender.send_replace(Some(error.to_string()));
                return;
            }
        }
    });
    receiver
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, ServerError> {
    if !address.ip().is_loopback() {
        return Err(ServerError::NotLoopback { flag, address });
    }
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServerError::Bind {
        flag,
        address,
        source,
    })
}

fn reflection() -> Option<
    tonic_reflection::server::v1alpha::ServerReflectionServer<
        impl tonic_reflection::server::v1alpha::ServerReflection,
    >,
> {
    let built = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tributary_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha();
    built
        .map_err(|error| tracing::error!(%error, "reflection is off"))
        .ok()
}
