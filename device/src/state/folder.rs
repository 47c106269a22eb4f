//! Keeps a device's identity, what it remembers of its runs and how often it took part, over restarts.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tributary_proto::{DeviceId, RegionId};

use crate::state::file_memory::FileMemory;
use crate::state::file_record::FileRecord;
use crate::state::file_tickets::FileTickets;
use crate::state::framed_file::replace_private;
use crate::state::hardware::Hardware;
use crate::state::identity::{Identity, IdentityError, Token};
use crate::state::memory::MemoryError;
use crate::state::record::RecordError;
use crate::state::ticket_record::TicketError;

const IDENTITY_FILE: &str = "identity.json";

/// A folder that holds a device's identity, readable by its owner only.
#[derive(Debug, Clone)]
pub struct StateFolder {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityFile {
    device_id: DeviceId,
    token: String,
    region: RegionId,
    profile: Hardware,
    tasks: Vec<String>,
}

impl StateFolder {
    /// Uses `folder`, which is made when it does not exist.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, IdentityError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|source| at(&folder, source))?;
        Ok(Self { folder })
    }

    /// The folder, under which slots may live too.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where the device keeps what it needs from round to round.
    ///
    /// # Errors
    /// When its folder can't be made.
    pub fn memory(&self) -> Result<FileMemory, MemoryError> {
        FileMemory::open(self.folder.join("memory"))
    }

    /// Where the device counts how often it took part in its runs.
    ///
    /// # Errors
    /// When its folder can't be made.
    pub fn record(&self) -> Result<FileRecord, RecordError> {
        FileRecord::open(self.folder.join("record"))
    }

    /// Where the device keeps what it has answered.
    ///
    /// # Errors
    /// When its folder can't be made or read.
    pub fn tickets(&self) -> Result<FileTickets, TicketError> {
        FileTickets::open(self.folder.join("tickets"))
    }

    /// Reads the identity; `None` when none was saved yet.
    pub fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let path = self.folder.join(IDENTITY_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at(&path, source)),
        };
        let wrong = |problem: String| IdentityError::File {
            path: shown(&path),
            problem,
        };
        let file: IdentityFile = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        let mut token = [0; 32];
        hex::decode_to_slice(&file.token, &mut token)
            .map_err(|_| wrong("field token is not 64 hexadecimal digits".to_owned()))?;
        Ok(Some(Identity {
            device_id: file.device_id,
            token: Token::from_bytes(token),
            region: file.region,
            profile: file.profile,
            tasks: file.tasks,
        }))
    }

    /// Saves the identity: a temporary file, synced, then renamed over the old one.
    pub fn save(&self, identity: &Identity) -> Result<(), IdentityError> {
        let path = self.folder.join(IDENTITY_FILE);
        let file = IdentityFile {
            device_id: identity.device_id.clone(),
            token: hex::encode(identity.token.secret()),
            region: identity.region.clone(),
            profile: identity.profile.clone(),
            tasks: identity.tasks.clone(),
        };
        let json = serde_json::to_vec_pretty(&file).map_err(|e| IdentityError::File {
            path: shown(&path),
            problem: e.to_string(),
        })?;
        replace_private(&path, &json).map_err(|source| at(&path, source))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn at(path: &Path, source: std::io::Error) -> IdentityError {
    IdentityError::Folder {
        path: shown(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            device_id: "d-1".parse().unwrap(),
            token: Token::from_bytes([7; 32]),
            region: "eu".parse().unwrap(),
            profile: Hardware::int8("wrist", "cortex-m4", 1, 2),
            tasks: vec!["watch".to_owned()],
        }
    }

    #[test]
    fn an_identity_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path().join("device")).unwrap();
        assert_eq!(state.load().unwrap(), None);
        state.save(&identity()).unwrap();
        assert_eq!(state.load().unwrap(), Some(identity()));
    }

    #[test]
    fn a_damaged_identity_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        state.save(&identity()).unwrap();
        let path = folder.path().join(IDENTITY_FILE);
        let text = fs::read_to_string(&path).unwrap().replace("0707", "zz");
        fs::write(&path, text).unwrap();
        let error = state.load().unwrap_err().to_string();
        assert!(error.contains("token"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_token() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(folder.path()).unwrap();
        state.save(&identity()).unwrap();
        let mode = fs::metadata(folder.path().join(IDENTITY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0);
    }
}
