//! Where to serve what, and why that may fail.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{SharedClock, SystemClock};
use crate::error::CoordinatorError;
use crate::failpoint::{NoFailpoint, SharedFailpoint};
use crate::limits::Limits;
use tributary_store::EngineKind;

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
    /// [`tributary_store::DEFAULT_ENGINE`] for a new one.
    pub engine: Option<EngineKind>,
    /// What strangers may take up.
    pub limits: Limits,
    /// Rounds of each run whose model versions are kept; all when there is no number.
    pub keep: Option<NonZeroU32>,
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
            limits: Limits::default(),
            keep: None,
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
