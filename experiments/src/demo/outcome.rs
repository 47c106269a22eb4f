//! What the demo prints as JSON.

use std::path::PathBuf;

use serde::Serialize;

use crate::report::Summary;

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
    /// Epsilon by the exact curve of the Gaussian mechanism at the same rho and delta; the one in
    /// `privacy` is the larger, conservative conversion.
    pub epsilon_gaussian: f64,
    /// Digest of the model that all regions trained; `model_digest` is that of the drifting region.
    pub trained_digest: String,
    /// What the reader may want to know about numbers that fall short; empty when all is well.
    pub remarks: Vec<String>,
    /// Standalone picture of the plots.
    pub picture: PathBuf,
}
