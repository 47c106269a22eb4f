//! Taking over a build: every check passes before the switch, so that the old one stays otherwise.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};
use tributary_model::Digest;
use tributary_model::fits;
use tributary_model::quant::Int8Scratch;
use tributary_proto::v1::{BuildOffer, InstallOutcome};

use crate::install::library::{LoadedBuild, ModelLibrary};
use crate::install::slots::{BuildNote, SlotError, SlotStore, StoredBuild};
use crate::state::hardware::{Hardware, INT8_FORMAT};
use crate::state::tally::Tally;

/// What precedes the digest in the signed text.
const SIGNED_PREFIX: &str = "tributary-build-v1:";

/// The text whose Ed25519 signature (RFC 8032) an offer carries.
pub fn signed_text(digest: &Digest) -> String {
    format!("{SIGNED_PREFIX}{digest}")
}

/// A refused build; the old one stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) outcome: InstallOutcome,
    pub(crate) message: String,
}

fn refuse<T>(outcome: InstallOutcome, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        outcome,
        message: message.into(),
    })
}

/// The build that runs.
#[derive(Debug, Clone)]
pub struct ActiveBuild {
    /// The build, shared with other agents of the process.
    pub build: Arc<LoadedBuild>,
    /// The model version that it was built from.
    pub model_digest: Arc<str>,
}

/// Checks builds and switches between slots.
pub(crate) struct Installer {
    store: Box<dyn SlotStore>,
    hardware: Hardware,
    active: Mutex<Option<ActiveBuild>>,
    key: Mutex<Option<[u8; 32]>>,
}

impl Installer {
    /// Loads the active build; one that fails its self-test gives way to the earlier one.
    pub(crate) fn open(
        store: Box<dyn SlotStore>,
        hardware: Hardware,
        library: &ModelLibrary,
        tally: &Tally,
    ) -> Result<Self, SlotError> {
        let (active, key) = (Mutex::new(None), Mutex::new(None));
        let installer = Self {
            store,
            hardware,
            active,
            key,
        };
        let stored = match installer.store.active() {
            Err(SlotError::Damaged { problem }) => {
                tracing::warn!(problem, "slots are damaged, starting without a build");
                tally.count("slots", "damaged");
                None
            }
            stored => stored?,
        };
        if let Some(stored) = stored {
            match installer.load(&stored, library, &mut Int8Scratch::default()) {
                Ok(active) => *installer.slot() = Some(active),
                Err(refusal) => {
                    tracing::warn!(
                        problem = refusal.message,
                        "active build is broken, reverting"
                    );
                    tally.count("slots", "self_reverted");
                    installer
                        .revert(library, tally)
                        .or_else(forgive_nothing_to_revert)?;
                }
            }
        }
        Ok(installer)
    }

    fn slot(&self) -> MutexGuard<'_, Option<ActiveBuild>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The build that runs now.
    pub(crate) fn active(&self) -> Option<ActiveBuild> {
        self.slot().clone()
    }

    /// Takes the key that signs builds; one of another length is none.
    pub(crate) fn trust(&self, key: &[u8]) {
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = key.try_into().ok();
    }

    /// What can be checked before the bytes are fetched: signature, format, size.
    pub(crate) fn check_offer(&self, offer: &BuildOffer) -> Result<Digest, Refusal> {
        let hardware = &self.hardware;
        let Ok(digest) = offer.build_digest.parse::<Digest>() else {
            return refuse(InstallOutcome::BadDigest, "build_digest is not a digest");
        };
        self.check_signature(&digest, &offer.signature)?;
        let known = offer.format == INT8_FORMAT && hardware.formats.contains(&offer.format);
        if !known {
            let format: String = offer.format.chars().take(80).collect();
            let message = format!("format {format:?} does not run on this device");
            return refuse(InstallOutcome::DoesNotFit, message);
        }
        let needs = [
            ("flash slot", offer.size, hardware.flash_slot_bytes),
            ("RAM", offer.arena_bytes, hardware.ram_bytes),
        ];
        for (what, needed, available) in needs {
            if needed > available {
                let message = format!("{what}: needs {needed} bytes, the device has {available}");
                return refuse(InstallOutcome::DoesNotFit, message);
            }
        }
        Ok(digest)
    }

    fn check_signature(&self, digest: &Digest, signature: &[u8]) -> Result<(), Refusal> {
        let bad = |message: &str| refuse(InstallOutcome::BadSignature, message);
        let key = *self.key.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = key.and_then(|key| VerifyingKey::from_bytes(&key).ok()) else {
            return bad("no valid build key was given at enrolment");
        };
        let Ok(signature) = Signature::from_slice(signature) else {
            return bad("signature is not 64 bytes");
        };
        match key.verify_strict(signed_text(digest).as_bytes(), &signature) {
            Ok(()) => Ok(()),
            Err(_) => bad("signature does not verify with the key given at enrolment"),
        }
    }

    /// Decodes, checks fit, self-tests, stores and switches. `bytes` have the offer's digest.
    pub(crate) fn adopt(
        &self,
        offer: &BuildOffer,
        digest: Digest,
        bytes: Bytes,
        library: &ModelLibrary,
        arena: &mut Int8Scratch,
    ) -> Result<(), Refusal> {
        let note = BuildNote {
            digest,
            model_digest: offer.model_digest.chars().take(128).collect(),
            format: offer.format.clone(),
        };
        let active = self.load(
            &StoredBuild {
                note: note.clone(),
                bytes,
            },
            library,
            arena,
        )?;
        // the shared bytes, not this device's copy of them
        let stored = StoredBuild {
            note,
            bytes: active.build.bytes.clone(),
        };
        self.store
            .install(&stored)
            .or_else(|error| refuse(InstallOutcome::DownloadFailed, error.to_string()))?;
        *self.slot() = Some(active);
        Ok(())
    }

    /// Goes back to the earlier build, when that one passes its self-test.
    pub(crate) fn revert(&self, library: &ModelLibrary, tally: &Tally) -> Result<(), SlotError> {
        let stored = self.store.revert()?;
        let active = self
            .load(&stored, library, &mut Int8Scratch::default())
            .map_err(|refusal| SlotError::Damaged {
                problem: refusal.message,
            })?;
        tally.count("slots", "reverted");
        *self.slot() = Some(active);
        Ok(())
    }

    /// Decodes a build, checks that it fits and runs its self-test, in this order: the self-test
    /// takes the arena that the build asks for.
    fn load(
        &self,
        stored: &StoredBuild,
        library: &ModelLibrary,
        arena: &mut Int8Scratch,
    ) -> Result<ActiveBuild, Refusal> {
        let failed = |message: String| Refusal {
            outcome: InstallOutcome::SelfTestFailed,
            message,
        };
        let build = library
            .build(stored.note.digest, &stored.bytes)
            .map_err(|error| failed(format!("the build can't be decoded: {error}")))?;
        let available = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let ram = available(self.hardware.ram_bytes);
        fits(&build.model, ram, available(self.hardware.flash_slot_bytes))
            .or_else(|error| refuse(InstallOutcome::DoesNotFit, error.to_string()))?;
        build
            .model
            .verify_self_test(arena)
            .map_err(|error| failed(error.to_string()))?;
        Ok(ActiveBuild {
            build,
            model_digest: stored.note.model_digest.as_str().into(),
        })
    }
}

fn forgive_nothing_to_revert(error: SlotError) -> Result<(), SlotError> {
    match error {
        SlotError::NothingToRevert | SlotError::Damaged { .. } => Ok(()),
        error => Err(error),
    }
}
