//! The privacy ledger: what each device has spent, charged before anything is released.
//!
//! Charges are entries that are only ever added; what a device spent in an account changes in the
//! same commit that adds the entry and moves the round on. Amounts are integers in units of 1e-12 of
//! zCDP, so a sum does not depend on its order. Participation is decided by a schedule that does not
//! look at the data, so a device pays only for the rounds and windows that it is in, in the region
//! whose sum it is in; the guarantee that is printed is that of the device that spent most.
//!
//! - `charge`: an entry; `total`, `add_up`: older entries of a monitor's windows, added up
//! - `state`: sums of entries, in memory
//! - `guarantee`: what may be said about a sum; `accounts`: the statements
//! - `caps`: the most that a device may lose; `reservation`: what was set aside for charges to come;
//!   `bounds`, `headroom`: what both leave
//! - `change`, `decision`: changes of these terms; `decide`: who may make them, and how; `terms`: on disk
//! - `exposure`: what is charged without noise, on devices under a cap
//! - `rounds`: which rounds of a run were charged
//! - `hold`: the ledger while nobody charges
//! - `relocation`: a device that moves to another region
//! - `forfeit`: what is charged to devices whose spending was lost
//!
//! | table | key | value |
//! |---|---|---|
//! | `Ledger` | account, kind, number, part | the entry |
//! | `Ledger` | account, kind | the sum of its older entries |
//! | `DeviceAccounts` | account, kind, device | the device's spend there |
//! | `DeviceAccounts` | device | its region once it has moved, and those that it left; its spend of before spends were kept by account |

mod accounts;
mod add_up;
mod bounds;
mod caps;
mod change;
mod charge;
mod decide;
mod decision;
mod exposure;
mod forfeit;
mod guarantee;
mod headroom;
mod hold;
mod relocation;
mod reservation;
mod rounds;
mod spend_key;
mod state;
mod terms;
mod total;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tributary_privacy::{Mechanism, Rho};
use tributary_proto::{DeviceId, RegionId};

pub use self::caps::{ALL_CHARGES, Cap, Exposure};
pub use self::change::Change;
use self::charge::AccountKey;
pub use self::charge::{Charge, ChargeKind, DeviceCharge, RegionCharge};
pub use self::decide::{check_reason, permit};
pub use self::decision::{Decision, DecisionKind};
pub use self::forfeit::{Forfeited, PastCaps};
pub use self::guarantee::spend;
pub use self::headroom::Headroom;
pub use self::hold::Hold;
use self::reservation::ChargeRefusal;
pub use self::reservation::{Part, Reservation};
use self::spend_key::{account_of, spend_key};
use self::state::{LedgerState, Left, Posting};
use crate::CoordinatorError;
use tributary_store::key::Key;
use tributary_store::{Batch, Expect, Store, StoreError, Table};

/// What a device spent in an account, or before spends were kept by account; and its region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spend {
    pico_rho: u64,
    region: RegionId,
    /// Regions that it left, in a device's own record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<Left>,
}

/// The ledger of one coordinator.
pub struct Ledger {
    store: Arc<dyn Store>,
    books: Arc<Mutex<LedgerState>>,
    charging: Arc<tokio::sync::Mutex<()>>,
    /// One after the other: each takes the next number and all that is left.
    forfeiting: tokio::sync::Mutex<()>,
}

impl Ledger {
    /// Reads the ledger.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, CoordinatorError> {
        let mut books = LedgerState::default();
        for row in store.records(Table::Ledger, b"") {
            let (key, record) = row?;
            if total::is_total(&key) {
                books.enter_total(&record.json()?);
                continue;
            }
            books.enter(&record.json::<charge::StoredCharge>()?.into());
        }
        for row in store.records(Table::DeviceAccounts, b"") {
            let (key, record) = row?;
            let Spend {
                pico_rho,
                region,
                past,
            } = record.json()?;
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
                    books.settle(DeviceId::try_from(device)?, &region, pico_rho, &past);
                }
            }
        }
        terms::read(&*store, &mut books)?;
        Ok(Self {
            store,
            books: Arc::new(Mutex::new(books)),
            charging: Arc::default(),
            forfeiting: tokio::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, LedgerState> {
        lock(&self.books)
    }

    /// True when a device of `region` can be charged `pico_rho` in an account: neither a cap nor what was
    /// reserved for the account would be passed.
    pub fn can_pay(
        &self,
        device: &DeviceId,
        region: &RegionId,
        (account, kind): (&str, ChargeKind),
        pico_rho: u64,
    ) -> bool {
        let books = self.lock();
        let book = books.devices.get(device);
        let account = (account.to_owned(), kind);
        books.refusal(&account, book, region, pico_rho).is_none()
    }

    /// The least cap of a device of `region`, in units of 1e-12; none when there is none.
    pub fn cap_of(&self, device: &DeviceId, region: &RegionId) -> Option<u64> {
        let books = self.lock();
        books.cap_of(books.devices.get(device), region)
    }

    /// True when somebody let the run do without privacy on devices under a cap.
    pub fn is_permitted(&self, run: &str) -> bool {
        self.permission(run).is_some()
    }

    /// Why the run may do without privacy on devices under a cap.
    pub fn permission(&self, run: &str) -> Option<String> {
        self.lock().permission(run).map(str::to_owned)
    }

    /// True when no cap of a device of `region` is in the way of what a run lets be seen of it.
    pub fn may_expose(&self, device: &DeviceId, region: &RegionId, exposure: Exposure) -> bool {
        let books = self.lock();
        books.may_expose(books.devices.get(device), region, exposure)
    }

    /// The caps of devices in `regions` that are in the way of what a run lets be seen of them.
    pub fn caps_in_the_way(&self, regions: &[RegionId], exposure: Exposure) -> Vec<Cap> {
        let books = self.lock();
        let caps = regions.iter().flat_map(|region| books.caps.binding(region));
        caps.filter(|cap| exposure.breaks(cap)).cloned().collect()
    }

    /// The reservation of a run.
    pub fn reservation(&self, run: &str) -> Option<Reservation> {
        self.lock().reservations.get(run).cloned()
    }

    /// All reservations, by run.
    pub fn reservations(&self) -> Vec<Reservation> {
        self.lock().reservations.values().cloned().collect()
    }

    /// All caps; the region is none for the cap of all devices.
    pub fn caps(&self) -> Vec<(Option<RegionId>, Cap)> {
        let books = self.lock();
        let caps = books.caps.iter();
        caps.map(|(scope, cap)| (scope.clone(), cap.clone()))
            .collect()
    }

    /// The newest decisions, oldest first.
    pub fn decisions(&self, most: usize) -> Vec<Decision> {
        let books = self.lock();
        let first = books.decisions.len().saturating_sub(most);
        books.decisions[first..].to_vec()
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
    /// When a device can't pay, when its cap is in the way of a charge without noise, when the charge is
    /// there already, or when the store refuses; then nobody has paid anything and `batch` has not taken
    /// effect.
    pub async fn charge(
        &self,
        charge: Charge,
        devices: &[DeviceCharge],
        batch: Batch,
    ) -> Result<(), CoordinatorError> {
        self.charge_with(charge, devices, |_| Ok(batch)).await
    }

    /// The same with a batch that depends on what the charge may say of its release: with a device whose
    /// spending was lost in it, it is not private.
    ///
    /// # Errors
    /// As [`Ledger::charge`], or of `batch`.
    pub async fn charge_with(
        &self,
        charge: Charge,
        devices: &[DeviceCharge],
        batch: impl FnOnce(Mechanism) -> Result<Batch, CoordinatorError>,
    ) -> Result<(), CoordinatorError> {
        let turn = self.charging.clone().lock_owned().await;
        let account = (charge.account.clone(), charge.kind);
        let (charge, postings) = self.weigh(charge, &account, devices)?;
        let mut batch = batch(charge.mechanism)?;
        let key = Key::new().text(&charge.account).text(charge.kind.name());
        let key = key.number(charge.number).number(charge.part).into_bytes();
        self.check_new(&charge, &key)?;
        batch.put_json(Table::Ledger, key, &charge, Expect::Absent)?;
        for posting in &postings {
            let spend = Spend {
                pico_rho: posting.spent,
                region: posting.region.clone(),
                past: Vec::new(),
            };
            let key = spend_key(&account, &posting.device);
            batch.put_json(Table::DeviceAccounts, key, &spend, Expect::Any)?;
        }
        let (commit, books) = (self.store.commit(batch), self.books.clone());
        let store = self.store.clone();
        // a task of its own: whoever goes away meanwhile must not leave out of the books what is on disk
        let charging = tokio::spawn(async move {
            let _one_at_a_time = turn;
            commit.await?;
            {
                let mut books = lock(&books);
                books.enter(&charge);
                for posting in postings {
                    books.post(&account, posting);
                }
            }
            // the charge is made, whatever becomes of this; the next one tries again
            if let Err(error) = add_up::add_up(&*store, &books, &account, charge.number).await {
                tracing::warn!(account = account.0, %error, "older entries stay one by one");
            }
            Ok(())
        });
        charging
            .await
            .map_err(|error| CoordinatorError::of_task("a charge", &error))?
    }

    /// Refuses an entry like that of one which was added up: it is not there any more, but it was charged.
    fn check_new(&self, charge: &Charge, key: &[u8]) -> Result<(), StoreError> {
        let books = self.lock();
        let book = books.account(&charge.account, charge.kind);
        match book.is_some_and(|book| Some(charge.number) <= book.added_to) {
            false => Ok(()),
            true => Err(StoreError::Conflict {
                table: Table::Ledger,
                key: key.to_vec(),
                expected: Expect::Absent,
                found: None,
            }),
        }
    }

    /// The entry with what depends on the devices, and what it does to each of them.
    fn weigh(
        &self,
        mut charge: Charge,
        account: &AccountKey,
        devices: &[DeviceCharge],
    ) -> Result<(Charge, Vec<Posting>), CoordinatorError> {
        let books = self.lock();
        books.check_exposed(&charge, devices)?;
        let book = books.account(&charge.account, charge.kind);
        let before = book.map_or(0, |book| book.before);
        charge.worst_pico_rho = book.map_or(0, |book| book.worst);
        charge.devices = devices.len() as u64;
        (charge.pico_rho, charge.regions) = (0, Vec::new());
        charge.cap_pico_rho = 0;
        let mut postings = Vec::with_capacity(devices.len());
        for one in devices {
            let posting = books.posting(account, one);
            let known = books.devices.get(&one.device);
            if let Some(refusal) = books.refusal(account, known, &one.region, one.pico_rho) {
                return Err(refused(refusal, charge.kind, one.pico_rho));
            }
            let least = Some(charge.cap_pico_rho).filter(|cap| *cap > 0);
            let cap = books.cap_of(known, &one.region);
            charge.cap_pico_rho = least.into_iter().chain(cap).min().unwrap_or(0);
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
}

fn lock(books: &Mutex<LedgerState>) -> MutexGuard<'_, LedgerState> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(refusal: ChargeRefusal, kind: ChargeKind, pico_rho: u64) -> CoordinatorError {
    let (what, remedy) = match refusal {
        ChargeRefusal::Cap => (
            "the cap of a device",
            "plan less, or raise it with `tributary privacy cap --epsilon E --delta D --raise --reason TEXT`",
        ),
        ChargeRefusal::Reservation => (
            "what was reserved for it",
            "start a new run, which reserves anew",
        ),
    };
    CoordinatorError::Budget(format!(
        "a {} charge of rho {} would pass {what}: {remedy}",
        kind.name(),
        Rho::from_pico(pico_rho)
    ))
}

#[cfg(test)]
mod account_tests;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod tests;
