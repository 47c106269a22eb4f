//! An encoded update, ready to be sent.

use bytes::Bytes;
use tributary_model::Digest;
use tributary_proto::v1::ClipReport;

/// A finished update, ready to be sent any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedUpdate {
    /// The run.
    pub run_id: String,
    /// The round, from 1.
    pub round: u32,
    /// Digest of the model version that the training started from.
    pub model_digest: String,
    /// Name of the codec.
    pub codec: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The encoded payload.
    pub bytes: Bytes,
    /// Its weight in units of 2^-20; 0 stands for 1.
    pub weight: u64,
    /// Its weight times its number of steps, in units of 2^-20; FedNova only.
    pub work: u64,
    /// The cluster that was trained, an index into the assignment's models; IFCA only.
    pub cluster: u32,
    /// Whether the payload's norm was at most the clip before clipping; unspecified unless the plan asks.
    pub clip_report: ClipReport,
}
