//! What is written down of a charge.

use serde::{Deserialize, Serialize};
use tributary_privacy::{Adjacency, Mechanism};
use tributary_proto::{DeviceId, RegionId};

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
    /// What was spent and forgotten when a data folder was put back from a copy.
    Restore,
}

impl ChargeKind {
    /// Every kind.
    pub(super) const ALL: [Self; 4] = [
        Self::Training,
        Self::Drift,
        Self::Calibration,
        Self::Restore,
    ];

    /// The kind with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Drift => "drift",
            Self::Calibration => "calibration",
            Self::Restore => "restore",
        }
    }

    /// What a charge is for, by its number.
    pub(super) fn numbered(self, number: u64) -> String {
        match self {
            Self::Training => format!("training round {number}"),
            Self::Drift => format!("drift window {number}"),
            Self::Calibration | Self::Restore => format!("{} {number}", self.name()),
        }
    }
}

/// What tells accounts apart.
pub(super) type AccountKey = (String, ChargeKind);

/// What one device pays in a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCharge {
    /// Who pays.
    pub device: DeviceId,
    /// The region whose sum it is in.
    pub region: RegionId,
    /// How much, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
}

/// One charge. The caller says what for and by which means; what depends on the devices (`pico_rho`,
/// `devices`, `regions`, `cap_pico_rho` and `worst_pico_rho`) is filled in by the ledger.
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
    /// Most that one of the devices paid, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
    /// Devices that were charged.
    pub devices: u64,
    /// Where the guarantee comes from.
    #[serde(default = "discrete_gaussian")]
    pub mechanism: Mechanism,
    /// Which fleets it can't tell apart.
    #[serde(default = "zero_out")]
    pub adjacency: Adjacency,
    /// True when votes with noise of a few units are in it, for which the curve of the continuous
    /// Gaussian is no bound; assumed of entries of before this was written down.
    #[serde(default = "assumed")]
    pub has_votes: bool,
    /// The devices by region; empty in entries of before regions were written down.
    #[serde(default)]
    pub regions: Vec<RegionCharge>,
    /// The least cap of one of the devices, in units of 1e-12; 0 when there is none.
    pub cap_pico_rho: u64,
    /// Spend of this account by the device of it that spent most, after this charge.
    pub worst_pico_rho: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// The devices of one region in a charge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionCharge {
    /// The region.
    pub region: RegionId,
    /// Its devices in this charge.
    pub devices: u64,
    /// Spend of this account by that device, of all that were ever charged in this region, which
    /// spent most, after this charge.
    pub worst_pico_rho: u64,
}

impl Charge {
    /// A charge without devices, mechanism `DiscreteGaussian`.
    pub fn new(account: impl Into<String>, kind: ChargeKind, number: u64) -> Self {
        Self {
            account: account.into(),
            kind,
            number,
            part: 0,
            pico_rho: 0,
            devices: 0,
            mechanism: discrete_gaussian(),
            adjacency: zero_out(),
            has_votes: kind != ChargeKind::Training,
            regions: Vec::new(),
            cap_pico_rho: 0,
            worst_pico_rho: 0,
            unix_ms: 0,
        }
    }

    /// True for an entry that was written when only devices' totals were kept: how much each spent
    /// in this account is not known, only that it was at most `worst_pico_rho`.
    pub(super) fn is_without_spends(&self) -> bool {
        self.regions.is_empty() && self.devices > 0
    }
}

/// An entry as it is read. Older ones say by flags what `mechanism` says now.
#[derive(Deserialize)]
pub(super) struct StoredCharge {
    #[serde(flatten)]
    charge: Charge,
    #[serde(default)]
    seeded: bool,
    #[serde(default)]
    unnoised: bool,
}

impl From<StoredCharge> for Charge {
    fn from(stored: StoredCharge) -> Self {
        let mechanism = match (stored.unnoised, stored.seeded) {
            (true, _) => Mechanism::None,
            (false, true) => Mechanism::SeededNotPrivate,
            (false, false) => stored.charge.mechanism,
        };
        // older entries of noise on sums name the adjacency of a secret sample, which never was one:
        // the amount is the same for zeros in place of what a device sent
        let adjacency = match stored.charge.adjacency {
            Adjacency::AddOrRemoveDevice => Adjacency::ZeroOutDevice,
            known => known,
        };
        Self {
            mechanism,
            adjacency,
            ..stored.charge
        }
    }
}

fn discrete_gaussian() -> Mechanism {
    Mechanism::DiscreteGaussian
}

fn assumed() -> bool {
    true
}

fn zero_out() -> Adjacency {
    Adjacency::ZeroOutDevice
}
