//! A restore that has begun and has not ended: until it has, nothing in the folder can be trusted.

use serde::{Deserialize, Serialize};

use super::restore::Caps;
use crate::CoordinatorError;
use crate::store::{Batch, Expect, Store, Table};

/// Where it is kept; the last batch of a restore deletes it.
const KEY: &[u8] = b"restore-begun";

/// What is kept of a restore while it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// The epoch that was to begin.
    epoch: u64,
    /// When it began, in milliseconds since 1970.
    unix_ms: u64,
    /// Whether caps bound nothing of what was lost.
    caps_void: bool,
}

impl Unfinished {
    /// A restore that has begun in a store and not ended.
    ///
    /// # Errors
    /// When the store can't be read.
    pub(super) fn read(store: &dyn Store) -> Result<Option<Self>, CoordinatorError> {
        let record = store.get(Table::Meta, KEY)?;
        Ok(record.map(|record| record.json()).transpose()?)
    }

    /// Makes durable that a restore begins, before it changes anything. What an earlier one that was cut off
    /// said of the caps holds for this one as well.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) async fn begin(
        store: &dyn Store,
        (epoch, unix_ms): (u64, u64),
        caps: Caps,
    ) -> Result<Caps, CoordinatorError> {
        let earlier = Self::read(store)?;
        let caps_void = caps == Caps::Void || earlier.is_some_and(|earlier| earlier.caps_void);
        let begun = Self {
            epoch,
            unix_ms,
            caps_void,
        };
        let mut batch = Batch::new();
        batch.put_json(Table::Meta, KEY, &begun, Expect::Any)?;
        store.commit(batch).await?;
        Ok(match caps_void {
            true => Caps::Void,
            false => Caps::Held,
        })
    }

    /// Adds to a batch that it has ended.
    pub(super) fn end(batch: &mut Batch) {
        batch.delete(Table::Meta, KEY, Expect::Any);
    }

    /// The state as a sentence with the remedy.
    pub(super) fn sentence() -> String {
        "stopped: a restore of this data folder was cut off, so some of its runs are ended and some devices \
         are charged, and others not: nothing is assigned, charged or released; run `tributary restore \
         --data DIR` again, which finishes it"
            .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::restore::restore_core;
    use super::super::{Gate, GuardedStore};
    use super::*;
    use crate::fixtures::{core_on, plain_spec, state};
    use crate::run::create_journal;
    use crate::store::{MemoryStore, StoreError};

    /// Lets so many commits through.
    struct Left(AtomicI64);

    impl Gate for Left {
        fn check(&self) -> Result<(), StoreError> {
            match self.0.fetch_sub(1, Ordering::SeqCst) {
                1.. => Ok(()),
                _ => Err(StoreError::Unavailable {
                    reason: "the process was killed".to_owned(),
                }),
            }
        }
    }

    #[tokio::test]
    async fn a_restore_that_is_cut_off_anywhere_halts_the_folder_until_it_is_repeated() {
        let mut halted = 0;
        for commits in 0..20 {
            let store = Arc::new(MemoryStore::new());
            let mut run = state(plain_spec());
            create_journal(&*core_on(store.clone()).await, &mut run)
                .await
                .unwrap();
            let left = Arc::new(Left(AtomicI64::new(i64::MAX)));
            let core = core_on(Arc::new(GuardedStore::new(store.clone(), left.clone()))).await;
            left.0.store(commits, Ordering::SeqCst);
            let is_done = restore_core(&core, Caps::Void).await.is_ok();
            let core = core_on(store.clone()).await;
            assert_eq!(core.halt.is_halted(), !is_done && commits > 0, "{commits}");
            if is_done {
                assert!(halted > 1, "it was cut off after {halted} commits");
                return;
            }
            if let Some(reason) = core.halt.reason() {
                assert!(reason.contains("was cut off"), "{reason}");
                assert!(reason.contains("tributary restore"), "{reason}");
                // what the first one said of the caps holds
                restore_core(&core, Caps::Held).await.unwrap();
                let core = core_on(store).await;
                assert!(!core.halt.is_halted());
                assert_eq!(core.caps_of_the_past().unwrap(), Caps::Void);
                halted += 1;
            }
        }
        panic!("it never ended");
    }
}
