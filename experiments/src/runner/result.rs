//! What the runs of a variant measured, before it is summarised.

use tributary_device_sim::FleetStats;
use tributary_proto::v1::GetPrivacyResponse;

use super::{HeldOut, RunResult};

/// A variant with everything that the report shows of it.
pub(crate) struct VariantResult {
    pub(crate) name: String,
    pub(crate) held_out: HeldOut,
    /// One per seed, at least one.
    pub(crate) runs: Vec<SeedResult>,
}

/// A variant's run with one seed.
pub(crate) struct SeedResult {
    pub(crate) run: RunResult,
    pub(crate) privacy: GetPrivacyResponse,
    pub(crate) stats: FleetStats,
    pub(crate) wall_s: f64,
    pub(crate) local_shared: f64,
    pub(crate) local_personal: Option<f64>,
}

impl VariantResult {
    /// Mean over the runs.
    pub(crate) fn mean(&self, of: impl Fn(&SeedResult) -> f64) -> f64 {
        self.runs.iter().map(of).sum::<f64>() / self.runs.len().max(1) as f64
    }

    /// Held-out accuracy of the last version of each run.
    pub(crate) fn trained(&self) -> Vec<f64> {
        let trained = |result: &SeedResult| result.run.last_score().overall;
        self.runs.iter().map(trained).collect()
    }
}

/// Standard deviation of a sample, 0 of fewer than two values.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt()
}
