//! Who a device is and what it proves itself with.

use std::fmt;

use bytes::Bytes;
use tributary_proto::v1::{Credentials, DeviceProfile, EnrolRequest};
use tributary_proto::{DeviceId, RegionId};

use crate::state::hardware::Hardware;

/// The 32 secret bytes that prove a device's identity. Never shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Wraps bytes chosen by the caller, for example from a simulation's seed.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a token from the operating system.
    pub fn from_os() -> Result<Self, IdentityError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The secret bytes; for the wire and for the state folder only.
    pub const fn secret(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// What a device tells of itself when it enrols.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The id that the device is known by.
    pub device_id: DeviceId,
    /// Its proof on every call.
    pub token: Token,
    /// The region that it belongs to.
    pub region: RegionId,
    /// Its hardware.
    pub profile: Hardware,
    /// The tasks whose data it holds, for example `watch`.
    pub tasks: Vec<String>,
}

/// Why an identity can't be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The operating system gave no random bytes.
    #[error("token: the operating system gave no random bytes; try again")]
    NoRandomness,
    /// The state folder can't be read or written.
    #[error("state folder {path}: {source}; check that it is writable by this user only")]
    Folder {
        /// The file in question.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The identity file is not what this program wrote.
    #[error("identity file {path}: {problem}; restore it or enrol under a new id")]
    File {
        /// The file in question.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl Identity {
    /// The proof that rides on every call.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            device_id: self.device_id.as_str().to_owned(),
            token: Bytes::copy_from_slice(self.token.secret()),
        }
    }

    /// The request that makes the device known.
    pub fn enrol_request(&self) -> EnrolRequest {
        EnrolRequest {
            device_id: self.device_id.as_str().to_owned(),
            token: Bytes::copy_from_slice(self.token.secret()),
            region: self.region.as_str().to_owned(),
            profile: Some(DeviceProfile {
                name: self.profile.name.clone(),
                core: self.profile.core.clone(),
                ram_bytes: self.profile.ram_bytes,
                flash_slot_bytes: self.profile.flash_slot_bytes,
                formats: self.profile.formats.clone(),
            }),
            tasks: self.tasks.clone(),
        }
    }

    /// The id as logs show it: 8 hexadecimal digits of its SHA-256.
    pub fn hashed_id(&self) -> String {
        use sha2::{Digest as _, Sha256};
        hex::encode(&Sha256::digest(self.device_id.as_str())[..4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_the_token() {
        let identity = Identity {
            device_id: "d-1".parse().unwrap(),
            token: Token::from_bytes([0xAB; 32]),
            region: "eu".parse().unwrap(),
            profile: Hardware::int8("wrist", "cortex-m4", 1, 2),
            tasks: vec!["watch".to_owned()],
        };
        let shown = format!("{identity:?}");
        assert!(shown.contains("Token(hidden)"), "{shown}");
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("abab"),
            "{shown}"
        );
    }

    #[test]
    fn tokens_from_the_system_differ() {
        assert_ne!(Token::from_os().unwrap(), Token::from_os().unwrap());
    }
}
