//! The real server on a runtime of its own, so that it can be ended like a process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::transport::Channel;
use tributary_coordinator::{Limits, Server, ServerConfig, ServerError};

use super::{Operator, PATIENCE, channel};

/// A free port on loopback.
pub fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A serving coordinator with its data folder.
pub struct Coordinator {
    runtime: Option<Runtime>,
    server: Option<Server>,
    folder: Arc<TempDir>,
}

impl Coordinator {
    /// One on a new folder with two threads.
    pub async fn start() -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), 2).await
    }

    /// One on a given folder. Waits until a coordinator that was crashed has let go of it.
    pub async fn open(folder: Arc<TempDir>, threads: usize) -> Self {
        Self::open_with(folder, threads, |_| {}).await
    }

    async fn open_with(
        folder: Arc<TempDir>,
        threads: usize,
        change: impl Fn(&mut ServerConfig),
    ) -> Self {
        let begun = std::time::Instant::now();
        loop {
            match Self::try_open_with(folder.clone(), threads, &change).await {
                Ok(coordinator) => return coordinator,
                Err(error) if error.to_string().contains("in use by another process") => {
                    assert!(begun.elapsed() < PATIENCE, "{error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("the coordinator does not start: {error}"),
            }
        }
    }

    /// One on a new folder that lets strangers take up so much.
    pub async fn limited(limits: Limits) -> Self {
        Self::start_with(|config| config.limits = limits).await
    }

    /// Tries to open a folder.
    pub async fn try_open(folder: Arc<TempDir>, threads: usize) -> Result<Self, ServerError> {
        Self::try_open_with(folder, threads, |_| {}).await
    }

    /// One on a new folder whose configuration the test changes.
    pub async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::try_open_with(folder, 2, change).await.unwrap()
    }

    async fn try_open_with(
        folder: Arc<TempDir>,
        threads: usize,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Result<Self, ServerError> {
        let mut config = ServerConfig {
            admin: Some(any_port()),
            ..ServerConfig::new(folder.path().join("data"), any_port())
        };
        change(&mut config);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.spawn(Server::start(config)).await.unwrap();
        match started {
            Ok(server) => Ok(Self {
                runtime: Some(runtime),
                server: Some(server),
                folder,
            }),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Ends everything in the middle of whatever it does; gives the folder back.
    pub fn crash(self) -> Arc<TempDir> {
        self.folder.clone()
    }

    /// Crashes and starts again on the same folder. The port is another one.
    pub async fn crash_and_restart(self) -> Self {
        Self::open(self.crash(), 2).await
    }

    /// The same with a configuration that the test changes.
    pub async fn crash_and_restart_with(self, change: impl Fn(&mut ServerConfig)) -> Self {
        Self::open_with(self.crash(), 2, change).await
    }

    /// Stops it in order; the folder stays.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            let runtime = self.runtime.as_ref().unwrap();
            runtime.spawn(server.shutdown()).await.unwrap();
        }
    }

    /// Where the admin page is.
    pub fn admin(&self) -> SocketAddr {
        self.server().admin_addr().unwrap()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// The address for devices and operators.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server().listen_addr())
    }

    /// The data folder.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// A new connection.
    pub async fn channel(&self) -> Channel {
        channel(&self.endpoint()).await
    }

    /// An operator with a connection of its own.
    pub async fn operator(&self) -> Operator {
        Operator::new(self.channel().await)
    }

    /// The metrics page.
    pub async fn metrics(&self) -> String {
        self.admin_page("/metrics").await
    }

    /// A page of the admin address, with its head.
    pub async fn admin_page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.server().admin_addr().unwrap())
            .await
            .unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        page
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.server = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Every file below a folder, with its bytes.
pub fn files_below(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            files.push((path, bytes));
        }
    }
    files
}
