//! Seeds for every purpose from one.

use sha2::{Digest as _, Sha256};

/// 32 bytes that depend on a seed and a purpose.
pub fn derived_seed(seed: u64, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"tributary-experiments-v1");
    hash.update(seed.to_le_bytes());
    hash.update(purpose.as_bytes());
    hash.finalize().into()
}
