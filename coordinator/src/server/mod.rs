//! Opening a data folder and serving it.
//!
//! - `config`: where, and why that may fail
//! - `listener`: connections, within limits and with deadlines
//! - `calls`: what every call passes before and after its service
//! - `grpc`: the services
//! - `http`: metrics and health, on a thread of its own
//! - `supervise`: what can't go on in this process is told

mod calls;
mod config;
pub mod grpc;
mod http;
mod listener;
mod supervise;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tributary_proto::v1::control_service_server::ControlServiceServer;
use tributary_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tributary_proto::v1::orchestration_service_server::OrchestrationServiceServer;
use tributary_proto::v1::transfer_service_server::TransferServiceServer;

use self::calls::layer::{CallLayer, MOST_IMPORT};
use self::calls::leaving::Outgoing;
use self::calls::room::Room;
use self::calls::streams::Streams;
pub use self::config::{ServerConfig, ServerError};
use self::grpc::{Control, Enrolment, Orchestration, Transfer, health};
use self::http::admin;
use self::listener::acceptor::Door;
use self::listener::descriptors;
use self::listener::guarded::Patience;
use self::listener::places::Places;
use self::supervise::Alarm;
pub use self::supervise::Stopped;
use crate::coordinator::Coordinator;
use crate::core::Core;
use crate::error::CoordinatorError;
use crate::limits::Limits;
use crate::retention;

/// Flow-control window of a stream. Small: there are many.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Flow-control window of a connection.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// Longest frame: what may wait in memory for each connection before it is whole.
const MAX_FRAME: u32 = 64 * 1024;
/// Largest chunk of an update, which may be too long by some: it is told how much is too much.
const MAX_CHUNK_MESSAGE: usize = 4 * 1024 * 1024;
/// Largest message of a device that is no chunk: what may wait in memory for each stream.
const MAX_MESSAGE: usize = 256 * 1024;
/// How long a shutdown waits for updates that are being counted, and then for open calls to end.
const COUNTING: Duration = Duration::from_millis(600);
const ENDING: Duration = Duration::from_millis(300);

/// A coordinator that serves.
pub struct Server {
    coordinator: Arc<Coordinator>,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    /// Nothing new begins.
    stop: CancellationToken,
    /// Tells why nothing can go on in this process.
    alarm: Alarm,
    failure: watch::Receiver<Option<Stopped>>,
    /// What is still open is closed.
    cut: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Opens the data folder, goes on with its runs and monitors, and serves.
    ///
    /// # Errors
    /// When the folder or an address can't be used.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let grpc = bind("--listen", config.listen).await?;
        let listen = grpc.local_addr().unwrap_or(config.listen);
        let stop = CancellationToken::new();
        // ends the admin page when nobody waits for this any more
        let opening = stop.clone().drop_guard();
        let pages = admin::Pages::default();
        let mut admin = None;
        let mut ended = None;
        if let Some(address) = config.admin {
            let listener = bind("--admin", address).await?;
            admin = listener.local_addr().ok();
            let served = admin::serve(listener, listen, pages.clone(), stop.clone());
            ended = Some(served.map_err(|source| ServerError::Bind {
                flag: "--admin",
                address: admin.unwrap_or(listen),
                source,
            })?);
        }
        let coordinator = match open(&config, &pages).await {
            Ok(coordinator) => coordinator,
            Err(source) => {
                drop(opening);
                if let Some(ended) = ended {
                    // who is being answered is answered; the sender only ever goes away
                    let _ = ended.await;
                }
                let folder = config.data;
                return Err(ServerError::Open { folder, source });
            }
        };
        let alarm = Alarm::new(coordinator.core.telemetry.clone());
        let failure = alarm.told();
        tokio::spawn(alarm.clone().watch_store(coordinator.core.clone()));
        let mut server = Self {
            listen,
            admin,
            alarm,
            failure,
            coordinator,
            stop: opening.disarm(),
            cut: CancellationToken::new(),
            tasks: Vec::new(),
        };
        server.begin(grpc, &config).await;
        tracing::info!(listen = %server.listen, admin = ?server.admin, "serving");
        Ok(server)
    }

    /// Begins what goes on until the coordinator stops: keeping time, serving, pruning.
    async fn begin(&mut self, grpc: TcpListener, config: &ServerConfig) {
        let (core, runs) = (&self.coordinator.core, self.coordinator.runs.clone());
        let keeping = crate::service_time::keep(
            core.store.clone(),
            core.clock.clone(),
            move || runs.catalogue.any_live(),
            self.stop.clone(),
        );
        core.telemetry.set_ready(true);
        self.tasks.push(tokio::spawn(keeping));
        self.serve_grpc(grpc, &config.limits).await;
        if let Some(keep) = config.keep {
            let keeping = retention::keep(self.coordinator.runs.clone(), keep, self.stop.clone());
            self.tasks.push(tokio::spawn(keeping));
        }
    }

    async fn serve_grpc(&mut self, listener: TcpListener, limits: &Limits) {
        let (health, health_service) = tonic_health::server::health_reporter();
        health::set(&health, true).await;
        let coordinator = &self.coordinator;
        let core = &coordinator.core;
        let (arriving, leaving) = (&core.telemetry.arriving, &core.telemetry.leaving);
        let calls = CallLayer {
            request: limits.request,
            importing: Arc::new(Semaphore::new(1)),
            stopping: core.stopping.clone(),
            streams: Streams::new(limits.streams),
            room: Room::new(limits.arriving_bytes, arriving.clone()),
            outgoing: Outgoing::new(limits.leaving_bytes, leaving.clone(), limits.answer),
        };
        let control = ControlServiceServer::new(Control(coordinator.clone()));
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(limits.streams_per_connection)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(MAX_FRAME)
            .http2_keepalive_interval(Some(limits.keepalive))
            .http2_keepalive_timeout(Some(limits.keepalive))
            .layer(calls)
            .add_service(health_service)
            .add_optional_service(health::reflection())
            .add_optional_service(health::reflection_alpha())
            .add_service(
                EnrolmentServiceServer::new(Enrolment(core.clone()))
                    .max_decoding_message_size(MAX_MESSAGE),
            )
            .add_service(
                OrchestrationServiceServer::new(Orchestration::new(coordinator.clone()))
                    .max_decoding_message_size(MAX_MESSAGE),
            )
            .add_service(
                TransferServiceServer::new(Transfer::new(coordinator.runs.clone()))
                    .max_decoding_message_size(MAX_CHUNK_MESSAGE),
            )
            .add_service(control.max_decoding_message_size(MOST_IMPORT));
        let places = descriptors::connections(limits, descriptors::open_files());
        let places = Places::new(places, limits.connections_per_peer);
        let patience = Patience {
            begin: limits.hello,
            life: None,
        };
        let door = Door::new("grpc", listener, places, patience, self.cut.clone());
        let stopped = self.stop.clone().cancelled_owned();
        let serving = router.serve_with_incoming_shutdown(door.connections(), stopped);
        let supervised = (self.alarm.clone()).watch("the gRPC server", serving, self.stop.clone());
        self.tasks.push(tokio::spawn(supervised));
        let following = health::follow(health, core.clone(), self.stop.clone());
        self.tasks.push(tokio::spawn(following));
    }

    /// Where devices and operators connect.
    pub fn listen_addr(&self) -> SocketAddr {
        self.listen
    }

    /// Where metrics and health are served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Waits until nothing can go on in this process, and says why: the metadata store has stopped, or
    /// the task that accepts connections. `/readyz` says it too.
    pub async fn failed(&mut self) -> Stopped {
        if let Ok(told) = self.failure.wait_for(Option::is_some).await
            && let Some(stopped) = told.clone()
        {
            return stopped;
        }
        // the alarm is this server's own, so it is still there
        std::future::pending().await
    }

    /// Stops serving, within about a second. What has a receipt is durable already; what is being
    /// counted gets its receipt if that takes a moment only; the rest is sent again later. Sessions end
    /// with the word that the coordinator stops, and when to come back.
    pub async fn shutdown(mut self) {
        let core = &self.coordinator.core;
        core.telemetry.set_ready(false);
        core.stopping.cancel();
        self.stop.cancel();
        core.counting.close();
        // what takes longer is cut off: its devices hear nothing and send it again
        let _ = tokio::time::timeout(COUNTING, core.counting.wait()).await;
        let ended = async {
            for task in &mut self.tasks {
                // a task that crashed has ended as well
                let _ = task.await;
            }
        };
        if tokio::time::timeout(ENDING, ended).await.is_err() {
            tracing::info!("closing connections that are still open");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Opens the data folder and goes on with its runs and monitors.
async fn open(
    config: &ServerConfig,
    pages: &admin::Pages,
) -> Result<Arc<Coordinator>, CoordinatorError> {
    let (clock, failpoint) = (config.clock.clone(), config.failpoint.clone());
    let threads = config.sum_threads;
    let core = Core::open(&config.data, config.engine, clock, threads, failpoint).await?;
    core.set_limits(&config.limits);
    // the first to come is the only one
    let _ = pages.set(crate::telemetry::admin(core.telemetry.clone()));
    note_missing(&core).await?;
    let coordinator = Coordinator::new(core);
    coordinator.recover().await?;
    Ok(coordinator)
}

/// Says of registered models whose files are gone that they can't be given out.
async fn note_missing(core: &Core) -> Result<(), CoordinatorError> {
    let (missing, registered) = core.registry.missing().await?;
    let Some(first) = missing.iter().min() else {
        return Ok(());
    };
    let reason = format!(
        "{} of {registered} registered models and builds have no file in the folder `blobs` ({first} is one): \
         put the folder back from a backup and start again, or delete them with `tributary model prune`",
        missing.len()
    );
    tracing::error!("{reason}");
    core.telemetry.health.is_amiss("models", &reason);
    Ok(())
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
