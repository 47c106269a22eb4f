//! A device that moves to another region takes its account, and the caps that it was under, along.

use tributary_proto::{DeviceId, RegionId};

use super::{Ledger, Spend, lock};
use crate::CoordinatorError;
use crate::commit_then::commit_then;
use tributary_store::{Batch, Expect, Table};

impl Ledger {
    /// Takes a device's account, and the caps that it was under, along from one region to another,
    /// committing `batch` in the same transaction. `then` takes into memory what else is durable then.
    ///
    /// # Errors
    /// When the store refuses; then nothing has moved.
    pub async fn relocate(
        &self,
        device: &DeviceId,
        (from, to): (&RegionId, &RegionId),
        mut batch: Batch,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<(), CoordinatorError> {
        let turn = self.charging.clone().lock_owned().await;
        let (before, past) = {
            let books = self.lock();
            let before = books.devices.get(device).map_or(0, |book| book.before);
            (before, books.leaving(device, from))
        };
        let spend = Spend {
            pico_rho: before,
            region: to.clone(),
            past,
        };
        batch.put_json(Table::DeviceAccounts, device.as_str(), &spend, Expect::Any)?;
        let (books, device, to) = (self.books.clone(), device.clone(), to.clone());
        let settle = move || {
            let _one_at_a_time = turn;
            lock(&books).settle(device, &to, before, &spend.past);
            then();
        };
        commit_then("moving a device", self.store.commit(batch), settle).await
    }
}
