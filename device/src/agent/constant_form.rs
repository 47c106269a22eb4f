//! The answer that says nothing, and what it leaves on the device: as much as any other.

use tributary_model::{LocalAlgorithm, Personalisation};
use tributary_proto::v1::ClipReport;

use crate::agent::job::{Finished, TrainingJob};
use crate::state::memory::{Kept, RunState};
use crate::training::error::TrainingError;
use crate::training::hooks::NoHooks;
use crate::training::payload::Payload;

impl TrainingJob {
    /// The answer to an assignment of a run with privacy that has nothing in it: a vector of zeros (with
    /// the device's own noise where the plan has one) that is fetched for, encoded and sent like any other.
    /// It moves nothing that the device keeps, and holds the places of all that a training would have moved.
    pub(crate) fn constant_form(&self) -> Result<Finished, TrainingError> {
        let personal = self.personal_flags(&self.models[0]);
        let length = self.payload_length(&personal);
        let state = RunState::default();
        let mut finished = self.encode(&NoHooks, Payload::zeros(length), &state, 0)?;
        finished.on_receipt = self.places(&personal);
        if self.plan.privacy.report_within_clip {
            finished.update.clip_report = ClipReport::None;
        }
        Ok(finished)
    }

    /// Values of a payload: the shared parameters, twice where a control variate follows them.
    pub(crate) fn payload_length(&self, personal: &[bool]) -> usize {
        let shared = self.models[0].weights.len() - count(personal);
        match self.plan.algorithm {
            LocalAlgorithm::Scaffold => 2 * shared,
            _ => shared,
        }
    }

    /// Places of the vectors that a training by this plan moves.
    fn places(&self, personal: &[bool]) -> RunState {
        let (whole, payload) = (self.models[0].weights.len(), self.payload_length(personal));
        let mut places = RunState::default();
        match self.plan.algorithm {
            LocalAlgorithm::Scaffold => places.hold(Kept::ControlVariate, whole),
            LocalAlgorithm::FedDyn { .. } => places.hold(Kept::DynamicGradient, whole),
            _ => {}
        }
        if self.plan.momentum > 0.0 {
            places.hold(Kept::Momentum, payload);
        }
        if self.plan.codec.scheme().is_sparse() {
            places.hold(Kept::Residual, payload);
        }
        match self.plan.personalisation {
            Some(Personalisation::Ditto { .. }) => places.hold(Kept::Personal, whole),
            Some(Personalisation::Apfl { .. }) => {
                places.hold(Kept::Personal, whole);
                places.hold(Kept::Alpha, 1);
            }
            _ if !personal.is_empty() => places.hold(Kept::Personal, count(personal)),
            _ => {}
        }
        places
    }
}

fn count(personal: &[bool]) -> usize {
    personal.iter().filter(|flag| **flag).count()
}
