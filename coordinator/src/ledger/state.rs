//! The ledger in memory: what each device spent in each account, and the sums that are asked for.
//!
//! Entries themselves stay in the store. Sums of accounts and regions follow each charge and move, so
//! that no question walks through all entries or all devices.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tributary_proto::{DeviceId, RegionId};

use super::caps::Caps;
use super::charge::{AccountKey, Charge, ChargeKind, DeviceCharge};
use super::decision::Decision;
use super::guarantee::Guarantee;
use super::reservation::Reservation;
use super::total::{Total, is_added_up};

/// The devices of one region.
pub(super) struct RegionState {
    pub(super) region: RegionId,
    /// How many of its devices have spent each total.
    totals: BTreeMap<u64, u64>,
}

impl RegionState {
    /// Most that one of its devices spent over everything; nothing without devices.
    pub(super) fn worst(&self) -> Option<u64> {
        self.totals.last_key_value().map(|(total, _)| *total)
    }

    fn arrive(&mut self, total: u64) {
        *self.totals.entry(total).or_default() += 1;
    }

    fn leave(&mut self, total: u64) {
        if let Some(devices) = self.totals.get_mut(&total) {
            *devices -= 1;
            if *devices == 0 {
                self.totals.remove(&total);
            }
        }
    }
}

/// One device.
pub(super) struct DeviceState {
    /// Its place in [`LedgerState::regions`].
    pub(super) region: u32,
    /// Spent over everything.
    pub(super) total: u64,
    /// Of it, spent when only totals were kept.
    pub(super) before: u64,
    /// Place in [`LedgerState::accounts`] and spend there.
    pub(super) spends: Vec<(u32, u64)>,
    /// Regions that it left, and the cap that bound it in each when it did.
    pub(super) past: Vec<(u32, u64)>,
}

impl DeviceState {
    pub(super) fn spent_in(&self, account: u32) -> u64 {
        let mine = self.spends.iter().find(|(known, _)| *known == account);
        mine.map_or(0, |(_, spent)| *spent)
    }
}

/// One run's or monitor's account.
pub(super) struct AccountState {
    pub(super) key: AccountKey,
    pub(super) charges: u64,
    /// Sum of the largest amounts of all charges.
    pub(super) charged: u64,
    pub(super) worst: u64,
    /// Most that a device can have spent here when only totals were kept.
    pub(super) before: u64,
    /// True when there are entries of that time.
    pub(super) is_without_spends: bool,
    /// The worst device of those charged in each region.
    pub(super) worst_by_region: BTreeMap<RegionId, u64>,
    pub(super) claim: Guarantee,
    /// When the first charge was made.
    pub(super) first_ms: u64,
    /// The newest number that was charged.
    pub(super) newest: u64,
    /// Entries that are there one by one and may be added up.
    pub(super) entries: u64,
    /// The newest number that was added up.
    pub(super) added_to: Option<u64>,
}

/// A region that a device left, and the cap that bound it there, in units of 1e-12 of zCDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    pub(super) region: RegionId,
    pub(super) pico_rho: u64,
}

/// What a charge does to one device.
pub(super) struct Posting {
    pub(super) device: DeviceId,
    pub(super) region: RegionId,
    /// Spend in the account of the charge, after it.
    pub(super) spent: u64,
}

/// All of it.
#[derive(Default)]
pub(super) struct LedgerState {
    pub(super) devices: HashMap<DeviceId, DeviceState>,
    pub(super) accounts: Vec<AccountState>,
    by_key: HashMap<AccountKey, u32>,
    pub(super) regions: Vec<RegionState>,
    by_region: HashMap<RegionId, u32>,
    pub(super) caps: Caps,
    pub(super) reservations: BTreeMap<String, Reservation>,
    /// The reservation and the name of the part that an account draws on.
    pub(super) draws: HashMap<AccountKey, (String, String)>,
    /// Oldest first.
    pub(super) decisions: Vec<Decision>,
}

impl LedgerState {
    pub(super) fn account(&self, account: &str, kind: ChargeKind) -> Option<&AccountState> {
        let index = self.by_key.get(&(account.to_owned(), kind))?;
        self.accounts.get(*index as usize)
    }

    /// The place of an account that was charged.
    pub(super) fn account_place(&self, account: &AccountKey) -> Option<u32> {
        self.by_key.get(account).copied()
    }

    /// Where a device is.
    pub(super) fn region_of(&self, book: &DeviceState) -> Option<&RegionId> {
        self.regions.get(book.region as usize).map(|at| &at.region)
    }

    /// Spent over everything.
    #[cfg(test)]
    pub(super) fn total(&self, device: &DeviceId) -> u64 {
        self.devices.get(device).map_or(0, |book| book.total)
    }

    /// Most that a device of the region spent over everything.
    pub(super) fn worst_of(&self, region: &RegionId) -> u64 {
        let index = self.by_region.get(region);
        let book = index.and_then(|index| self.regions.get(*index as usize));
        book.and_then(RegionState::worst).unwrap_or(0)
    }

    /// What `pico_rho` more in an account would make of a device. It stays in the region that it is
    /// known to be in, whatever region's sum it pays for.
    pub(super) fn posting(&self, key: &AccountKey, charge: &DeviceCharge) -> Posting {
        let book = self.devices.get(&charge.device);
        let account = self.by_key.get(key);
        let spent = book
            .zip(account)
            .map_or(0, |(book, index)| book.spent_in(*index));
        let at = book.and_then(|book| self.regions.get(book.region as usize));
        Posting {
            device: charge.device.clone(),
            region: at.map_or(&charge.region, |at| &at.region).clone(),
            spent: spent.saturating_add(charge.pico_rho),
        }
    }

    /// Takes an entry in.
    pub(super) fn enter(&mut self, charge: &Charge) {
        let index = self.account_index((charge.account.clone(), charge.kind));
        let Some(book) = self.accounts.get_mut(index as usize) else {
            return;
        };
        book.charges += 1;
        book.newest = book.newest.max(charge.number);
        book.entries += u64::from(is_added_up(charge));
        book.charged = book.charged.saturating_add(charge.pico_rho);
        book.worst = book.worst.max(charge.worst_pico_rho);
        if charge.is_without_spends() {
            book.before = book.before.max(charge.worst_pico_rho);
            book.is_without_spends = true;
        }
        for region in &charge.regions {
            let worst = book
                .worst_by_region
                .entry(region.region.clone())
                .or_default();
            *worst = (*worst).max(region.worst_pico_rho);
        }
        book.claim
            .add(charge.mechanism, charge.adjacency, charge.has_votes);
        book.first_ms = book.first_ms.min(charge.unix_ms);
    }

    /// Takes the sum of an account's older entries in.
    pub(super) fn enter_total(&mut self, total: &Total) {
        let index = self.account_index((total.account.clone(), total.kind));
        let Some(book) = self.accounts.get_mut(index as usize) else {
            return;
        };
        book.charges += total.charges;
        book.newest = book.newest.max(total.last);
        book.charged = book.charged.saturating_add(total.pico_rho);
        book.worst = book.worst.max(total.worst_pico_rho);
        for region in &total.regions {
            let worst = book.worst_by_region.entry(region.region.clone());
            let worst = worst.or_default();
            *worst = (*worst).max(region.worst_pico_rho);
        }
        for (mechanism, adjacency, has_votes) in &total.said {
            book.claim.add(*mechanism, *adjacency, *has_votes);
        }
        book.first_ms = book.first_ms.min(total.first_ms);
        book.added_to = book.added_to.max(Some(total.last));
    }

    /// Notes that so many entries of an account, up to this number, were added up.
    pub(super) fn added_up(&mut self, key: &AccountKey, entries: u64, to: u64) {
        let index = self.account_index(key.clone());
        if let Some(book) = self.accounts.get_mut(index as usize) {
            book.entries = book.entries.saturating_sub(entries);
            book.added_to = book.added_to.max(Some(to));
        }
    }

    /// Sets what a device spent in an account.
    pub(super) fn post(&mut self, key: &AccountKey, posting: Posting) {
        let account = self.account_index(key.clone());
        self.edit(posting.device, &posting.region, |book| {
            match book.spends.iter_mut().find(|(known, _)| *known == account) {
                Some((_, spent)) => *spent = posting.spent,
                None => book.spends.push((account, posting.spent)),
            }
        });
    }

    /// Sets what a device spent when only totals were kept, where it is, and the regions that it left.
    pub(super) fn settle(
        &mut self,
        device: DeviceId,
        region: &RegionId,
        before: u64,
        past: &[Left],
    ) {
        let index = self.region_index(region);
        let past = past
            .iter()
            .map(|left| (self.region_index(&left.region), left.pico_rho));
        let past: Vec<(u32, u64)> = past.collect();
        self.edit(device, region, |book| {
            (book.before, book.region, book.past) = (before, index, past);
        });
    }

    /// The regions that a device has left when it leaves the one that it is in.
    pub(super) fn leaving(&self, device: &DeviceId, from: &RegionId) -> Vec<Left> {
        let book = self.devices.get(device);
        let from = book.and_then(|book| self.region_of(book)).unwrap_or(from);
        let known = book.map_or(&[][..], |book| book.past.as_slice()).iter();
        let known = known.filter_map(|(region, pico_rho)| {
            let region = self.regions.get(*region as usize)?.region.clone();
            Some(Left {
                region,
                pico_rho: *pico_rho,
            })
        });
        let mut past: Vec<Left> = known.collect();
        let Some(cap) = self.caps.get(&Some(from.clone())) else {
            return past;
        };
        match past.iter_mut().find(|left| left.region == *from) {
            Some(left) => left.pico_rho = left.pico_rho.min(cap.pico_rho),
            None => past.push(Left {
                region: from.clone(),
                pico_rho: cap.pico_rho,
            }),
        }
        past
    }

    /// Changes one device, in `region` if it is new, and the totals of its region with it.
    fn edit(&mut self, device: DeviceId, region: &RegionId, change: impl FnOnce(&mut DeviceState)) {
        let region = self.region_index(region);
        let (book, is_new) = match self.devices.entry(device) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(vacant) => {
                let book = DeviceState {
                    region,
                    total: 0,
                    before: 0,
                    spends: Vec::new(),
                    past: Vec::new(),
                };
                (vacant.insert(book), true)
            }
        };
        if !is_new && let Some(at) = self.regions.get_mut(book.region as usize) {
            at.leave(book.total);
        }
        change(book);
        let spends = book.spends.iter().map(|(_, spent)| *spent);
        book.total = spends.fold(book.before, u64::saturating_add);
        if let Some(at) = self.regions.get_mut(book.region as usize) {
            at.arrive(book.total);
        }
    }

    fn account_index(&mut self, key: AccountKey) -> u32 {
        if let Some(index) = self.by_key.get(&key) {
            return *index;
        }
        let index = self.accounts.len() as u32;
        self.accounts.push(AccountState {
            key: key.clone(),
            charges: 0,
            charged: 0,
            worst: 0,
            before: 0,
            is_without_spends: false,
            worst_by_region: BTreeMap::new(),
            claim: Guarantee::default(),
            first_ms: u64::MAX,
            newest: 0,
            entries: 0,
            added_to: None,
        });
        self.by_key.insert(key, index);
        index
    }

    fn region_index(&mut self, region: &RegionId) -> u32 {
        if let Some(index) = self.by_region.get(region) {
            return *index;
        }
        let index = self.regions.len() as u32;
        self.regions.push(RegionState {
            region: region.clone(),
            totals: BTreeMap::new(),
        });
        self.by_region.insert(region.clone(), index);
        index
    }
}
