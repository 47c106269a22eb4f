//! The gRPC services: thin translations between the wire and the rooms behind them.
//!
//! - `enrolment`: how a device becomes known
//! - `orchestration`: sessions and polls
//! - `strangers`: streams that have not said who they are
//! - `transfer`: downloads and uploads; `upload` checks the bytes, `budget` shares out the memory
//! - `control`: what operators do, `terms`: what they decide about caps, `privacy`: what was spent;
//!   `pages` keeps answers bounded, `turns` long work off the threads that answer

mod budget;
mod control;
mod enrolment;
mod orchestration;
mod pages;
mod privacy;
mod stopping;
mod strangers;
mod terms;
mod transfer;
mod turns;
mod upload;

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Code, Status};

pub use self::control::Control;
pub use self::enrolment::Enrolment;
pub use self::orchestration::Orchestration;
pub(crate) use self::strangers::Caller;
pub use self::transfer::{PIECE, Transfer};
use crate::core::Core;
use crate::error::CoordinatorError;

/// A stream of answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

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

/// Answers that end with the word that the coordinator stops, once it does.
fn until_stopped<T: Send + 'static>(
    core: &Core,
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
) -> Answers<T> {
    let stopping = core.stopping.clone();
    let last = core.stopping.clone();
    let word = futures::stream::once(async move {
        last.is_cancelled()
            .then(|| Err(CoordinatorError::Stopping.into()))
    });
    let word = word.filter_map(futures::future::ready);
    Box::pin(answers.take_until(stopping.cancelled_owned()).chain(word))
}
