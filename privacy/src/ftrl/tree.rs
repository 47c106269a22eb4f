//! Tree aggregation in exact integers.
//!
//! Node (l, j) covers the rounds (j - 1) 2^l < t <= j 2^l and has one seed. The noise of the running
//! sum after round t is the sum of the nodes in the binary decomposition of t, N(t), and round t
//! adds N(t) - N(t - 1): the fresh node that ends at t, of level l = trailing zeros of t, less the l
//! nodes of lower level that it replaces. Every node that is ever used ends at one round of its own,
//! so each round draws one seed vector, keeps it on a stack of at most log2(t) + 1, and nothing is
//! drawn twice.
//!
//! # Sensitivity
//! The running sums are sums of the n values "contributions within node t, plus its seed", so the
//! seeds of a neighbour differ by the device's contributions within each node, exactly: C has the
//! rows 1 on (t - 2^l, t]. Nodes of level l are the ones with odd j: N_l = floor((n + 2^l) / 2^(l+1))
//! of them, disjoint. One of them sees at most m_l = min(k, ceil(2^l / b)) participations of norm B,
//! all of them together at most k, and a sum of squares under both limits is largest when q =
//! min(floor(k / m_l), N_l) nodes see m_l and, if one is left, one more sees the rest. So
//!
//! sens^2 <= B^2 sum_l (q m_l^2 + [q < N_l] (k - q m_l)^2) <= B^2 sum_l k m_l,
//!
//! with k at most ceil(n / b). For k = 1 it is B^2 times the height, the number of bits of n.

use super::Participation;

/// sens^2 for contributions of norm 1.
pub(super) fn squared_sensitivity(participation: &Participation) -> u128 {
    let rounds = u64::from(participation.rounds);
    let most = u64::from(participation.effective_most());
    let separation = u64::from(participation.separation.max(1));
    let height = u64::BITS - rounds.leading_zeros();
    let level = |level: u32| {
        let width = 1u64 << level;
        let nodes = (rounds + width) >> (level + 1);
        let within = most.min(width.div_ceil(separation)).max(1);
        let full = (most / within).min(nodes);
        let rest = if full < nodes {
            most - full * within
        } else {
            0
        };
        u128::from(full) * u128::from(within).pow(2) + u128::from(rest).pow(2)
    };
    (0..height).map(level).sum()
}

/// Nodes on the stack after `round` rounds, which is also the variance of the noise in the running
/// sum per unit of seed variance.
pub(super) fn open_nodes(round: u32) -> u32 {
    round.count_ones()
}

/// Nodes that round `round` (from 1) closes: the last ones of the stack.
pub(super) fn closed_nodes(round: u32) -> usize {
    round.trailing_zeros() as usize
}

/// Most nodes on the stack within `rounds` rounds.
pub(super) fn most_open_nodes(rounds: u32) -> u32 {
    rounds.saturating_add(1).ilog2()
}

/// `noise` holds fresh seeds and becomes the noise of the round: less the closed nodes. Sums of 21
/// seeds fit i64 for every sigma of the sampler; saturation is never met.
pub(super) fn close(noise: &mut [i64], closed: &[&[i64]]) {
    for node in closed {
        for (value, seed) in noise.iter_mut().zip(*node) {
            *value = value.saturating_sub(*seed);
        }
    }
}
