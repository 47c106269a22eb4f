//! A restore that is cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::restore::restore_core;
use crate::epoch::{Gate, GuardedStore};
use crate::fixtures::{core_on, plain_spec, state};
use crate::ledger::PastCaps;
use crate::run::create_journal;
use tributary_store::{MemoryStore, StoreError};

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
        let is_done = restore_core(&core, PastCaps::Void).await.is_ok();
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
            restore_core(&core, PastCaps::Held).await.unwrap();
            let core = core_on(store).await;
            assert!(!core.halt.is_halted());
            assert_eq!(core.caps_of_the_past().unwrap(), PastCaps::Void);
            halted += 1;
        }
    }
    panic!("it never ended");
}
