//! What is asked of whom.

use std::time::Duration;

use tributary_drift::Quantity;
use tributary_proto::DeviceId;
use tributary_proto::v1::{Directive, SummaryRequest, directive};

use super::super::quantities::wire;
use crate::core::Core;
use crate::epoch::{FIRST_CALIBRATION, Place, calibrations_of};

/// What is asked of one group of devices.
pub struct Question {
    /// The request as sent.
    pub request: SummaryRequest,
    /// Who is asked.
    pub devices: Vec<DeviceId>,
}

/// A request to one device, with the ticket that proves it later.
pub(super) fn directive_of(core: &Core, device: &DeviceId, request: &SummaryRequest) -> Directive {
    // a window or calibration that was asked before a start of the coordinator is not asked again
    let asked = (Place::of_window(request.window), core.epoch.incarnation());
    let ticket = match request.window {
        FIRST_CALIBRATION.. => {
            let subject = calibrations_of(&request.monitor_id);
            core.epoch.order(device, &subject, asked)
        }
        _ => core.epoch.order(device, &request.monitor_id, asked),
    };
    let request = SummaryRequest {
        ticket: Some(ticket),
        ..request.clone()
    };
    Directive {
        directive: Some(directive::Directive::SummaryRequest(request)),
    }
}

/// A request for votes on `quantities`.
pub fn request(
    monitor_id: &str,
    window: u64,
    task: &str,
    model_digest: String,
    quantities: &[Quantity],
    deadline: Duration,
    seed: Option<[u8; 32]>,
) -> SummaryRequest {
    SummaryRequest {
        monitor_id: monitor_id.to_owned(),
        window,
        task: task.to_owned(),
        model_digest,
        quantities: quantities.iter().map(wire).collect(),
        deadline_ms: deadline.as_millis() as u64,
        simulation_seed: seed.map(|seed| seed.to_vec()).unwrap_or_default().into(),
        ..SummaryRequest::default()
    }
}
