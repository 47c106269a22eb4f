//! Shards by natural user.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::PartitionError;
use super::random::shuffle_front;

/// The samples of one natural user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserShard {
    /// Index of the user in the data set.
    pub user: u32,
    /// Positions of the samples, in rising order.
    pub samples: Vec<usize>,
}

/// One shard per natural user, ordered by user. `users` holds the user of each sample.
///
/// Every position is in exactly one shard; no shard is empty.
///
/// # Errors
/// [`PartitionError::NoUsers`] when `users` is empty.
pub fn by_user(users: &[u32]) -> Result<Vec<UserShard>, PartitionError> {
    if users.is_empty() {
        return Err(PartitionError::NoUsers);
    }
    let mut shards: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (position, &user) in users.iter().enumerate() {
        shards.entry(user).or_default().push(position);
    }
    Ok(shards
        .into_iter()
        .map(|(user, samples)| UserShard { user, samples })
        .collect())
}

/// Gives every device `per_device` different samples of the user it belongs to.
///
/// `users` holds the user of each sample, `devices` the user of each device. Devices of the same user may
/// share samples: this is how a few people stand in for thousands of devices. Device `i` draws from its
/// own ChaCha20 stream `i`, so its samples depend on neither the number nor the order of the others.
///
/// # Errors
/// [`PartitionError::NoUsers`], [`PartitionError::NoShards`] without devices,
/// [`PartitionError::TooFewSamples`].
pub fn sample_by_user(
    users: &[u32],
    devices: &[u32],
    per_device: usize,
    seed: [u8; 32],
) -> Result<Vec<UserShard>, PartitionError> {
    let shards = by_user(users)?;
    if devices.is_empty() {
        return Err(PartitionError::NoShards);
    }
    let owned: BTreeMap<u32, &[usize]> = shards
        .iter()
        .map(|shard| (shard.user, shard.samples.as_slice()))
        .collect();
    let mut deck = Vec::new();
    let draw = |(stream, &user): (usize, &u32)| {
        let own = owned.get(&user).copied().unwrap_or_default();
        if own.len() < per_device {
            let available = own.len();
            return Err(PartitionError::TooFewSamples {
                user,
                available,
                needed: per_device,
            });
        }
        let mut rng = ChaCha20Rng::from_seed(seed);
        rng.set_stream(stream as u64);
        deck.clear();
        deck.extend_from_slice(own);
        shuffle_front(&mut rng, &mut deck, per_device);
        let mut samples = deck[..per_device].to_vec();
        samples.sort_unstable();
        Ok(UserShard { user, samples })
    };
    devices.iter().enumerate().map(draw).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_data_set_without_users_is_refused() {
        assert_eq!(by_user(&[]).unwrap_err(), PartitionError::NoUsers);
        assert_eq!(
            sample_by_user(&[], &[0], 1, [0; 32]).unwrap_err(),
            PartitionError::NoUsers
        );
    }

    #[test]
    fn a_device_of_an_unknown_or_poor_user_is_refused() {
        let error = sample_by_user(&[0, 0, 1], &[1], 2, [0; 32]).unwrap_err();
        assert_eq!(
            error,
            PartitionError::TooFewSamples {
                user: 1,
                available: 1,
                needed: 2
            }
        );
        assert!(sample_by_user(&[0, 0], &[9], 1, [0; 32]).is_err());
        assert_eq!(
            sample_by_user(&[0], &[], 1, [0; 32]).unwrap_err(),
            PartitionError::NoShards
        );
    }

    #[test]
    fn a_device_keeps_its_samples_when_the_fleet_grows() {
        let users: Vec<u32> = (0..300).map(|at| at % 3).collect();
        let small = sample_by_user(&users, &[0, 1, 2], 8, [4; 32]).unwrap();
        let large = sample_by_user(&users, &[0, 1, 2, 0, 1, 2], 8, [4; 32]).unwrap();
        assert_eq!(small[..], large[..3]);
        assert_ne!(large[0].samples, large[3].samples);
    }

    proptest! {
        #[test]
        fn every_sample_is_in_the_one_shard_of_its_user(
            users in prop::collection::vec(0u32..12, 1..200),
        ) {
            let shards = by_user(&users).unwrap();
            let mut seen = vec![0; users.len()];
            for shard in &shards {
                prop_assert!(!shard.samples.is_empty());
                for &at in &shard.samples {
                    prop_assert_eq!(users[at], shard.user);
                    seen[at] += 1;
                }
            }
            prop_assert!(seen.iter().all(|&count| count == 1));
        }

        #[test]
        fn a_device_holds_different_samples_of_its_own_user_only(
            devices in prop::collection::vec(0u32..4, 1..40), per_device in 0usize..10,
            seed in any::<[u8; 32]>(),
        ) {
            let users: Vec<u32> = (0..40).map(|at| at % 4).collect();
            let shards = sample_by_user(&users, &devices, per_device, seed).unwrap();
            for (shard, &user) in shards.iter().zip(&devices) {
                prop_assert_eq!(shard.user, user);
                prop_assert_eq!(shard.samples.len(), per_device);
                prop_assert!(shard.samples.is_sorted_by(|a, b| a < b));
                prop_assert!(shard.samples.iter().all(|&at| users[at] == user));
            }
        }
    }
}
