//! The anchor: what the store last acknowledged, kept outside the engine.
//!
//! Two slots of one file, written in turn, each with its own checksum:
//!
//! ```text
//! offset 0, 4096   "TRBANCHR" | layout 1, u32 | store id, 16 bytes | turn, u64 |
//!                  commit, u64 | its chain digest, 32 bytes | checksum of all this, u128
//! ```
//!
//! # Order of a group of commits, and what each crash leaves
//! E is the engine's [`Position`] (and E' the one its header names as before its last group), A the
//! anchor's. Before the group E = A = n; the group makes them m.
//!
//! | step | crash (or power cut) here leaves | the next open |
//! |---|---|---|
//! | 1 the engine writes the group, one transaction | E = n or, if the write got through, E = m with E' = n; A = n | n: equal. m: E' = A, so it is the group that was being written: made durable, then A := m |
//! | 2 the engine syncs | the same | the same |
//! | 3 the anchor writes the slot that is *not* the newest | E = m, E' = n; A = m, or A = n when the slot is torn (its checksum fails and the other one counts) | equal, or as in 1 |
//! | 4 the anchor syncs | the same | the same |
//! | 5 the commits are answered | E = A = m | equal |
//!
//! The engine is synced before the anchor is written, so A is never ahead of E; nothing is answered
//! before A = m is on the disk. So an engine behind A has lost something that was acknowledged, one
//! more than a group ahead of A met an anchor that was put back, and one on another chain is another
//! history: all three are refused. An anchor that was put back by exactly one group can't be told
//! from a crash at step 3, and takes nothing away: the engine holds all that was acknowledged.
//!
//! One changed byte in the newest slot makes the other one count, which is the same case; in the
//! older slot it changes nothing.

use std::fmt;
use std::io;

use crate::disk::checksum::{self, Checksum};
use crate::disk::doubt::Doubt;
use crate::disk::schema::{Header, Position, StoreId};

/// The bytes of an anchor, on any medium.
pub trait AnchorFile: Send + Sync + fmt::Debug + 'static {
    /// All bytes; empty if the anchor was never written.
    ///
    /// # Errors
    /// What the medium says.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// What the medium says.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Returns when all that was written survives a power failure.
    ///
    /// # Errors
    /// What the medium says.
    fn sync(&self) -> io::Result<()>;
}

/// Apart far enough that no sector and no page holds both slots.
const SLOT_STRIDE: usize = 4096;
const SLOTS: usize = 2;
/// Bytes of an anchor.
pub(crate) const ANCHOR_BYTES: usize = SLOTS * SLOT_STRIDE;
const MAGIC: &[u8; 8] = b"TRBANCHR";
const LAYOUT: u32 = 1;
const PURPOSE: &[u8] = b"tributary-anchor";
const BODY_BYTES: usize = 8 + 4 + 16 + 8 + 8 + 32;
const SLOT_BYTES: usize = BODY_BYTES + 16;

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    store: StoreId,
    turn: u64,
    position: Position,
}

impl Slot {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&LAYOUT.to_be_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&self.turn.to_be_bytes());
        bytes.extend_from_slice(&self.position.commit.to_be_bytes());
        bytes.extend_from_slice(&self.position.chain);
        let checksum = checksum::of_bytes(PURPOSE, &bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, rest) = bytes.split_first_chunk::<BODY_BYTES>()?;
        let stated = Checksum::from_be_bytes(*rest.first_chunk::<16>()?);
        if checksum::of_bytes(PURPOSE, body) != stated {
            return None;
        }
        let (magic, rest) = body.split_first_chunk::<8>()?;
        let (layout, rest) = rest.split_first_chunk::<4>()?;
        let (store, rest) = rest.split_first_chunk::<16>()?;
        let (turn, rest) = rest.split_first_chunk::<8>()?;
        let (commit, rest) = rest.split_first_chunk::<8>()?;
        let chain = rest.first_chunk::<32>()?;
        (magic == MAGIC && u32::from_be_bytes(*layout) == LAYOUT).then_some(Self {
            store: *store,
            turn: u64::from_be_bytes(*turn),
            position: Position {
                commit: u64::from_be_bytes(*commit),
                chain: *chain,
            },
        })
    }
}

/// Where the engine stands against the anchor, when both are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// At the same commit.
    Equal,
    /// One group ahead: the process died between the engine's sync and the anchor's.
    Ahead,
}

/// The anchor of an open store.
#[derive(Debug)]
pub(crate) struct Anchor {
    file: Box<dyn AnchorFile>,
    newest: Slot,
}

impl Anchor {
    /// Writes the first anchor of a store, both slots, and syncs it.
    pub(crate) fn create(
        file: Box<dyn AnchorFile>,
        store: StoreId,
        position: Position,
    ) -> io::Result<Self> {
        let newest = Slot {
            store,
            turn: 0,
            position,
        };
        let mut bytes = vec![0; ANCHOR_BYTES];
        let slot = newest.encode();
        bytes[..slot.len()].copy_from_slice(&slot);
        file.write(0, &bytes)?;
        file.sync()?;
        Ok(Self { file, newest })
    }

    /// Reads the anchor. The outer error is the medium's.
    pub(crate) fn read(file: Box<dyn AnchorFile>) -> io::Result<Result<Self, Doubt>> {
        let bytes = file.read()?;
        if bytes.is_empty() {
            return Ok(Err(Doubt::Missing));
        }
        let slots = (0..SLOTS).filter_map(|slot| Slot::decode(bytes.get(slot * SLOT_STRIDE..)?));
        let newest = slots.max_by_key(|slot| slot.turn);
        Ok(newest
            .map(|newest| Self { file, newest })
            .ok_or(Doubt::Unreadable))
    }

    /// What was acknowledged last.
    pub(crate) fn position(&self) -> Position {
        self.newest.position
    }

    /// Compares an engine's header with the anchor.
    pub(crate) fn judge(&self, header: &Header) -> Result<Standing, Doubt> {
        let anchor = self.newest.position;
        let found = header.at.commit;
        if header.store != self.newest.store {
            return Err(Doubt::OtherStore);
        }
        if header.at == anchor {
            return Ok(Standing::Equal);
        }
        if header.before == anchor && found > anchor.commit {
            return Ok(Standing::Ahead);
        }
        Err(match found.cmp(&anchor.commit) {
            std::cmp::Ordering::Less => Doubt::RolledBack {
                found,
                last: anchor.commit,
            },
            std::cmp::Ordering::Equal => Doubt::OtherHistory { commit: found },
            std::cmp::Ordering::Greater => Doubt::AnchorPutBack {
                found,
                anchor: anchor.commit,
            },
        })
    }

    /// Moves the anchor; it is on the disk when this returns. After an error nobody knows which of
    /// the two positions the disk holds.
    pub(crate) fn advance(&mut self, position: Position) -> io::Result<()> {
        let next = Slot {
            store: self.newest.store,
            turn: self.newest.turn + 1,
            position,
        };
        let offset = (next.turn % SLOTS as u64) * SLOT_STRIDE as u64;
        self.file.write(offset, &next.encode())?;
        self.file.sync()?;
        self.newest = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Default, Clone)]
    struct InMemory(Arc<Mutex<Vec<u8>>>);

    impl AnchorFile for InMemory {
        fn read(&self) -> io::Result<Vec<u8>> {
            Ok(self.0.lock().unwrap().clone())
        }

        fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            let mut all = self.0.lock().unwrap();
            let end = offset as usize + bytes.len();
            let length = all.len().max(end);
            all.resize(length, 0);
            all[offset as usize..end].copy_from_slice(bytes);
            Ok(())
        }

        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    const STORE: StoreId = [9; 16];

    fn position(commit: u64) -> Position {
        Position {
            commit,
            chain: [commit as u8; 32],
        }
    }

    fn header(at: u64, before: u64) -> Header {
        Header {
            at: position(at),
            before: position(before),
            ..Header::new(STORE)
        }
    }

    fn anchored_at(commits: &[u64]) -> (InMemory, Anchor) {
        let file = InMemory::default();
        let mut anchor =
            Anchor::create(Box::new(file.clone()), STORE, position(commits[0])).unwrap();
        for &commit in &commits[1..] {
            anchor.advance(position(commit)).unwrap();
        }
        (file, anchor)
    }

    fn reread(file: &InMemory) -> Result<Anchor, Doubt> {
        Anchor::read(Box::new(file.clone())).unwrap()
    }

    #[test]
    fn only_the_same_commit_or_one_group_ahead_is_right() {
        let (file, _) = anchored_at(&[0, 4, 6]);
        let anchor = reread(&file).unwrap();
        assert_eq!(anchor.position(), position(6));
        assert_eq!(anchor.judge(&header(6, 4)), Ok(Standing::Equal));
        assert_eq!(anchor.judge(&header(9, 6)), Ok(Standing::Ahead));
        assert_eq!(
            anchor.judge(&header(4, 0)),
            Err(Doubt::RolledBack { found: 4, last: 6 })
        );
        assert_eq!(
            anchor.judge(&header(9, 8)),
            Err(Doubt::AnchorPutBack {
                found: 9,
                anchor: 6
            })
        );
        let mut other = header(6, 4);
        other.at.chain = [0; 32];
        assert_eq!(anchor.judge(&other), Err(Doubt::OtherHistory { commit: 6 }));
        other.store = [0; 16];
        assert_eq!(anchor.judge(&other), Err(Doubt::OtherStore));
    }

    #[test]
    fn one_changed_byte_anywhere_leaves_one_of_the_two_newest_positions() {
        let (file, _) = anchored_at(&[0, 4, 6, 7]);
        let whole = file.0.lock().unwrap().clone();
        for at in 0..whole.len() {
            *file.0.lock().unwrap() = whole.clone();
            file.0.lock().unwrap()[at] ^= 0x41;
            let commit = reread(&file).unwrap().position().commit;
            assert!(commit == 7 || commit == 6, "byte {at}: {commit}");
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_position_before_it_and_no_slot_is_refused() {
        let (file, mut anchor) = anchored_at(&[0, 4]);
        let before = file.0.lock().unwrap().clone();
        anchor.advance(position(6)).unwrap();
        let after = file.0.lock().unwrap().clone();
        for torn in 0..SLOT_BYTES {
            let mut bytes = before.clone();
            bytes[..torn].copy_from_slice(&after[..torn]);
            *file.0.lock().unwrap() = bytes;
            assert_eq!(reread(&file).unwrap().position(), position(4), "{torn}");
        }
        *file.0.lock().unwrap() = vec![0; ANCHOR_BYTES];
        assert_eq!(reread(&file).unwrap_err(), Doubt::Unreadable);
        *file.0.lock().unwrap() = Vec::new();
        assert_eq!(reread(&file).unwrap_err(), Doubt::Missing);
    }
}
