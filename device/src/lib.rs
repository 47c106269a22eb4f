//! The agent that a device runs: session, local training, summaries and model slots.
//!
//! It promises that raw data never leaves the device (only clipped weight deltas and single votes
//! do), that a retried upload is identical to the byte, that every refusal and failure is counted
//! by reason, and that the device always keeps one working model.
//!
//! - [`identity`], `state_folder`, `state_file`: who the device is, and how that survives a restart
//! - [`data`]: the trait through which local examples are read
//! - [`conduct`]: the seam where a simulation makes a device slow, absent or hostile
//! - [`agent`]: the device itself, [`environment`]: what many agents of a process share
//! - [`connections`], [`backoff`], [`outbox`], `session`: holding a stream or polling
//! - `download`, `upload`: moving models and updates, resumable
//! - `assignment`, `accept`, `work`, `drop_reason`: obeying orders, and why one is given back; [`compute`], [`library`]: a bounded pool and its models
//! - [`participation`], [`record`], [`file_record`], `turns`, [`clock`]: how often it takes part
//! - `fit`: whether the device is made for what it is asked, before it looks at its data
//! - `answer`, `constant_form`, `in_time`: answers that say nothing of the data, and whose time does not either
//! - `plan`, `privacy`, `job`, `local`, `payload`, `encode`, `training`: from an assignment to the
//!   encoded update; [`check`]: what is wrong with one
//! - [`memory`], [`file_memory`], `personal`: what stays on the device from round to round
//! - votes: `voting`, [`summary`]
//! - [`slots`], [`file_slots`], [`install`]: A/B slots and the checks before a switch
//! - [`tally`], [`shape`]: what is counted
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accept;
pub mod agent;
mod answer;
mod assignment;
pub mod backoff;
pub mod check;
pub mod clock;
pub mod compute;
pub mod conduct;
pub mod connections;
mod constant_form;
pub mod data;
mod download;
mod drop_reason;
mod encode;
pub mod environment;
pub mod file_memory;
pub mod file_record;
pub mod file_slots;
mod file_tickets;
mod fit;
pub mod identity;
mod in_time;
pub mod install;
mod job;
pub mod library;
mod local;
pub mod memory;
pub mod outbox;
pub mod participation;
mod payload;
mod personal;
mod plan;
mod privacy;
mod randomness;
pub mod record;
mod session;
mod session_stream;
pub mod shape;
pub mod slots;
pub mod standing;
mod state_file;
mod state_folder;
pub mod summary;
pub mod tally;
pub mod ticket;
mod ticket_record;
mod training;
mod turns;
mod upload;
mod voting;
mod work;

pub use agent::{Agent, AgentError, AgentOptions, SessionMode};
pub use backoff::{Backoff, BackoffLimits};
pub use check::{CheckedUpdate, check_update};
pub use clock::{Clock, SystemClock};
pub use compute::ComputePool;
pub use conduct::{Conduct, Decision, Obedient, Workload};
pub use connections::{Connections, ConnectionsError};
pub use data::{DataError, DataForm, Examples, LocalData, Purpose};
pub use environment::{Environment, Timing};
pub use file_memory::FileMemory;
pub use file_record::FileRecord;
pub use file_slots::FileSlots;
pub use file_tickets::FileTickets;
pub use identity::{Hardware, Identity, IdentityError, Token};
pub use install::{ActiveBuild, INT8_FORMAT, signed_text};
pub use library::{LoadedBuild, LoadedModel, ModelLibrary};
pub use memory::{DeviceMemory, Kept, MemoryError, RunState, VolatileMemory};
pub use participation::{LimitError, Limits, Participations, Turn};
pub use randomness::{Purposes, seeded};
pub use record::{MAX_RUNS_RECORDED, ParticipationRecord, RecordError, VolatileRecord};
pub use shape::SessionShape;
pub use slots::{MemorySlots, SlotError, SlotStore, StoredBuild};
pub use state_folder::StateFolder;
pub use tally::{Tally, TallySnapshot};
pub use ticket::{Answered, Place, StaleError};
pub use ticket_record::{MAX_ANSWERED, SHOWN, TicketError, TicketRecord, VolatileTickets};
pub use training::{EncodedUpdate, TrainingError};
