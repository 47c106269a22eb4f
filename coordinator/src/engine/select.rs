//! Selection: a keyed rank over the eligible devices, with a quota for each region.

use sha2::{Digest as _, Sha256};
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

/// Chooses the devices of the open round: `state.to_select()` of the candidates that may take
/// part, split over the regions in proportion to their candidates (largest remainder). Within a
/// region those come first that were in the fewest rounds, so that participations last as long as
/// they can (FLTrust's device before all others), and among equals by the rank SHA-256(key, round, attempt, device). Neither the order
/// of the candidates nor their arrival plays a part.
pub fn select(state: &RunState, candidates: &[Candidate]) -> Vec<Assigned> {
    let trusted = state.spec.aggregation.trusted.as_ref();
    let mut by_region: Vec<Vec<(bool, u32, [u8; 32], &DeviceId)>> =
        vec![Vec::new(); state.spec.regions.len()];
    for candidate in candidates {
        if state.may_participate(&candidate.device) {
            let device = &candidate.device;
            let past = state
                .participations
                .get(device)
                .map_or(0, |past| past.count);
            let others = trusted != Some(device);
            by_region[candidate.region].push((others, past, rank(state, device), device));
        }
    }
    let sizes: Vec<usize> = by_region.iter().map(Vec::len).collect();
    let quotas = quotas(&sizes, state.to_select() as usize);
    let mut chosen = Vec::with_capacity(quotas.iter().sum());
    for (region, (devices, quota)) in by_region.iter_mut().zip(quotas).enumerate() {
        devices.sort_unstable();
        let first = devices.iter().take(quota);
        chosen.extend(first.map(|(_, _, _, device)| Assigned {
            device: (*device).clone(),
            region,
        }));
    }
    chosen
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
    }
}
