//! The parameters that a device would use itself, as its owner sees them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tributary_model::{Personalisation, named_parameters};

use crate::install::library::LoadedModel;
use crate::state::memory::{Kept, RUNS_KEPT, RunState};
use crate::training::local::put_back;

/// The last model version that a device trained from in a personalised run.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) run_id: String,
    pub(crate) model: Arc<LoadedModel>,
    pub(crate) personalisation: Personalisation,
    pub(crate) cluster: u32,
}

/// What was seen of the newest runs. It ends with the process: after a restart a run is known again
/// from its next assignment on.
#[derive(Debug, Default)]
pub(crate) struct SeenRuns(Mutex<VecDeque<Seen>>);

impl SeenRuns {
    pub(crate) fn note(&self, seen: Seen) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|known| known.run_id != seen.run_id);
        runs.push_back(seen);
        while runs.len() > RUNS_KEPT {
            runs.pop_front();
        }
    }

    pub(crate) fn find(&self, run_id: &str) -> Option<Seen> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|known| known.run_id == run_id).cloned()
    }
}

impl Seen {
    /// What the device would use beside the `shared` parameters; those of the model that was seen
    /// when `None`. FedPer and FedRep: the shared ones with the personal layers put in. Ditto: the
    /// personal model. APFL: alpha v + (1 - alpha) w. IFCA: the shared ones.
    pub(crate) fn parameters(&self, state: &RunState, shared: Option<&[f32]>) -> Option<Vec<f32>> {
        let mut parameters = shared.unwrap_or(&self.model.weights).to_vec();
        let whole = parameters.len();
        if whole != self.model.weights.len() {
            return None;
        }
        match &self.personalisation {
            Personalisation::FedPer { layers } | Personalisation::FedRep { layers, .. } => {
                let flags = named_parameters(&self.model.graph, layers);
                let count = flags.iter().filter(|flag| **flag).count();
                put_back(&mut parameters, &flags, state.get(Kept::Personal, count)?);
            }
            Personalisation::Ditto { .. } => {
                parameters.copy_from_slice(state.get(Kept::Personal, whole)?);
            }
            Personalisation::Apfl { .. } => {
                let personal = state.get(Kept::Personal, whole)?;
                let alpha = state.get(Kept::Alpha, 1)?[0];
                for (value, personal) in parameters.iter_mut().zip(personal) {
                    *value = alpha * personal + (1.0 - alpha) * *value;
                }
            }
            Personalisation::Ifca { .. } | Personalisation::RegionHeads { .. } => {}
        }
        Some(parameters)
    }
}
