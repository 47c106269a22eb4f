//! Random bytes, and those that a seed repeats.

use sha2::{Digest as _, Sha256};

use crate::CoordinatorError;

/// 32 bytes from the operating system.
///
/// # Errors
/// When it gives none.
pub(crate) fn random_bytes() -> Result<[u8; 32], CoordinatorError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| CoordinatorError::Entropy(error.to_string()))?;
    Ok(bytes)
}

/// 32 bytes that depend on a seed and a purpose, for seeded runs.
pub(crate) fn seeded_bytes(seed: u64, purpose: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"tributary-simulation-v1");
    hash.update(seed.to_be_bytes());
    for part in purpose {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
