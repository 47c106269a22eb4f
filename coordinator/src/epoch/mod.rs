//! Which past this coordinator has, and how it learns that it has lost a part of it.
//!
//! A data folder that is put back from a copy takes the coordinator back in time. Rounds that were
//! released since would be released again with other noise, which voids every statement about privacy,
//! and nothing in the folder shows it. The devices do: whatever they are ordered carries a [`Ticket`],
//! sealed with a key of the folder. A device keeps the newest ticket of every run and monitor before
//! it sends anything, and shows it when it comes back.
//!
//! ```text
//!  order {epoch, run, round, attempt, seal} --> device: kept on disk, then the update is sent
//!  receipt {.., digest, seal}               --> device: kept on disk
//!  hello {the newest tickets}               --> genuine, and newer than what the folder knows?
//!                                               then halt: nothing more is committed
//! ```
//!
//! A folder that was put back catches up with what devices have seen. So every start of the coordinator draws
//! a number, its incarnation, which is sealed into its tickets and kept with what it orders: a ticket of
//! round 24 that was ordered in another start than the folder's own round 24 is of a past that was lost.
//!
//! A claim stops nobody: only a ticket with a seal of this folder for the device that shows it counts,
//! so a device that makes something up is ignored, and so are the tickets of another coordinator. The
//! comparison itself is in `rollback`, above the runs and monitors that it looks at.
//!
//! The epoch is a number that only rises. `tributary restore` starts a new one; devices begin afresh
//! in it, since no run outlives its epoch.
//!
//! - `seal`: HMAC-SHA256
//! - `halt`: the state in which nothing is assigned, charged or released
//! - `guard`: a store that commits nothing in that state
//! - `asked`: what a monitor has asked, compared with what devices show
//! - `unfinished`: a restore that was cut off
//! - `roll_call`: who has come back after a start, before anything is charged or released

mod asked;
mod guard;
mod halt;
mod roll_call;
mod seal;
mod unfinished;

use tributary_model::Digest;
use tributary_proto::v1::Ticket;
use tributary_proto::{DeviceId, MonitorId, RunId};

pub use self::asked::Asked;
pub use self::guard::{Gate, GuardedStore};
pub use self::halt::{Halt, HaltRecord};
pub use self::roll_call::{LISTEN, Roll, RollCall, Stage, Word, quorum};
use self::seal::{authenticate, is_same};
pub(crate) use self::unfinished::Unfinished;
use crate::CoordinatorError;
pub use crate::lineage::{Lineage, Place};
use crate::random::random_bytes;
use tributary_store::{Batch, Expect, Store, Table};

/// Where the number is kept.
const KEY: &[u8] = b"epoch";
/// Ends the subject of a monitor's calibrations.
const CALIBRATION: &str = "/calibration";
/// Numbers of calibrations are above this, so that they never meet a monitor's windows.
pub const FIRST_CALIBRATION: u64 = 1 << 48;
/// Bytes of a seal that names an incarnation before its code.
const LONG_SEAL: usize = 8 + 32;
/// Epoch of folders that were made before there were epochs: the same for every copy of them.
const BEFORE_EPOCHS: u64 = 1;
/// Low bits of an epoch that are random, so that two restores of one copy at one time differ.
const RANDOM_BITS: u32 = 20;

/// What an order belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A round of a run.
    Run(RunId),
    /// A window of a monitor.
    Windows(MonitorId),
    /// A calibration of a monitor.
    Calibrations(MonitorId),
}

/// A genuine ticket of this folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The epoch in which it was given.
    pub epoch: u64,
    /// The run or monitor, as text.
    pub subject: String,
    /// What was ordered.
    pub place: Place,
    /// In which start of the coordinator; 0 where that was not noted yet.
    pub incarnation: u64,
    /// The update that was counted; none on an order.
    pub counted: Option<Digest>,
}

/// The subject of a monitor's calibrations.
pub fn calibrations_of(monitor: &str) -> String {
    format!("{monitor}{CALIBRATION}")
}

/// The epoch of a folder, this start of the coordinator in it, and the key of its tickets.
pub struct Epoch {
    number: u64,
    incarnation: u64,
    key: [u8; 32],
}

impl Epoch {
    /// Reads the epoch, or begins the first. `secret` is the folder's own; a folder is `new` when that
    /// was made just now.
    ///
    /// # Errors
    /// When the store refuses, or the operating system gives no randomness.
    pub async fn open(
        store: &dyn Store,
        secret: &[u8; 32],
        new: bool,
        now_ms: u64,
    ) -> Result<Self, CoordinatorError> {
        let key = authenticate(secret, &[b"tributary-ticket-key-v1"]);
        let incarnation = incarnation()?;
        let of = |number| Self {
            number,
            incarnation,
            key,
        };
        if let Some(record) = store.get(Table::Meta, KEY)? {
            return Ok(of(record.json()?));
        }
        let number = match new {
            true => begin(now_ms, 0)?,
            false => BEFORE_EPOCHS,
        };
        let mut batch = Batch::new();
        batch.put_json(Table::Meta, KEY, &number, Expect::Absent)?;
        store.commit(batch).await?;
        Ok(of(number))
    }

    /// The number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The number of this start of the coordinator; never 0.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Adds to a batch that an epoch after this one, and after `seen`, has begun; returns its number.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn renew(
        &self,
        seen: u64,
        now_ms: u64,
        batch: &mut Batch,
    ) -> Result<u64, CoordinatorError> {
        let next = begin(now_ms, self.number.max(seen))?;
        batch.put_json(Table::Meta, KEY, &next, Expect::Any)?;
        Ok(next)
    }

    /// Proves that a device was given an order, in the start `incarnation` of the coordinator.
    pub fn order(
        &self,
        device: &DeviceId,
        subject: &str,
        (place, incarnation): (Place, u64),
    ) -> Ticket {
        self.ticket(device, subject, (place, incarnation), String::new())
    }

    /// Proves that a device's update was counted.
    pub fn receipt(
        &self,
        device: &DeviceId,
        subject: &str,
        (place, incarnation): (Place, u64),
        digest: Digest,
    ) -> Ticket {
        let digest = digest.to_string();
        self.ticket(device, subject, (place, incarnation), digest)
    }

    fn ticket(
        &self,
        device: &DeviceId,
        subject: &str,
        (place, incarnation): (Place, u64),
        digest: String,
    ) -> Ticket {
        let mut ticket = Ticket {
            epoch: self.number,
            subject: subject.to_owned(),
            number: place.number,
            attempt: place.attempt,
            digest,
            ..Ticket::default()
        };
        let code = self.code(device, &ticket, incarnation);
        let named = match incarnation {
            0 => Vec::new(),
            incarnation => incarnation.to_be_bytes().to_vec(),
        };
        ticket.seal = [named, code.to_vec()].concat().into();
        ticket
    }

    /// What a ticket proves; nothing when it was not made here for this device.
    pub fn verify(&self, device: &DeviceId, ticket: &Ticket) -> Option<Witness> {
        // a seal of before there were incarnations names none
        let (incarnation, code) = match ticket.seal.split_first_chunk::<8>() {
            Some((named, code)) if ticket.seal.len() == LONG_SEAL && *named != [0; 8] => {
                (u64::from_be_bytes(*named), code)
            }
            _ => (0, &ticket.seal[..]),
        };
        if !is_same(&self.code(device, ticket, incarnation), code) {
            return None;
        }
        let counted = match ticket.digest.as_str() {
            "" => None,
            digest => Some(digest.parse().ok()?),
        };
        Some(Witness {
            epoch: ticket.epoch,
            subject: ticket.subject.clone(),
            place: Place {
                number: ticket.number,
                attempt: ticket.attempt,
            },
            incarnation,
            counted,
        })
    }

    /// The authentication code of what a ticket says.
    fn code(&self, device: &DeviceId, ticket: &Ticket, incarnation: u64) -> [u8; 32] {
        let (epoch, named) = (ticket.epoch.to_be_bytes(), incarnation.to_be_bytes());
        let (number, attempt) = (ticket.number.to_be_bytes(), ticket.attempt.to_be_bytes());
        let mut parts: Vec<&[u8]> = vec![
            b"tributary-ticket-v1",
            device.as_str().as_bytes(),
            &epoch,
            ticket.subject.as_bytes(),
            &number,
            &attempt,
            ticket.digest.as_bytes(),
        ];
        if incarnation != 0 {
            parts.push(&named);
        }
        authenticate(&self.key, &parts)
    }
}

impl Witness {
    /// The run or monitor; nothing for a subject that this version does not know.
    pub fn subject(&self) -> Option<Subject> {
        if let Some(monitor) = self.subject.strip_suffix(CALIBRATION) {
            return monitor.parse().ok().map(Subject::Calibrations);
        }
        // attempts at rounds begin at 1
        match self.place.attempt {
            0 => self.subject.parse().ok().map(Subject::Windows),
            _ => self.subject.parse().ok().map(Subject::Run),
        }
    }
}

/// A number for a start of the coordinator, from the operating system.
fn incarnation() -> Result<u64, CoordinatorError> {
    let [a, b, c, d, e, f, g, h, ..] = random_bytes()?;
    // 0 stands for one that is not known
    Ok(u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1))
}

/// A number after `last`: the time, with random low bits.
fn begin(now_ms: u64, last: u64) -> Result<u64, CoordinatorError> {
    let [a, b, c, ..] = random_bytes()?;
    let random = u64::from(u32::from_be_bytes([0, a, b, c])) % (1 << RANDOM_BITS);
    let by_time = now_ms
        .saturating_mul(1 << RANDOM_BITS)
        .saturating_add(random);
    let after = last.saturating_add(2).saturating_add(random);
    Ok(by_time.max(after))
}
