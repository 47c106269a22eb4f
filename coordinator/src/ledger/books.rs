//! The ledger in memory: what each device spent in each account, and the sums that are asked for.
//!
//! Entries themselves stay in the store. Sums of accounts and regions follow each charge and move, so
//! that no question walks through all entries or all devices.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use tributary_proto::{DeviceId, RegionId};

use super::charge::{Charge, ChargeKind, DeviceCharge};
use super::claim::Claim;

/// What tells accounts apart.
pub(super) type AccountKey = (String, ChargeKind);

/// The devices of one region.
pub(super) struct RegionBook {
    pub(super) region: RegionId,
    /// How many of its devices have spent each total.
    totals: BTreeMap<u64, u64>,
}

impl RegionBook {
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
pub(super) struct DeviceBook {
    /// Its place in [`Books::regions`].
    pub(super) region: u32,
    /// Spent over everything.
    pub(super) total: u64,
    /// Of it, spent when only totals were kept.
    pub(super) before: u64,
    /// Place in [`Books::accounts`] and spend there.
    pub(super) spends: Vec<(u32, u64)>,
}

impl DeviceBook {
    fn spent_in(&self, account: u32) -> u64 {
        let mine = self.spends.iter().find(|(known, _)| *known == account);
        mine.map_or(0, |(_, spent)| *spent)
    }
}

/// One run's or monitor's account.
pub(super) struct AccountBook {
    pub(super) key: AccountKey,
    pub(super) charges: u64,
    /// Sum of the largest amounts of all charges.
    pub(super) charged: u64,
    pub(super) worst: u64,
    /// Most that a device can have spent here when only totals were kept.
    pub(super) before: u64,
    /// The worst device of those charged in each region.
    pub(super) worst_by_region: BTreeMap<RegionId, u64>,
    pub(super) claim: Claim,
    /// When the first charge was made.
    pub(super) first_ms: u64,
    /// The cap of the newest charge, and its place in time.
    pub(super) cap: u64,
    newest: (u64, u64, u64),
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
pub(super) struct Books {
    pub(super) devices: HashMap<DeviceId, DeviceBook>,
    pub(super) accounts: Vec<AccountBook>,
    by_key: HashMap<AccountKey, u32>,
    pub(super) regions: Vec<RegionBook>,
    by_region: HashMap<RegionId, u32>,
}

impl Books {
    pub(super) fn account(&self, account: &str, kind: ChargeKind) -> Option<&AccountBook> {
        let index = self.by_key.get(&(account.to_owned(), kind))?;
        self.accounts.get(*index as usize)
    }

    /// Spent over everything.
    pub(super) fn total(&self, device: &DeviceId) -> u64 {
        self.devices.get(device).map_or(0, |book| book.total)
    }

    /// Most that a device of the region spent over everything.
    pub(super) fn worst_of(&self, region: &RegionId) -> u64 {
        let index = self.by_region.get(region);
        let book = index.and_then(|index| self.regions.get(*index as usize));
        book.and_then(RegionBook::worst).unwrap_or(0)
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
        book.charged = book.charged.saturating_add(charge.pico_rho);
        book.worst = book.worst.max(charge.worst_pico_rho);
        if charge.is_without_spends() {
            book.before = book.before.max(charge.worst_pico_rho);
        }
        for region in &charge.regions {
            let worst = book
                .worst_by_region
                .entry(region.region.clone())
                .or_default();
            *worst = (*worst).max(region.worst_pico_rho);
        }
        book.claim.add(charge.mechanism, charge.adjacency);
        book.first_ms = book.first_ms.min(charge.unix_ms);
        let time = (charge.unix_ms, charge.number, charge.part);
        if time >= book.newest {
            (book.newest, book.cap) = (time, charge.cap_pico_rho);
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

    /// Sets what a device spent when only totals were kept, and where it is.
    pub(super) fn settle(&mut self, device: DeviceId, region: &RegionId, before: u64) {
        let index = self.region_index(region);
        self.edit(device, region, |book| {
            (book.before, book.region) = (before, index);
        });
    }

    /// Changes one device, in `region` if it is new, and the totals of its region with it.
    fn edit(&mut self, device: DeviceId, region: &RegionId, change: impl FnOnce(&mut DeviceBook)) {
        let region = self.region_index(region);
        let (book, is_new) = match self.devices.entry(device) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(vacant) => {
                let book = DeviceBook {
                    region,
                    total: 0,
                    before: 0,
                    spends: Vec::new(),
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
        self.accounts.push(AccountBook {
            key: key.clone(),
            charges: 0,
            charged: 0,
            worst: 0,
            before: 0,
            worst_by_region: BTreeMap::new(),
            claim: Claim::default(),
            first_ms: u64::MAX,
            cap: 0,
            newest: (0, 0, 0),
        });
        self.by_key.insert(key, index);
        index
    }

    fn region_index(&mut self, region: &RegionId) -> u32 {
        if let Some(index) = self.by_region.get(region) {
            return *index;
        }
        let index = self.regions.len() as u32;
        self.regions.push(RegionBook {
            region: region.clone(),
            totals: BTreeMap::new(),
        });
        self.by_region.insert(region.clone(), index);
        index
    }
}
