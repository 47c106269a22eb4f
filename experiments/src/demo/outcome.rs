//! What the demo prints as JSON.

use std::path::PathBuf;

use serde::Serialize;
use tributary_report::experiment::Summary;

/// What the demo measured. As JSON: the fields of [`Summary`] and, beside them, those below.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoOutcome {
    /// Devices, accuracy, privacy, drift, builds, bytes, time and memory.
    #[serde(flatten)]
    pub summary: Summary,
    /// True when the demo was seeded: its noise can be predicted and nothing is private.
    pub not_private: bool,
    /// The seed.
    pub seed: Option<u64>,
    /// Epsilon by the curve of the continuous Gaussian at the same rho and delta; null when votes are in
    /// it, for which the curve is no bound. The one to quote is in `privacy`.
    pub epsilon_gaussian: Option<f64>,
    /// Digest of the model that all regions trained; `model_digest` is that of the drifting region.
    pub trained_digest: String,
    /// What the reader may want to know about numbers that fall short; empty when all is well.
    pub remarks: Vec<String>,
    /// Standalone picture of the plots.
    pub picture: PathBuf,
}
