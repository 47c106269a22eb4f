//! Blobs that are one run's.

use tributary_proto::RunId;

/// Marks bytes as one run's. Blobs are named by their content, so two runs with equal sums would
/// otherwise share a blob, and the first to end its round would delete it for both.
pub fn owned_by(run: &RunId, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(run.as_str().as_bytes());
    bytes
}

/// What [`owned_by`] was given. Bytes of another run are left as they are and fail to parse.
pub fn without_owner<'b>(run: &RunId, bytes: &'b [u8]) -> &'b [u8] {
    bytes.strip_suffix(run.as_str().as_bytes()).unwrap_or(bytes)
}
