//! Why noise can't be made.

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
    /// The scale of the Laplace distribution is zero or too large for exact arithmetic.
    #[error(
        "Laplace scale {numerator}/{denominator} is not usable; it must be above 0 and either an \
         integer up to 2^40 or a fraction with a numerator up to 2^20 and a denominator up to 2^20"
    )]
    BadLaplaceScale {
        /// Numerator of the refused scale.
        numerator: u64,
        /// Denominator of the refused scale.
        denominator: u64,
    },
    /// The table covers integer scales of at least 64 only.
    #[error(
        "sigma {numerator}/{denominator} has no table; draw from DiscreteGaussian itself, or choose \
         an integer sigma from {least}"
    )]
    NoTable {
        /// Numerator of the refused scale.
        numerator: u64,
        /// Denominator of the refused scale.
        denominator: u64,
        /// The least sigma with a table.
        least: u64,
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
