//! What runs on the device: models and builds by digest, and the two slots that builds live in.
//!
//! A device always keeps one working build: a new one is used only after signature, digest, fit and
//! self-test passed, and a broken one gives way to the one before it.
//!
//! | module | holds |
//! |---|---|
//! | `library` | parsed models and builds, shared by all agents of a process |
//! | `slots`, `file_slots` | the active build and the one before it, in memory or in a folder |
//! | `installer` | the checks before a switch, and the way back |

pub(crate) mod file_slots;
pub(crate) mod installer;
pub(crate) mod library;
pub(crate) mod slots;

pub use self::file_slots::FileSlots;
pub use self::installer::{ActiveBuild, signed_text};
pub use self::library::{LoadedBuild, LoadedModel, ModelLibrary};
pub use self::slots::{BuildNote, MemorySlots, SlotError, SlotStore, StoredBuild};
