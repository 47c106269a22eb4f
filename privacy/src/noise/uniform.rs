//! Unbiased integers and rational coins from 32-bit random words.

use rand_core::Rng;

/// Denominators of [`coin`] stay below this, so that a 32-bit word times one fits 128 bits.
pub(super) const MAX_DENOMINATOR: u128 = 1 << 96;

/// A uniform integer in [0, `bound`), without bias, by the multiply-and-reject method of Lemire (ACM
/// TOMACS 2019, algorithm 5). `bound` is at least 1; for 0 the answer is 0.
#[inline]
pub fn uniform_below<R: Rng + ?Sized>(bound: u64, rng: &mut R) -> u64 {
    if let Ok(bound) = u32::try_from(bound) {
        return u64::from(below_u32(bound, rng));
    }
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        let low = product as u64;
        if low >= bound || low >= bound.wrapping_neg() % bound {
            return (product >> 64) as u64;
        }
    }
}

#[inline]
fn below_u32<R: Rng + ?Sized>(bound: u32, rng: &mut R) -> u32 {
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(bound);
        let low = product as u32;
        if low >= bound || low >= bound.wrapping_neg() % bound {
            return (product >> 32) as u32;
        }
    }
}

/// True with probability exactly `numerator / denominator`, for
/// 0 <= numerator <= denominator < 2^96.
///
/// It compares a uniform real U with the fraction, drawing 32 more bits of U only while the bits so
/// far leave the answer open (a chance of 2^-32 per step). No division, no rejection, no rounding.
#[inline]
pub(super) fn coin<R: Rng + ?Sized>(numerator: u128, denominator: u128, rng: &mut R) -> bool {
    debug_assert!(numerator <= denominator && denominator < MAX_DENOMINATOR);
    let mut remaining = numerator;
    loop {
        // U lies in [w, w + 1) / 2^32: compare both ends, scaled by 2^32 * denominator
        let low = u128::from(rng.next_u32()) * denominator;
        let threshold = remaining << 32;
        if low >= threshold {
            return false;
        }
        if threshold - low >= denominator {
            return true;
        }
        remaining = threshold - low;
    }
}

/// [`coin`] for denominators below 2^64: one machine multiplication instead of two.
#[inline]
pub(super) fn narrow_coin<R: Rng + ?Sized>(numerator: u64, denominator: u64, rng: &mut R) -> bool {
    let low = u128::from(rng.next_u32()) * u128::from(denominator);
    let threshold = u128::from(numerator) << 32;
    if low >= threshold {
        return false;
    }
    let gap = threshold - low;
    gap >= u128::from(denominator) || coin(gap, u128::from(denominator), rng)
}

#[cfg(test)]
pub(super) mod scripted {
    use std::convert::Infallible;

    use rand_core::TryRng;

    /// A generator that plays back given words, to reach branches of chance 2^-32.
    pub(in crate::noise) struct Scripted(pub Vec<u32>);

    impl TryRng for Scripted {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(self.0.remove(0))
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let low = u64::from(self.0.remove(0));
            Ok(low | (u64::from(self.0.remove(0)) << 32))
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            bytes.fill(self.0.remove(0) as u8);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::scripted::Scripted;
    use super::*;

    #[test]
    fn a_coin_reads_more_bits_only_when_the_first_leave_it_open() {
        // 1/3 = 0x0.55555555 55555555...
        assert!(coin(1, 3, &mut Scripted(vec![0x5555_5554])));
        assert!(!coin(1, 3, &mut Scripted(vec![0x5555_5556])));
        assert!(coin(1, 3, &mut Scripted(vec![0x5555_5555, 0x5555_5554])));
        assert!(!coin(
            1,
            3,
            &mut Scripted(vec![0x5555_5555, 0x5555_5555, 0x5555_5556])
        ));
        assert!(narrow_coin(
            1,
            3,
            &mut Scripted(vec![0x5555_5555, 0x5555_5554])
        ));
        assert!(!narrow_coin(
            1,
            3,
            &mut Scripted(vec![0x5555_5555, 0x5555_5556])
        ));
    }

    #[test]
    fn certain_coins_are_certain_at_both_ends_of_the_word_range() {
        for word in [0, 1, u32::MAX - 1, u32::MAX] {
            let huge = MAX_DENOMINATOR - 1;
            assert!(coin(huge, huge, &mut Scripted(vec![word])));
            assert!(!coin(0, huge, &mut Scripted(vec![word])));
            assert!(narrow_coin(u64::MAX, u64::MAX, &mut Scripted(vec![word])));
            assert!(!narrow_coin(0, u64::MAX, &mut Scripted(vec![word])));
        }
    }

    #[test]
    fn uniform_integers_reject_the_words_that_would_bias_them() {
        // 2^32 mod 3 = 1: the word 0 has low part 0 < 1 and is thrown away
        assert_eq!(uniform_below(3, &mut Scripted(vec![0, u32::MAX])), 2);
        assert_eq!(uniform_below(3, &mut Scripted(vec![1])), 0);
        assert_eq!(uniform_below(1, &mut Scripted(vec![77])), 0);
    }

    #[test]
    fn uniform_integers_fill_their_range_evenly() {
        // chi-square with 6 and 9 degrees; 40 is exceeded by chance with probability below 1e-5
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        for bound in [7u64, 10 << 40] {
            let bins = if bound == 7 { 7 } else { 10 };
            let mut counts = vec![0f64; bins];
            for _ in 0..70_000 {
                let value = uniform_below(bound, &mut rng);
                assert!(value < bound);
                counts[(u128::from(value) * bins as u128 / u128::from(bound)) as usize] += 1.0;
            }
            let expected = 70_000.0 / bins as f64;
            let statistic: f64 = counts
                .iter()
                .map(|c| (c - expected).powi(2) / expected)
                .sum();
            assert!(statistic < 40.0, "{statistic}");
        }
    }
}
