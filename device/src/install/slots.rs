//! Where builds live on a device: the active one, and the one before it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_model::Digest;

/// Why a slot can't be read or written. The active build is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The file system failed.
    #[error("slot file {path}: {source}; check space and permissions")]
    Io {
        /// The file in question.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No slot holds the build that the pointer names.
    #[error("slots are damaged: {problem}; install a build again")]
    Damaged {
        /// What is wrong.
        problem: String,
    },
    /// There is no earlier build.
    #[error("no earlier build to go back to; install a build first")]
    NothingToRevert,
}

/// What is known of a build beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildNote {
    /// Digest of the build's bytes.
    pub digest: Digest,
    /// The model version that it was built from.
    pub model_digest: String,
    /// Its format.
    pub format: String,
}

/// A build with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBuild {
    /// What it is.
    pub note: BuildNote,
    /// Its bytes, which have the digest in the note.
    pub bytes: Bytes,
}

/// Two slots, one of them active. Whatever fails at whatever moment, one complete build stays
/// readable once any was installed.
pub trait SlotStore: Send + Sync {
    /// The build that runs; `None` when none was installed yet. An active slot with damaged bytes
    /// is passed over for the earlier build.
    fn active(&self) -> Result<Option<StoredBuild>, SlotError>;

    /// Writes `build` into the idle slot, then makes that one active.
    fn install(&self, build: &StoredBuild) -> Result<(), SlotError>;

    /// Makes the earlier build active again and returns it.
    fn revert(&self) -> Result<StoredBuild, SlotError>;
}

/// Slots in memory, for simulations.
#[derive(Debug, Default)]
pub struct MemorySlots(Mutex<Pair>);

#[derive(Debug, Default)]
struct Pair {
    active: Option<Box<StoredBuild>>,
    earlier: Option<Box<StoredBuild>>,
}

impl MemorySlots {
    fn pair(&self) -> MutexGuard<'_, Pair> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotStore for MemorySlots {
    fn active(&self) -> Result<Option<StoredBuild>, SlotError> {
        Ok(self.pair().active.as_deref().cloned())
    }

    fn install(&self, build: &StoredBuild) -> Result<(), SlotError> {
        let mut pair = self.pair();
        let earlier = pair.active.replace(Box::new(build.clone()));
        if earlier.is_some() {
            pair.earlier = earlier;
        }
        Ok(())
    }

    fn revert(&self) -> Result<StoredBuild, SlotError> {
        let mut pair = self.pair();
        let earlier = pair.earlier.take().ok_or(SlotError::NothingToRevert)?;
        pair.earlier = pair.active.replace(earlier.clone());
        Ok(*earlier)
    }
}
