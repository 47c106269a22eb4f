//! What was answered, in a folder, one file per run or monitor, readable by its owner only.
//!
//! A file (see the module `framed_file`) holds a number that rises with every write (u64), the epoch (u64), the
//! round or window (u64), the attempt (u32), whether it was counted (u8), the digest of what was sent
//! (32 bytes), and the seal and the run's or monitor's id (each a u32 length and bytes). A file that is
//! missing is something that was never answered; one that is damaged is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tributary_model::Digest;

use crate::state::framed_file::{self, Checked, Content, put_text, replace_private, sealed};
use crate::state::ticket::{Answered, LONGEST_SEAL, Place};
use crate::state::ticket_record::{MAX_ANSWERED, TicketError, TicketRecord, TicketTable};

const MAGIC: &[u8; 16] = b"tributary-tic-v1";
const EXTENSION: &str = "ticket";
/// Longest file: ids have 128 bytes at most.
const LONGEST: u64 = 1024;

/// What was answered, in files; the newest are in memory too.
#[derive(Debug)]
pub struct FileTickets {
    folder: PathBuf,
    /// What the files hold; also makes one writer at a time.
    shelf: Mutex<TicketTable>,
}

impl FileTickets {
    /// Uses `folder`, which is made when it does not exist. Damaged files are left as they are.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, TicketError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        let mut shelf = TicketTable::default();
        let files = framed_file::all(&folder, EXTENSION);
        for path in files.map_err(|source| at(&folder, source))? {
            // what can't be read says so when its run or monitor asks
            if let Ok(Some(Ok((sequence, subject, answered)))) = read(&path) {
                shelf.put_at(&subject, sequence, answered);
            }
        }
        Ok(Self {
            folder,
            shelf: Mutex::new(shelf),
        })
    }

    fn shelf(&self) -> MutexGuard<'_, TicketTable> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, subject: &str) -> PathBuf {
        framed_file::place(&self.folder, subject, EXTENSION)
    }
}

impl TicketRecord for FileTickets {
    fn load(&self, subject: &str) -> Result<Option<Answered>, TicketError> {
        let path = self.path(subject);
        let damaged = |problem| TicketError::Damaged {
            path: path.display().to_string(),
            subject: subject.to_owned(),
            problem,
        };
        match read(&path).map_err(|source| at(&path, source))? {
            None => Ok(None),
            Some(Ok((_, named, answered))) if named == subject => Ok(Some(answered)),
            Some(Ok(_)) => Err(damaged("it belongs to another run or monitor")),
            Some(Err(problem)) => Err(damaged(problem)),
        }
    }

    fn store(&self, subject: &str, answered: &Answered) -> Result<(), TicketError> {
        let mut shelf = self.shelf();
        let path = self.path(subject);
        let bytes = encode(shelf.next(), subject, answered);
        replace_private(&path, &bytes).map_err(|source| at(&path, source))?;
        if let Some(oldest) = shelf.put(subject, answered.clone(), MAX_ANSWERED) {
            let oldest = self.path(&oldest);
            fs::remove_file(&oldest).map_err(|source| at(&oldest, source))?;
        }
        Ok(())
    }

    fn newest(&self) -> Vec<(String, Answered)> {
        self.shelf().newest()
    }
}

fn at(path: &Path, source: std::io::Error) -> TicketError {
    TicketError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// The number of the write, the run or monitor, and what was answered.
type Entry = (u64, String, Answered);

fn read(path: &Path) -> std::io::Result<Option<Checked<Entry>>> {
    let read = framed_file::read(path, LONGEST)?;
    Ok(read.map(|bytes| decode(&bytes?)))
}

fn encode(sequence: u64, subject: &str, answered: &Answered) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&answered.place.epoch.to_le_bytes());
    bytes.extend_from_slice(&answered.place.number.to_le_bytes());
    bytes.extend_from_slice(&answered.place.attempt.to_le_bytes());
    bytes.push(u8::from(answered.counted));
    bytes.extend_from_slice(answered.digest.as_bytes());
    put_text(&mut bytes, &answered.seal);
    put_text(&mut bytes, subject.as_bytes());
    sealed(bytes)
}

fn decode(bytes: &[u8]) -> Checked<Entry> {
    let mut content = Content::open(bytes, MAGIC)?;
    let sequence = content.u64()?;
    let place = Place {
        epoch: content.u64()?,
        number: content.u64()?,
        attempt: content.u32()?,
    };
    let [counted] = content.array()?;
    let digest = Digest::from_bytes(content.array()?);
    let (seal, subject) = (content.text()?, content.text()?);
    content.end()?;
    if seal.len() > LONGEST_SEAL {
        return Err("its seal is too long");
    }
    let answered = Answered {
        place,
        digest,
        counted: counted != 0,
        seal: Bytes::copy_from_slice(seal),
    };
    let subject = std::str::from_utf8(subject).map_err(|_| "its id is no text")?;
    Ok((sequence, subject.to_owned(), answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(number: u64) -> Answered {
        Answered {
            place: Place {
                epoch: 1 << 60,
                number,
                attempt: 3,
            },
            digest: Digest::of(&number.to_le_bytes()),
            counted: number.is_multiple_of(2),
            seal: vec![7; 32].into(),
        }
    }

    #[test]
    fn what_was_answered_survives_a_restart_and_the_newest_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = FileTickets::open(folder.path()).unwrap();
        assert_eq!(tickets.load("run-1").unwrap(), None);
        for number in 0..9 {
            let subject = format!("run-{number}");
            tickets.store(&subject, &answered(number)).unwrap();
        }
        tickets.store("run-2", &answered(20)).unwrap();
        let tickets = FileTickets::open(folder.path()).unwrap();
        assert_eq!(tickets.load("run-1").unwrap(), Some(answered(1)));
        assert_eq!(tickets.load("run-2").unwrap(), Some(answered(20)));
        let shown = tickets.newest();
        let names: Vec<&str> = shown.iter().map(|(subject, _)| subject.as_str()).collect();
        assert_eq!(names, ["run-2", "run-8", "run-7", "run-6"]);
        assert_eq!(shown[0].1, answered(20));
    }

    #[test]
    fn any_flipped_byte_and_any_cut_is_an_error_that_names_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let tickets = FileTickets::open(folder.path()).unwrap();
        tickets.store("run-1", &answered(4)).unwrap();
        let path = tickets.path("run-1");
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            for bytes in [&flipped[..], &whole[..index]] {
                fs::write(&path, bytes).unwrap();
                let error = tickets.load("run-1").unwrap_err();
                assert!(error.to_string().contains("run-1"), "{error}");
            }
        }
        // another run's file in its place is no record of this one
        fs::write(&path, encode(0, "run-2", &answered(4))).unwrap();
        assert!(tickets.load("run-1").is_err());
        assert!(FileTickets::open(folder.path()).is_ok());
    }

    #[test]
    fn the_oldest_make_room() {
        let mut shelf = TicketTable::default();
        for number in 0..5_u64 {
            let gone = shelf.put(&format!("run-{number}"), answered(number), 3);
            let expected = number.checked_sub(3).map(|oldest| format!("run-{oldest}"));
            assert_eq!(gone, expected);
        }
    }
}
