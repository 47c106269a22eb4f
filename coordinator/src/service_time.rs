//! Service time over restarts: kept in the store every now and then, so that deadlines go on where they
//! were. What passed since the last time it was kept counts as not passed.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::CoordinatorError;
use crate::clock::{Clock, SharedClock};
use tributary_store::{Batch, Expect, Store, Table};

/// Its key in the table of facts about the deployment.
const KEY: &str = "service-ms";
/// How often it is kept while a run goes on.
const EVERY: Duration = Duration::from_secs(2);

/// Lets the clock go on from what is kept; keeps its beginning in a store that has none.
///
/// # Errors
/// When the store can't be read or written.
pub async fn resume(store: &dyn Store, clock: &dyn Clock) -> Result<(), CoordinatorError> {
    let kept = store.get(Table::Meta, KEY.as_bytes())?;
    match kept.map(|record| record.json()) {
        Some(Ok(service_ms)) => clock.resume(service_ms),
        Some(Err(error)) => {
            tracing::warn!(%error, "service time is damaged: deadlines begin anew");
            put(store, clock.service_ms()).await?;
        }
        None => put(store, clock.service_ms()).await?,
    }
    Ok(())
}

async fn put(store: &dyn Store, service_ms: u64) -> Result<(), CoordinatorError> {
    let mut batch = Batch::new();
    batch.put_json(Table::Meta, KEY, &service_ms, Expect::Any)?;
    store.commit(batch).await?;
    Ok(())
}

/// Keeps service time while it `is_needed`, because runs go on, until the coordinator stops.
pub async fn keep(
    store: Arc<dyn Store>,
    clock: SharedClock,
    is_needed: impl Fn() -> bool,
    stop: CancellationToken,
) {
    let mut interval = tokio::time::interval(EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let stops = tokio::select! {
            () = stop.cancelled() => true,
            _ = interval.tick() => false,
        };
        if is_needed() {
            // the runs say in the log what is wrong with the store; this is tried again soon
            let kept = put(&*store, clock.service_ms()).await;
            kept.inspect_err(|error| tracing::debug!(%error, "service time is not kept"))
                .ok();
        }
        if stops {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use tributary_store::MemoryStore;

    #[tokio::test]
    async fn deadlines_go_on_after_a_restart_whatever_the_time_of_day_is_then() {
        let store = MemoryStore::new();
        let before = ManualClock::default();
        before.advance_ms(10_000);
        resume(&store, &before).await.unwrap();
        before.advance_ms(500);
        put(&store, before.service_ms()).await.unwrap();
        let after = ManualClock::default();
        after.set_time_of_day(3_600_000);
        resume(&store, &after).await.unwrap();
        assert_eq!(after.service_ms(), 10_500);
    }
}
