//! Reservations: what was set aside, on every device of some regions, for charges to come.
//!
//! Whoever will charge reserves the worst case first, in parts, and names the accounts that draw on each
//! part. A charge never exceeds the part that its account draws on, and what is reserved for one can't be
//! reserved for another. Further kinds of charges need no more than a part of their own.

use serde::{Deserialize, Serialize};
use tributary_proto::RegionId;

use super::books::{AccountKey, Books, DeviceBook};
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

fn sum(parts: impl Iterator<Item = Option<u64>>) -> Outstanding {
    let mut all = 0u64;
    for part in parts {
        match part {
            Some(pico) => all = all.saturating_add(pico),
            None => return Outstanding::Endless,
        }
    }
    Outstanding::AtMost(all)
}

impl Books {
    /// The reservation and the place of the part that an account draws on.
    pub(super) fn part_of(&self, account: &AccountKey) -> Option<(&Reservation, &Part)> {
        let (id, part) = self.draws.get(account)?;
        let reservation = self.reservations.get(id)?;
        let part = reservation.parts.iter().find(|known| known.name == *part)?;
        Some((reservation, part))
    }

    /// What a device has spent of a part.
    pub(super) fn spent_of(&self, book: Option<&DeviceBook>, part: &Part) -> u64 {
        let Some(book) = book else { return 0 };
        let accounts = part.accounts.iter();
        let spends =
            accounts.filter_map(|account| Some(book.spent_in(self.account_place(account)?)));
        spends.fold(0, u64::saturating_add)
    }

    /// What a reservation may still charge to a device.
    fn remainder(&self, book: Option<&DeviceBook>, reservation: &Reservation) -> Outstanding {
        let parts = reservation.parts.iter();
        sum(parts.map(|part| {
            let whole = part.pico_rho?;
            Some(whole.saturating_sub(self.spent_of(book, part)))
        }))
    }

    /// What all reservations for a region may still charge to a device of it. Those without end count
    /// as nothing here when `bounded` only is asked for.
    pub(super) fn outstanding(
        &self,
        book: Option<&DeviceBook>,
        region: &RegionId,
        bounded: bool,
    ) -> Outstanding {
        let here = self.reservations.values();
        let here = here.filter(|reservation| reservation.covers(region));
        let mut all = 0u64;
        for reservation in here {
            match self.remainder(book, reservation) {
                Outstanding::AtMost(pico) => all = all.saturating_add(pico),
                Outstanding::Endless if bounded => {
                    let parts = reservation.parts.iter();
                    let known = parts.filter_map(|part| {
                        Some(part.pico_rho?.saturating_sub(self.spent_of(book, part)))
                    });
                    all = known.fold(all, u64::saturating_add);
                }
                Outstanding::Endless => return Outstanding::Endless,
            }
        }
        Outstanding::AtMost(all)
    }

    /// Why a device can't be charged so much in an account; nothing when it can.
    pub(super) fn refusal(
        &self,
        account: &AccountKey,
        book: Option<&DeviceBook>,
        region: &RegionId,
        pico_rho: u64,
    ) -> Option<Refusal> {
        let total = book.map_or(0, |book| book.total).checked_add(pico_rho);
        let cap = self.cap_of(book, region);
        let part = self.part_of(account).map(|(_, part)| part);
        if let Some(Part {
            pico_rho: Some(most),
            ..
        }) = part
        {
            let spent = part.map_or(0, |part| self.spent_of(book, part));
            if spent.saturating_add(pico_rho) > *most && pico_rho > 0 {
                return Some(Refusal::Reservation);
            }
        }
        let Some(cap) = cap else {
            return total.is_none().then_some(Refusal::Cap);
        };
        // what has no end, and what nobody reserved anything for, takes only what nobody else has reserved;
        // but what was lost was spent, whatever anybody has planned
        let others = match part {
            None | Some(Part { pico_rho: None, .. }) if account.1 != ChargeKind::Restore => {
                let at = book.and_then(|book| self.region_of(book)).unwrap_or(region);
                match self.outstanding(book, at, true) {
                    Outstanding::AtMost(pico) => pico,
                    Outstanding::Endless => 0,
                }
            }
            _ => 0,
        };
        let fits = total
            .and_then(|total| total.checked_add(others))
            .is_some_and(|total| total <= cap);
        (!fits && pico_rho > 0).then_some(Refusal::Cap)
    }
}

/// Why a device can't be charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would pass a cap.
    Cap,
    /// It would pass what was reserved.
    Reservation,
}

#[cfg(test)]
mod tests {
    use super::super::tests::{cap, open, pay};
    use super::super::{Change, Charge};
    use super::*;
    use crate::fixtures::{device, region};
    use tributary_store::{Batch, MemoryStore};

    #[tokio::test]
    async fn an_account_that_nobody_reserved_for_takes_nothing_of_what_others_have() {
        let ledger = open(&MemoryStore::new());
        cap(&ledger, 100).await;
        let part = Part::new("training", Some(80), "run-1", ChargeKind::Training);
        let reserved = Reservation {
            id: "run-1".to_owned(),
            regions: vec![region("eu")],
            parts: vec![part],
        };
        let hold = ledger.hold().await;
        let changes = vec![Change::Reserve(reserved)];
        hold.commit(changes, Batch::new()).await.unwrap();
        let can = |account, kind, pico_rho| {
            ledger.can_pay(&device(0), &region("eu"), (account, kind), pico_rho)
        };
        let training = ChargeKind::Training;
        assert!(can("run-2", training, 20) && !can("run-2", training, 21));
        assert!(can("run-1", training, 80) && !can("run-1", training, 81));
        // what was lost was spent, whatever was planned
        assert!(can("restore", ChargeKind::Restore, 100));
        for (account, pico_rho, fits) in [
            ("run-2", 21, false),
            ("run-2", 20, true),
            ("run-1", 80, true),
        ] {
            let charge = Charge::new(account, training, 1);
            let payers = pay(pico_rho, 0..1);
            let charged = ledger.charge(charge, &payers, Batch::new());
            assert_eq!(charged.await.is_ok(), fits, "{account} {pico_rho}");
        }
    }
}
