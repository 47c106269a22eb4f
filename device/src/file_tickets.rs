//! What was answered, in a folder, one file per run or monitor, readable by its owner only.
//!
//! A file is the magic text, a number that rises with every write (u64), the epoch (u64), the round or
//! window (u64), the attempt (u32), whether it was counted (u8), the digest of what was sent (32 bytes),
//! the seal and the run's or monitor's id (each a u32 length and bytes), and the SHA-256 of all before.
//! All numbers are little endian. Files are written beside their place, synced and renamed into it, and
//! the folder is synced. A file that is missing is something that was never answered; one that is
//! damaged is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tributary_model::Digest;

use crate::state_folder::replace_private;
use crate::ticket::{Answered, LONGEST_SEAL, Place};
use crate::ticket_record::{MAX_ANSWERED, Shelf, TicketError, TicketRecord};

const MAGIC: &[u8; 16] = b"tributary-tic-v1";
const CHECKSUM: usize = 32;
const EXTENSION: &str = "ticket";
/// Longest file: ids have 128 bytes at most.
const LONGEST: u64 = 1024;

/// What was answered, in files; the newest are in memory too.
#[derive(Debug)]
pub struct FileTickets {
    folder: PathBuf,
    /// What the files hold; also makes one writer at a time.
    shelf: Mutex<Shelf>,
}

impl FileTickets {
    /// Uses `folder`, which is made when it does not exist. Damaged files are left as they are.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, TicketError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        let mut shelf = Shelf::default();
        for entry in fs::read_dir(&folder).map_err(|source| at(&folder, source))? {
            let path = entry.map_err(|source| at(&folder, source))?.path();
            if path.extension().is_none_or(|found| found != EXTENSION) {
                continue;
            }
            // what can't be read says so when its run or monitor asks
            if let Ok(Ok((sequence, subject, answered))) = read(&path) {
                shelf.put_at(&subject, sequence, answered);
            }
        }
        Ok(Self {
            folder,
            shelf: Mutex::new(shelf),
        })
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, subject: &str) -> PathBuf {
        let name = hex::encode(&Sha256::digest(subject)[..16]);
        self.folder.join(format!("{name}.{EXTENSION}"))
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
        match read(&path) {
            Ok(Ok((_, named, answered))) if named == subject => Ok(Some(answered)),
            Ok(Ok(_)) => Err(damaged("it belongs to another run or monitor")),
            Ok(Err(problem)) => Err(damaged(problem)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(at(&path, source)),
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

type Read = Result<(u64, String, Answered), &'static str>;

fn read(path: &Path) -> std::io::Result<Read> {
    if fs::metadata(path)?.len() > LONGEST {
        return Ok(Err("it is too long"));
    }
    Ok(decode(&fs::read(path)?))
}

fn encode(sequence: u64, subject: &str, answered: &Answered) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&answered.place.epoch.to_le_bytes());
    bytes.extend_from_slice(&answered.place.number.to_le_bytes());
    bytes.extend_from_slice(&answered.place.attempt.to_le_bytes());
    bytes.push(u8::from(answered.counted));
    bytes.extend_from_slice(answered.digest.as_bytes());
    for text in [&answered.seal[..], subject.as_bytes()] {
        bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        bytes.extend_from_slice(text);
    }
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8]) -> Read {
    const SHORT: &str = "it ends early";
    let length = bytes.len().checked_sub(CHECKSUM).ok_or(SHORT)?;
    let (content, checksum) = bytes.split_at(length);
    if Sha256::digest(content)[..] != *checksum {
        return Err("its checksum does not match");
    }
    let mut rest = content
        .strip_prefix(MAGIC)
        .ok_or("its first bytes are others")?;
    let mut number = || array(&mut rest).map(u64::from_le_bytes).ok_or(SHORT);
    let (sequence, epoch, place) = (number()?, number()?, number()?);
    let attempt = u32::from_le_bytes(array(&mut rest).ok_or(SHORT)?);
    let [counted] = array(&mut rest).ok_or(SHORT)?;
    let digest = Digest::from_bytes(array(&mut rest).ok_or(SHORT)?);
    let mut text = || {
        let length = u32::from_le_bytes(array(&mut rest)?) as usize;
        let (taken, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(taken)
    };
    let (seal, subject) = (text().ok_or(SHORT)?, text().ok_or(SHORT)?);
    if seal.len() > LONGEST_SEAL {
        return Err("its seal is too long");
    }
    let answered = Answered {
        place: Place {
            epoch,
            number: place,
            attempt,
        },
        digest,
        counted: counted != 0,
        seal: Bytes::copy_from_slice(seal),
    };
    let subject = std::str::from_utf8(subject).map_err(|_| "its id is no text")?;
    Ok((sequence, subject.to_owned(), answered))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
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
        let mut shelf = Shelf::default();
        for number in 0..5_u64 {
            let gone = shelf.put(&format!("run-{number}"), answered(number), 3);
            let expected = number.checked_sub(3).map(|oldest| format!("run-{oldest}"));
            assert_eq!(gone, expected);
        }
    }
}
