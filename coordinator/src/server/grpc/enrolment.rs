//! How a device becomes known.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use tributary_proto::v1::enrolment_service_server::EnrolmentService;
use tributary_proto::v1::{EnrolRequest, EnrolResponse};

use crate::core::Core;
use crate::error::CoordinatorError;

/// The enrolment service.
pub struct Enrolment(pub Arc<Core>);

#[tonic::async_trait]
impl EnrolmentService for Enrolment {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<EnrolResponse>, Status> {
        let request = request.into_inner();
        let id = request.device_id.parse().map_err(CoordinatorError::from)?;
        let region = request.region.parse().map_err(CoordinatorError::from)?;
        let profile = request.profile.ok_or_else(|| CoordinatorError::Invalid {
            field: "profile",
            problem: "is missing".to_owned(),
            remedy: "report the device's hardware",
        })?;
        let fleet = &self.0.fleet;
        let device = fleet
            .enrol(
                id,
                &request.token,
                region,
                profile,
                request.tasks,
                self.0.clock.now_ms(),
            )
            .await?;
        Ok(Response::new(EnrolResponse {
            region: device.region.to_string(),
            build_key: self.0.build_key.verifying_key().to_bytes().to_vec().into(),
        }))
    }
}
