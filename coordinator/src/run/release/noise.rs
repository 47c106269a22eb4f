//! The noise of one release: on the sums, and on the votes that move the clip.

use tributary_aggregator::{
    FixedPoint, Partial, ReleaseError, release_correlated_mean, release_mean,
};
use tributary_privacy::NoiseSource;
use tributary_privacy::ftrl::CorrelatedNoise;

use super::input::Release;
use crate::CoordinatorError;
use crate::run::costs::{RunCosts, SumNoise};
use crate::run::payload::UNIT;

/// The noise of one release.
pub(super) struct RoundNoise<'r> {
    costs: &'r RunCosts,
    source: NoiseSource,
    /// Correlated noise as it is after the round, a copy: the server's own moves on only when all of
    /// the release went well.
    pub(super) correlated: Option<CorrelatedNoise>,
}

impl<'r> RoundNoise<'r> {
    /// The noise of `release`, whose bits come from `source`.
    pub(super) fn of(release: &'r Release, source: NoiseSource) -> Self {
        Self {
            costs: &release.costs,
            source,
            correlated: release.server.noise.clone(),
        }
    }

    /// True when the coordinator adds noise to sums: the number of contributions must not show then.
    pub(super) fn is_central(&self) -> bool {
        self.costs.noise != SumNoise::None
    }

    /// The noised mean of a sum.
    pub(super) fn mean(
        &mut self,
        sum: &Partial,
        fixed: &FixedPoint,
        denominator: f64,
    ) -> Result<Vec<f32>, CoordinatorError> {
        let source = &mut self.source;
        Ok(match (&self.costs.noise, &mut self.correlated) {
            (SumNoise::None, _) => release_mean(sum, fixed, denominator, None)?,
            (SumNoise::Independent(gaussian), _) => {
                release_mean(sum, fixed, denominator, Some((gaussian, source)))?
            }
            (SumNoise::Correlated { seeds, .. }, Some(noise)) => {
                release_correlated_mean(sum, fixed, denominator, noise, seeds, source)?
            }
            (SumNoise::Correlated { .. }, None) => return Err(ReleaseError::Empty.into()),
        })
    }

    /// The clip of the rounds to come, from the updates of `sum` that were within `clip`; none when
    /// the clip stays.
    pub(super) fn next_clip(&mut self, sum: &Partial, clip: f32, cohort: u32) -> Option<f32> {
        let rule = &self.costs.clip.as_ref()?.rule;
        // whole for every single device: 2, 0, or 1 for one with nothing to measure
        let twice = 2 * u128::from(sum.work()) / u128::from(UNIT);
        let votes = twice as i128 - i128::from(sum.count());
        let fraction = rule.fraction_of_votes(votes, cohort, &mut self.source);
        Some(rule.next(clip, fraction))
    }
}
