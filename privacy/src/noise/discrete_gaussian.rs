//! The discrete Gaussian, sampled exactly in integers.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::bernoulli_exp::negative_exponent;
use super::chunks::{Sampler, add_in_parallel, add_in_sequence};
use super::discrete_laplace::geometric;
use super::fraction::{MAX_FRACTION_PART, MAX_INTEGER_SCALE, exact_scale};
use super::{NoiseError, NoiseSource};
use crate::rho::{Rho, RhoError};

/// Noise on the integers with P(x) proportional to e^(-x^2 / (2 sigma^2)).
///
/// Sampled exactly (Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy",
/// 2020, algorithms 1 to 3) in u64 and u128 arithmetic: no float is involved, so none of the attacks
/// on floating-point noise apply. For integers at distance B it gives B^2 / (2 sigma^2)-zCDP
/// (theorem 4); the divergences of independent coordinates add, so the same holds for integer
/// vectors at L2 distance B. This equals the continuous Gaussian, with a variance of at most sigma^2.
///
/// Running time depends on the random bits but not on the data that the noise is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscreteGaussian {
    numerator: u64,
    denominator: u64,
    /// t of algorithm 3: the integer scale of the Laplace proposal.
    laplace_scale: u64,
    /// A proposal y is accepted with probability
    /// e^-((|y| * multiplier - centre)^2 / (2 * width^2)).
    multiplier: u64,
    centre: u64,
    twice_width_squared: u128,
}

impl DiscreteGaussian {
    /// Noise of integer scale `sigma` in 1..=2^40.
    ///
    /// # Errors
    /// [`NoiseError::BadSigma`] outside that range.
    pub fn new(sigma: u64) -> Result<Self, NoiseError> {
        Self::from_ratio(sigma, 1)
    }

    /// Noise of rational scale `numerator / denominator`: an integer up to 2^40, or a fraction
    /// whose parts, in lowest terms, are at most 2^20.
    ///
    /// # Errors
    /// [`NoiseError::BadSigma`] for zero and outside that range.
    pub fn from_ratio(numerator: u64, denominator: u64) -> Result<Self, NoiseError> {
        match exact_scale(numerator, denominator) {
            Some((sigma, 1)) => Ok(Self::integer(sigma)),
            Some((p, q)) => Ok(Self::fraction(p, q)),
            None => Err(NoiseError::BadSigma {
                numerator,
                denominator,
            }),
        }
    }

    /// The least noise on a binary grid whose scale is at least `sigma`: a multiple of the largest
    /// 2^-s, s in 0..=20, that keeps the numerator within 2^20, an integer from 2^20 on. The scale is
    /// less than 2^-19 of itself above `sigma`, or 2^-20 where `sigma` is smaller than that.
    ///
    /// # Errors
    /// [`NoiseError::BadFloatSigma`] unless `sigma` is above 0 and at most 2^40.
    pub fn at_least(sigma: f64) -> Result<Self, NoiseError> {
        let refused = NoiseError::BadFloatSigma { value: sigma };
        // written so that NaN fails
        if !(sigma > 0.0 && sigma <= MAX_INTEGER_SCALE as f64) {
            return Err(refused);
        }
        let fits = |shift: &u32| sigma * (1u64 << shift) as f64 <= MAX_FRACTION_PART as f64;
        let shift = (0..=20).rev().find(fits).unwrap_or(0);
        let denominator = 1u64 << shift;
        // powers of two: the product is exact
        let numerator = (sigma * denominator as f64).ceil() as u64;
        Self::from_ratio(numerator, denominator).map_err(|_| refused)
    }

    /// t = sigma: the acceptance exponent is (|y| - sigma)^2 / (2 sigma^2).
    fn integer(sigma: u64) -> Self {
        Self {
            numerator: sigma,
            denominator: 1,
            laplace_scale: sigma,
            multiplier: 1,
            centre: sigma,
            twice_width_squared: 2 * u128::from(sigma) * u128::from(sigma),
        }
    }

    /// sigma = p / q and t = max(1, floor(sigma)): the exponent (|y| - sigma^2 / t)^2 / (2 sigma^2)
    /// over the common denominator is (|y| q^2 t - p^2)^2 / (2 (p q t)^2).
    fn fraction(p: u64, q: u64) -> Self {
        let t = (p / q).max(1);
        let width = u128::from(p) * u128::from(q) * u128::from(t);
        Self {
            numerator: p,
            denominator: q,
            laplace_scale: t,
            multiplier: q * q * t,
            centre: p * p,
            twice_width_squared: 2 * width * width,
        }
    }

    /// Sigma as a float, for display and for error estimates.
    pub fn sigma(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// Sigma as a fraction in lowest terms.
    pub fn ratio(&self) -> (u64, u64) {
        (self.numerator, self.denominator)
    }

    /// The zCDP charge for adding this noise to an integer vector whose squared L2 sensitivity is
    /// `squared_sensitivity`, rounded up: squared_sensitivity * q^2 / (2 p^2) for sigma = p / q.
    ///
    /// # Errors
    /// [`RhoError::TooLarge`] when the charge can't be represented.
    pub fn rho(&self, squared_sensitivity: u128) -> Result<Rho, RhoError> {
        let q = u128::from(self.denominator);
        let scaled = squared_sensitivity
            .checked_mul(q * q)
            .ok_or(RhoError::TooLarge)?;
        let twice_variance = 2 * u128::from(self.numerator) * u128::from(self.numerator);
        Rho::from_ratio(scaled, twice_variance).ok_or(RhoError::TooLarge)
    }

    /// One sample.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> i64 {
        loop {
            let (magnitude, negative) = self.propose(rng);
            let scaled = u128::from(magnitude) * u128::from(self.multiplier);
            let distance = scaled.abs_diff(u128::from(self.centre));
            if negative_exponent(distance * distance, self.twice_width_squared, rng) {
                // proposals are below 2^40 * 2^20 + 2^40
                let value = magnitude as i64;
                return if negative { -value } else { value };
            }
        }
    }

    /// Adds an independent sample to every value, chunks of [`NoiseSource::CHUNK`] in parallel on the
    /// threads of rayon's current pool.
    ///
    /// Each chunk uses a stream of its own, so the outcome depends on the source alone and not on the
    /// number of threads. A sum at the edge of i64 saturates, which is a function of the released value
    /// only.
    pub fn add_noise(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_parallel(self, values, source);
    }

    /// What [`DiscreteGaussian::add_noise`] does, bit for bit, on the calling thread alone.
    pub fn add_noise_on_this_thread(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_sequence(self, values, source);
    }

    /// A discrete Laplace variable of integer scale t as (magnitude, negative).
    #[inline]
    fn propose<R: Rng + ?Sized>(&self, rng: &mut R) -> (u64, bool) {
        loop {
            let magnitude = geometric(self.laplace_scale, rng);
            let negative = rng.next_u32() >> 31 == 1;
            // zero has one sign only
            if !(negative && magnitude == 0) {
                return (magnitude, negative);
            }
        }
    }
}

impl Sampler for DiscreteGaussian {
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
    fn floats_that_are_no_scale_are_refused_and_dyadic_ones_are_kept() {
        for bad in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, 1.1e12] {
            let refused = DiscreteGaussian::at_least(bad);
            assert!(
                matches!(refused, Err(NoiseError::BadFloatSigma { .. })),
                "{bad}"
            );
        }
        let ratio = |sigma| DiscreteGaussian::at_least(sigma).unwrap().ratio();
        assert_eq!(ratio(300.5), (601, 2));
        assert_eq!(ratio(1_048_577.0), (1_048_577, 1));
        assert_eq!(ratio(f64::powi(2.0, 40)), (1 << 40, 1));
        assert_eq!(ratio(1e-300), (1, 1 << 20));
    }

    proptest! {
        /// Proposal e^(-y / t) times acceptance e^(-(y m - c)^2 / (2 w^2)) must be a constant times
        /// e^(-y^2 / (2 sigma^2)), here as an identity between fractions in exact integers.
        #[test]
        fn proposal_and_acceptance_multiply_to_the_gaussian(
            p in 1u64..=1 << 12,
            q in 1u64..=1 << 12,
            y in 0u64..1 << 12,
        ) {
            let gaussian = DiscreteGaussian::from_ratio(p, q).unwrap();
            let (p, q) = (gaussian.numerator as i128, gaussian.denominator as i128);
            let (t, m) = (gaussian.laplace_scale as i128, gaussian.multiplier as i128);
            let (c, w2) = (gaussian.centre as i128, gaussian.twice_width_squared as i128);
            // exponent(y) - exponent(0) = y^2 / (2 sigma^2), times w2 * t * 2 p^2
            let y = i128::from(y);
            let accepted = (y * m - c).pow(2) - c.pow(2);
            let left = (accepted * t + y * w2) * 2 * p * p;
            prop_assert_eq!(left, y * y * q * q * w2 * t);
        }

        #[test]
        fn a_scale_from_a_float_is_never_below_it_and_close(
            bits in -18.0f64..40.0,
        ) {
            let asked = bits.exp2();
            let sigma = DiscreteGaussian::at_least(asked).unwrap().sigma();
            prop_assert!(sigma >= asked && sigma <= asked * (1.0 + f64::powi(2.0, -19)) + f64::powi(2.0, -20));
        }

        #[test]
        fn the_largest_scales_satisfy_the_same_identity(sigma in 1u64..=MAX_INTEGER_SCALE, y: u8) {
            let gaussian = DiscreteGaussian::new(sigma).unwrap();
            let (s, y) = (sigma as i128, i128::from(y));
            prop_assert_eq!(gaussian.twice_width_squared as i128, 2 * s * s);
            prop_assert_eq!((gaussian.laplace_scale, gaussian.centre), (sigma, sigma));
            // (y - s)^2 - s^2 + 2 s y = y^2 over 2 s^2
            prop_assert_eq!((y - s).pow(2) - s.pow(2) + 2 * s * y, y * y);
        }
    }
}
