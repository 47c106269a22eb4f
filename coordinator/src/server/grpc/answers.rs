//! Streams of answers that end when the coordinator stops.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::Status;

use crate::core::Core;
use crate::error::CoordinatorError;

/// A stream of answers.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send + 'static>>;

/// Answers that end with the word that the coordinator stops, once it does.
pub(super) fn until_stopped<T: Send + 'static>(
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
