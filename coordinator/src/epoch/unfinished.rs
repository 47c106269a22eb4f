//! A restore that has begun and has not ended: until it has, nothing in the folder can be trusted.

use serde::{Deserialize, Serialize};

use crate::CoordinatorError;
use crate::ledger::PastCaps;
use tributary_store::{Batch, Expect, Store, Table};

/// Where it is kept; the last batch of a restore deletes it.
const KEY: &[u8] = b"restore-begun";

/// What is kept of a restore while it lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unfinished {
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
    pub(crate) fn read(store: &dyn Store) -> Result<Option<Self>, CoordinatorError> {
        let record = store.get(Table::Meta, KEY)?;
        Ok(record.map(|record| record.json()).transpose()?)
    }

    /// Makes durable that a restore begins, before it changes anything. What an earlier one that was cut off
    /// said of the caps holds for this one as well.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) async fn begin(
        store: &dyn Store,
        (epoch, unix_ms): (u64, u64),
        caps: PastCaps,
    ) -> Result<PastCaps, CoordinatorError> {
        let earlier = Self::read(store)?;
        let caps_void = caps == PastCaps::Void || earlier.is_some_and(|earlier| earlier.caps_void);
        let begun = Self {
            epoch,
            unix_ms,
            caps_void,
        };
        let mut batch = Batch::new();
        batch.put_json(Table::Meta, KEY, &begun, Expect::Any)?;
        store.commit(batch).await?;
        Ok(match caps_void {
            true => PastCaps::Void,
            false => PastCaps::Held,
        })
    }

    /// Adds to a batch that it has ended.
    pub(crate) fn end(batch: &mut Batch) {
        batch.delete(Table::Meta, KEY, Expect::Any);
    }

    /// The state as a sentence with the remedy.
    pub(crate) fn sentence() -> String {
        "stopped: a restore of this data folder was cut off, so some of its runs are ended and some devices \
         are charged, and others not: nothing is assigned, charged or released; run `tributary restore \
         --data DIR` again, which finishes it"
            .to_owned()
    }
}
