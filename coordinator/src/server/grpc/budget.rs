//! The byte budget of uploads: who has how much of the memory for updates.
//!
//! - An upload that keeps a decent pace has all the room that it announced from its first byte on, so
//!   that many at once never block each other half-way.
//! - One that does not keep it has the room of the bytes that it sent, and no more: what it announced
//!   holds up nobody. When others need room it is sent away, the slowest first.
//! - A header alone holds nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tributary_proto::DeviceId;

/// A megabyte a second is fast enough for any upload.
const FAST: f64 = 1024.0 * 1024.0;
/// How often it is looked for room meanwhile.
const GLANCE: Duration = Duration::from_millis(20);
/// Devices whose last upload was slow or broke off, and which must show their pace first.
const REMEMBERED: usize = 4_096;

/// What is slow.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// An upload is at pace while it would be done within this, or is [`FAST`]...
    done_within: Duration,
    /// ... counted after this: the first bytes may be slow.
    grace: Duration,
    /// How long an upload waits for room before it is sent away for a while.
    patience: Duration,
}

const PACE: Pace = Pace {
    done_within: Duration::from_secs(10),
    grace: Duration::from_secs(1),
    patience: Duration::from_secs(5),
};

/// The budget.
pub struct Budget {
    room: Arc<Semaphore>,
    total: usize,
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    uploads: HashMap<u64, Entry>,
    suspects: VecDeque<DeviceId>,
}

struct Entry {
    device: DeviceId,
    size: usize,
    held: usize,
    since: Option<Instant>,
    suspect: bool,
    room: Option<OwnedSemaphorePermit>,
    sent_away: CancellationToken,
}

/// One upload's part of the budget; free again when it is dropped.
pub struct Place {
    budget: Arc<Budget>,
    number: u64,
    sent_away: CancellationToken,
    done: bool,
}

/// There is no room, or others need it more.
#[derive(Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Entry {
    fn permits(&self) -> usize {
        self.room.as_ref().map_or(0, |room| room.num_permits())
    }

    fn is_at_pace(&self, pace: Pace, now: Instant) -> bool {
        let since = self.since.map_or(Duration::ZERO, |since| now - since);
        let counted = since.saturating_sub(pace.grace).as_secs_f64();
        let time = pace.done_within.as_secs_f64().max(self.size as f64 / FAST);
        let proven = !self.suspect || since > pace.grace;
        proven && self.held as f64 >= self.size as f64 * counted / time
    }

    /// What part of it comes in a second.
    fn speed(&self, now: Instant) -> f64 {
        let elapsed = self.since.map_or(0.0, |since| (now - since).as_secs_f64());
        self.held as f64 / self.size.max(1) as f64 / elapsed.max(0.05)
    }
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(total: usize) -> Arc<Self> {
        Self::with_pace(total, PACE)
    }

    fn with_pace(total: usize, pace: Pace) -> Arc<Self> {
        let total = total.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Self {
            room: Arc::new(Semaphore::new(total)),
            total,
            pace,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an upload of `size` bytes, without any room yet. An older upload of the same device
    /// is sent away.
    pub fn open(self: &Arc<Self>, device: &DeviceId, size: usize) -> Place {
        let mut state = self.lock();
        for other in state.uploads.values() {
            if other.device == *device {
                other.sent_away.cancel();
            }
        }
        state.next += 1;
        let number = state.next;
        let sent_away = CancellationToken::new();
        let entry = Entry {
            device: device.clone(),
            size,
            held: 0,
            since: None,
            suspect: state.suspects.contains(device),
            room: None,
            sent_away: sent_away.clone(),
        };
        state.uploads.insert(number, entry);
        Place {
            budget: self.clone(),
            number,
            sent_away,
            done: false,
        }
    }

    /// Bytes for which there is room.
    #[cfg(test)]
    fn free(&self) -> usize {
        self.room.available_permits()
    }

    /// Takes back what slow uploads announced and did not send, then sends the slowest of them away,
    /// until there is room for `wanted` bytes or nobody is left.
    fn make_room(&self, wanted: usize, but: u64, now: Instant) {
        let pace = self.pace;
        let mut state = self.lock();
        for entry in state.uploads.values_mut() {
            if !entry.is_at_pace(pace, now) && entry.permits() > entry.held {
                let excess = entry.permits() - entry.held;
                drop(entry.room.as_mut().and_then(|room| room.split(excess)));
            }
        }
        let mut slow: Vec<&Entry> = state
            .uploads
            .iter()
            .filter(|(number, entry)| **number != but && !entry.is_at_pace(pace, now))
            .map(|(_, entry)| entry)
            .filter(|entry| entry.held > 0 && entry.since.is_some())
            .collect();
        slow.sort_by(|a, b| a.speed(now).total_cmp(&b.speed(now)));
        let mut coming = self.room.available_permits();
        for entry in slow {
            if coming >= wanted {
                return;
            }
            coming += entry.permits();
            entry.sent_away.cancel();
        }
    }

    fn suspect(state: &mut State, device: DeviceId) {
        if !state.suspects.contains(&device) {
            if state.suspects.len() >= REMEMBERED {
                state.suspects.pop_front();
            }
            state.suspects.push_back(device);
        }
    }
}

impl Place {
    /// Resolves when others need the room more.
    pub async fn sent_away(&self) {
        self.sent_away.cancelled().await;
    }

    /// A token that is cancelled when others need the room more.
    pub fn watch(&self) -> CancellationToken {
        self.sent_away.clone()
    }

    /// True when `watch` came from this place.
    pub fn is_watched_by(&self, watch: &CancellationToken) -> bool {
        self.sent_away == *watch
    }

    /// Takes room for `bytes` that just came.
    ///
    /// # Errors
    /// [`NoRoom`] when none came free for a while, or when others need it more.
    pub async fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        let until = Instant::now() + self.budget.pace.patience;
        loop {
            let now = Instant::now();
            let Some(missing) = self.missing(bytes, now) else {
                return Err(NoRoom);
            };
            let permits = u32::try_from(missing).unwrap_or(u32::MAX);
            if let Ok(room) = self.budget.room.clone().try_acquire_many_owned(permits) {
                return self.take(bytes, room);
            }
            self.budget.make_room(missing, self.number, now);
            if now >= until || self.sent_away.is_cancelled() {
                return Err(NoRoom);
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Permits that are missing for `bytes` more; none once the place is gone.
    fn missing(&self, bytes: usize, now: Instant) -> Option<usize> {
        let pace = self.budget.pace;
        let mut state = self.budget.lock();
        let entry = state.uploads.get_mut(&self.number)?;
        entry.since.get_or_insert(now);
        let held = entry.held + bytes;
        let wanted = if entry.is_at_pace(pace, now) {
            entry.size.max(held)
        } else {
            held
        };
        // one that is larger than the budget has the whole of it
        Some(
            wanted
                .min(self.budget.total)
                .saturating_sub(entry.permits()),
        )
    }

    fn take(&self, bytes: usize, room: OwnedSemaphorePermit) -> Result<(), NoRoom> {
        let mut state = self.budget.lock();
        let entry = state.uploads.get_mut(&self.number).ok_or(NoRoom)?;
        entry.held += bytes;
        match &mut entry.room {
            Some(held) => held.merge(room),
            None => entry.room = Some(room),
        }
        Ok(())
    }

    /// The upload is whole: its room goes with its bytes.
    pub fn finish(mut self) -> Option<OwnedSemaphorePermit> {
        self.done = true;
        let mut state = self.budget.lock();
        let entry = state.uploads.remove(&self.number)?;
        state.suspects.retain(|device| *device != entry.device);
        entry.room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.budget.lock();
        if let Some(entry) = state.uploads.remove(&self.number)
            && entry.since.is_some()
        {
            Budget::suspect(&mut state, entry.device);
        }
    }
}

#[cfg(test)]
mod tests;
