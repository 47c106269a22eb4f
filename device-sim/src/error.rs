//! Why a fleet can't start.

use tributary_device::{
    AgentError, ConnectionsError, IdentityError, MemoryError, RecordError, TicketError,
};

/// Why a fleet can't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// There is no tokio runtime.
    #[error("a fleet needs a tokio runtime; start it inside one")]
    NoRuntime,
    /// The address can't be read.
    #[error(transparent)]
    Connections(#[from] ConnectionsError),
    /// A behaviour is impossible.
    #[error("device {device_id}: {problem}")]
    Behaviour {
        /// The device.
        device_id: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A shard has no whole number of examples.
    #[error("device {device_id}: {inputs} inputs can't belong to {labels} labels")]
    Shard {
        /// The device.
        device_id: String,
        /// Number of input values.
        inputs: usize,
        /// Number of labels.
        labels: usize,
    },
    /// An agent can't be made.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The operating system gave no random bytes, or a device's folder can't be made.
    #[error(transparent)]
    Randomness(#[from] IdentityError),
    /// A device's memory can't be opened.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A device's record of participations can't be opened.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A device's record of what it answered can't be opened.
    #[error(transparent)]
    Tickets(#[from] TicketError),
}
