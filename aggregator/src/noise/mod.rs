//! Exact integer noise and the randomness behind it.
//!
//! `uniform` draws integers and compares random bits lazily, `bernoulli_exp` turns that into coins
//! of probability e^-x, `discrete_gaussian` into samples, and `source` owns the key.

mod bernoulli_exp;
mod discrete_gaussian;
mod source;
pub(crate) mod uniform;

pub use discrete_gaussian::DiscreteGaussian;
pub use source::NoiseSource;

/// Why noise can't be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoiseError {
    /// The scale is zero or too large for exact arithmetic.
    #[error(
        "sigma {numerator}/{denominator} is not usable; it must be above 0 and either an integer \
         up to 2^40 or a fraction with a numerator up to 2^20 and a denominator up to 2^20"
    )]
    BadSigma {
        /// Numerator of the refused scale.
        numerator: u64,
        /// Denominator of the refused scale.
        denominator: u64,
    },
    /// A scale given as a float is zero, negative, not a number or too large.
    #[error("sigma is {value}; it must be a number above 0 and at most 2^40")]
    BadFloatSigma {
        /// The refused scale.
        value: f64,
    },
    /// The operating system gave no entropy.
    #[error("operating system gave no random bytes ({0}); nothing may be released without them")]
    NoEntropy(String),
}
