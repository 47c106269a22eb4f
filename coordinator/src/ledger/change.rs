//! A change of the terms, and what it makes of the books.

use tributary_proto::RegionId;

use super::caps::Cap;
use super::charge::AccountKey;
use super::decision::Decision;
use super::reservation::{Part, Reservation};
use super::state::LedgerState;

/// A change of the terms.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Sets a cap, of all devices without a region.
    Cap(Option<RegionId>, Cap),
    /// Notes a decision.
    Decide(Decision),
    /// Sets a reservation.
    Reserve(Reservation),
    /// Lets one more account draw on a part of a reservation.
    Draw(String, String, AccountKey),
    /// Ends a part of a reservation, or with none the whole.
    Release(String, Option<String>),
}

impl LedgerState {
    /// Takes a change in.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Cap(scope, cap) => self.caps.set(scope, cap),
            Change::Decide(decision) => self.decisions.push(decision),
            Change::Reserve(reservation) => {
                for part in &reservation.parts {
                    for account in &part.accounts {
                        let draw = (reservation.id.clone(), part.name.clone());
                        self.draws.insert(account.clone(), draw);
                    }
                }
                self.reservations
                    .insert(reservation.id.clone(), reservation);
            }
            Change::Draw(id, name, account) => {
                let Some(reservation) = self.reservations.get_mut(&id) else {
                    return;
                };
                let mut parts = reservation.parts.iter_mut();
                if let Some(part) = parts.find(|part| part.name == name)
                    && !part.accounts.contains(&account)
                {
                    part.accounts.push(account.clone());
                    self.draws.insert(account, (id, name));
                }
            }
            Change::Release(id, only) => {
                let Some(reservation) = self.reservations.get_mut(&id) else {
                    return;
                };
                let ends = |part: &Part| only.as_ref().is_none_or(|name| part.name == *name);
                let (ended, kept) = std::mem::take(&mut reservation.parts)
                    .into_iter()
                    .partition(ends);
                reservation.parts = kept;
                if reservation.parts.is_empty() {
                    self.reservations.remove(&id);
                }
                let ended: Vec<Part> = ended;
                for account in ended.iter().flat_map(|part| &part.accounts) {
                    self.draws.remove(account);
                }
            }
        }
    }
}
