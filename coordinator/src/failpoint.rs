//! Places where a test can make the coordinator fail, to see that the fault stays where it is.

use std::sync::Arc;

use tributary_proto::RunId;

use crate::engine::Reject;

/// A place that [`Failpoint::reach`] is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A run's task looks at its deadlines.
    Tick,
    /// Updates are added to a sum.
    Summing,
    /// Noise is added and the new version computed.
    Releasing,
    /// A durable event is applied to the state, live or after a restart.
    Applying,
    /// A monitor of the run is about to look whom to ask.
    Watching,
    /// A playbook of the run begins, or goes on after a restart.
    Mitigating,
}

/// What happens at a place. In production nothing does.
pub trait Failpoint: Send + Sync {
    /// A run, or its monitor, has reached a place; may panic.
    ///
    /// # Errors
    /// At [`Place::Applying`], that the event does not fit; at [`Place::Watching`], which fails the window.
    /// Elsewhere an error is passed over.
    fn reach(&self, place: Place, run: &RunId) -> Result<(), Reject>;
}

/// Nothing happens anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFailpoint;

impl Failpoint for NoFailpoint {
    fn reach(&self, _place: Place, _run: &RunId) -> Result<(), Reject> {
        Ok(())
    }
}

/// A shared failpoint.
pub type SharedFailpoint = Arc<dyn Failpoint>;
