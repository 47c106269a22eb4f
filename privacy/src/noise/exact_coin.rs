//! Coins of probability r e^-x for rationals r and x, where r may be above 1: decided by interval
//! arithmetic in integers on as many random bits as it takes.
//!
//! The coins of `bernoulli_exp` can't have a factor above 1. This one compares a uniform real U,
//! whose bits are drawn as needed, with r / e^x. For e^x there is an interval of integers
//! ([`exponential`]) that gets narrower with every word of U. All terms of its series are positive and
//! rounded down, so the error is bounded in a few lines; nothing here is a float.

use rand_core::Rng;

use super::natural::Natural;

/// The probability (numerator 2^shift / denominator) e^-(y^2 / (2 sigma^2)), at most 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExactCoin {
    pub(super) numerator: u64,
    pub(super) shift: u32,
    pub(super) denominator: u64,
    pub(super) y: u64,
    pub(super) sigma: u64,
}

impl ExactCoin {
    /// Tosses the coin with a uniform U whose first 32 bits are `first_word`; further words are drawn
    /// from `rng` only while those so far leave the answer open.
    #[cold]
    #[inline(never)]
    pub(super) fn toss<R: Rng + ?Sized>(&self, first_word: u32, rng: &mut R) -> bool {
        let mut words = vec![first_word];
        loop {
            // U lies in [u, u + 1] / 2^bits
            let bits = 32 * words.len() as u32;
            // 64 bits finer than U, so that nearly always U decides and not the width of the interval
            let precision = bits + 64;
            let (low, high) = exponential(self.y, self.sigma, precision);
            // U < r / e^x exactly when U denominator e^x < numerator 2^shift, here times 2^(bits + precision)
            let threshold = Natural::shifted(self.numerator, self.shift + bits + precision);
            let end = product(&high, &words).plus(&high).times(self.denominator);
            if end <= threshold {
                return true;
            }
            let start = product(&low, &words).times(self.denominator);
            if start >= threshold {
                return false;
            }
            words.push(rng.next_u32());
        }
    }
}

/// `factor` times the number whose digits in base 2^32 are `words`, the highest first.
fn product(factor: &Natural, words: &[u32]) -> Natural {
    let mut product = Natural::shifted(0, 0);
    for &word in words {
        product = product
            .shift_up(32)
            .plus(&factor.clone().times(u64::from(word)));
    }
    product
}

/// Integers around 2^precision e^x for x = y^2 / (2 sigma^2), sigma >= 1 and precision >= 96, no
/// further apart than 4 (N + 1) e^x + 1, where N is the number of terms that are summed.
///
/// Let t_n = 2^precision x^n / n!, and T_n its computed value: T_0 = t_0 and T_n = floor(T_(n-1) x / n)
/// (repeated floors of quotients by integers are the floor of the whole quotient). The errors e_n =
/// t_n - T_n are at least 0 and e_n <= e_(n-1) x / n + 1, so
/// e_n <= sum over m = 1..n of x^(n-m) m! / n! <= sum of x^(n-m) / (n-m)! <= e^x.
/// The sum stops before the first N with T_N = 0 and N >= 2 x. What it leaves out is at most
/// t_N (1 + 1/2 + 1/4 + ...) <= 2 t_N = 2 e_N <= 2 e^x. Hence the computed sum s and the true value
/// v = 2^precision e^x satisfy v - (N + 1) e^x <= s <= v, or v (1 - d) <= s <= v with
/// d = (N + 1) 2^-precision. With d <= 1/2, v <= s / (1 - d) <= s (1 + 2 d).
fn exponential(y: u64, sigma: u64, precision: u32) -> (Natural, Natural) {
    let mut term = Natural::shifted(1, precision);
    let mut sum = Natural::shifted(0, 0);
    let mut n = 0u64;
    // y < 2^63 and sigma <= 2^40 here; n never comes near 2^64
    let square = u128::from(y) * u128::from(y);
    let variance = u128::from(sigma) * u128::from(sigma);
    while !term.is_zero() || u128::from(n).saturating_mul(variance) < square {
        sum = sum.plus(&term);
        n += 1;
        term = term.times(y).times(y);
        term = term.divided(2).divided(sigma).divided(sigma).divided(n);
    }
    // 2 d <= 2^(slack - precision)
    let slack = (n + 1).ilog2() + 2;
    let width = sum
        .clone()
        .shift_down(precision - slack)
        .plus(&Natural::shifted(1, 0));
    let high = sum.clone().plus(&width);
    (sum, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::super::uniform::scripted::Scripted;
    use super::*;

    /// The first digits of e^-2 in base 2^32.
    const MINUS_TWO: [u32; 4] = [0x22A5_5547, 0x7F03_973F, 0xB6ED_D5C2, 0x5A05_2AE3];

    #[test]
    fn the_coin_reads_as_many_words_as_the_digits_agree() {
        let coin = ExactCoin {
            numerator: 1,
            shift: 0,
            denominator: 1,
            y: 2,
            sigma: 1,
        };
        for agreeing in 0..3 {
            for (step, verdict) in [(1u32, false), (u32::MAX, true)] {
                let mut words = MINUS_TWO[..=agreeing].to_vec();
                words[agreeing] = words[agreeing].wrapping_add(step);
                let mut rest = Scripted(words.split_off(1));
                assert_eq!(coin.toss(words[0], &mut rest), verdict, "{agreeing}");
                assert!(rest.0.is_empty());
            }
        }
    }

    /// Five standard deviations: a false alarm has probability 6e-7 per rate checked.
    #[test]
    fn coins_with_factors_above_one_fall_at_their_rate() {
        let mut rng = ChaCha20Rng::from_seed([23; 32]);
        for (numerator, shift, denominator, y, sigma) in [
            (1u64, 0u32, 1u64, 0u64, 5u64),
            (3, 0, 4, 5, 5),
            (1 << 27, 3, 1_000_000_007, 100, 64),
            (1, 12, 1, 1_000, 200),
            (5, 36, 9, 7 << 36, 1 << 36),
        ] {
            let exponent = (y as f64 / sigma as f64).powi(2) / 2.0;
            let factor = numerator as f64 * f64::from(shift).exp2() / denominator as f64;
            let rate = factor * (-exponent).exp();
            let coin = ExactCoin {
                numerator,
                shift,
                denominator,
                y,
                sigma,
            };
            let draws = 4_000;
            let heads = (0..draws)
                .filter(|_| {
                    let word = rng.next_u32();
                    coin.toss(word, &mut rng)
                })
                .count() as f64;
            let deviation = (rate * (1.0 - rate) / f64::from(draws)).sqrt();
            let found = heads / f64::from(draws);
            assert!(
                (found - rate).abs() <= 5.0 * deviation + 1e-9,
                "{found} for {rate}"
            );
        }
    }

    proptest! {
        /// The interval holds e^x as floats know it, and is as narrow as claimed.
        #[test]
        fn the_interval_of_the_exponential_holds_it(y in 0u64..2_000, sigma in 50u64..1_000) {
            let (low, high) = exponential(y, sigma, 128);
            let exponent = (y as f64 / sigma as f64).powi(2) / 2.0;
            let real = exponent.exp();
            let (below, above) = (real * (1.0 - 1e-9), real * (1.0 + 1e-9));
            prop_assume!(above.is_finite());
            let scaled = |value: f64| {
                let bits = value.to_bits();
                let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
                let exponent = (bits >> 52) as i32 - 1075 + 128;
                Natural::shifted(mantissa, exponent as u32)
            };
            prop_assert!(low <= high);
            prop_assert!(scaled(below) <= low && high <= scaled(above));
            // 2 (N + 1) e^x + 1 with N below 4,000 is far below 2^-100 of 2^128 e^x
            prop_assert!(low.clone().plus(&low.clone().shift_down(100)) >= high);
        }
    }
}
