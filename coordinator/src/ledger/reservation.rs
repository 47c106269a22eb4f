//! Reservations: what was set aside, on every device of some regions, for charges to come.
//!
//! Whoever will charge reserves the worst case first, in parts, and names the accounts that draw on each
//! part. A charge never exceeds the part that its account draws on, and what is reserved for one can't be
//! reserved for another. Further kinds of charges need no more than a part of their own.

use serde::{Deserialize, Serialize};
use tributary_proto::RegionId;

use super::charge::ChargeKind;

/// What is set aside for one purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What for, as a word: unique within its reservation.
    pub name: String,
    /// Most that it charges to any one device, in units of 1e-12 of zCDP; none when nobody knows.
    pub pico_rho: Option<u64>,
    /// The accounts that draw on it.
    #[serde(skip)]
    pub accounts: Vec<(String, ChargeKind)>,
}

/// What one run sets aside, its monitor and playbooks included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The run.
    pub id: String,
    /// The regions whose devices may be charged.
    pub regions: Vec<RegionId>,
    /// By purpose.
    pub parts: Vec<Part>,
}

impl Part {
    /// A part that `account` draws on.
    pub fn new(
        name: &str,
        pico_rho: Option<u64>,
        account: impl Into<String>,
        kind: ChargeKind,
    ) -> Self {
        Self {
            name: name.to_owned(),
            pico_rho,
            accounts: vec![(account.into(), kind)],
        }
    }
}

/// What may still be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outstanding {
    /// At most so much, in units of 1e-12 of zCDP.
    AtMost(u64),
    /// Something has no end.
    Endless,
}

impl Reservation {
    /// The whole, on a device that was not charged yet.
    pub(super) fn whole(&self) -> Outstanding {
        let parts = self.parts.iter().map(|part| part.pico_rho);
        sum(parts)
    }

    pub(super) fn covers(&self, region: &RegionId) -> bool {
        self.regions.contains(region)
    }
}

/// The sum of parts, endless when one of them is.
pub(super) fn sum(parts: impl Iterator<Item = Option<u64>>) -> Outstanding {
    let mut all = 0u64;
    for part in parts {
        match part {
            Some(pico) => all = all.saturating_add(pico),
            None => return Outstanding::Endless,
        }
    }
    Outstanding::AtMost(all)
}

/// Why a device can't be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChargeRefusal {
    /// It would pass a cap.
    Cap,
    /// It would pass what was reserved.
    Reservation,
}
