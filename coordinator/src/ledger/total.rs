//! The sum of an account's older entries, as a record.

use serde::{Deserialize, Serialize};
use tributary_privacy::{Adjacency, Mechanism};

use super::charge::{Charge, ChargeKind, RegionCharge};
use tributary_store::key::KeyReader;

/// What may be said of some charges: their mechanism, adjacency, and whether votes are in it.
type Said = (Mechanism, Adjacency, bool);

/// The sum of an account's older entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Total {
    /// The monitor.
    pub(super) account: String,
    /// What for.
    pub(super) kind: ChargeKind,
    /// The first window.
    first: u64,
    /// The last window: no later charge has its number or an earlier one.
    pub(super) last: u64,
    /// Number of entries.
    pub(super) charges: u64,
    /// Sum of the largest amounts of all entries, in units of 1e-12 of zCDP.
    pub(super) pico_rho: u64,
    /// Everything that the entries say of themselves, each once.
    pub(super) said: Vec<Said>,
    /// Of each region: devices of all entries, and the most that one of them had spent here, in units of
    /// 1e-12 of zCDP.
    pub(super) regions: Vec<RegionCharge>,
    /// Most that a device had spent here, in units of 1e-12 of zCDP.
    pub(super) worst_pico_rho: u64,
    /// When the first was made, in milliseconds since 1970.
    pub(super) first_ms: u64,
    /// When the last was made, in milliseconds since 1970.
    last_ms: u64,
}

/// True for entries that are added up once they are old: their numbers only rise.
pub(super) fn is_added_up(charge: &Charge) -> bool {
    charge.kind == ChargeKind::Drift && !charge.is_without_spends()
}

/// True for the key of a total.
pub(super) fn is_total(key: &[u8]) -> bool {
    let mut parts = KeyReader::new(key);
    parts.text().is_some() && parts.text().is_some() && parts.is_at_end()
}

impl Total {
    pub(super) fn new(charge: &Charge) -> Self {
        Self {
            account: charge.account.clone(),
            kind: charge.kind,
            first: charge.number,
            last: charge.number,
            charges: 0,
            pico_rho: 0,
            said: Vec::new(),
            regions: Vec::new(),
            worst_pico_rho: 0,
            first_ms: charge.unix_ms,
            last_ms: charge.unix_ms,
        }
    }

    pub(super) fn add(&mut self, charge: &Charge) {
        self.first = self.first.min(charge.number);
        self.last = self.last.max(charge.number);
        self.charges += 1;
        self.pico_rho = self.pico_rho.saturating_add(charge.pico_rho);
        let said = (charge.mechanism, charge.adjacency, charge.has_votes);
        if !self.said.contains(&said) {
            self.said.push(said);
        }
        for region in &charge.regions {
            let known = self.regions.iter_mut();
            match known.into_iter().find(|at| at.region == region.region) {
                Some(at) => {
                    at.devices = at.devices.saturating_add(region.devices);
                    at.worst_pico_rho = at.worst_pico_rho.max(region.worst_pico_rho);
                }
                None => self.regions.push(region.clone()),
            }
        }
        self.worst_pico_rho = self.worst_pico_rho.max(charge.worst_pico_rho);
        self.first_ms = self.first_ms.min(charge.unix_ms);
        self.last_ms = self.last_ms.max(charge.unix_ms);
    }
}
