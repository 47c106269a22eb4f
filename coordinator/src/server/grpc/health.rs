//! Health and reflection, the two standard services that tell about the others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::server::NamedService as _;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::{Builder, v1, v1alpha};
use tributary_proto::v1::control_service_server::ControlServiceServer;
use tributary_proto::v1::enrolment_service_server::EnrolmentServiceServer;
use tributary_proto::v1::orchestration_service_server::OrchestrationServiceServer;
use tributary_proto::v1::transfer_service_server::TransferServiceServer;

use crate::core::Core;
use crate::server::grpc::{Control, Enrolment, Orchestration, Transfer};

/// How often it is looked whether the coordinator is ready.
const GLANCE: Duration = Duration::from_millis(100);

/// Every service that a device or an operator calls, and the server as a whole.
const SERVICES: [&str; 5] = [
    "",
    ControlServiceServer::<Control>::NAME,
    EnrolmentServiceServer::<Enrolment>::NAME,
    OrchestrationServiceServer::<Orchestration>::NAME,
    TransferServiceServer::<Transfer>::NAME,
];

/// Says of every service whether it serves.
pub(in crate::server) async fn set(health: &HealthReporter, ready: bool) {
    let status = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
}

/// Keeps health equal to readiness until `stop`; then nothing serves.
pub(in crate::server) async fn follow(
    health: HealthReporter,
    core: std::sync::Arc<Core>,
    stop: CancellationToken,
) {
    let mut told = false;
    let mut glances = tokio::time::interval(GLANCE);
    loop {
        tokio::select! {
            () = stop.cancelled() => return set(&health, false).await,
            _ = glances.tick() => {}
        }
        let ready = core.telemetry.is_ready();
        if ready != told {
            set(&health, ready).await;
            told = ready;
        }
    }
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(tributary_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Reflection as clients of today ask for it.
pub(in crate::server) fn reflection()
-> Option<v1::ServerReflectionServer<impl v1::ServerReflection>> {
    let built = builder().build_v1();
    built
        .map_err(|error| tracing::error!(%error, "reflection is off"))
        .ok()
}

/// Reflection as older clients ask for it.
pub(in crate::server) fn reflection_alpha()
-> Option<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>> {
    let built = builder().build_v1alpha();
    built
        .map_err(|error| tracing::error!(%error, "the older reflection is off"))
        .ok()
}
