//! The one error type of the partitioners.

/// Why samples can't be split as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PartitionError {
    /// Zero shards were asked for.
    #[error("shards is 0: ask for at least one")]
    NoShards,
    /// Some shards would stay empty.
    #[error("shards is {shards} but there are only {samples} samples: ask for at most {samples}")]
    MoreShardsThanSamples {
        /// Shards asked for.
        shards: usize,
        /// Samples there are.
        samples: usize,
    },
    /// The concentration is not a positive number.
    #[error("alpha is {0}: choose a finite number above 0, such as 0.5 (skewed) or 100 (even)")]
    Alpha(f64),
    /// There are not enough samples for every shard's minimum.
    #[error(
        "minimum is {minimum} samples for each of {shards} shards, but there are only {samples}"
    )]
    Minimum {
        /// Fewest samples per shard asked for.
        minimum: usize,
        /// Shards asked for.
        shards: usize,
        /// Samples there are.
        samples: usize,
    },
    /// The data set does not say who made which sample.
    #[error("the data set has no natural users: use the iid or dirichlet partition")]
    NoUsers,
    /// A device was given a user without enough samples.
    #[error(
        "user {user} has {available} samples, a device needs {needed}: lower samples per device"
    )]
    TooFewSamples {
        /// The user's index.
        user: u32,
        /// Samples the user has.
        available: usize,
        /// Samples a device needs.
        needed: usize,
    },
}
