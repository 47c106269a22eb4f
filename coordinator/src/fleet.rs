//! The fleet: enrolled devices, their open sessions, and mailboxes for those that poll.
//!
//! - `device`: what is kept of each
//! - `admission`: how many devices may enrol
//! - `enrolment`: who becomes known, and what of it changes
//! - `profiles`: what devices say of themselves, kept once
//! - `pollers`, `mailbox`: devices that can't hold a stream, and what waits for each
//! - `relocation`: a device that moves to another region

mod admission;
mod as_itself;
mod census;
mod device;
mod enrolment;
mod mailbox;
mod pollers;
mod profiles;
mod relocation;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{Credentials, Directive, FleetGroup};
use tributary_proto::{DeviceId, RegionId};

use self::admission::Admission;
pub use self::device::{Device, Former, Profile};
pub use self::mailbox::MAILBOX;
use self::pollers::Pollers;
use self::profiles::Profiles;
use crate::CoordinatorError;
use crate::limits::Limits;
use crate::quarantine::Quarantine;
use crate::random::random_bytes;
use tributary_store::{Store, Table};

/// Bytes of a device's token.
pub const TOKEN_BYTES: usize = 32;

struct Session {
    number: u64,
    outbox: mpsc::Sender<Directive>,
}

struct Inner {
    devices: HashMap<DeviceId, Arc<Device>>,
    profiles: Profiles,
    sessions: HashMap<DeviceId, Session>,
    pollers: Pollers,
    reserved: HashSet<DeviceId>,
    /// Devices that enrolled, changed or moved since the start.
    unsettled: HashSet<DeviceId>,
    session_count: u64,
}

impl Inner {
    /// Takes a device over that is on disk as it is now.
    fn replace(&mut self, id: DeviceId, device: Device) -> Arc<Device> {
        let device = Arc::new(self.profiles.share(device));
        self.unsettled.insert(id.clone());
        self.devices.insert(id, device.clone());
        device
    }
}

/// The fleet of one coordinator.
pub struct Fleet {
    store: Arc<dyn Store>,
    inner: Arc<Mutex<Inner>>,
    admission: Mutex<Admission>,
    /// Held by who changes or moves a device that is known, so that memory follows in the order of the disk.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// A device that is reserved until this is dropped.
struct Reserved {
    inner: Arc<Mutex<Inner>>,
    id: DeviceId,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        lock(&self.inner).reserved.remove(&self.id);
    }
}

fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // no code panics while it holds the lock; if some day one does, the maps are still whole
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// Reads the enrolled devices. One whose record is damaged is set aside: it can't prove who it is,
    /// and nobody can take its place.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    pub fn open(store: Arc<dyn Store>, quarantine: &Quarantine) -> Result<Self, CoordinatorError> {
        // answers to polls are numbered from a random number on, so that no number is one that a device
        // got before a restart
        let [a, b, c, d, e, f, g, ..] = random_bytes()?;
        let first_answer = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
        let mut inner = Inner {
            devices: HashMap::new(),
            profiles: Profiles::default(),
            sessions: HashMap::new(),
            pollers: Pollers::new(first_answer),
            reserved: HashSet::new(),
            unsettled: HashSet::new(),
            session_count: 0,
        };
        for row in store.records(Table::Devices, b"") {
            let (key, record) = row?;
            let name = String::from_utf8_lossy(&key).into_owned();
            let id = DeviceId::try_from(name.clone()).map_err(CoordinatorError::from);
            match id.and_then(|id| Ok((id, record.json()?))) {
                Ok((id, device)) => {
                    let device = inner.profiles.share(device);
                    inner.devices.insert(id, Arc::new(device));
                }
                Err(error) => {
                    quarantine.add("device", &name, &error);
                }
            }
        }
        Ok(Self {
            store,
            inner: Arc::new(Mutex::new(inner)),
            changing: Arc::default(),
            admission: Mutex::new(Admission::new(&Limits::default(), Instant::now())),
        })
    }

    /// Takes over how many devices may enrol.
    pub fn set_limits(&self, limits: &Limits) {
        *self.admission() = Admission::new(limits, Instant::now());
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a device may enrol now, or change what it says of itself.
    fn admit(&self, device: &Device, is_new: bool) -> Result<(), CoordinatorError> {
        let now = Instant::now();
        let others = if is_new { self.lock().devices.len() } else { 0 };
        let most = {
            let mut admission = self.admission();
            admission.take(others, now)?;
            admission.profile_bytes()
        };
        self.lock().profiles.must_fit(device, most, now)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// The device behind these credentials.
    ///
    /// # Errors
    /// When the id is unknown or the token is another's.
    pub fn authenticate(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<(DeviceId, Arc<Device>), CoordinatorError> {
        let credentials = credentials.ok_or(CoordinatorError::Unauthenticated)?;
        let id: DeviceId = credentials.device_id.parse()?;
        let device = self.lock().devices.get(&id).cloned();
        let device = device.ok_or(CoordinatorError::Unauthenticated)?;
        // digests are compared, so the time taken says nothing about the token
        if hash(&credentials.token) != device.token {
            return Err(CoordinatorError::Unauthenticated);
        }
        Ok((id, device))
    }

    /// Opens a session; an older one of the same device ends. Returns its number and its messages.
    pub fn connect(&self, id: &DeviceId) -> (u64, mpsc::Receiver<Directive>) {
        let (outbox, messages) = mpsc::channel(MAILBOX);
        let mut inner = self.lock();
        inner.session_count += 1;
        let number = inner.session_count;
        inner.pollers.remove(id);
        inner
            .sessions
            .insert(id.clone(), Session { number, outbox });
        (number, messages)
    }

    /// Ends a session, unless a newer one has taken its place.
    pub fn disconnect(&self, id: &DeviceId, number: u64) {
        let mut inner = self.lock();
        if inner
            .sessions
            .get(id)
            .is_some_and(|session| session.number == number)
        {
            inner.sessions.remove(id);
        }
    }

    /// Notes a poll of a device that got the answer with the number `received` last. Returns the number
    /// of the new answer, and what waits for the device or was in an answer that it did not get.
    pub fn poll(&self, id: &DeviceId, received: u64) -> (u64, Vec<Directive>) {
        self.lock().pollers.poll(id, received, Instant::now())
    }

    /// Forgets orders that a device that polls has answered.
    pub fn answered(&self, id: &DeviceId, is_answered: impl Fn(&Order) -> bool) {
        self.lock().pollers.answered(id, is_answered);
    }

    /// True when a device that got the answer with the number `received` last polls, can be expected
    /// back, and has not started anew since.
    pub fn is_polling(&self, id: &DeviceId, received: u64) -> bool {
        let inner = self.lock();
        inner.pollers.is_here(id, Instant::now()) && !inner.pollers.has_restarted(id, received)
    }

    /// The earliest and the latest moment of a device's next poll, from now on.
    pub fn poll_window(&self) -> (Duration, Duration) {
        self.lock().pollers.window()
    }

    /// Sends a directive. False when the device has neither session nor mailbox, or does not read.
    pub fn send(&self, id: &DeviceId, directive: Directive) -> bool {
        let mut inner = self.lock();
        let Some(session) = inner.sessions.get(id) else {
            return inner.pollers.push(id, directive, Instant::now());
        };
        let sent = session.outbox.try_send(directive).is_ok();
        if !sent {
            inner.sessions.remove(id);
        }
        sent
    }

    /// True when the device holds a session, or polls and can be expected back.
    pub fn is_reachable(&self, id: &DeviceId) -> bool {
        let inner = self.lock();
        inner.sessions.contains_key(id) || inner.pollers.is_here(id, Instant::now())
    }

    /// Reachable devices of a region that hold data of the task.
    pub fn reachable(&self, region: &RegionId, task: &str) -> Vec<DeviceId> {
        let inner = self.lock();
        // a device may hold a session and poll: it is there once
        let polling = inner.pollers.here(Instant::now());
        let polling = polling.filter(|id| !inner.sessions.contains_key(*id));
        let reachable = inner.sessions.keys().chain(polling);
        reachable
            .filter(|id| {
                inner.devices.get(*id).is_some_and(|device| {
                    device.region == *region && device.tasks.iter().any(|held| held == task)
                })
            })
            .cloned()
            .collect()
    }

    /// Of `devices`, those that no other run has reserved; they are reserved now.
    pub fn reserve(&self, devices: Vec<DeviceId>) -> Vec<DeviceId> {
        let mut inner = self.lock();
        devices
            .into_iter()
            .filter(|id| inner.reserved.insert(id.clone()))
            .collect()
    }

    /// The same for one, until the answer is dropped; none when another has it.
    fn reserve_one(&self, id: &DeviceId) -> Option<Reserved> {
        self.lock().reserved.insert(id.clone()).then(|| Reserved {
            inner: self.inner.clone(),
            id: id.clone(),
        })
    }

    /// Gives reserved devices back.
    pub fn release<'a>(&self, devices: impl IntoIterator<Item = &'a DeviceId>) {
        let mut inner = self.lock();
        for id in devices {
            inner.reserved.remove(id);
        }
    }

    /// True when another run holds the device.
    pub fn is_reserved(&self, id: &DeviceId) -> bool {
        self.lock().reserved.contains(id)
    }

    /// The device, if it is enrolled.
    pub fn device(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.lock().devices.get(id).cloned()
    }

    /// Every enrolled device with its region.
    pub fn all(&self) -> Vec<(DeviceId, RegionId)> {
        let inner = self.lock();
        let devices = inner.devices.iter();
        devices
            .map(|(id, device)| (id.clone(), device.region.clone()))
            .collect()
    }

    /// Counts by region and profile, sorted. A device that polls is connected as long as it can be
    /// expected back.
    pub fn groups(&self) -> Vec<FleetGroup> {
        let inner = self.lock();
        let now = Instant::now();
        let mut groups = std::collections::BTreeMap::<(String, String), (u64, u64)>::new();
        for (id, device) in &inner.devices {
            let key = (device.region.to_string(), device.profile.name.clone());
            let group = groups.entry(key).or_default();
            group.0 += 1;
            let is_here = inner.sessions.contains_key(id) || inner.pollers.is_here(id, now);
            group.1 += u64::from(is_here);
        }
        let wire = |((region, profile), (enrolled, connected))| FleetGroup {
            region,
            profile,
            enrolled,
            connected,
        };
        groups.into_iter().map(wire).collect()
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests;
