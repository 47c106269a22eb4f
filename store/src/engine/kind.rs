//! Which embedded databases can hold the metadata.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An embedded database that can hold the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    /// sled 0.34, in the folder `db`.
    Sled,
    /// redb 4, in the folder `redb`.
    Redb,
}

/// The engine of a new store when none is named.
pub const DEFAULT_ENGINE: EngineKind = EngineKind::Sled;

impl EngineKind {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Redb];

    /// Its name in settings and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
        }
    }

    /// The engine whose files lie in `folder`, if they are any engine's.
    pub(crate) fn of_files(folder: &Path) -> Option<Self> {
        let holds = |name: &str| folder.join(name).is_file();
        match (holds("store.redb"), holds("conf") || holds("db")) {
            (true, _) => Some(Self::Redb),
            (false, true) => Some(Self::Sled),
            (false, false) => None,
        }
    }

    /// Its folder below the store's.
    pub(crate) const fn folder(self) -> &'static str {
        match self {
            Self::Sled => "db",
            Self::Redb => "redb",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that no engine has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a storage engine: use sled or redb")]
pub struct UnknownEngine(String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        let known = Self::ALL.into_iter().find(|engine| engine.name() == name);
        known.ok_or_else(|| UnknownEngine(name.chars().take(40).collect()))
    }
}
