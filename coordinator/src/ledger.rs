//! The privacy ledger: what each device has spent, charged before anything is released.
//!
//! Charges are entries that are only ever added; a device's total changes in the same commit that
//! adds the entry and moves the round on. Amounts are integers in units of 1e-12 of zCDP, so a sum
//! does not depend on its order. Participation is decided by a schedule that does not look at the
//! data, so a device pays only for the rounds and windows that it is in; the guarantee that is
//! printed is that of the device that spent most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tributary_aggregator::{Adjacency, Mechanism, PrivacyStatement, Rho};
use tributary_proto::v1::{PrivacyAccount, PrivacySpend, RegionSpend};
use tributary_proto::{DeviceId, RegionId};

use crate::CoordinatorError;
use crate::store::key::Key;
use crate::store::{Batch, Expect, Store, Table};

/// What a charge is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// A training round.
    Training,
    /// A drift window.
    Drift,
    /// Ranges of activations for a build.
    Calibration,
}

impl ChargeKind {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Drift => "drift",
            Self::Calibration => "calibration",
        }
    }
}

/// One charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The run or monitor.
    pub account: String,
    /// What for.
    pub kind: ChargeKind,
    /// The round or window.
    pub number: u64,
    /// Number that tells several charges of one round or window apart: the region's index.
    pub part: u64,
    /// To each device, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
    /// Devices that were charged.
    pub devices: u64,
    /// True when the noise was seeded.
    pub seeded: bool,
    /// True when there was no noise at all: nothing is charged, and nothing is private.
    #[serde(default)]
    pub unnoised: bool,
    /// Cap that applied, in units of 1e-12; 0 when there is none.
    pub cap_pico_rho: u64,
    /// Spend of this account by the device of it that spent most, after this charge.
    pub worst_pico_rho: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    pico_rho: u64,
    region: RegionId,
}

#[derive(Default)]
struct Inner {
    devices: HashMap<DeviceId, Account>,
    charges: Vec<Charge>,
}

/// The ledger of one coordinator.
pub struct Ledger {
    store: Arc<dyn Store>,
    inner: Mutex<Inner>,
    charging: tokio::sync::Mutex<()>,
}

impl Ledger {
    /// Reads the ledger.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, CoordinatorError> {
        let mut inner = Inner::default();
        for row in store.records(Table::DeviceAccounts, b"") {
            let (key, record) = row?;
            let id = DeviceId::try_from(String::from_utf8_lossy(&key).into_owned())?;
            inner.devices.insert(id, record.json()?);
        }
        for row in store.records(Table::Ledger, b"") {
            inner.charges.push(row?.1.json()?);
        }
        inner.charges.sort_by_key(|charge: &Charge| charge.unix_ms);
        Ok(Self {
            store,
            inner: Mutex::new(inner),
            charging: tokio::sync::Mutex::new(()),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when the device can pay `pico_rho` without passing the cap.
    pub fn can_pay(&self, device: &DeviceId, pico_rho: u64, cap: Option<u64>) -> bool {
        let Some(cap) = cap else { return true };
        let spent = self
            .lock()
            .devices
            .get(device)
            .map_or(0, |account| account.pico_rho);
        spent
            .checked_add(pico_rho)
            .is_some_and(|total| total <= cap)
    }

    /// All charges of an account for one kind, in units of 1e-12.
    pub fn charged(&self, account: &str, kind: ChargeKind) -> u64 {
        let inner = self.lock();
        let mine = |charge: &&Charge| charge.account == account && charge.kind == kind;
        let amounts = inner
            .charges
            .iter()
            .filter(mine)
            .map(|charge| charge.pico_rho);
        amounts.fold(0, u64::saturating_add)
    }

    /// Most that any device of the regions has spent, in units of 1e-12.
    pub fn worst_of(&self, regions: &[RegionId]) -> u64 {
        let inner = self.lock();
        let accounts = inner
            .devices
            .values()
            .filter(|account| regions.contains(&account.region));
        accounts.map(|account| account.pico_rho).max().unwrap_or(0)
    }

    /// Charges `devices`, committing `batch` (which moves the round or window on) in the same
    /// transaction. Nothing of a release may leave the process before this returns.
    ///
    /// # Errors
    /// When a device can't pay, when the charge is there already, or when the store refuses.
    pub async fn charge(
        &self,
        charge: Charge,
        devices: &[(DeviceId, RegionId)],
        mut batch: Batch,
    ) -> Result<(), CoordinatorError> {
        let _one_at_a_time = self.charging.lock().await;
        let totals = self.totals_after(&charge, devices)?;
        let key = Key::new().text(&charge.account).text(charge.kind.name());
        let key = key.number(charge.number).number(charge.part);
        batch.put_json(Table::Ledger, key.into_bytes(), &charge, Expect::Absent)?;
        for (device, account) in &totals {
            batch.put_json(Table::DeviceAccounts, device.as_str(), account, Expect::Any)?;
        }
        self.store.commit(batch).await?;
        let mut inner = self.lock();
        inner.devices.extend(totals);
        inner.charges.push(charge);
        Ok(())
    }

    fn totals_after(
        &self,
        charge: &Charge,
        devices: &[(DeviceId, RegionId)],
    ) -> Result<Vec<(DeviceId, Account)>, CoordinatorError> {
        let inner = self.lock();
        let mut totals = Vec::with_capacity(devices.len());
        for (device, region) in devices {
            let spent = inner
                .devices
                .get(device)
                .map_or(0, |account| account.pico_rho);
            let total = spent.saturating_add(charge.pico_rho);
            if charge.cap_pico_rho > 0 && total > charge.cap_pico_rho {
                return Err(CoordinatorError::Budget(format!(
                    "a {} charge of rho {} would pass the cap of a device: raise privacy.epsilon \
                     or plan less",
                    charge.kind.name(),
                    Rho::from_pico(charge.pico_rho)
                )));
            }
            totals.push((
                device.clone(),
                Account {
                    pico_rho: total,
                    region: region.clone(),
                },
            ));
        }
        Ok(totals)
    }

    /// The accounts of runs and monitors, oldest first; of one run and its monitor with `only`.
    pub fn accounts(&self, only: Option<&str>, delta: f64) -> Vec<PrivacyAccount> {
        let inner = self.lock();
        let mut accounts: Vec<((String, ChargeKind), Vec<&Charge>)> = Vec::new();
        for charge in &inner.charges {
            if only.is_some_and(|run| !belongs(&charge.account, run)) {
                continue;
            }
            let key = (charge.account.clone(), charge.kind);
            match accounts.iter_mut().find(|(known, _)| *known == key) {
                Some((_, charges)) => charges.push(charge),
                None => accounts.push((key, vec![charge])),
            }
        }
        let wire = |((id, kind), charges): ((String, ChargeKind), Vec<&Charge>)| {
            let worst = charges
                .iter()
                .map(|charge| charge.worst_pico_rho)
                .max()
                .unwrap_or(0);
            let cap = charges.last().map_or(0, |charge| charge.cap_pico_rho);
            let mechanism = mechanism(charges.iter().copied());
            PrivacyAccount {
                id,
                kind: kind.name().to_owned(),
                charges: charges.len() as u64,
                spend: Some(spend(worst, delta, mechanism)),
                budget_rho: Rho::from_pico(cap).as_f64(),
                remaining_rho: Rho::from_pico(cap.saturating_sub(worst)).as_f64(),
            }
        };
        accounts.into_iter().map(wire).collect()
    }

    /// The device that spent most: its spend and its region.
    pub fn worst(&self, delta: f64) -> (PrivacySpend, String) {
        let inner = self.lock();
        let mechanism = mechanism(inner.charges.iter());
        // of several, the region that sorts first: a map's order must not show
        let rank =
            |account: &&Account| (account.pico_rho, std::cmp::Reverse(account.region.clone()));
        let worst = inner.devices.values().max_by_key(rank);
        let region = worst.map_or(String::new(), |account| account.region.to_string());
        let pico_rho = worst.map_or(0, |account| account.pico_rho);
        (spend(pico_rho, delta, mechanism), region)
    }

    /// The device of each region that spent most.
    pub fn worst_by_region(&self, delta: f64) -> Vec<RegionSpend> {
        let inner = self.lock();
        let mechanism = mechanism(inner.charges.iter());
        let mut worst = std::collections::BTreeMap::<&RegionId, u64>::new();
        for account in inner.devices.values() {
            let most = worst.entry(&account.region).or_default();
            *most = (*most).max(account.pico_rho);
        }
        let wire = |(region, pico): (&RegionId, u64)| RegionSpend {
            region: region.to_string(),
            spend: Some(spend(pico, delta, mechanism)),
        };
        worst.into_iter().map(wire).collect()
    }
}

/// True when an account is a run's own or that of its monitor.
fn belongs(account: &str, run: &str) -> bool {
    account == run || account == crate::monitor::id_of(run)
}

/// The weakest mechanism behind some charges.
fn mechanism<'a>(charges: impl Iterator<Item = &'a Charge>) -> Mechanism {
    let mut weakest = Mechanism::DiscreteGaussian;
    for charge in charges {
        if charge.unnoised {
            return Mechanism::None;
        }
        if charge.seeded {
            weakest = Mechanism::SeededNotPrivate;
        }
    }
    weakest
}

/// The statement of a spend. Without noise epsilon is infinite; with noise and before the first
/// charge it is 0.
pub fn spend(pico_rho: u64, delta: f64, mechanism: Mechanism) -> PrivacySpend {
    let rho = Rho::from_pico(pico_rho);
    let (epsilon, epsilon_gaussian) = match mechanism {
        Mechanism::None => (f64::INFINITY, f64::INFINITY),
        _ if pico_rho == 0 => (0.0, 0.0),
        _ => epsilons(rho, delta, mechanism),
    };
    PrivacySpend {
        epsilon,
        delta,
        rho: rho.as_f64(),
        adjacency: Adjacency::AddOrRemoveDevice.name().to_owned(),
        mechanism: mechanism.name().to_owned(),
        epsilon_gaussian,
        not_private: !mechanism.is_private(),
    }
}

fn epsilons(rho: Rho, delta: f64, mechanism: Mechanism) -> (f64, f64) {
    let statement = PrivacyStatement::new(rho, delta, Adjacency::AddOrRemoveDevice, mechanism);
    let both = |known: PrivacyStatement| known.epsilon.zip(known.epsilon_gaussian);
    // an account that can't be converted must never read as a small epsilon
    let infinite = (f64::INFINITY, f64::INFINITY);
    statement.ok().and_then(both).unwrap_or(infinite)
}

#[cfg(test)]
mod tests;
