//! Blobs whose names say nothing of what is in them.
//!
//! A blob is named by its digest, and names stay longer than blobs: in records, in what a store has not
//! overwritten yet, in folders. A sum of few devices, or one update, may be guessed, so random bytes are
//! put behind it, which are gone with the blob.

use tributary_proto::{DeviceId, RunId};

use super::owner::{owned_by, without_owner};
use crate::CoordinatorError;
use crate::random::random_bytes;

/// Random bytes behind what is stored.
pub const SALT: usize = 32;

/// What is stored, with fresh random bytes and the mark of its run.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn salted(run: &RunId, mut bytes: Vec<u8>) -> Result<Vec<u8>, CoordinatorError> {
    bytes.extend_from_slice(&random_bytes()?);
    Ok(owned_by(run, bytes))
}

/// The same of one device's update: its id stands behind the bytes.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn salted_update(
    run: &RunId,
    device: &DeviceId,
    bytes: &[u8],
) -> Result<Vec<u8>, CoordinatorError> {
    let (device, run_id) = (device.as_str().as_bytes(), run.as_str());
    let mut stored = Vec::with_capacity(bytes.len() + device.len() + SALT + run_id.len());
    stored.extend_from_slice(bytes);
    stored.extend_from_slice(device);
    salted(run, stored)
}

/// Bytes behind what is stored.
pub fn suffix(run: &RunId, is_salted: bool) -> usize {
    run.as_str().len() + if is_salted { SALT } else { 0 }
}

/// What [`salted`] was given; of a blob of before there was salt without its run's mark. Bytes of
/// another run fail to parse.
pub fn without<'b>(run: &RunId, bytes: &'b [u8], is_salted: bool) -> &'b [u8] {
    let owned = without_owner(run, bytes);
    match is_salted {
        true => owned
            .split_last_chunk::<SALT>()
            .map_or(owned, |(own, _)| own),
        false => owned,
    }
}
