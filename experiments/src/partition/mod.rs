//! Who holds which sample.
//!
//! Every function takes positions or labels, not data, and returns positions. All randomness comes from
//! ChaCha20 keyed with the seed given, so a partition repeats on any machine. Seeds decide who holds
//! public benchmark data; they are no secret and no privacy mechanism depends on them.
//!
//! - [`iid`]: every shard looks like the whole.
//! - [`dirichlet`]: each shard has its own mix of labels.
//! - [`by_user`]: one shard per natural user.
//! - [`sample_by_user`]: many devices, each with a few samples of one natural user.

mod dirichlet;
mod error;
mod iid;
mod random;
mod users;

pub use dirichlet::dirichlet;
pub use error::PartitionError;
pub use iid::iid;
pub(crate) use random::shuffle_front;
pub use users::{UserShard, by_user, sample_by_user};

/// Refuses to split `samples` into `shards`.
fn check_shards(samples: usize, shards: usize) -> Result<(), PartitionError> {
    match shards {
        0 => Err(PartitionError::NoShards),
        _ if shards > samples => Err(PartitionError::MoreShardsThanSamples { shards, samples }),
        _ => Ok(()),
    }
}
