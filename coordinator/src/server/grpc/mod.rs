//! The gRPC services: thin translations between the wire and the modules behind them.
//!
//! - `enrolment`: how a device becomes known; `health`: health and reflection
//! - `orchestration`: sessions and polls
//! - `strangers`: streams that have not said who they are
//! - `transfer`: downloads and uploads; `upload` checks the bytes, `budget` shares out the memory
//! - `control`: what operators do, `terms`: what they decide about caps, `privacy`: what was spent;
//!   `pages` keeps answers bounded, `turns` long work off the threads that answer

mod answers;
mod budget;
mod control;
mod enrolment;
pub(super) mod health;
mod orchestration;
mod pages;
mod privacy;
mod stopping;
mod strangers;
mod terms;
mod transfer;
mod turns;
mod upload;

use tonic::{Code, Status};

pub use self::control::Control;
pub use self::enrolment::Enrolment;
pub use self::orchestration::Orchestration;
pub(crate) use self::strangers::Caller;
pub use self::transfer::{PIECE, Transfer};
use crate::error::CoordinatorError;

/// What a caller is told whose bytes are no message: the gRPC library calls that an internal error.
/// Other statuses stay as they are.
pub(crate) fn unreadable(status: &Status) -> Status {
    match status.code() {
        _ if status.metadata().contains_key(crate::status::CODE) => status.clone(),
        Code::Internal | Code::Unknown | Code::OutOfRange | Code::ResourceExhausted => {
            CoordinatorError::Unreadable(status.message().to_owned()).into()
        }
        _ => status.clone(),
    }
}
