//! The terms under which the ledger charges: caps, reservations, and who decided what about them.
//!
//! Changes are worked out while nothing is charged, written with the caller's own batch, and taken into
//! memory once that is durable.
//!
//! | table | key | value |
//! |---|---|---|
//! | `Meta` | `privacy-cap`, region (empty for all devices) | the cap |
//! | `Meta` | `privacy-reservation`, run | its parts |
//! | `Meta` | `privacy-reservation`, run, number | some of its regions |
//! | `Meta` | `privacy-draw`, account, kind | the run and the part that the account draws on |
//! | `Meta` | `privacy-decision`, number | the decision |

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tributary_proto::RegionId;

use super::books::{AccountKey, Books};
use super::caps::Cap;
use super::charge::ChargeKind;
use super::reservation::{Outstanding, Part, Reservation};
use super::{Ledger, lock};
use crate::CoordinatorError;
use crate::store::key::{Key, KeyReader};
use crate::store::{Batch, Expect, Store, Table, commit_then};

const CAP: &str = "privacy-cap";
const RESERVATION: &str = "privacy-reservation";
const DRAW: &str = "privacy-draw";
const DECISION: &str = "privacy-decision";
/// Regions in one record.
const REGIONS_PER_RECORD: usize = 500;

/// What was decided about a cap, or in spite of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// A cap was set, or lowered, by an operator.
    Set,
    /// A recipe lowered the cap of the devices that it asks.
    Lowered,
    /// An operator raised a cap.
    Raised,
    /// A run may do without privacy on devices that are under a cap.
    WithoutPrivacy,
}

impl DecisionKind {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Lowered => "lowered",
            Self::Raised => "raised",
            Self::WithoutPrivacy => "without-privacy",
        }
    }
}

/// A decision, kept for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub kind: DecisionKind,
    /// The region that it is about; none for all devices.
    pub region: Option<RegionId>,
    /// The run that it is about; empty when none.
    pub run: String,
    /// The epsilon that was asked for; 0 when none.
    pub epsilon: f64,
    /// Its delta.
    pub delta: f64,
    /// The cap from then on, in units of 1e-12 of zCDP; none when it is not about one.
    pub pico_rho: Option<u64>,
    /// The cap before; none when there was none.
    pub before_pico_rho: Option<u64>,
    /// Why, in the words of who decided; may be empty.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
}

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

/// The ledger while nobody else charges or changes its terms. It owns its turn, so that it can go along into
/// a task that ends what its maker began.
pub struct Hold {
    store: Arc<dyn Store>,
    books: Arc<Mutex<Books>>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Ledger {
    /// Waits until nobody charges, and keeps it so.
    pub async fn hold(&self) -> Hold {
        let turn = self.charging.clone().lock_owned().await;
        Hold {
            store: self.store.clone(),
            books: self.books.clone(),
            _turn: turn,
        }
    }

    /// Ends a part of a run's reservation, or with none the whole; durable when this returns.
    ///
    /// # Errors
    /// When the store refuses; then it stays reserved.
    pub async fn release(&self, run: &str, part: Option<&str>) -> Result<(), CoordinatorError> {
        let hold = self.hold().await;
        if !self.lock().reservations.contains_key(run) {
            return Ok(());
        }
        hold.commit(
            vec![Change::Release(run.to_owned(), part.map(str::to_owned))],
            Batch::new(),
        )
        .await
    }
}

impl Hold {
    pub(super) fn lock(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }

    /// What is free in `regions`, under the caps there are and those of `lowered`.
    pub fn headroom(&self, regions: &[RegionId], lowered: &[Change]) -> Headroom {
        let mut books = self.lock();
        let before = books.caps.clone();
        for change in lowered {
            if let Change::Cap(scope, cap) = change {
                books.caps.set(scope.clone(), cap.clone());
            }
        }
        let headroom = headroom(&books, regions);
        books.caps = before;
        headroom
    }

    /// Adds changes to a batch.
    ///
    /// # Errors
    /// When a record is too large.
    pub fn put(&self, changes: &[Change], batch: &mut Batch) -> Result<(), CoordinatorError> {
        let books = self.lock();
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

    /// Takes changes into memory whose batch is durable.
    pub fn apply(&self, changes: Vec<Change>) {
        let mut books = self.lock();
        changes.into_iter().for_each(|change| books.change(change));
    }

    /// Commits changes with `batch`, and ends the hold.
    ///
    /// # Errors
    /// When the store refuses; then nothing has changed.
    pub async fn commit(
        self,
        changes: Vec<Change>,
        mut batch: Batch,
    ) -> Result<(), CoordinatorError> {
        self.put(&changes, &mut batch)?;
        let commit = self.store.commit(batch);
        commit_then("a change of terms", commit, move || self.apply(changes)).await
    }
}

fn headroom(books: &Books, regions: &[RegionId]) -> Headroom {
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

impl Books {
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
pub(super) fn read(store: &dyn Store, books: &mut Books) -> Result<(), CoordinatorError> {
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
