//! Why a privacy quantity can't be computed.

use crate::rho::{Rho, RhoError};

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
    /// A float given as noise multiplier or sensitivity is not usable.
    #[error("{field} is {value}; it must be finite and above 0")]
    BadParameter {
        /// Name of the parameter.
        field: &'static str,
        /// The refused value.
        value: f64,
    },
    /// A number is no charge.
    #[error(transparent)]
    Rho(#[from] RhoError),
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
    /// The share of the fleet that a step samples is no probability.
    #[error(
        "sampling rate is {rate}; it must lie between 0 and 1: devices per step over devices in all"
    )]
    BadSamplingRate {
        /// The refused value.
        rate: f64,
    },
    /// A sample of fixed size that can't be drawn.
    #[error(
        "sample is {sample} of a population of {population}; draw at least 1 and at most all of it"
    )]
    BadSample {
        /// Devices in all.
        population: u64,
        /// Devices per step.
        sample: u64,
    },
    /// So little noise that the curves leave the range of what can be computed.
    #[error(
        "noise multiplier is {noise_multiplier}; below {least} there is no privacy to compute: raise it"
    )]
    NoiseTooSmall {
        /// The refused value.
        noise_multiplier: f64,
        /// The least that is accepted.
        least: f64,
    },
    /// Nothing ran, so there is nothing to state.
    #[error("steps is 0: an empty run has no epsilon; count at least one step")]
    NoSteps,
    /// More steps than the distribution can be composed over.
    #[error("steps is {steps}; at most {most} can be composed: account for the run by RDP")]
    TooManySteps {
        /// The refused value.
        steps: u64,
        /// The most that is accepted.
        most: u64,
    },
    /// No Renyi orders to work with.
    #[error("orders is empty; give at least one Renyi order, or use the default list")]
    NoOrders,
    /// A Renyi order outside the range that is computed.
    #[error("order is {order}; Renyi orders must lie above 1 and be at most {most}")]
    BadOrder {
        /// The refused value.
        order: f64,
        /// The most that is accepted.
        most: f64,
    },
    /// Curves that can't be added up.
    #[error("the two runs differ in their {field}; compose curves of one {field} only")]
    MixedComposition {
        /// What differs.
        field: &'static str,
    },
    /// A delta that drowns in what the grid leaves out.
    #[error(
        "delta is {delta:e}; a loss distribution over this many steps resolves {least:e} and more: \
         raise delta or account for the run by RDP"
    )]
    DeltaTooSmall {
        /// The refused value.
        delta: f64,
        /// About the least that is accepted.
        least: f64,
    },
    /// A grid that is no step between losses.
    #[error("grid is {grid}; the step between losses must lie between {least} and {most}")]
    BadGrid {
        /// The refused value.
        grid: f64,
        /// The finest accepted.
        least: f64,
        /// The coarsest accepted.
        most: f64,
    },
    /// A loss that doesn't fit the memory that is given to it.
    #[error(
        "the privacy loss of {steps} steps is too wide for a grid; raise the noise multiplier or \
         account for the run by RDP"
    )]
    LossTooWide {
        /// Steps of the run.
        steps: u64,
    },
    /// No noise reaches the target.
    #[error(
        "no noise multiplier up to {most:e} keeps epsilon {epsilon} at delta {delta:e}; raise \
         epsilon or delta, or plan fewer steps"
    )]
    Unreachable {
        /// The target.
        epsilon: f64,
        /// Its delta.
        delta: f64,
        /// The largest multiplier that was tried.
        most: f64,
    },
    /// The budget is smaller than one step.
    #[error(
        "one step costs more than epsilon {epsilon} at delta {delta:e}; raise the noise multiplier \
         or the budget"
    )]
    NotOneStep {
        /// The budget.
        epsilon: f64,
        /// Its delta.
        delta: f64,
    },
}

/// Refuses a delta outside (0, 1).
pub(super) fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if delta > 0.0 && delta < 1.0 {
        Ok(())
    } else {
        Err(AccountingError::BadDelta { delta })
    }
}

/// Refuses an epsilon that is not finite and positive.
pub(super) fn check_epsilon(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon.is_finite() && epsilon > 0.0 {
        return Ok(());
    }
    Err(AccountingError::BadEpsilon { epsilon })
}

/// Refuses an epsilon that is not finite or below 0. At 0 a delta is a number as at any other epsilon:
/// the total variation distance.
pub(super) fn check_epsilon_of_delta(epsilon: f64) -> Result<(), AccountingError> {
    if epsilon.is_finite() && epsilon >= 0.0 {
        return Ok(());
    }
    Err(AccountingError::BadEpsilon { epsilon })
}

/// Refuses a float that is not finite and positive.
pub(super) fn check_positive(field: &'static str, value: f64) -> Result<(), AccountingError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(AccountingError::BadParameter { field, value })
}

/// Refuses an empty run.
pub(super) fn check_steps(steps: u64) -> Result<(), AccountingError> {
    if steps > 0 {
        return Ok(());
    }
    Err(AccountingError::NoSteps)
}
