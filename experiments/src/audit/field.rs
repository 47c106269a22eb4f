//! Part 5: what the field's default would have released on the same inputs (Flower 1.41's rules,
//! re-derived).
//!
//! Pure arithmetic on what devices send; nothing of it runs in a coordinator.
//!
//! - **Weights.** The clipped updates are averaged by numbers of examples, w_i = n_i / sum n_j, but
//!   the noise on the mean is that of equal weights: z C / n in every coordinate. Leaving device i out
//!   moves the mean by |mean - mean of the others|, up to w_i C, so the noise multiplier that the
//!   guarantee rests on is not z but (z C / n) / |change|.
//! - **Adaptive clip.** The devices count themselves when they were clipped, and the clip moves by
//!   C <- C exp(-eta (b - gamma)) with that share b: the formula for the share that was not clipped.
//!   The clip then runs away from every start. The noise of a round follows the clip that was just
//!   updated, not the one that the updates were clipped to.

use tributary_privacy::{AccountingError, Rho, RhoError, epsilon_gaussian};

/// A device's clipped update and its number of examples.
#[derive(Clone, Debug)]
pub(crate) struct Contribution {
    pub(crate) update: Vec<f32>,
    pub(crate) examples: usize,
}

/// How far leaving out device `without` moves the mean weighted by examples, in L2.
pub(crate) fn change_of_mean(contributions: &[Contribution], without: usize) -> f64 {
    let all = weighted_mean(contributions.iter());
    let others = contributions.iter().enumerate();
    let others = others.filter(|(index, _)| *index != without);
    let rest = weighted_mean(others.map(|(_, contribution)| contribution));
    let squares = all
        .iter()
        .zip(&rest)
        .map(|(all, rest)| (all - rest).powi(2));
    squares.sum::<f64>().sqrt()
}

fn weighted_mean<'c>(contributions: impl Iterator<Item = &'c Contribution> + Clone) -> Vec<f64> {
    let total: usize = contributions.clone().map(|one| one.examples).sum();
    let mut mean = Vec::new();
    for contribution in contributions {
        let weight = contribution.examples as f64 / total.max(1) as f64;
        mean.resize(contribution.update.len(), 0.0);
        for (mean, value) in mean.iter_mut().zip(&contribution.update) {
            *mean += weight * f64::from(*value);
        }
    }
    mean
}

/// Epsilon of Gaussian noise whose deviation is `multiplier` times the L2 sensitivity, in `rounds`
/// rounds; infinite where it can't be counted.
pub(crate) fn epsilon(multiplier: f64, rounds: u32, delta: f64) -> Result<f64, AccountingError> {
    let rho = f64::from(rounds) / (2.0 * multiplier * multiplier);
    match Rho::from_f64(rho) {
        Ok(rho) => epsilon_gaussian(rho, delta),
        Err(RhoError::TooLarge) => Ok(f64::INFINITY),
        Err(error) => Err(error.into()),
    }
}

/// The clip by round, the first one included, of devices whose updates have these norms. Noise on the
/// count is left out: it would only jitter.
pub(crate) fn clips(norms: &[f64], start: f64, quantile: f64, rate: f64, rounds: u32) -> Vec<f64> {
    let mut clips = vec![start];
    let mut clip = start;
    for _ in 0..rounds {
        let clipped = norms.iter().filter(|norm| **norm > clip).count();
        let share = clipped as f64 / norms.len().max(1) as f64;
        clip *= (-rate * (share - quantile)).exp();
        clips.push(clip);
    }
    clips
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contribution(update: &[f32], examples: usize) -> Contribution {
        Contribution {
            update: update.to_vec(),
            examples,
        }
    }

    #[test]
    fn one_device_with_most_examples_is_most_of_the_mean() {
        // 100,000 examples against 99 devices with one: the mean moves by its weight, 0.999, not 0.01
        let mut all = vec![contribution(&[1.0, 0.0], 100_000)];
        all.extend((0..99).map(|_| contribution(&[0.0, 0.0], 1)));
        let change = change_of_mean(&all, 0);
        assert!((change - 100_000.0 / 100_099.0).abs() < 1e-9, "{change}");
    }

    #[test]
    fn equal_weights_move_the_mean_as_the_noise_assumes() {
        let mut all = vec![contribution(&[1.0, 0.0], 1)];
        all.extend((0..99).map(|_| contribution(&[0.0, 0.0], 1)));
        assert!((change_of_mean(&all, 0) - 0.01).abs() < 1e-9);
    }

    #[test]
    fn the_clip_runs_away_in_either_direction() {
        // norms uniform on [0.5, 1.5]: from 0.1 down, from 3 up, each round by e^-0.1 or e^0.1
        let norms: Vec<f64> = (0..101)
            .map(|index| 0.5 + f64::from(index) / 100.0)
            .collect();
        let low = clips(&norms, 0.1, 0.5, 0.2, 200);
        let high = clips(&norms, 3.0, 0.5, 0.2, 200);
        assert!(
            (low[200] - 0.1 * (-20f64).exp()).abs() < 1e-15,
            "{}",
            low[200]
        );
        assert!((high[200] / (3.0 * 20f64.exp()) - 1.0).abs() < 1e-9);
        // the multiples of the published counter-example
        let near = clips(&norms, 0.9, 0.5, 0.2, 200);
        assert!(near[200] < 1e-7 && near[1] < near[0]);
    }

    #[test]
    fn epsilon_of_less_noise_is_larger_and_of_none_infinite() {
        let full = epsilon(1.0, 1, 1e-5).unwrap();
        assert!((full - 4.3775).abs() < 1e-3, "{full}");
        assert!(epsilon(0.1, 1, 1e-5).unwrap() > 50.0);
        assert_eq!(
            epsilon(0.0, 1, 1e-5).unwrap_or(f64::INFINITY),
            f64::INFINITY
        );
    }
}
