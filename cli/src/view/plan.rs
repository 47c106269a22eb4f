//! What a plan costs.

use serde::Serialize;

/// `privacy epsilon` and `privacy noise`: a plan with its noise and its epsilon. All parts belong
/// together: an epsilon without them means nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanView {
    /// The least epsilon that an accountant proves; curves of the continuous Gaussian do not count. Null
    /// when none can.
    pub epsilon: Option<f64>,
    /// Probability that the guarantee may fail.
    pub delta: f64,
    /// What one neighbour differs in.
    pub adjacency: String,
    /// What runs.
    pub mechanism: String,
    /// Standard deviation of the noise over the clip; of the seeds under correlated noise. Null when
    /// no noise reaches the epsilon that was asked for.
    pub noise_multiplier: Option<f64>,
    /// True when `epsilon` holds only if the coordinator itself draws the devices of every round.
    pub claims_sampling: bool,
    /// What `epsilon` assumes.
    pub caveat: &'static str,
    /// Everything that applies to the plan.
    pub accountants: Vec<AccountantView>,
}

/// What one accountant says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AccountantView {
    /// Its name.
    pub accountant: &'static str,
    /// The epsilon that it proves at `noise_multiplier`; null when it can't.
    pub epsilon: Option<f64>,
    /// The noise: what was asked for, or for `privacy noise` the least that this accountant needs;
    /// null when none is enough.
    pub noise_multiplier: Option<f64>,
    /// True when it counts on the sampling of the plan.
    pub claims_sampling: bool,
    /// True when it is the curve of the continuous Gaussian: for comparison, no proof for integer noise.
    pub is_curve: bool,
}
