//! The privacy ledger: what each device has spent, charged before anything is released.
//!
//! Charges are entries that are only ever added; what a device spent in an account changes in the
//! same commit that adds the entry and moves the round on. Amounts are integers in units of 1e-12 of
//! zCDP, so a sum does not depend on its order. Participation is decided by a schedule that does not
//! look at the data, so a device pays only for the rounds and windows that it is in, in the region
//! whose sum it is in; the guarantee that is printed is that of the device that spent most.
//!
//! - `charge`: an entry
//! - `books`: sums of entries, in memory
//! - `claim`: what may be said about a sum
//! - `accounts`: the statements
//!
//! | table | key | value |
//! |---|---|---|
//! | `Ledger` | account, kind, number, part | the entry |
//! | `DeviceAccounts` | account, kind, device | the device's spend there |
//! | `DeviceAccounts` | device | its region once it has moved; its spend of before spends were kept by account |

mod accounts;
mod books;
mod charge;
mod claim;
mod forfeit;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tributary_aggregator::{Mechanism, Rho};
use tributary_proto::{DeviceId, RegionId};

use self::books::{AccountKey, Books, Posting};
pub use self::charge::{Charge, ChargeKind, DeviceCharge, RegionCharge};
pub use self::claim::spend;
pub use self::forfeit::Forfeited;
use crate::CoordinatorError;
use crate::store::key::{Key, KeyReader};
use crate::store::{Batch, Expect, Store, Table};

/// What a device spent in an account, or before spends were kept by account; and its region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spend {
    pico_rho: u64,
    region: RegionId,
}

/// The ledger of one coordinator.
pub struct Ledger {
    store: Arc<dyn Store>,
    books: Mutex<Books>,
    charging: tokio::sync::Mutex<()>,
}

impl Ledger {
    /// Reads the ledger.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, CoordinatorError> {
        let mut books = Books::default();
        for row in store.records(Table::Ledger, b"") {
            let stored: charge::StoredCharge = row?.1.json()?;
            books.enter(&stored.into());
        }
        for row in store.records(Table::DeviceAccounts, b"") {
            let (key, record) = row?;
            let Spend { pico_rho, region } = record.json()?;
            match account_of(&key) {
                Some((account, device)) => {
                    let posting = Posting {
                        device,
                        region,
                        spent: pico_rho,
                    };
                    books.post(&account, posting);
                }
                None => {
                    let device = String::from_utf8_lossy(&key).into_owned();
                    books.settle(DeviceId::try_from(device)?, &region, pico_rho);
                }
            }
        }
        Ok(Self {
            store,
            books: Mutex::new(books),
            charging: tokio::sync::Mutex::new(()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the device can pay `pico_rho` without passing the cap.
    pub fn can_pay(&self, device: &DeviceId, pico_rho: u64, cap: Option<u64>) -> bool {
        let Some(cap) = cap else { return true };
        let total = self.lock().total(device).checked_add(pico_rho);
        total.is_some_and(|total| total <= cap)
    }

    /// All charges of an account for one kind, in units of 1e-12: what a device has spent that was
    /// charged the most every time.
    pub fn charged(&self, account: &str, kind: ChargeKind) -> u64 {
        let books = self.lock();
        books.account(account, kind).map_or(0, |book| book.charged)
    }

    /// Most that any device of the regions has spent, in units of 1e-12.
    pub fn worst_of(&self, regions: &[RegionId]) -> u64 {
        let books = self.lock();
        let worst = regions.iter().map(|region| books.worst_of(region));
        worst.max().unwrap_or(0)
    }

    /// Charges `devices`, each once and its own amount, committing `batch` (which moves the round or
    /// window on) in the same transaction. Nothing of a release may leave the process before this
    /// returns.
    ///
    /// # Errors
    /// When a device can't pay, when the charge is there already, or when the store refuses; then
    /// nobody has paid anything and `batch` has not taken effect.
    pub async fn charge(
        &self,
        charge: Charge,
        devices: &[DeviceCharge],
        mut batch: Batch,
    ) -> Result<(), CoordinatorError> {
        let _one_at_a_time = self.charging.lock().await;
        let account = (charge.account.clone(), charge.kind);
        let (charge, postings) = self.weigh(charge, &account, devices)?;
        let key = Key::new().text(&charge.account).text(charge.kind.name());
        let key = key.number(charge.number).number(charge.part);
        batch.put_json(Table::Ledger, key.into_bytes(), &charge, Expect::Absent)?;
        for posting in &postings {
            let spend = Spend {
                pico_rho: posting.spent,
                region: posting.region.clone(),
            };
            let key = spend_key(&account, &posting.device);
            batch.put_json(Table::DeviceAccounts, key, &spend, Expect::Any)?;
        }
        self.store.commit(batch).await?;
        let mut books = self.lock();
        books.enter(&charge);
        for posting in postings {
            books.post(&account, posting);
        }
        Ok(())
    }

    /// The entry with what depends on the devices, and what it does to each of them.
    fn weigh(
        &self,
        mut charge: Charge,
        account: &AccountKey,
        devices: &[DeviceCharge],
    ) -> Result<(Charge, Vec<Posting>), CoordinatorError> {
        let books = self.lock();
        let book = books.account(&charge.account, charge.kind);
        let before = book.map_or(0, |book| book.before);
        charge.worst_pico_rho = book.map_or(0, |book| book.worst);
        charge.devices = devices.len() as u64;
        (charge.pico_rho, charge.regions) = (0, Vec::new());
        let mut postings = Vec::with_capacity(devices.len());
        for one in devices {
            let posting = books.posting(account, one);
            let total = books.total(&one.device).saturating_add(one.pico_rho);
            if charge.cap_pico_rho > 0 && total > charge.cap_pico_rho {
                return Err(past_the_cap(charge.kind, one.pico_rho));
            }
            let spent = posting.spent.saturating_add(before);
            charge.pico_rho = charge.pico_rho.max(one.pico_rho);
            charge.worst_pico_rho = charge.worst_pico_rho.max(spent);
            let known = charge.regions.iter().position(|at| at.region == one.region);
            let known = known.unwrap_or_else(|| {
                let worst = book.and_then(|book| book.worst_by_region.get(&one.region));
                charge.regions.push(RegionCharge {
                    region: one.region.clone(),
                    devices: 0,
                    worst_pico_rho: worst.copied().unwrap_or(0),
                });
                charge.regions.len() - 1
            });
            let at = &mut charge.regions[known];
            at.devices += 1;
            at.worst_pico_rho = at.worst_pico_rho.max(spent);
            postings.push(posting);
        }
        charge.regions.sort_by(|a, b| a.region.cmp(&b.region));
        let mut charged = devices.iter().map(|one| &one.device);
        if charge.mechanism.is_private() && books.is_marked(&mut charged) {
            charge.mechanism = Mechanism::RestoredNotPrivate;
        }
        Ok((charge, postings))
    }

    /// Takes a device's account along to another region, committing `batch` in the same transaction.
    ///
    /// # Errors
    /// When the store refuses; then nothing has moved.
    pub async fn relocate(
        &self,
        device: &DeviceId,
        region: &RegionId,
        mut batch: Batch,
    ) -> Result<(), CoordinatorError> {
        let _one_at_a_time = self.charging.lock().await;
        let before = self
            .lock()
            .devices
            .get(device)
            .map_or(0, |book| book.before);
        let spend = Spend {
            pico_rho: before,
            region: region.clone(),
        };
        batch.put_json(Table::DeviceAccounts, device.as_str(), &spend, Expect::Any)?;
        self.store.commit(batch).await?;
        self.lock().settle(device.clone(), region, before);
        Ok(())
    }
}

fn past_the_cap(kind: ChargeKind, pico_rho: u64) -> CoordinatorError {
    CoordinatorError::Budget(format!(
        "a {} charge of rho {} would pass the cap of a device: raise privacy.epsilon or plan less",
        kind.name(),
        Rho::from_pico(pico_rho)
    ))
}

/// Ids hold no zero byte, so that no device's own key is one of these.
fn spend_key((account, kind): &AccountKey, device: &DeviceId) -> Key {
    let key = Key::new().text(account).text(kind.name());
    key.text(device.as_str())
}

/// What a key of [`spend_key`] stands for; nothing if it is a device's own.
fn account_of(key: &[u8]) -> Option<(AccountKey, DeviceId)> {
    let mut reader = KeyReader::new(key);
    let (account, kind, device) = (reader.text()?, reader.text()?, reader.text()?);
    let kind = ChargeKind::ALL
        .into_iter()
        .find(|known| known.name() == kind)?;
    let device = DeviceId::try_from(device).ok()?;
    reader.is_at_end().then_some(((account, kind), device))
}

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;
