//! The step of each model from what a round collected.

use std::borrow::Cow;

use bytes::Bytes;
use tributary_aggregator::{DiscreteGaussian, NoiseSource, Partial, release_mean};
use tributary_proto::DeviceId;

use super::Release;
use crate::CoordinatorError;
use crate::run::payload::UNIT;

type Noise<'n> = Option<(&'n DiscreteGaussian, &'n mut NoiseSource)>;

/// What a round changes.
pub(super) struct Steps {
    /// The mean delta of each model; none where nobody trained it.
    pub(super) models: Vec<Option<Vec<f32>>>,
    /// The server's new control variate.
    pub(super) control: Option<Vec<f32>>,
    /// What the robust rule gave.
    pub(super) centre: Option<Vec<f32>>,
}

impl Release {
    /// Steps from exact sums, by region and cluster.
    pub(super) fn mean_steps(
        &self,
        sums: &[Partial],
        mut noise: Noise<'_>,
    ) -> Result<Steps, CoordinatorError> {
        let clusters = self.format.payload.clusters();
        if clusters > 1 {
            let of_cluster = |cluster| sums.iter().skip(cluster).step_by(clusters);
            let models = (0..clusters)
                .map(|cluster| {
                    let sum = merged(of_cluster(cluster))?;
                    self.mean(&sum, 1.0, &mut None)
                })
                .collect::<Result<_, _>>()?;
            return Ok(Steps {
                models,
                control: None,
                centre: None,
            });
        }
        let sum = merged(sums.iter())?;
        let total = self.mean(&sum, 1.0, &mut noise)?;
        let Some(heads) = self.format.payload.heads() else {
            return Ok(self.expanded(total, None));
        };
        // one device is in the shared part and in its own region's head: each value of the joint
        // vector is released once, with its own noise, so one charge covers both
        let share = 1.0 / self.regions as f64;
        let mut models = Vec::with_capacity(self.regions);
        for region in sums {
            let mut step = total.clone();
            let own = self.mean(region, share, &mut noise)?;
            if let Some(step) = &mut step {
                for (index, _) in heads.iter().enumerate().filter(|(_, is_head)| **is_head) {
                    step[index] = own.as_ref().map_or(0.0, |own| own[index]);
                }
            }
            models.push(step);
        }
        Ok(Steps {
            models,
            control: None,
            centre: None,
        })
    }

    /// The mean payload of a sum; none of an empty one without noise. `share` is the part of the
    /// planned cohort that the sum stands for.
    fn mean(
        &self,
        sum: &Partial,
        share: f64,
        noise: &mut Noise<'_>,
    ) -> Result<Option<Vec<f32>>, CoordinatorError> {
        let private = noise.is_some();
        if sum.is_empty() && !private {
            return Ok(None);
        }
        // under privacy neither the number of contributions nor their weights may show
        let denominator = if private {
            f64::from(self.cohort) * share
        } else {
            sum.weight() as f64 / UNIT as f64
        };
        let noise = noise
            .as_mut()
            .map(|(gaussian, source)| (*gaussian, &mut **source));
        let mut mean = release_mean(sum, &self.format.fixed, denominator, noise)?;
        if sum.work() > 0 {
            // FedNova: tau_eff = sum p_i tau_i (Wang et al. 2020, equation 8)
            let steps = (sum.work() as f64 / sum.weight() as f64) as f32;
            mean.iter_mut().for_each(|value| *value *= steps);
        }
        Ok(Some(mean))
    }

    /// The step of the one model, and of the control variate.
    fn expanded(&self, payload: Option<Vec<f32>>, centre: Option<Vec<f32>>) -> Steps {
        let expanded = payload.map(|payload| self.format.payload.expand(payload));
        let (step, change) = expanded.unzip();
        let moved = |((mut control, share), change): ((Vec<f32>, f32), Vec<f32>)| {
            // c <- c + |S| / N times the mean change (Karimireddy et al. 2020, algorithm 1)
            for (value, change) in control.iter_mut().zip(change) {
                *value += share * change;
            }
            control
        };
        let control = self.control.clone();
        Steps {
            models: vec![step],
            control: control.zip(change.flatten()).map(moved),
            centre,
        }
    }

    /// The step by a robust rule.
    pub(super) fn robust_steps(
        &self,
        updates: &[(DeviceId, Bytes)],
    ) -> Result<Steps, CoordinatorError> {
        let Some(robust) = &self.format.robust else {
            return Err(CoordinatorError::Stopping);
        };
        let mut reference = None;
        let mut vectors = Vec::with_capacity(updates.len());
        for (device, bytes) in updates {
            let mut vector = vec![0.0; self.format.fixed.dimension()];
            self.format
                .codec
                .decode_into(bytes, &mut vector)
                .map_err(tributary_aggregator::PartialError::from)?;
            if self.trusted.as_ref() == Some(device) {
                reference = Some(vector);
            } else {
                vectors.push(vector);
            }
        }
        let centre = self.server.centre.as_deref();
        let mean = robust.aggregate(&vectors, reference.as_deref(), centre, self.rule_seed)?;
        Ok(self.expanded(Some(mean.clone()), Some(mean)))
    }
}

fn merged<'p>(
    mut sums: impl Iterator<Item = &'p Partial>,
) -> Result<Cow<'p, Partial>, CoordinatorError> {
    let first = sums.next().ok_or(CoordinatorError::Stopping)?;
    let mut total = Cow::Borrowed(first);
    for sum in sums {
        total.to_mut().merge(sum)?;
    }
    Ok(total)
}
