//! What releases cost in privacy.
//!
//! Charges are exact integers in `rho`; `conversion` turns their sum into (epsilon, delta), and
//! `gaussian_curve` is the tighter curve for pure Gaussian noise. `statement` is what is printed and
//! `budget` is what refuses.

mod budget;
mod conversion;
mod gaussian_curve;
mod rho;
mod statement;

pub use budget::{Budget, BudgetError};
pub use conversion::{epsilon_cks20, epsilon_opendp, rho_for_epsilon};
pub use gaussian_curve::{epsilon_gaussian, gaussian_delta, gaussian_noise_multiplier};
pub use rho::{Rho, gaussian_rho, noise_for};
pub use statement::{Adjacency, Mechanism, PrivacyStatement};

/// Why a privacy quantity can't be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AccountingError {
    /// Delta is not a usable probability.
    #[error("delta is {delta}; it must lie strictly between 0 and 1, well below 1 / devices")]
    BadDelta {
        /// The refused value.
        delta: f64,
    },
    /// Epsilon is not usable.
    #[error("epsilon is {epsilon}; it must be finite and above 0")]
    BadEpsilon {
        /// The refused value.
        epsilon: f64,
    },
    /// A float given as rho or noise multiplier is not usable.
    #[error("{field} is {value}; it must be finite and above 0")]
    BadParameter {
        /// Name of the parameter.
        field: &'static str,
        /// The refused value.
        value: f64,
    },
    /// A charge or a sum of charges is beyond 1.8e7, where it means no privacy at all.
    #[error("rho is too large to count; raise sigma or lower the clip")]
    RhoTooLarge,
    /// The noise for a charge would be outside the range of the sampler.
    #[error(
        "no usable sigma gives rho {rho}; raise the budget per release or lower the number of releases"
    )]
    NoSuchNoise {
        /// The charge that was asked for.
        rho: Rho,
    },
    /// Our conversion and that of opendp differ by more than rounding.
    #[error(
        "epsilon conversions disagree for rho {rho}: {ours} against {opendp}; report this as a bug"
    )]
    ConversionsDisagree {
        /// The converted charge.
        rho: Rho,
        /// Our value.
        ours: f64,
        /// The value of opendp.
        opendp: f64,
    },
    /// opendp refused a conversion.
    #[error("opendp could not convert rho {rho}: {reason}")]
    OpenDp {
        /// The charge.
        rho: Rho,
        /// Its error.
        reason: String,
    },
}

/// Refuses a delta outside (0, 1).
fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if delta > 0.0 && delta < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::BadDelta { delta })
    }
}

/// Refuses an epsilon that is not finite and positive.
fn check_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon.is_finite() && epsilon > 0.0 {
        return Ok(());
    }
    Err(AccountingError::BadEpsilon { epsilon })
}
