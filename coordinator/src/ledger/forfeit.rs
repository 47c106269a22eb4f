//! What a device loses when nobody knows any more what it has spent.
//!
//! After a data folder was put back from a copy the ledger holds too little. A device under a cap is
//! charged all that its cap leaves: it has spent no more unless a cap was raised, or a run without privacy
//! allowed, after the copy was made. One without a cap, or any where that may have been, is marked, and from
//! then on nothing that it is in counts as private.

use tributary_privacy::Mechanism;
use tributary_proto::{DeviceId, RegionId};

use super::state::{DeviceState, LedgerState};
use super::{Charge, ChargeKind, DeviceCharge, Ledger};
use crate::CoordinatorError;
use tributary_store::key::Key;
use tributary_store::{Batch, Table};

/// The account of devices that were charged all that their cap left.
const CHARGED: &str = "restore";
/// The account of devices that were marked.
const MARKED: &str = "restore-uncapped";
/// Devices in one commit.
const DEVICES_PER_CHARGE: usize = 8_000;

/// What an operator knows of the time between the copy and its return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastCaps {
    /// No cap was raised, and no run without privacy was allowed: a device has spent no more than the cap
    /// that the copy knows.
    Held,
    /// One was, or nobody knows: nothing bounds what devices have spent.
    Void,
}

/// How many devices lost what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forfeited {
    /// Charged all that their cap left.
    pub charged: u64,
    /// Marked, for no cap bounds what they have spent.
    pub marked: u64,
}

impl Ledger {
    /// Charges or marks devices whose spending was lost, in epoch `epoch`. Doing it twice is harmless.
    ///
    /// # Errors
    /// When the store refuses; then some may be charged, and it can be repeated.
    pub async fn forfeit(
        &self,
        devices: &[(DeviceId, RegionId)],
        caps: PastCaps,
        epoch: u64,
        now_ms: u64,
    ) -> Result<Forfeited, CoordinatorError> {
        let _one_at_a_time = self.forfeiting.lock().await;
        let (mut charged, mut marked) = (Vec::new(), Vec::new());
        for (device, region) in devices {
            let left = match caps {
                PastCaps::Held => self.left_of(device, region),
                PastCaps::Void => None,
            };
            let pays = DeviceCharge {
                device: device.clone(),
                region: region.clone(),
                pico_rho: left.unwrap_or(0),
            };
            match left {
                Some(_) => charged.push(pays),
                None => marked.push(pays),
            }
        }
        let discrete = Mechanism::DiscreteGaussian;
        for (account, mechanism, all) in [
            (CHARGED, discrete, &charged),
            (MARKED, Mechanism::RestoredNotPrivate, &marked),
        ] {
            for some in all.chunks(DEVICES_PER_CHARGE) {
                let kind = ChargeKind::Restore;
                let charge = Charge {
                    part: self.forfeits(account, epoch)?,
                    mechanism,
                    unix_ms: now_ms,
                    ..Charge::new(account, kind, epoch)
                };
                self.charge(charge, some, Batch::new()).await?;
            }
        }
        Ok(Forfeited {
            charged: charged.len() as u64,
            marked: marked.len() as u64,
        })
    }

    /// True when the device was charged or marked because of a restore.
    pub fn is_forfeited(&self, device: &DeviceId) -> bool {
        let books = self.lock();
        let Some(book) = books.devices.get(device) else {
            return false;
        };
        let mut places = [CHARGED, MARKED].into_iter();
        places.any(|account| {
            let place = books.place_of(account);
            place.is_some_and(|place| is_in(book, place))
        })
    }

    /// True when a device was charged in an account for one of these kinds.
    pub fn was_charged(&self, device: &DeviceId, account: &str, kinds: &[ChargeKind]) -> bool {
        let books = self.lock();
        let Some(book) = books.devices.get(device) else {
            return false;
        };
        let mut kinds = kinds.iter();
        kinds.any(|kind| {
            let place = books.account_place(&(account.to_owned(), *kind));
            place.is_some_and(|place| is_in(book, place))
        })
    }

    /// True when a device of one of the regions is marked.
    pub fn has_marked(&self, regions: &[RegionId]) -> bool {
        let books = self.lock();
        let Some(place) = books.place_of(MARKED) else {
            return false;
        };
        books.devices.values().any(|book| {
            let at = books.regions.get(book.region as usize);
            at.is_some_and(|at| regions.contains(&at.region)) && is_in(book, place)
        })
    }

    /// True when one of these devices is marked.
    pub fn is_any_marked<'d>(&self, devices: impl Iterator<Item = &'d DeviceId>) -> bool {
        self.lock().is_marked(devices)
    }

    /// Entries that there are of an account in an epoch.
    fn forfeits(&self, account: &str, epoch: u64) -> Result<u64, CoordinatorError> {
        let prefix = Key::new().text(account).text(ChargeKind::Restore.name());
        let prefix = prefix.number(epoch).into_bytes();
        let mut entries = 0;
        for row in self.store.records(Table::Ledger, &prefix) {
            row?;
            entries += 1;
        }
        Ok(entries)
    }

    /// What the least cap of a device leaves; none without a cap.
    fn left_of(&self, device: &DeviceId, region: &RegionId) -> Option<u64> {
        let books = self.lock();
        let spent = books.devices.get(device).map_or(0, |book| book.total);
        let cap = books.cap_of(books.devices.get(device), region)?;
        Some(cap.saturating_sub(spent))
    }
}

impl LedgerState {
    /// Whether one of these devices is marked.
    pub(super) fn is_marked<'d>(&self, mut devices: impl Iterator<Item = &'d DeviceId>) -> bool {
        let Some(place) = self.place_of(MARKED) else {
            return false;
        };
        devices.any(|device| {
            let book = self.devices.get(device);
            book.is_some_and(|book| is_in(book, place))
        })
    }

    fn place_of(&self, account: &str) -> Option<u32> {
        let mut accounts = self.accounts.iter();
        let place =
            accounts.position(|book| book.key.0 == account && book.key.1 == ChargeKind::Restore)?;
        u32::try_from(place).ok()
    }
}

fn is_in(book: &DeviceState, place: u32) -> bool {
    book.spends.iter().any(|(account, _)| *account == place)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{device, region};
    use crate::ledger::{Cap, Change};
    use tributary_store::MemoryStore;

    fn pays(number: usize, pico_rho: u64) -> DeviceCharge {
        DeviceCharge {
            device: device(number),
            region: region("eu"),
            pico_rho,
        }
    }

    async fn cap_region(ledger: &Ledger, name: &str, pico_rho: u64) {
        let cap = Cap {
            pico_rho,
            ..Cap::new(8.0, 1e-5).unwrap()
        };
        let changes = vec![Change::Cap(Some(region(name)), cap)];
        let hold = ledger.hold().await;
        hold.commit(changes, Batch::new()).await.unwrap();
    }

    #[tokio::test]
    async fn after_a_loss_caps_are_full_and_who_has_none_is_marked_in_every_later_charge() {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::open(store.clone()).unwrap();
        let charge = |account: &str| Charge::new(account, ChargeKind::Training, 1);
        let at_cap = DeviceCharge {
            region: region("capped"),
            ..pays(1, 30)
        };
        let (capped, free) = ([at_cap], [pays(2, 30)]);
        cap_region(&ledger, "capped", 100).await;
        let none = Batch::new;
        ledger.charge(charge("a-1"), &capped, none()).await.unwrap();
        ledger.charge(charge("b-1"), &free, none()).await.unwrap();
        let all: Vec<_> = [(1, "capped"), (2, "eu"), (3, "eu")]
            .map(|(number, home)| (device(number), region(home)))
            .into();
        for again in 0..2 {
            let forfeited = ledger
                .forfeit(&all, PastCaps::Held, 7 + again, 1)
                .await
                .unwrap();
            assert_eq!((forfeited.charged, forfeited.marked), (1, 2));
        }
        let ledger = Ledger::open(store).unwrap();
        let draw = ("e-1", ChargeKind::Training);
        let can_pay = ledger.can_pay(&device(1), &region("capped"), draw, 1);
        assert!(!can_pay, "the cap is full");
        assert!(all.iter().all(|(device, _)| ledger.is_forfeited(device)));
        assert!(ledger.has_marked(&[region("eu")]) && !ledger.has_marked(&[region("us")]));
        ledger
            .charge(charge("c-1"), &[pays(2, 5)], none())
            .await
            .unwrap();
        ledger
            .charge(charge("d-1"), &[pays(4, 5)], none())
            .await
            .unwrap();
        let accounts = ledger.accounts(None, |_| 1e-5);
        let is_private = |id: &str| {
            let account = accounts.iter().find(|account| account.id == id).unwrap();
            !account.spend.as_ref().unwrap().not_private
        };
        assert!(!is_private("c-1"), "a marked device is in it");
        assert!(is_private("d-1") && is_private("a-1") && is_private("restore"));
    }

    #[tokio::test]
    async fn where_caps_were_changed_since_the_copy_they_bound_nothing() {
        let ledger = Ledger::open(Arc::new(MemoryStore::new())).unwrap();
        cap_region(&ledger, "capped", 100).await;
        let all = [(device(1), region("capped"))];
        // also when it was said too late
        for (caps, epoch, expected) in [(PastCaps::Held, 7, (1, 0)), (PastCaps::Void, 8, (0, 1))] {
            let forfeited = ledger.forfeit(&all, caps, epoch, 1).await.unwrap();
            assert_eq!((forfeited.charged, forfeited.marked), expected);
        }
        assert!(ledger.has_marked(&[region("capped")]));
    }

    #[tokio::test]
    async fn devices_that_come_late_together_are_all_marked() {
        let ledger = Ledger::open(Arc::new(MemoryStore::new())).unwrap();
        let late: Vec<_> = (0..8)
            .map(|number| [(device(number), region("eu"))])
            .collect();
        let forfeits = late
            .iter()
            .map(|one| ledger.forfeit(one, PastCaps::Held, 7, 1));
        for forfeited in futures::future::join_all(forfeits).await {
            assert_eq!(forfeited.unwrap().marked, 1);
        }
        assert!(late.iter().all(|[(device, _)]| ledger.is_forfeited(device)));
    }
}
