//! Selection: a keyed rank over the eligible devices, with a quota for each region.

use sha2::{Digest as _, Sha256};
use tributary_model::Personalisation;
use tributary_proto::DeviceId;

use super::{Assigned, RunState};

/// A device that could take part in the open round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Index of its region in the run's list.
    pub region: usize,
}

/// Chooses the devices of the open round: `state.to_select()` of the candidates that may take part,
/// split over the regions in proportion to their candidates (largest remainder). Within a region
/// those come first that were in the fewest rounds, so that participations last as long as they
/// can, and among equals by the rank SHA-256(key, round, attempt, device). FLTrust's device comes
/// before all others. Neither the order of the candidates nor their arrival plays a part.
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
    let mut by_region: Vec<Vec<(u32, [u8; 32], &DeviceId)>> =
        vec![Vec::new(); state.spec.regions.len()];
    for candidate in candidates {
        let device = &candidate.device;
        if trusted != Some(device) && state.may_participate(device) {
            let past = state
                .participations
                .get(device)
                .map_or(0, |past| past.count);
            by_region[candidate.region].push((past, rank(state, device), device));
        }
    }
    let sizes: Vec<usize> = by_region.iter().map(Vec::len).collect();
    let left = total - usize::from(first.is_some());
    let heads = matches!(
        state.spec.training.personalisation,
        Some(Personalisation::RegionHeads { .. })
    );
    let quotas = if heads && state.spec.privacy.mode.has_noise() {
        equal_quotas(&sizes, left)
    } else {
        quotas(&sizes, left)
    };
    let mut chosen = Vec::with_capacity(total);
    chosen.extend(first.map(|trusted| Assigned {
        device: trusted.device.clone(),
        region: trusted.region,
    }));
    for (region, (devices, quota)) in by_region.iter_mut().zip(quotas).enumerate() {
        devices.sort_unstable();
        let first = devices.iter().take(quota);
        chosen.extend(first.map(|(_, _, device)| Assigned {
            device: (*device).clone(),
            region,
        }));
    }
    chosen
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
