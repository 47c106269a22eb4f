//! How much noise correlated seeds leave in the running sum, and what can be refused.

/// Squared errors of the running sums over `n` rounds, per unit of seed variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Largest variance of the noise in a running sum: the one after the last round.
    pub max_squared: f64,
    /// Mean of the variances over the rounds.
    pub mean_squared: f64,
}

impl Errors {
    /// From the prefix sums of the inverse coefficients, one per round: the noise in the sum after
    /// round t is sum_(s <= t) p_(t-s) z_s, of variance sum_(s <= t) p_s^2.
    pub fn of_prefix_sums(prefix_sums: impl IntoIterator<Item = f64>) -> Self {
        let (mut variance, mut total, mut rounds) = (0.0, 0.0, 0.0f64);
        for sum in prefix_sums {
            variance += sum * sum;
            total += variance;
            rounds += 1.0;
        }
        Self {
            max_squared: variance,
            mean_squared: total / rounds.max(1.0),
        }
    }

    /// From the inverse coefficients themselves.
    pub fn of_inverse(inverse_coefficients: &[f64]) -> Self {
        let mut prefix = 0.0;
        Self::of_prefix_sums(inverse_coefficients.iter().map(|coefficient| {
            prefix += coefficient;
            prefix
        }))
    }

    /// Standard deviation of the noisiest running sum in clip units at noise multiplier 1.
    pub fn max_loss(&self, squared_sensitivity: f64) -> f64 {
        (self.max_squared * squared_sensitivity).sqrt()
    }

    /// Root mean square of those deviations over the rounds, in the same units.
    pub fn rms_loss(&self, squared_sensitivity: f64) -> f64 {
        (self.mean_squared * squared_sensitivity).sqrt()
    }
}

/// Why correlated noise can't be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FtrlError {
    /// A participation limit makes no sense.
    #[error("participation: {field} is {value}; {remedy}")]
    BadParticipation {
        /// Name of the limit.
        field: &'static str,
        /// The refused value.
        value: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// A parameter of a BLT is out of range.
    #[error("BLT: {field} is {value}; {remedy}")]
    BadBlt {
        /// Name of the parameter or of the sum.
        field: &'static str,
        /// The refused value.
        value: f64,
        /// What to do.
        remedy: &'static str,
    },
    /// Coefficients increase or are negative.
    #[error("coefficients of a Toeplitz strategy must be finite, not negative and never increase")]
    BadCoefficients,
    /// The dimension is zero or too large.
    #[error("dimension is {dimension}; it must lie in 1..={max}")]
    BadDimension {
        /// The refused dimension.
        dimension: usize,
        /// The largest allowed.
        max: usize,
    },
    /// Sums and state differ in length.
    #[error("sums have {actual} values and the noise state {expected}; use those of one model")]
    DimensionMismatch {
        /// Values of the state.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// The seed noise is too wide for the integer buffers.
    #[error(
        "sigma {sigma} is above {largest}, up to which the buffers are exact; lower the noise \
         multiplier or use the tree"
    )]
    SigmaTooLarge {
        /// The refused scale.
        sigma: f64,
        /// The largest allowed.
        largest: u64,
    },
    /// The seed noise differs from that of the earlier rounds.
    #[error(
        "sigma is {now}, earlier rounds used {before}; the guarantee covers one sigma per run, so \
         keep it or start a new run"
    )]
    SigmaChanged {
        /// Scale of the earlier rounds.
        before: f64,
        /// Scale now.
        now: f64,
    },
    /// Every planned round has had its noise.
    #[error(
        "all {planned} planned rounds have had their noise; start a new run, planned with its own \
         budget"
    )]
    RoundsSpent {
        /// The plan.
        planned: u32,
    },
    /// A plan for fewer rounds than were already emitted.
    #[error("{planned} rounds planned but {emitted} already emitted; plan at least that many")]
    PlanTooShort {
        /// The plan.
        planned: u32,
        /// Rounds that have had their noise.
        emitted: u32,
    },
    /// The sensitivity can't be represented.
    #[error(
        "sensitivity for contributions of norm {bound} is too large for exact arithmetic; lower the \
         bound or the participations"
    )]
    SensitivityTooLarge {
        /// Bound of one contribution.
        bound: u64,
    },
    /// Stored bytes are not a state of this strategy and dimension.
    #[error(
        "stored noise state is unusable: {reason}; restore it from a backup or start a new run"
    )]
    Malformed {
        /// What is wrong.
        reason: &'static str,
    },
}
