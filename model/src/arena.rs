//! Placement of activation tensors in one block of RAM.
//!
//! Integer inference keeps all its activations in one arena. Two tensors may share bytes when no
//! step needs both. [`plan_arena`] places tensors greedily, largest first, each at the lowest free
//! offset among those it is alive with: the strategy of TensorFlow Lite for Microcontrollers'
//! greedy planner. Greedy placement can miss the optimum even on a plain chain of layers, so where
//! it does, laying tensors alternately at the two ends of the arena is tried as well: on a chain
//! that always reaches the lower bound.

/// Every offset and every size is a multiple of this many bytes: enough for any vector load of the
/// target cores.
pub const ARENA_ALIGNMENT: usize = 16;

/// A tensor's size and the steps during which it must keep its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorLifetime {
    /// Size in bytes.
    pub bytes: usize,
    /// First step that needs the tensor (the one that writes it; 0 for the input).
    pub first: usize,
    /// Last step that needs it, inclusive; never before `first`.
    pub last: usize,
}

impl TensorLifetime {
    /// Whether some step needs both tensors.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The size rounded up to the alignment; saturates at `usize::MAX`.
    fn aligned_bytes(&self) -> usize {
        self.bytes
            .checked_next_multiple_of(ARENA_ALIGNMENT)
            .unwrap_or(usize::MAX)
    }
}

/// Where each tensor lies, and how much RAM that takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaPlan {
    /// Offset of each tensor in bytes, in the order of the request; multiples of
    /// [`ARENA_ALIGNMENT`].
    pub offsets: Vec<usize>,
    /// Bytes of the whole arena.
    pub bytes: usize,
    /// Bytes that no placement can go below: the largest sum of tensors alive at one step.
    pub lower_bound: usize,
}

/// Places the tensors so that no two that are alive at the same step share a byte.
///
/// Sizes are rounded up to [`ARENA_ALIGNMENT`]. Absurd totals saturate at `usize::MAX` instead of
/// wrapping, so that a fit check refuses them.
pub fn plan_arena(tensors: &[TensorLifetime]) -> ArenaPlan {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    // The index breaks ties, so that equal requests give equal plans.
    order.sort_by_key(|&index| (std::cmp::Reverse(tensors[index].aligned_bytes()), index));

    let mut offsets = vec![0; tensors.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(tensors.len());
    for index in order {
        offsets[index] = lowest_free_offset(tensors, &offsets, &placed, index);
        placed.push(index);
    }
    let bytes = (0..tensors.len())
        .map(|index| offsets[index].saturating_add(tensors[index].aligned_bytes()))
        .max()
        .unwrap_or(0);

    let lower_bound = live_range_bound(tensors);
    if bytes > lower_bound
        && let Some(offsets) = two_ended_offsets(tensors, lower_bound)
    {
        return ArenaPlan {
            offsets,
            bytes: lower_bound,
            lower_bound,
        };
    }
    ArenaPlan {
        offsets,
        bytes,
        lower_bound,
    }
}

/// Tensors in order of birth, alternately at the bottom and at the top of an arena of `bytes`.
/// `None` where two tensors that are alive together would touch.
fn two_ended_offsets(tensors: &[TensorLifetime], bytes: usize) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| (tensors[index].first, tensors[index].last, index));
    let mut offsets = vec![0; tensors.len()];
    for (position, &index) in order.iter().enumerate() {
        if position % 2 == 1 {
            offsets[index] = bytes.checked_sub(tensors[index].aligned_bytes())?;
        }
        let end = offsets[index].checked_add(tensors[index].aligned_bytes())?;
        let collides = order[..position].iter().any(|&other| {
            let other_end = offsets[other] + tensors[other].aligned_bytes();
            tensors[other].overlaps(&tensors[index])
                && offsets[other] < end
                && offsets[index] < other_end
        });
        if collides {
            return None;
        }
    }
    Some(offsets)
}

/// The largest sum of aligned sizes alive at one step: a bound no placement can beat.
pub fn live_range_bound(tensors: &[TensorLifetime]) -> usize {
    // The peak is reached at a step where some tensor begins to live.
    tensors
        .iter()
        .map(|start| {
            tensors
                .iter()
                .filter(|tensor| tensor.first <= start.first && start.first <= tensor.last)
                .fold(0_usize, |sum, tensor| {
                    sum.saturating_add(tensor.aligned_bytes())
                })
        })
        .max()
        .unwrap_or(0)
}

/// The lowest offset at which tensor `index` touches none of the `placed` ones it lives with.
fn lowest_free_offset(
    tensors: &[TensorLifetime],
    offsets: &[usize],
    placed: &[usize],
    index: usize,
) -> usize {
    let mut taken: Vec<(usize, usize)> = placed
        .iter()
        .filter(|&&other| tensors[other].overlaps(&tensors[index]))
        .map(|&other| {
            (
                offsets[other],
                offsets[other].saturating_add(tensors[other].aligned_bytes()),
            )
        })
        .collect();
    taken.sort_unstable();
    let mut candidate: usize = 0;
    for (start, end) in taken {
        if candidate.saturating_add(tensors[index].aligned_bytes()) <= start {
            break;
        }
        candidate = candidate.max(end);
    }
    candidate
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tensor(bytes: usize, first: usize, last: usize) -> TensorLifetime {
        TensorLifetime { bytes, first, last }
    }

    /// Activations of a chain: the input and one output per step.
    fn chain(sizes: &[usize]) -> Vec<TensorLifetime> {
        sizes
            .iter()
            .enumerate()
            .map(|(index, &bytes)| tensor(bytes, index.saturating_sub(1), index))
            .collect()
    }

    #[test]
    fn chain_needs_its_largest_pair_of_neighbours() {
        // The MLPerf Tiny anomaly detector: 640-128x4-8-128x4-640.
        let sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640];
        let plan = plan_arena(&chain(&sizes));
        assert_eq!(plan.lower_bound, 768);
        assert_eq!(plan.bytes, 768);
    }

    #[test]
    fn chain_on_which_greedy_placement_wastes_memory_is_laid_at_two_ends() {
        // Largest first puts 160 and 144 at the bottom and 128 on top of 160; 112 then fits nowhere
        // below 288.
        let plan = plan_arena(&chain(&[144, 112, 128, 160]));
        assert_eq!((plan.bytes, plan.lower_bound), (288, 288));
    }

    #[test]
    fn sizes_are_rounded_up_to_the_alignment() {
        let plan = plan_arena(&[tensor(1, 0, 0), tensor(17, 0, 0)]);
        assert_eq!(plan.bytes, 48);
        assert_eq!(plan.offsets, [32, 0]);
    }

    #[test]
    fn tensors_that_never_meet_share_their_bytes() {
        let plan = plan_arena(&[tensor(64, 0, 1), tensor(64, 2, 3)]);
        assert_eq!((plan.bytes, plan.lower_bound), (64, 64));
    }

    #[test]
    fn an_empty_request_needs_no_memory() {
        assert_eq!(
            plan_arena(&[]),
            ArenaPlan {
                offsets: vec![],
                bytes: 0,
                lower_bound: 0
            }
        );
    }

    #[test]
    fn absurd_sizes_saturate_instead_of_wrapping() {
        let plan = plan_arena(&[tensor(usize::MAX, 0, 1), tensor(usize::MAX - 20, 0, 1)]);
        assert_eq!((plan.bytes, plan.lower_bound), (usize::MAX, usize::MAX));
    }

    fn lifetimes() -> impl Strategy<Value = Vec<TensorLifetime>> {
        prop::collection::vec(
            (0_usize..5_000, 0_usize..20, 0_usize..6)
                .prop_map(|(bytes, first, length)| tensor(bytes, first, first + length)),
            0..24,
        )
    }

    proptest! {
        #[test]
        fn placement_never_overlaps_live_tensors(tensors in lifetimes()) {
            let plan = plan_arena(&tensors);
            for (i, a) in tensors.iter().enumerate() {
                prop_assert_eq!(plan.offsets[i] % ARENA_ALIGNMENT, 0);
                prop_assert!(plan.offsets[i] + a.bytes <= plan.bytes);
                for (j, b) in tensors.iter().enumerate().skip(i + 1) {
                    let apart = plan.offsets[i] + a.bytes <= plan.offsets[j]
                        || plan.offsets[j] + b.bytes <= plan.offsets[i];
                    prop_assert!(!a.overlaps(b) || apart, "tensors {} and {}", i, j);
                }
            }
        }

        #[test]
        fn arena_lies_between_the_live_range_bound_and_the_plain_sum(tensors in lifetimes()) {
            let plan = plan_arena(&tensors);
            let sum: usize = tensors.iter().map(TensorLifetime::aligned_bytes).sum();
            prop_assert!(plan.lower_bound <= plan.bytes && plan.bytes <= sum);
        }

        #[test]
        fn chains_are_placed_optimally(sizes in prop::collection::vec(0_usize..5_000, 1..30)) {
            let plan = plan_arena(&chain(&sizes));
            prop_assert_eq!(plan.bytes, plan.lower_bound);
        }
    }
}
