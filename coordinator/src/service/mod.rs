//! The gRPC services: thin translations between the wire and the rooms behind them.
//!
//! - `enrolment`: how a device becomes known
//! - `orchestration`: sessions and polls
//! - `transfer`: downloads and uploads; `upload` checks the bytes
//! - `control`: what operators do; `terms`: what they decide about caps

mod control;
mod enrolment;
mod orchestration;
mod terms;
mod transfer;
mod upload;

use std::pin::Pin;

use futures::Stream;
use tonic::Status;

pub use self::control::Control;
pub use self::enrolment::Enrolment;
pub use self::orchestration::Orchestration;
pub use self::transfer::Transfer;

/// A stream of answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;
