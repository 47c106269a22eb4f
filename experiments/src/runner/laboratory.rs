//! A coordinator and a fleet in this process, joined by real gRPC on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::timeout;
use tributary_coordinator::{Server, ServerConfig};
use tributary_device_sim::{Fleet, FleetConfig, FleetHandle, FleetStats, SimDevice};

use super::{Operator, Progress, RunnerError, Scratch};

/// HTTP/2 connections that a fleet shares.
const CONNECTIONS: usize = 4;
/// Longest wait for all devices to connect.
const CONNECTING: Duration = Duration::from_secs(120);
/// How often the number of connected devices is told.
const TELL: Duration = Duration::from_millis(100);

/// A running coordinator with its fleet. The data folder is temporary.
pub struct Laboratory {
    server: Server,
    /// The devices.
    pub fleet: FleetHandle,
    /// A client of the coordinator.
    pub operator: Operator,
    folder: Scratch,
}

impl Laboratory {
    /// Starts a coordinator on a free loopback port with sled in a temporary folder, and `devices`;
    /// returns when all are connected. With a `seed` the fleet repeats itself to the bit.
    ///
    /// # Errors
    /// [`RunnerError`] when either does not start, or a device does not connect.
    pub async fn open(
        devices: Vec<SimDevice>,
        seed: Option<u64>,
        progress: &dyn Progress,
    ) -> Result<Self, RunnerError> {
        progress.stage("starting the coordinator");
        let folder = Scratch::new()?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = ServerConfig::new(folder.path().join("data"), listen);
        let server = Server::start(config).await?;
        let endpoint = format!("http://{}", server.listen_addr());
        let operator = Operator::connect(&endpoint).await?;

        progress.stage("connecting devices");
        let all = devices.len();
        let mut config = FleetConfig::new(endpoint);
        config.connections = CONNECTIONS;
        config.seed = seed.map(fleet_seed);
        config.cpu_permits = std::thread::available_parallelism().map_or(2, usize::from);
        let fleet = Fleet::start(config, devices)?;
        let laboratory = Self {
            server,
            fleet,
            operator,
            folder,
        };
        let interrupt = progress.interrupt();
        let connected = tokio::select! {
            connected = laboratory.all_connected(all, progress) => connected,
            () = interrupt.wait() => Err(RunnerError::Interrupted),
        };
        match connected {
            Ok(()) => Ok(laboratory),
            Err(error) => {
                laboratory.close().await;
                Err(error)
            }
        }
    }

    async fn all_connected(&self, all: usize, progress: &dyn Progress) -> Result<(), RunnerError> {
        let connecting = async {
            while timeout(TELL, self.fleet.wait_connected(all)).await.is_err() {
                progress.connected(self.fleet.stats().tally.connected, all);
            }
        };
        if timeout(CONNECTING, connecting).await.is_err() {
            let stats = self.fleet.stats();
            let (connected, refused) = (stats.tally.connected, stats.refused);
            return Err(RunnerError::Late {
                what: format!("{all} connected devices"),
                seconds: CONNECTING.as_secs(),
                state: format!("{connected} are connected, {refused} were refused"),
            });
        }
        progress.connected(all, all);
        Ok(())
    }

    /// Ends all sessions, then the coordinator; returns what the devices counted.
    pub async fn close(self) -> FleetStats {
        let stats = self.fleet.shutdown().await;
        drop(self.operator);
        self.server.shutdown().await;
        drop(self.folder);
        stats
    }
}

/// The fleet's seed for a run's seed.
fn fleet_seed(seed: u64) -> [u8; 32] {
    super::derived_seed(seed, "fleet")
}
