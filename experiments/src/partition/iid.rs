//! Independent and identically distributed shards.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::random::shuffle_front;
use super::{PartitionError, check_shards};

/// Deals `samples` shuffled positions to `shards` shards.
///
/// Every position is in exactly one shard; sizes differ by at most one; each shard is in rising order.
///
/// # Errors
/// [`PartitionError::NoShards`], [`PartitionError::MoreShardsThanSamples`].
pub fn iid(
    samples: usize,
    shards: usize,
    seed: [u8; 32],
) -> Result<Vec<Vec<usize>>, PartitionError> {
    check_shards(samples, shards)?;
    let mut positions: Vec<usize> = (0..samples).collect();
    shuffle_front(&mut ChaCha20Rng::from_seed(seed), &mut positions, samples);
    let mut dealt = vec![Vec::with_capacity(samples.div_ceil(shards)); shards];
    for (turn, position) in positions.into_iter().enumerate() {
        dealt[turn % shards].push(position);
    }
    dealt.iter_mut().for_each(|shard| shard.sort_unstable());
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn more_shards_than_samples_are_refused() {
        let error = iid(3, 4, [0; 32]).unwrap_err();
        assert_eq!(
            error,
            PartitionError::MoreShardsThanSamples {
                shards: 4,
                samples: 3
            }
        );
        assert_eq!(iid(3, 0, [0; 32]).unwrap_err(), PartitionError::NoShards);
    }

    #[test]
    fn another_seed_gives_another_partition() {
        assert_ne!(iid(100, 5, [1; 32]).unwrap(), iid(100, 5, [2; 32]).unwrap());
    }

    proptest! {
        #[test]
        fn every_sample_is_in_exactly_one_shard_and_sizes_are_even(
            samples in 1usize..400, shards in 1usize..50, seed in any::<[u8; 32]>(),
        ) {
            prop_assume!(shards <= samples);
            let dealt = iid(samples, shards, seed).unwrap();
            prop_assert!(dealt.iter().all(|shard| shard.len().abs_diff(samples / shards) <= 1));
            let mut all = dealt.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..samples).collect::<Vec<_>>());
            prop_assert_eq!(iid(samples, shards, seed).unwrap(), dealt);
        }
    }
}
