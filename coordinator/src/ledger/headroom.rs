//! What is free under the caps.

use std::cmp::Reverse;

use tributary_proto::RegionId;

use super::reservation::Outstanding;
use super::state::LedgerState;

/// What is free on the device, of all devices of some regions, that has least left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headroom {
    /// In units of 1e-12 of zCDP; none without a cap.
    pub left: Option<u64>,
    /// The cap of that device.
    pub cap: u64,
    /// Of the cap, what was spent.
    pub spent: u64,
    /// Of the cap, what others have reserved.
    pub reserved: u64,
    /// Most that was spent and reserved on any of the devices, whatever its cap.
    pub taken: u64,
    /// Runs that have reserved something for one of the regions.
    pub holders: Vec<String>,
    /// Of them, one whose charges have no end.
    pub endless: Option<String>,
}

/// What is free in `regions`.
pub(super) fn headroom(books: &LedgerState, regions: &[RegionId]) -> Headroom {
    let held = || {
        let all = books.reservations.values();
        all.filter(|held| regions.iter().any(|region| held.covers(region)))
    };
    let endless = held().find(|held| held.whole() == Outstanding::Endless);
    let mut tightest = Headroom {
        left: None,
        cap: 0,
        spent: 0,
        reserved: 0,
        taken: 0,
        holders: held().map(|held| held.id.clone()).collect(),
        endless: endless.map(|held| held.id.clone()),
    };
    let mut weigh = |cap: u64, spent: u64, reserved: u64| {
        let left = cap.saturating_sub(spent).saturating_sub(reserved);
        // of devices that have nothing left, the one that lost most
        let known = tightest.left.map(|left| (left, Reverse(tightest.spent)));
        if known.is_none_or(|known| (left, Reverse(spent)) < known) {
            tightest.left = Some(left);
            (tightest.cap, tightest.spent, tightest.reserved) = (cap, spent, reserved);
        }
        tightest.taken = tightest.taken.max(spent.saturating_add(reserved));
    };
    let bounded = |outstanding| match outstanding {
        Outstanding::AtMost(pico) => pico,
        Outstanding::Endless => 0,
    };
    for region in regions {
        // a device that enrols tomorrow
        if let Some(cap) = books.caps.of_region(region) {
            weigh(cap, 0, bounded(books.outstanding(None, region, true)));
        }
    }
    for book in books.devices.values() {
        let Some(region) = books.region_of(book).filter(|at| regions.contains(at)) else {
            continue;
        };
        if let Some(cap) = books.cap_of(Some(book), region) {
            let reserved = bounded(books.outstanding(Some(book), region, true));
            weigh(cap, book.total, reserved);
        }
    }
    tightest
}
