//! The agent that a device runs: session, local training, summaries and model slots.
//!
//! It promises that raw data never leaves the device (only clipped weight deltas and single votes
//! do), that a retried upload is identical to the byte, that every refusal and failure is counted
//! by reason, and that the device always keeps one working model.
//!
//! Each folder uses those below it in this table, and none above:
//!
//! | module | is about |
//! |---|---|
//! | [`agent`] | what a device does when it is spoken to: sessions, orders, answers |
//! | [`transport`] | connections, calls, downloads and uploads |
//! | [`training`] | plans, local training, privacy, payloads, votes |
//! | [`install`] | models and builds that run on the device, and their slots |
//! | [`state`] | who the device is and what it keeps |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod agent;
pub mod install;
pub mod state;
pub mod training;
pub mod transport;

pub use agent::{Agent, AgentError, AgentOptions, AgentView, Environment, SessionMode};
pub use install::{ActiveBuild, FileSlots, LoadedBuild, LoadedModel, ModelLibrary, signed_text};
pub use install::{MemorySlots, SlotError, SlotStore, StoredBuild};
pub use state::{Answered, MAX_ANSWERED, Place, SHOWN, StaleError, TicketError, TicketRecord};
pub use state::{Clock, Purposes, SystemClock, Tally, TallySnapshot, seeded};
pub use state::{DeviceMemory, FileMemory, Kept, MemoryError, RunState, VolatileMemory};
pub use state::{FileRecord, FileTickets, StateFolder, VolatileTickets};
pub use state::{Hardware, INT8_FORMAT, Identity, IdentityError, Token};
pub use state::{
    LimitError, Limits, MAX_RUNS_RECORDED, ParticipationRecord, ParticipationRequest,
    Participations,
};
pub use state::{RecordError, VolatileRecord};
pub use training::{CheckedUpdate, ComputePool, EncodedUpdate, TrainingError, check_update};
pub use training::{DataError, DataForm, Examples, LocalData, Purpose};
pub use training::{Decision, NoHooks, TrainingHooks, Workload};
pub use transport::{Backoff, BackoffLimits, Connections, ConnectionsError, SessionShape, Timing};
