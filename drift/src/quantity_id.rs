//! The identity of a quantity, which changes with its bins.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Identity of a quantity: its name and a digest of its bins, `name@0123456789abcdef`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuantityId(String);

impl QuantityId {
    /// The identity of a quantity with these bins, given as the bytes that say exactly which they are: the
    /// first 8 bytes of their SHA-256 stand behind the name.
    pub(crate) fn new(name: &str, bins: &[u8]) -> Self {
        let digest = Sha256::digest(bins);
        let hex: String = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self(format!("{name}@{hex}"))
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QuantityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
