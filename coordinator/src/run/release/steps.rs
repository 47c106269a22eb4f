//! The step of each model from what a round collected.

use std::borrow::Cow;

use tributary_aggregator::Partial;
use tributary_privacy::ftrl::CorrelatedNoise;
use tributary_proto::DeviceId;

use super::input::Release;
use super::noise::RoundNoise;
use crate::CoordinatorError;
use crate::run::payload::UNIT;

/// Single updates are kept for a rule alone.
const NO_RULE: &str = "a round of single updates has no rule";
/// There is a sum for each region, if only an empty one.
const NO_SUMS: &str = "a round has no sums";

/// What a round changes.
pub(super) struct Steps {
    /// The mean delta of each model; none where nobody trained it.
    pub(super) models: Vec<Option<Vec<f32>>>,
    /// The server's new control variate.
    pub(super) control: Option<Vec<f32>>,
    /// What the robust rule gave.
    pub(super) centre: Option<Vec<f32>>,
    /// Correlated noise after the round.
    pub(super) noise: Option<CorrelatedNoise>,
    /// The clip of the rounds to come.
    pub(super) clip: Option<f32>,
}

impl Steps {
    /// Steps of so many models and nothing else.
    fn of(models: Vec<Option<Vec<f32>>>) -> Self {
        Self {
            models,
            control: None,
            centre: None,
            noise: None,
            clip: None,
        }
    }
}

impl Release {
    /// Steps from exact sums, by region and cluster.
    pub(super) fn mean_steps(
        &self,
        sums: &[Partial],
        noise: &mut RoundNoise<'_>,
    ) -> Result<Steps, CoordinatorError> {
        let clusters = self.format.payload.clusters();
        if clusters > 1 {
            let of_cluster = |cluster| sums.iter().skip(cluster).step_by(clusters);
            let models = (0..clusters)
                .map(|cluster| {
                    let sum = merged(of_cluster(cluster))?;
                    self.mean(&sum, 1.0, noise)
                })
                .collect::<Result<_, _>>()?;
            return Ok(Steps::of(models));
        }
        let sum = merged(sums.iter())?;
        let clip = self.clip;
        let next = clip
            .moves
            .then(|| noise.next_clip(&sum, clip.now, self.cohort))
            .flatten();
        let mut steps = if clip.only {
            Steps::of(vec![None; self.bases.len()])
        } else {
            self.steps_of(sums, &sum, noise)?
        };
        steps.clip = next;
        steps.noise = noise.correlated.take().filter(|_| !clip.only);
        Ok(steps)
    }

    /// Steps from the sums of all regions and their total.
    fn steps_of(
        &self,
        sums: &[Partial],
        sum: &Partial,
        noise: &mut RoundNoise<'_>,
    ) -> Result<Steps, CoordinatorError> {
        // under privacy the number of contributions must not show
        let counted = if noise.is_central() {
            f64::from(self.cohort)
        } else {
            sum.weight() as f64 / UNIT as f64
        };
        let total = self.mean(sum, 1.0, noise)?;
        let Some(heads) = self.format.payload.heads() else {
            return Ok(self.expanded(total, counted, None));
        };
        // one device is in the shared part and in its own region's head: each value of the joint
        // vector is released once, with its own noise, so one charge covers both
        let share = 1.0 / self.regions as f64;
        let mut models = Vec::with_capacity(self.regions);
        for region in sums {
            let mut step = total.clone();
            let own = self.mean(region, share, noise)?;
            if let Some(step) = &mut step {
                for (index, _) in heads.iter().enumerate().filter(|(_, is_head)| **is_head) {
                    step[index] = own.as_ref().map_or(0.0, |own| own[index]);
                }
            }
            models.push(step);
        }
        Ok(Steps::of(models))
    }

    /// The mean payload of a sum; none of an empty one without noise. `share` is the part of the
    /// planned cohort that the sum stands for.
    fn mean(
        &self,
        sum: &Partial,
        share: f64,
        noise: &mut RoundNoise<'_>,
    ) -> Result<Option<Vec<f32>>, CoordinatorError> {
        let private = noise.is_central();
        if sum.is_empty() && !private {
            return Ok(None);
        }
        // under privacy neither the number of contributions nor their weights may show
        let denominator = if private {
            f64::from(self.cohort) * share
        } else {
            sum.weight() as f64 / UNIT as f64
        };
        let mut mean = noise.mean(sum, &self.format.fixed, denominator)?;
        if sum.work() > 0 && !self.clip.moves {
            // FedNova: tau_eff = sum p_i tau_i (Wang et al. 2020, equation 8)
            let steps = (sum.work() as f64 / sum.weight() as f64) as f32;
            mean.iter_mut().for_each(|value| *value *= steps);
        }
        Ok(Some(mean))
    }

    /// The step of the one model, and of the control variate, from a mean over `counted` updates.
    fn expanded(&self, payload: Option<Vec<f32>>, counted: f64, centre: Option<Vec<f32>>) -> Steps {
        let share = (counted / f64::from(self.population.max(1))) as f32;
        let expanded = payload.map(|payload| self.format.payload.expand(payload));
        let (step, change) = expanded.unzip();
        let moved = |(mut control, change): (Vec<f32>, Vec<f32>)| {
            // c <- c + |S| / N times the mean change (Karimireddy et al. 2020, algorithm 1)
            for (value, change) in control.iter_mut().zip(change) {
                *value += share * change;
            }
            control
        };
        let control = self.control.clone();
        Steps {
            control: control.zip(change.flatten()).map(moved),
            centre,
            ..Steps::of(vec![step])
        }
    }

    /// The step by a robust rule.
    pub(super) fn robust_steps(
        &self,
        mut updates: Vec<(DeviceId, Vec<f32>)>,
    ) -> Result<Steps, CoordinatorError> {
        let Some(robust) = &self.format.robust else {
            return Err(CoordinatorError::Inconsistent(NO_RULE));
        };
        let is_trusted = |device: &DeviceId| self.trusted.as_ref() == Some(device);
        let trusted = updates.iter().position(|(device, _)| is_trusted(device));
        let reference = trusted.map(|index| updates.remove(index).1);
        let vectors: Vec<Vec<f32>> = updates.into_iter().map(|(_, values)| values).collect();
        let centre = self.server.centre.as_deref();
        let mean = robust.aggregate(&vectors, reference.as_deref(), centre, self.rule_seed)?;
        let counted = vectors.len() as f64;
        Ok(self.expanded(Some(mean.clone()), counted, Some(mean)))
    }
}

fn merged<'p>(
    mut sums: impl Iterator<Item = &'p Partial>,
) -> Result<Cow<'p, Partial>, CoordinatorError> {
    let first = sums.next().ok_or(CoordinatorError::Inconsistent(NO_SUMS))?;
    let mut total = Cow::Borrowed(first);
    for sum in sums {
        total.to_mut().merge(sum)?;
    }
    Ok(total)
}
