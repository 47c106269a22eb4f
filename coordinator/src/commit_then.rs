//! A commit together with what it changes in memory.

use tributary_store::CommitFuture;

use crate::CoordinatorError;

/// Commits, then changes memory, in a task of its own: whoever waits for it may go away at any moment, as
/// the caller of a service does, and memory still says what is on disk. `then` does not run when the store
/// refuses; what it owns is dropped then.
///
/// # Errors
/// When the store refuses, or the process ends meanwhile; `what` is what crashed if `then` panics.
pub(crate) async fn commit_then<T: Send + 'static>(
    what: &'static str,
    commit: CommitFuture,
    then: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CoordinatorError> {
    let whole = tokio::spawn(async move {
        commit.await?;
        Ok(then())
    });
    let done = whole.await;
    done.map_err(|error| CoordinatorError::of_task(what, &error))?
}
