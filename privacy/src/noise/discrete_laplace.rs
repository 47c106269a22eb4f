//! The discrete Laplace distribution, sampled exactly in integers.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::bernoulli_exp::{minus_one, narrow_fraction};
use super::chunks::{Sampler, add_in_parallel, add_in_sequence};
use super::fraction::exact_scale;
use super::uniform::uniform_below;
use super::{NoiseError, NoiseSource};

/// Whole scales are cut here: the mass beyond is e^-(2^20).
const MAX_WHOLE_SCALES: u64 = 1 << 20;

/// A non-negative integer x with P(x) proportional to e^(-x / scale), for scale in 1..=2^40: the
/// remainder and the whole scales of Canonne, Kamath, Steinke 2020, algorithm 2, lines 1 to 12.
#[inline]
pub(super) fn geometric<R: Rng + ?Sized>(scale: u64, rng: &mut R) -> u64 {
    loop {
        let remainder = uniform_below(scale, rng);
        if !narrow_fraction(remainder, scale, rng) {
            continue;
        }
        let mut scales = 0;
        while scales < MAX_WHOLE_SCALES && minus_one(rng) {
            scales += 1;
        }
        return remainder + scales * scale;
    }
}

/// Noise on the integers with P(x) proportional to e^(-|x| / b), for a rational scale b.
///
/// Sampled exactly (Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy", 2020,
/// algorithm 2) without floats. On integers at L1 distance D it gives pure epsilon-DP with epsilon =
/// D / b, and the same for integer vectors with a sample per coordinate. It is the right noise for few
/// counts with a pure guarantee; for model vectors the Gaussian needs far less.
///
/// The variance is 2 e^(1/b) / (e^(1/b) - 1)^2, a little below 2 b^2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteLaplace {
    numerator: u64,
    denominator: u64,
}

impl DiscreteLaplace {
    /// Noise of integer scale in 1..=2^40.
    ///
    /// # Errors
    /// [`NoiseError::BadLaplaceScale`] outside that range.
    pub fn new(scale: u64) -> Result<Self, NoiseError> {
        Self::from_ratio(scale, 1)
    }

    /// Noise of rational scale `numerator / denominator`: an integer up to 2^40, or a fraction whose
    /// parts, in lowest terms, are at most 2^20.
    ///
    /// # Errors
    /// [`NoiseError::BadLaplaceScale`] for zero and outside that range.
    pub fn from_ratio(numerator: u64, denominator: u64) -> Result<Self, NoiseError> {
        let lowest = exact_scale(numerator, denominator);
        let (p, q) = lowest.ok_or(NoiseError::BadLaplaceScale {
            numerator,
            denominator,
        })?;
        Ok(Self {
            numerator: p,
            denominator: q,
        })
    }

    /// The scale b as a float, for display and for error estimates.
    pub fn scale(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// The scale as a fraction in lowest terms.
    pub fn ratio(&self) -> (u64, u64) {
        (self.numerator, self.denominator)
    }

    /// The pure-DP epsilon of adding this noise to an integer vector of L1 sensitivity
    /// `l1_sensitivity`: D q / p for b = p / q, rounded up to the next float where it isn't one.
    pub fn epsilon(&self, l1_sensitivity: u64) -> f64 {
        // at most 2^84
        let dividend = u128::from(l1_sensitivity) * u128::from(self.denominator);
        let mut rounded = dividend as f64;
        if (rounded as u128) < dividend {
            rounded = rounded.next_up();
        }
        // at most 2^40, exact
        let divisor = self.numerator as f64;
        let quotient = rounded / divisor;
        // the remainder of a rounded division is a float, so the fused product shows its true sign
        if quotient.mul_add(divisor, -rounded) < 0.0 {
            quotient.next_up()
        } else {
            quotient
        }
    }

    /// One sample.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> i64 {
        loop {
            let magnitude = geometric(self.numerator, rng) / self.denominator;
            let negative = rng.next_u32() >> 31 == 1;
            // zero has one sign only
            if !(negative && magnitude == 0) {
                // below 2^40 * 2^20 + 2^40
                let value = magnitude as i64;
                return if negative { -value } else { value };
            }
        }
    }

    /// Adds an independent sample to every value, chunks of [`NoiseSource::CHUNK`] in parallel on the
    /// threads of rayon's current pool.
    ///
    /// Each chunk uses a stream of its own, so the outcome depends on the source alone and not on the
    /// number of threads. A sum at the edge of i64 saturates.
    pub fn add_noise(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_parallel(self, values, source);
    }

    /// What [`DiscreteLaplace::add_noise`] does, bit for bit, on the calling thread alone.
    pub fn add_noise_on_this_thread(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_sequence(self, values, source);
    }
}

impl Sampler for DiscreteLaplace {
    #[inline]
    fn draw(&self, rng: &mut ChaCha20Rng) -> i64 {
        self.sample(rng)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn epsilon_is_the_sensitivity_over_the_scale_rounded_up() {
        let epsilon = |p, q, d| DiscreteLaplace::from_ratio(p, q).unwrap().epsilon(d);
        assert_eq!(epsilon(1, 1, 0), 0.0);
        assert_eq!(epsilon(2, 1, 3), 1.5);
        assert_eq!(epsilon(1, 4, 1), 4.0);
        // the float nearest to 1/3 lies below it, that of 1/10 above
        assert_eq!(epsilon(3, 1, 1), (1.0f64 / 3.0).next_up());
        assert_eq!(epsilon(10, 1, 1), 0.1);
        // 2^53 + 1 is no float
        assert_eq!(epsilon(1, 1, (1 << 53) + 1), ((1u64 << 53) + 2) as f64);
    }

    #[test]
    fn scales_outside_exact_arithmetic_are_refused() {
        for (p, q) in [
            (0, 1),
            (1, 0),
            (0, 0),
            ((1 << 40) + 1, 1),
            (u64::MAX, 2),
            (3, (1 << 20) + 1),
        ] {
            let refused = DiscreteLaplace::from_ratio(p, q);
            assert!(
                matches!(refused, Err(NoiseError::BadLaplaceScale { .. })),
                "{p}/{q}"
            );
        }
        assert_eq!(DiscreteLaplace::from_ratio(6, 4).unwrap().ratio(), (3, 2));
        assert_eq!(DiscreteLaplace::from_ratio(6, 4).unwrap().scale(), 1.5);
    }

    proptest! {
        /// Compared in integers: quotient = m 2^e.
        #[test]
        fn epsilon_never_lies_below_the_fraction_and_is_the_least_such_float(
            p in 1u64..=1 << 20,
            q in 1u64..=1 << 20,
            d in 1u64..1 << 30,
        ) {
            let laplace = DiscreteLaplace::from_ratio(p, q).unwrap();
            let epsilon = laplace.epsilon(d);
            // exactly dividend / divisor <= value?
            let at_most = |value: f64| {
                let bits = value.to_bits();
                let exponent = (bits >> 52) as i32 - 1075;
                let mantissa = u128::from((bits & ((1 << 52) - 1)) | (1 << 52));
                let (p, q) = laplace.ratio();
                let left = u128::from(d) * u128::from(q);
                let right = mantissa * u128::from(p);
                if exponent >= 0 {
                    left <= right << exponent
                } else if left.leading_zeros() as i32 > -exponent {
                    left << -exponent <= right
                } else {
                    // left 2^-exponent is above 2^127, right below 2^74
                    false
                }
            };
            prop_assert!(at_most(epsilon));
            prop_assert!(!at_most(epsilon.next_down()));
        }
    }
}
