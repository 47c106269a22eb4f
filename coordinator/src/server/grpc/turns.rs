//! Work that is beside the threads that answer calls, when it is its turn.

use tokio::sync::Semaphore;

use crate::error::CoordinatorError;

/// Calls that start, import or delete: one after the other.
pub static CHANGES: Semaphore = Semaphore::const_new(1);
/// Calls that read much: they share the processor with the rounds.
pub static READS: Semaphore = Semaphore::const_new(2);

/// Does what reads, parses or computes much beside the threads that answer calls, when it is its
/// turn. A caller that hangs up does not leave it half done.
pub async fn on_a_thread_of_its_own<T: Send + 'static>(
    (turns, what): (&'static Semaphore, &'static str),
    work: impl Future<Output = Result<T, CoordinatorError>> + Send + 'static,
) -> Result<T, CoordinatorError> {
    let turn = turns.acquire().await;
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        runtime.block_on(work)
    });
    done.await
        .map_err(|error| CoordinatorError::of_task(what, &error))?
}
