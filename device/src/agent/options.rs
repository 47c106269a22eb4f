//! What an agent is made of, and why it can't be made.

use std::sync::Arc;

use crate::install::slots::{SlotError, SlotStore};
use crate::state::identity::{Identity, IdentityError};
use crate::state::memory::DeviceMemory;
use crate::state::record::ParticipationRecord;
use crate::state::ticket_record::TicketRecord;
use crate::training::data::LocalData;
use crate::training::hooks::TrainingHooks;

/// How a device keeps in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionMode {
    /// Holds a stream.
    #[default]
    Stream,
    /// Polls within the window that the coordinator names.
    Poll,
}

/// What one device is made of.
pub struct AgentOptions {
    /// Who it is.
    pub identity: Identity,
    /// Its examples.
    pub data: Arc<dyn LocalData>,
    /// Where its builds live.
    pub slots: Box<dyn SlotStore>,
    /// What it keeps from round to round.
    pub memory: Arc<dyn DeviceMemory>,
    /// Where it counts its participations in runs that limit them.
    pub record: Arc<dyn ParticipationRecord>,
    /// Where it keeps what it has answered.
    pub tickets: Arc<dyn TicketRecord>,
    /// Whether it is simulated. Such a device follows a seeded plan to the letter: the pause between
    /// participations is void, for virtual time does not pass, and its own noise comes from the seed.
    /// A real one keeps the pause, and refuses noise that the coordinator could predict.
    pub simulated: bool,
    /// How it behaves; [`crate::NoHooks`] on a real device.
    pub conduct: Arc<dyn TrainingHooks>,
    /// Stream or polling.
    pub mode: SessionMode,
    /// Seed of waits and jitter; from the operating system when `None`.
    pub jitter_seed: Option<[u8; 32]>,
    /// Which of the shared connections to use; agents are spread by this number.
    pub number: u64,
}

/// Why an agent can't start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The coordinator will never take this device as it is.
    #[error("enrolment refused ({code:?}): {message}; check device id, token, region and profile")]
    EnrolmentRefused {
        /// The status code.
        code: tonic::Code,
        /// The coordinator's words.
        message: String,
    },
    /// The slots can't be read.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// No randomness, or no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
