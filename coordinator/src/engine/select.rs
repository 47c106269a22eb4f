//! Selection: a keyed rank over the eligible devices, with a quota for each region.

use sha2::{Digest as _, Sha256};
use tributary_model::Personalisation;
use tributary_proto::DeviceId;

#[cfg(doc)]
use super::Standing;
use super::{Assigned, RunState};

/// A device that could take part in the open round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Index of its region in the run's list.
    pub region: usize,
}

/// Candidates of one region, best first, by how much they are to be relied on.
#[derive(Default)]
struct Pool<'c> {
    /// [`Standing::Good`], [`Standing::OnTrial`], [`Standing::Held`].
    by_standing: [Vec<(u32, [u8; 32], &'c DeviceId)>; 3],
}

/// Chooses the devices of the open round: `state.to_select()` of the candidates that may take part,
/// split over the regions in proportion to their candidates (largest remainder). Within a region
/// those come first that were in the fewest rounds, so that participations last as long as they
/// can, and among equals by the rank SHA-256(key, round, attempt, device). FLTrust's device comes
/// before all others. Neither the order of the candidates nor their arrival plays a part.
///
/// Devices that were asked in vain come after those that were not. Half of the over-selection,
/// rounded up, tries some of them again whose hold is over, so that the goal is met even if all of
/// these fail; more of them are asked only where there is nobody else.
///
/// With regional heads under privacy all regions get the same number: how many come is private, so
/// each head is divided by an equal part of the cohort.
pub fn select(state: &RunState, candidates: &[Candidate]) -> Vec<Assigned> {
    let total = state.to_select() as usize;
    let trusted = state.spec.aggregation.trusted.as_ref();
    let is_trusted = |candidate: &&Candidate| {
        trusted == Some(&candidate.device) && state.may_participate(&candidate.device)
    };
    let first = candidates.iter().find(is_trusted).filter(|_| total > 0);
    let mut pools: Vec<Pool<'_>> = Vec::new();
    pools.resize_with(state.spec.regions.len(), Pool::default);
    for candidate in candidates {
        let device = &candidate.device;
        if trusted != Some(device) && state.may_participate(device) {
            let ranked = (rounds_taken(state, device), rank(state, device), device);
            let standing = state.standing(device) as usize;
            pools[candidate.region].by_standing[standing].push(ranked);
        }
    }
    let left = total - usize::from(first.is_some());
    let mut chosen = Vec::with_capacity(total);
    chosen.extend(first.map(|trusted| Assigned {
        device: trusted.device.clone(),
        region: trusted.region,
    }));
    let shares = shares(state, &pools, left);
    for (region, (pool, shares)) in pools.iter_mut().zip(shares).enumerate() {
        for (devices, share) in pool.by_standing.iter_mut().zip(shares) {
            devices.sort_unstable();
            let best = devices.iter().take(share);
            chosen.extend(best.map(|(_, _, device)| Assigned {
                device: (*device).clone(),
                region,
            }));
        }
    }
    chosen
}

/// Rounds that a device was in. What it gave to an earlier attempt at the open round costs it
/// nothing more.
fn rounds_taken(state: &RunState, device: &DeviceId) -> u32 {
    state.participations.get(device).map_or(0, |past| {
        let again = past.last_round == state.round.number;
        past.count + past.given_up - u32::from(again && past.given_up > 0)
    })
}

/// How many devices of each region and standing are asked; `left` in all, where there are so many.
fn shares(state: &RunState, pools: &[Pool<'_>], left: usize) -> Vec<[usize; 3]> {
    let sizes = |standing: usize| -> Vec<usize> {
        let size = |pool: &Pool<'_>| pool.by_standing[standing].len();
        pools.iter().map(size).collect()
    };
    let heads = matches!(
        state.spec.training.personalisation,
        Some(Personalisation::RegionHeads { .. })
    );
    let [good, trial, held] = [sizes(0), sizes(1), sizes(2)];
    if heads && state.spec.privacy.mode.has_noise() {
        let all = good.iter().zip(&trial).zip(&held);
        let all: Vec<usize> = all.map(|((one, two), three)| one + two + three).collect();
        let quotas = equal_quotas(&all, left).into_iter().enumerate();
        return quotas
            .map(|(region, quota)| {
                let best = quota.min(good[region]);
                let tried = (quota - best).min(trial[region]);
                [best, tried, quota - best - tried]
            })
            .collect();
    }
    let rounds = &state.spec.rounds;
    let spare = rounds.to_select().saturating_sub(rounds.cohort);
    let trials = trial.iter().sum::<usize>().min(spare.div_ceil(2) as usize);
    let good = quotas(&good, left - trials.min(left));
    let rest = left - good.iter().sum::<usize>();
    let trial = quotas(&trial, rest);
    let held = quotas(&held, rest - trial.iter().sum::<usize>());
    let regions = good.into_iter().zip(trial).zip(held);
    regions
        .map(|((good, trial), held)| [good, trial, held])
        .collect()
}

/// The same for every region, as far as it has so many; remainders to the first.
fn equal_quotas(sizes: &[usize], total: usize) -> Vec<usize> {
    let regions = sizes.len().max(1);
    let share = |index: usize| total / regions + usize::from(index < total % regions);
    let sizes = sizes.iter().enumerate();
    sizes.map(|(index, size)| share(index).min(*size)).collect()
}

fn rank(state: &RunState, device: &DeviceId) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"tributary-selection-v1");
    hash.update(state.key);
    hash.update(state.round.number.to_be_bytes());
    hash.update(state.round.attempt.to_be_bytes());
    hash.update(device.as_str().as_bytes());
    hash.finalize().into()
}

/// Splits `total` in proportion to `sizes`, never more than a size, remainders to the largest.
fn quotas(sizes: &[usize], total: usize) -> Vec<usize> {
    let all: usize = sizes.iter().sum();
    let total = total.min(all);
    if all == 0 {
        return vec![0; sizes.len()];
    }
    let share = |size: usize| (size as u128 * total as u128, all as u128);
    let mut quotas: Vec<usize> = sizes
        .iter()
        .map(|&size| {
            let (product, all) = share(size);
            (product / all) as usize
        })
        .collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&index| {
        let (product, all) = share(sizes[index]);
        (std::cmp::Reverse(product % all), index)
    });
    let mut missing = total - quotas.iter().sum::<usize>();
    for index in order {
        if missing > 0 && quotas[index] < sizes[index] {
            quotas[index] += 1;
            missing -= 1;
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quotas_add_up_and_never_pass_a_region_size(
            sizes in prop::collection::vec(0usize..2_000, 1..12),
            total in 0usize..5_000,
        ) {
            let split = quotas(&sizes, total);
            let all: usize = sizes.iter().sum();
            prop_assert_eq!(split.iter().sum::<usize>(), total.min(all));
            prop_assert!(split.iter().zip(&sizes).all(|(quota, size)| quota <= size));
        }

        #[test]
        fn equal_quotas_differ_by_one_at_most_where_regions_are_large_enough(
            regions in 1usize..12,
            total in 0usize..5_000,
        ) {
            let split = equal_quotas(&vec![10_000; regions], total);
            prop_assert_eq!(split.iter().sum::<usize>(), total);
            let (least, most) = (split.iter().min(), split.iter().max());
            prop_assert!(most.unwrap() - least.unwrap() <= 1);
            prop_assert_eq!(equal_quotas(&vec![0; regions], total), vec![0; regions]);
        }
    }
}
