//! What bounds the charges of a device: its caps, and what was reserved for others.

use tributary_proto::RegionId;

use super::Ledger;
use super::caps::Exposure;
use super::charge::{AccountKey, ChargeKind};
use super::reservation::{ChargeRefusal, Outstanding, Part, Reservation, sum};
use super::state::{DeviceState, LedgerState};

impl Ledger {
    /// Devices of a region, or of all, that have spent more than their caps allow: they are not asked again.
    pub fn beyond_caps(&self, only: Option<&RegionId>) -> u64 {
        let books = self.lock();
        let is_beyond = |book: &&DeviceState| {
            let Some(region) = books.region_of(book) else {
                return false;
            };
            let cap = books.cap_of(Some(book), region);
            only.is_none_or(|only| only == region) && cap.is_some_and(|cap| cap < book.total)
        };
        books.devices.values().filter(is_beyond).count() as u64
    }
}

impl LedgerState {
    /// The least cap of a device; `region` is where it is, unless it is known.
    pub(super) fn cap_of(&self, book: Option<&DeviceState>, region: &RegionId) -> Option<u64> {
        let Some(book) = book else {
            return self.caps.of_region(region);
        };
        let region = self.region_of(book).unwrap_or(region);
        let left_behind = book.past.iter().map(|(region, at_leaving)| {
            let region = self.regions.get(*region as usize);
            let now = region.and_then(|at| self.caps.get(&Some(at.region.clone())));
            now.map_or(*at_leaving, |cap| cap.pico_rho.max(*at_leaving))
        });
        let here = self.caps.of_region(region);
        here.into_iter().chain(left_behind).min()
    }

    /// True when no cap of a device is in the way of this exposure.
    pub(super) fn may_expose(
        &self,
        book: Option<&DeviceState>,
        region: &RegionId,
        exposure: Exposure,
    ) -> bool {
        let at = book.and_then(|book| self.region_of(book)).unwrap_or(region);
        let past = book.map_or(&[][..], |book| book.past.as_slice()).iter();
        let past = past.filter_map(|(region, _)| {
            let region = self.regions.get(*region as usize)?;
            self.caps.get(&Some(region.region.clone()))
        });
        let mut caps = self.caps.binding(at).chain(past);
        !caps.any(|cap| exposure.breaks(cap))
    }

    /// The reservation and the place of the part that an account draws on.
    pub(super) fn part_of(&self, account: &AccountKey) -> Option<(&Reservation, &Part)> {
        let (id, part) = self.draws.get(account)?;
        let reservation = self.reservations.get(id)?;
        let part = reservation.parts.iter().find(|known| known.name == *part)?;
        Some((reservation, part))
    }

    /// What a device has spent of a part.
    pub(super) fn spent_of(&self, book: Option<&DeviceState>, part: &Part) -> u64 {
        let Some(book) = book else { return 0 };
        let accounts = part.accounts.iter();
        let spends =
            accounts.filter_map(|account| Some(book.spent_in(self.account_place(account)?)));
        spends.fold(0, u64::saturating_add)
    }

    /// What a reservation may still charge to a device.
    fn remainder(&self, book: Option<&DeviceState>, reservation: &Reservation) -> Outstanding {
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
        book: Option<&DeviceState>,
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
        book: Option<&DeviceState>,
        region: &RegionId,
        pico_rho: u64,
    ) -> Option<ChargeRefusal> {
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
                return Some(ChargeRefusal::Reservation);
            }
        }
        let Some(cap) = cap else {
            return total.is_none().then_some(ChargeRefusal::Cap);
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
        (!fits && pico_rho > 0).then_some(ChargeRefusal::Cap)
    }
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
