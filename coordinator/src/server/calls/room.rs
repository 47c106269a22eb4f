//! The byte budget of requests that arrive: over all calls and connections, frame by frame.
//!
//! - Every request costs something from its first frame on, and its bytes as they come. Bytes of a stream are
//!   given back when their message is whole and read.
//! - Nobody waits for room, so nobody waits for each other. When little is left, unfinished requests are sent
//!   away: the oldest of the connection that holds most. What still finds no room is refused and comes again.
//! - Large requests leave a part to small ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Level;

/// A request that holds no more may use all of the room.
const SMALL: usize = 16 * 1024;

/// The budget.
#[derive(Debug)]
pub(in crate::server) struct Room {
    total: usize,
    level: Arc<Level>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    held: usize,
    /// Of those that were sent away and have not left yet.
    leaving: usize,
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    connection: u64,
    bytes: usize,
    /// Since when it is unfinished; none while it is whole.
    unfinished: Option<Instant>,
    sent_away: CancellationToken,
}

/// One request's part of the budget; free again when it is dropped.
#[derive(Debug)]
pub(in crate::server) struct Place {
    room: Arc<Room>,
    number: u64,
    connection: u64,
    sent_away: CancellationToken,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::server) struct NoRoom;

impl State {
    /// Unfinished requests, by the connection that holds most and then by their age, until so many bytes
    /// are on their way out.
    fn send_away(&mut self, bytes: usize) {
        let mut by_connection: HashMap<u64, Vec<(Instant, u64)>> = HashMap::new();
        let mut sums: HashMap<u64, usize> = HashMap::new();
        for (number, holder) in &self.holders {
            if let Some(since) = holder.unfinished
                && !holder.sent_away.is_cancelled()
            {
                let of_connection = by_connection.entry(holder.connection).or_default();
                of_connection.push((since, *number));
                *sums.entry(holder.connection).or_default() += holder.bytes;
            }
        }
        let mut connections: Vec<_> = sums.into_iter().collect();
        connections.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        let mut coming = 0;
        for (connection, _) in connections {
            let mut oldest = by_connection.remove(&connection).unwrap_or_default();
            oldest.sort_unstable();
            for (_, number) in oldest {
                if coming >= bytes {
                    return;
                }
                if let Some(holder) = self.holders.get(&number) {
                    coming += holder.bytes;
                    self.leaving += holder.bytes;
                    holder.sent_away.cancel();
                }
            }
        }
    }

    fn give_back(&mut self, number: u64, bytes: usize) {
        let Some(holder) = self.holders.get_mut(&number) else {
            return;
        };
        let bytes = bytes.min(holder.bytes);
        holder.bytes -= bytes;
        if holder.sent_away.is_cancelled() {
            self.leaving = self.leaving.saturating_sub(bytes);
        }
        self.held -= bytes;
        if holder.bytes == 0 {
            self.holders.remove(&number);
        }
    }
}

impl Room {
    /// Room for so many bytes; `level` shows how many are held.
    pub(in crate::server) fn new(total: usize, level: Arc<Level>) -> Arc<Self> {
        Arc::new(Self {
            total,
            level,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a request on a connection, with its first bytes.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(in crate::server) fn open(
        self: &Arc<Self>,
        connection: u64,
        bytes: usize,
    ) -> Result<Place, NoRoom> {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            state.next
        };
        let place = Place {
            room: self.clone(),
            number,
            connection,
            sent_away: CancellationToken::new(),
        };
        place.grow(bytes)?;
        Ok(place)
    }

    /// More than half is held: who can wait with what comes next does so.
    pub(in crate::server) fn is_crowded(&self) -> bool {
        self.lock().held > self.total / 2
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.lock().held
    }
}

impl Place {
    /// Takes room for bytes that just came.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub(in crate::server) fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        let room = &self.room;
        let mut state = room.lock();
        let mine = state.holders.get(&self.number).map_or(0, |own| own.bytes) + bytes;
        let most = if mine <= SMALL {
            room.total
        } else {
            room.total / 4 * 3
        };
        if state.held + bytes > room.total / 8 * 5 + state.leaving {
            state.send_away(room.total / 8);
        }
        if state.held + bytes > most {
            return Err(NoRoom);
        }
        state.held += bytes;
        let holder = state.holders.entry(self.number).or_insert_with(|| Holder {
            connection: self.connection,
            bytes: 0,
            unfinished: Some(Instant::now()),
            sent_away: self.sent_away.clone(),
        });
        holder.bytes += bytes;
        if holder.sent_away.is_cancelled() {
            state.leaving += bytes;
        }
        room.level.set(state.held);
        Ok(())
    }

    /// Gives back what is no longer held.
    pub(in crate::server) fn give_back(&self, bytes: usize) {
        let mut state = self.room.lock();
        state.give_back(self.number, bytes);
        self.room.level.set(state.held);
    }

    /// What came is whole, or something of it is missing since now: whole requests are not sent away.
    pub(in crate::server) fn is_whole(&self, whole: bool) {
        let mut state = self.room.lock();
        if let Some(holder) = state.holders.get_mut(&self.number) {
            holder.unfinished = match (whole, holder.unfinished) {
                (true, _) => None,
                (false, since) => since.or_else(|| Some(Instant::now())),
            };
        }
    }

    /// Cancelled when others need the room.
    pub(in crate::server) fn sent_away(&self) -> &CancellationToken {
        &self.sent_away
    }

    /// The budget that it is a part of.
    pub(in crate::server) fn room(&self) -> &Arc<Room> {
        &self.room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    fn room() -> Arc<Room> {
        Room::new(1024 * KIB, Arc::default())
    }

    #[tokio::test]
    async fn the_oldest_of_the_greediest_connection_makes_room_for_others() {
        let room = room();
        let other = room.open(2, 64 * KIB).unwrap();
        let greedy: Vec<_> = (0..8).map(|_| room.open(1, 64 * KIB).unwrap()).collect();
        assert!(!greedy[0].sent_away().is_cancelled());
        let last = room.open(3, 128 * KIB).unwrap();
        let gone = greedy.iter().map(|place| place.sent_away().is_cancelled());
        assert_eq!(
            gone.filter(|gone| *gone).count(),
            2,
            "an eighth of the room"
        );
        assert!(greedy[0].sent_away().is_cancelled() && greedy[1].sent_away().is_cancelled());
        assert!(!other.sent_away().is_cancelled() && !last.sent_away().is_cancelled());
        drop((greedy, other, last));
        assert_eq!((room.held(), room.lock().holders.len()), (0, 0));
        assert_eq!(room.lock().leaving, 0);
    }

    #[tokio::test]
    async fn whole_requests_stay_large_ones_are_refused_and_small_ones_still_find_room() {
        let room = room();
        let whole: Vec<_> = (0..12)
            .map(|_| room.open(1, 64 * KIB).unwrap())
            .inspect(|place| place.is_whole(true))
            .collect();
        assert_eq!(room.open(1, 64 * KIB).unwrap_err(), NoRoom);
        let small: Vec<_> = (0..64).map_while(|_| room.open(1, 4 * KIB).ok()).collect();
        assert_eq!(small.len(), 64, "all of the rest");
        assert_eq!(room.held(), 1024 * KIB);
        assert_eq!(room.open(1, 4 * KIB).unwrap_err(), NoRoom);
        assert!(whole.iter().all(|place| !place.sent_away().is_cancelled()));
        drop(small);
        assert!(room.open(1, 4 * KIB).is_ok());
    }

    #[tokio::test]
    async fn never_more_than_the_whole_is_held() {
        let level: Arc<Level> = Arc::default();
        let room = Room::new(1024 * KIB, level.clone());
        let mut places = Vec::new();
        for number in 0..10_000_u64 {
            match room.open(number % 7, (number as usize * 37) % (40 * KIB)) {
                Ok(place) => places.push(place),
                Err(NoRoom) => drop(places.drain(..places.len() / 3)),
            }
        }
        assert!(level.most() <= 1024 * KIB as u64, "{}", level.most());
        drop(places);
        assert_eq!((room.held(), room.lock().leaving), (0, 0));
    }
}
