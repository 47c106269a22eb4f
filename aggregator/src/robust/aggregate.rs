//! From vectors to the one result.

use super::update_set::UpdateSet;
use super::{PreAggregator, RobustError, RobustRule, RobustSpec};
use super::{clipping, coordinate, fltrust, geometric_median, krum, pre, update_set};

impl RobustSpec {
    /// Aggregates `vectors`, one per device, all of the same length.
    ///
    /// - `reference`: the server's own update, for FLTrust only; others ignore it.
    /// - `previous`: the result of the round before, for centered clipping only, zero without it.
    /// - `seed`: of the random groups, for bucketing only. Draw it after the vectors have arrived:
    ///   who knows it beforehand knows the groups.
    ///
    /// Rules that compare distances first shorten any vector longer than 1,000 median norms to that
    /// length. That is far outside of what they let through, and keeps the arithmetic exact enough
    /// whatever a bad device sends.
    ///
    /// Counts are checked as [`RobustSpec::check`] does, but a plain mean and mixing without
    /// clipping are carried out: they are the yardsticks of the attack laboratory.
    ///
    /// # Errors
    /// [`RobustError`] for counts the rule can't bear, vectors of different lengths, NaN or infinite
    /// values, or a missing reference.
    pub fn aggregate(
        &self,
        vectors: &[Vec<f32>],
        reference: Option<&[f32]>,
        previous: Option<&[f32]>,
        seed: u64,
    ) -> Result<Vec<f32>, RobustError> {
        self.check_counts(vectors.len())?;
        let mut cloud = UpdateSet::new(vectors)?;
        for (what, extra) in [("reference", reference), ("previous result", previous)] {
            if let Some(extra) = extra {
                update_set::check_vector(what, 0, extra, cloud.dimension())?;
            }
        }
        if self.compares_distances() {
            cloud.shorten_far();
        }
        let byzantine = self.byzantine as usize;
        for stage in &self.pre {
            match *stage {
                PreAggregator::Arc => pre::arc(&mut cloud, byzantine),
                PreAggregator::Nnm => pre::nnm(&mut cloud, byzantine),
                PreAggregator::Bucketing { size } => {
                    cloud = pre::bucketing(&cloud, size as usize, seed)?;
                }
            }
        }
        self.apply_rule(&cloud, reference, previous)
    }

    /// Bytes that an aggregation of `vectors` vectors of `dimension` values needs at its peak, the
    /// vectors themselves included: the price of a robust region.
    pub fn memory_bytes(&self, vectors: usize, dimension: usize) -> u64 {
        let (n, d) = (vectors as u64, dimension as u64);
        let bucketed = if self.reaching(vectors) < vectors {
            self.reaching(vectors) as u64
        } else {
            0
        };
        // vectors, buckets, the result in f32 and the running point in f64
        let long = (4 * n + 4 * bucketed + 12).saturating_mul(d);
        // distances twice, one product between them, neighbour lists
        let pairs = if self.compares_distances() {
            32 * n * n
        } else {
            0
        };
        // two blocks of every vector, scales and norms
        let blocks = n * (2 * 4 * update_set::STRIDE as u64 + 64);
        long.saturating_add(pairs).saturating_add(blocks)
    }

    fn compares_distances(&self) -> bool {
        use RobustRule::{Bulyan, GeometricMedian, Krum, MultiKrum};
        self.pre.contains(&PreAggregator::Nnm)
            || matches!(
                self.rule,
                Krum {} | MultiKrum {} | Bulyan {} | GeometricMedian { .. }
            )
    }

    fn apply_rule(
        &self,
        cloud: &UpdateSet<'_>,
        reference: Option<&[f32]>,
        previous: Option<&[f32]>,
    ) -> Result<Vec<f32>, RobustError> {
        let byzantine = self.byzantine as usize;
        match self.rule {
            RobustRule::Median {} => Ok(coordinate::median(cloud)),
            RobustRule::TrimmedMean {} => Ok(coordinate::trimmed_mean(cloud, byzantine)),
            RobustRule::Krum {} => krum::krum(cloud, byzantine),
            RobustRule::MultiKrum {} => krum::multi_krum(cloud, byzantine),
            RobustRule::Bulyan {} => Ok(krum::bulyan(cloud, byzantine)),
            RobustRule::GeometricMedian { nu, iterations } => {
                geometric_median::geometric_median(cloud, nu, iterations)
            }
            RobustRule::CenteredClipping { tau, iterations } => {
                clipping::centered_clipping(cloud, tau, iterations, previous)
            }
            RobustRule::NormBounding { median, bound } => {
                clipping::norm_bounding(cloud, median, bound)
            }
            RobustRule::FlTrust {} => {
                fltrust::fltrust(cloud, reference.ok_or(RobustError::NoReference)?)
            }
            RobustRule::Mean {} => cloud.mean(),
        }
    }
}
