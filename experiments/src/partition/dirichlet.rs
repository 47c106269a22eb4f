//! Label skew drawn from a Dirichlet distribution.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::random::{log_gamma_variate, shuffle_front};
use super::{PartitionError, check_shards};

/// Splits samples so that each class is spread over the shards by its own Dirichlet(alpha) draw
/// (Hsu, Qi, Brown 2019, in the per-class form of Yurochkin et al. 2019).
///
/// `alpha` near 0 gives shards of few classes, a large one near-IID shards. Shards with fewer than
/// `minimum` samples are then filled from the largest ones. Every position is in exactly one shard; each
/// shard is in rising order.
///
/// # Errors
/// [`PartitionError::Alpha`] unless `alpha` is finite and positive, [`PartitionError::NoShards`],
/// [`PartitionError::MoreShardsThanSamples`], [`PartitionError::Minimum`].
pub fn dirichlet(
    labels: &[u32],
    shards: usize,
    alpha: f64,
    minimum: usize,
    seed: [u8; 32],
) -> Result<Vec<Vec<usize>>, PartitionError> {
    check_shards(labels.len(), shards)?;
    if !(alpha.is_finite() && alpha > 0.0) {
        return Err(PartitionError::Alpha(alpha));
    }
    if minimum
        .checked_mul(shards)
        .is_none_or(|needed| needed > labels.len())
    {
        return Err(PartitionError::Minimum {
            minimum,
            shards,
            samples: labels.len(),
        });
    }
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (position, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(position);
    }
    let mut dealt = vec![Vec::new(); shards];
    for positions in classes.values_mut() {
        let count = positions.len();
        shuffle_front(&mut rng, positions, count);
        let mut start = 0;
        let mut share = 0.0;
        for (shard, proportion) in proportions(&mut rng, shards, alpha).into_iter().enumerate() {
            share += proportion;
            let last = shard + 1 == shards;
            let end = if last {
                count
            } else {
                (share * count as f64).round() as usize
            };
            let end = end.clamp(start, count);
            dealt[shard].extend_from_slice(&positions[start..end]);
            start = end;
        }
    }
    fill_small(&mut rng, &mut dealt, minimum);
    dealt.iter_mut().for_each(|shard| shard.sort_unstable());
    Ok(dealt)
}

/// One Dirichlet(alpha, ..., alpha) draw: normalised Gamma numbers, in logarithms.
fn proportions(rng: &mut ChaCha20Rng, shards: usize, alpha: f64) -> Vec<f64> {
    let logs: Vec<f64> = (0..shards).map(|_| log_gamma_variate(rng, alpha)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        // alpha so small that every logarithm overflowed: the limit is one shard that takes all
        let chosen = super::random::below(rng, shards);
        return (0..shards)
            .map(|shard| f64::from(u8::from(shard == chosen)))
            .collect();
    }
    let weights: Vec<f64> = logs.iter().map(|log| (log - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// Moves random samples from the largest shards until every shard holds `minimum`.
fn fill_small(rng: &mut ChaCha20Rng, dealt: &mut [Vec<usize>], minimum: usize) {
    for shard in 0..dealt.len() {
        while dealt[shard].len() < minimum {
            // some other shard holds more than the minimum, or the total would be too small
            let Some(largest) = (0..dealt.len()).max_by_key(|&other| dealt[other].len()) else {
                return;
            };
            let place = super::random::below(rng, dealt[largest].len());
            let moved = dealt[largest].swap_remove(place);
            dealt[shard].push(moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mean over shards of the share of the shard's most frequent class.
    fn purity(labels: &[u32], dealt: &[Vec<usize>]) -> f64 {
        let pure = dealt.iter().map(|shard| {
            let count = |class| shard.iter().filter(|&&at| labels[at] == class).count();
            (0..10).map(count).max().unwrap() as f64 / shard.len() as f64
        });
        pure.sum::<f64>() / dealt.len() as f64
    }

    #[test]
    fn a_small_alpha_gives_purer_shards_than_a_large_one() {
        let labels: Vec<u32> = (0..2000).map(|at| at % 10).collect();
        let purity_at =
            |alpha| purity(&labels, &dirichlet(&labels, 20, alpha, 1, [5; 32]).unwrap());
        let (skewed, even) = (purity_at(0.05), purity_at(1000.0));
        assert!(skewed > 0.5 && even < 0.15, "{skewed} {even}");
    }

    #[test]
    fn an_alpha_that_is_not_positive_is_refused() {
        for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = dirichlet(&[0, 1], 2, alpha, 0, [0; 32]).unwrap_err();
            assert!(matches!(error, PartitionError::Alpha(_)), "{error}");
        }
    }

    #[test]
    fn a_minimum_beyond_the_samples_is_refused() {
        for minimum in [2, usize::MAX] {
            let error = dirichlet(&[0, 1, 2], 2, 1.0, minimum, [0; 32]).unwrap_err();
            assert!(matches!(error, PartitionError::Minimum { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_sample_is_in_exactly_one_shard_and_none_is_below_the_minimum(
            labels in prop::collection::vec(0u32..8, 1..300), shards in 1usize..20,
            log_alpha in -8f64..6.0, minimum in 0usize..8, seed in any::<[u8; 32]>(),
        ) {
            prop_assume!(shards * minimum.max(1) <= labels.len());
            let dealt = dirichlet(&labels, shards, log_alpha.exp(), minimum, seed).unwrap();
            prop_assert!(dealt.iter().all(|shard| shard.len() >= minimum));
            let mut all = dealt.concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
        }

        #[test]
        fn extreme_alphas_still_place_every_sample(exponent in -320i32..300) {
            let alpha = 10f64.powi(exponent);
            prop_assume!(alpha > 0.0);
            let labels = [0, 0, 1, 1, 2, 2, 3, 3];
            let dealt = dirichlet(&labels, 3, alpha, 0, [1; 32]).unwrap();
            prop_assert_eq!(dealt.concat().len(), 8);
        }
    }
}
