//! A small coordinator for tests: real gRPC over loopback, with faults on command.
//!
//! It runs on a runtime of its own, so that it can be killed with all its connections and started
//! again on the same port with the same memory, like a process that recovers its state.
#![allow(dead_code, missing_docs, reason = "each test uses its own part")]

pub mod services;
pub mod setting;
pub mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tributary_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tributary_proto::v1::orchestration_service_server::OrchestrationServiceServer;
use tributary_proto::v1::transfer_service_server::TransferServiceServer;

#[allow(unused_imports, reason = "each test uses its own part")]
pub use world::{Memory, World};

use services::Services;

pub struct FakeServer {
    runtime: Option<Runtime>,
    address: SocketAddr,
    pub world: Arc<World>,
}

impl FakeServer {
    pub async fn start() -> Self {
        let world = Arc::new(World::default());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (runtime, address) = serve(any, Arc::clone(&world)).await;
        Self {
            runtime: Some(runtime),
            address,
            world,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends the server with all its connections, in the middle of whatever they do.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.world.with(|memory| memory.sessions.clear());
    }

    /// Starts again on the same port with the same memory.
    pub async fn restart(&mut self) {
        let (runtime, _) = serve(self.address, Arc::clone(&self.world)).await;
        self.runtime = Some(runtime);
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(address: SocketAddr, world: Arc<World>) -> (Runtime, SocketAddr) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (sender, bound) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        let listener = loop {
            match tokio::net::TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // the killed server's socket may linger for a moment
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        sender.send(listener.local_addr().unwrap()).unwrap();
        let services = Services(world);
        Server::builder()
            .max_concurrent_streams(100_000)
            .add_service(EnrolmentServiceServer::new(services.clone()))
            .add_service(OrchestrationServiceServer::new(services.clone()))
            .add_service(TransferServiceServer::new(services))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
            .unwrap();
    });
    let address = bound.await.unwrap();
    (runtime, address)
}
