//! The terms under which the ledger charges, on disk: caps, reservations, and who decided what about them.
//!
//! Changes are worked out while nothing is charged (`hold`), written with the caller's own batch, and taken
//! into memory once that is durable.
//!
//! | table | key | value |
//! |---|---|---|
//! | `Meta` | `privacy-cap`, region (empty for all devices) | the cap |
//! | `Meta` | `privacy-reservation`, run | its parts |
//! | `Meta` | `privacy-reservation`, run, number | some of its regions |
//! | `Meta` | `privacy-draw`, account, kind | the run and the part that the account draws on |
//! | `Meta` | `privacy-decision`, number | the decision |

use tributary_proto::RegionId;

use super::change::Change;
use super::charge::{AccountKey, ChargeKind};
use super::reservation::{Part, Reservation};
use super::state::LedgerState;
use crate::CoordinatorError;
use tributary_store::key::{Key, KeyReader};
use tributary_store::{Batch, Expect, Store, Table};

const CAP: &str = "privacy-cap";
const RESERVATION: &str = "privacy-reservation";
const DRAW: &str = "privacy-draw";
const DECISION: &str = "privacy-decision";
/// Regions in one record.
const REGIONS_PER_RECORD: usize = 500;

/// Adds changes to a batch.
///
/// # Errors
/// When a record is too large.
pub(super) fn put(
    books: &LedgerState,
    changes: &[Change],
    batch: &mut Batch,
) -> Result<(), CoordinatorError> {
    let mut decisions = books.decisions.len() as u64;
    for change in changes {
        match change {
            Change::Cap(scope, cap) => {
                let scope = scope.as_ref().map_or("", RegionId::as_str);
                let key = Key::new().text(CAP).text(scope);
                batch.put_json(Table::Meta, key, cap, Expect::Any)?;
            }
            Change::Decide(decision) => {
                let key = Key::new().text(DECISION).number(decisions);
                batch.put_json(Table::Meta, key, decision, Expect::Absent)?;
                decisions += 1;
            }
            Change::Reserve(reservation) => put_reservation(reservation, batch)?,
            Change::Draw(id, part, account) => put_draw(id, part, account, batch)?,
            Change::Release(id, part) => {
                put_release(books.reservations.get(id), part.as_deref(), batch)?;
            }
        }
    }
    Ok(())
}

fn put_reservation(reservation: &Reservation, batch: &mut Batch) -> Result<(), CoordinatorError> {
    let key = || Key::new().text(RESERVATION).text(&reservation.id);
    batch.put_json(Table::Meta, key(), &reservation.parts, Expect::Any)?;
    let regions = reservation.regions.chunks(REGIONS_PER_RECORD);
    for (number, regions) in (0..).zip(regions) {
        batch.put_json(Table::Meta, key().number(number), regions, Expect::Any)?;
    }
    for part in &reservation.parts {
        for account in &part.accounts {
            put_draw(&reservation.id, &part.name, account, batch)?;
        }
    }
    Ok(())
}

fn put_draw(
    id: &str,
    part: &str,
    account: &AccountKey,
    batch: &mut Batch,
) -> Result<(), CoordinatorError> {
    let key = draw_key(account);
    batch.put_json(Table::Meta, key, &(id, part), Expect::Any)?;
    Ok(())
}

fn draw_key((account, kind): &AccountKey) -> Key {
    Key::new().text(DRAW).text(account).text(kind.name())
}

fn put_release(
    held: Option<&Reservation>,
    only: Option<&str>,
    batch: &mut Batch,
) -> Result<(), CoordinatorError> {
    let Some(held) = held else { return Ok(()) };
    let ends = |part: &&Part| only.is_none_or(|name| part.name == name);
    let ended = held.parts.iter().filter(ends);
    for account in ended.flat_map(|part| &part.accounts) {
        batch.delete(Table::Meta, draw_key(account), Expect::Any);
    }
    let kept: Vec<&Part> = held.parts.iter().filter(|part| !ends(part)).collect();
    let key = || Key::new().text(RESERVATION).text(&held.id);
    if !kept.is_empty() {
        batch.put_json(Table::Meta, key(), &kept, Expect::Any)?;
        return Ok(());
    }
    batch.delete(Table::Meta, key(), Expect::Any);
    for number in 0..held.regions.len().div_ceil(REGIONS_PER_RECORD) {
        batch.delete(Table::Meta, key().number(number as u64), Expect::Any);
    }
    Ok(())
}

/// Reads the terms.
pub(super) fn read(store: &dyn Store, books: &mut LedgerState) -> Result<(), CoordinatorError> {
    let prefix = |kind: &str| Key::new().text(kind).into_bytes();
    for row in store.records(Table::Meta, &prefix(CAP)) {
        let (key, record) = row?;
        let mut parts = KeyReader::new(&key);
        let scope = parts.text().and_then(|_| parts.text()).unwrap_or_default();
        let scope = match scope.as_str() {
            "" => None,
            region => Some(region.parse()?),
        };
        books.change(Change::Cap(scope, record.json()?));
    }
    for row in store.records(Table::Meta, &prefix(DECISION)) {
        books.change(Change::Decide(row?.1.json()?));
    }
    for row in store.records(Table::Meta, &prefix(RESERVATION)) {
        let (key, record) = row?;
        let mut parts = KeyReader::new(&key);
        let id = parts.text().and_then(|_| parts.text()).unwrap_or_default();
        // a reservation's own key is a prefix of those of its regions, so it comes first
        match books.reservations.get_mut(&id) {
            Some(known) => known.regions.extend(record.json::<Vec<RegionId>>()?),
            None => books.change(Change::Reserve(Reservation {
                id,
                regions: Vec::new(),
                parts: record.json()?,
            })),
        }
    }
    for row in store.records(Table::Meta, &prefix(DRAW)) {
        let (key, record) = row?;
        let (id, part): (String, String) = record.json()?;
        let mut parts = KeyReader::new(&key);
        let account = parts.text().and_then(|_| parts.text());
        let kind = parts.text();
        let kind = kind.and_then(|kind| ChargeKind::named(&kind));
        if let Some(account) = account.zip(kind) {
            books.change(Change::Draw(id, part, account));
        }
    }
    Ok(())
}
