//! From scores to epsilon: the bound that guesses prove, and an estimate.

use std::collections::HashMap;

use tributary_privacy::{Rho, epsilon_gaussian};
use tributary_report::audit::CanaryScore;

use crate::audit::one_run::Guesses;
use crate::audit::recipe::AuditRecipe;
use crate::audit::statistics::mean;

/// Lower bounds for every number of guesses that was fixed before the run.
pub(crate) struct Bounds {
    canaries: usize,
    made: Vec<usize>,
    delta: f64,
    level: f64,
    known: HashMap<Guesses, f64>,
}

impl Bounds {
    /// No bound is known yet.
    pub(crate) fn new(recipe: &AuditRecipe) -> Self {
        let settings = &recipe.canary;
        let canaries = settings.canaries;
        // as many at the top as at the bottom
        let made = settings.guesses.iter();
        let made: Vec<usize> = made
            .map(|share| 2 * ((canaries as f64 * share / 2.0) as usize).max(1))
            .collect();
        Self {
            canaries,
            delta: recipe.delta,
            // the best of several is chosen afterwards: each gets its part of the error
            level: (1.0 - settings.confidence) / made.len().max(1) as f64,
            made,
            known: HashMap::new(),
        }
    }

    /// The guesses with the largest bound, and that bound.
    pub(crate) fn best(&mut self, scores: &[CanaryScore]) -> (Guesses, f64) {
        let mut sorted = scores.to_vec();
        sorted.sort_by(|left, right| left.score.total_cmp(&right.score));
        let none = Guesses {
            canaries: self.canaries,
            made: 0,
            correct: 0,
        };
        let mut best = (none, 0.0);
        for &made in &self.made {
            let half = (made / 2).min(sorted.len() / 2);
            let guesses = Guesses {
                canaries: self.canaries,
                made: 2 * half,
                correct: correct(&sorted, half),
            };
            let (delta, level) = (self.delta, self.level);
            let bound = *self
                .known
                .entry(guesses)
                .or_insert_with(|| guesses.lower_bound(delta, level));
            if best.0.made == 0 || bound > best.1 {
                best = (guesses, bound);
            }
        }
        best
    }
}

/// Right guesses of those who say that the `half` highest took part and the `half` lowest did not;
/// `sorted` rises.
fn correct(sorted: &[CanaryScore], half: usize) -> usize {
    let lowest = sorted[..half].iter().filter(|canary| !canary.included);
    let highest = sorted[sorted.len() - half..].iter();
    let highest = highest.filter(|canary| canary.included);
    lowest.count() + highest.count()
}

/// Epsilon of Gaussian noise under which the scores of the included and of the others lie as far apart
/// as they do (Andrew et al. 2023, "One-shot empirical privacy estimation"): an estimate, no bound.
pub(crate) fn estimate(scores: &[CanaryScore], delta: f64) -> Option<f64> {
    let of = |included| {
        let those = scores
            .iter()
            .filter(move |canary| canary.included == included);
        those.map(|canary| canary.score).collect::<Vec<f64>>()
    };
    let (inside, outside) = (of(true), of(false));
    if inside.len() < 2 || outside.len() < 2 {
        return None;
    }
    let (mean_in, mean_out) = (mean(&inside), mean(&outside));
    let squares = |values: &[f64], mean: f64| -> f64 {
        values.iter().map(|value| (value - mean).powi(2)).sum()
    };
    let freedom = (scores.len() - 2) as f64;
    let variance = (squares(&inside, mean_in) + squares(&outside, mean_out)) / freedom;
    let shift = (mean_in - mean_out).max(0.0);
    let rho = Rho::from_f64(shift * shift / (2.0 * variance)).ok()?;
    let epsilon = epsilon_gaussian(rho, delta).ok()?;
    epsilon.is_finite().then_some(epsilon)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::*;
    use crate::audit::grid::unit;
    use crate::audit::statistics::normal_quantile;

    #[test]
    fn the_estimate_finds_the_shift_of_exact_gaussians() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let score = |index: usize| {
            let included = index.is_multiple_of(2);
            let noise = normal_quantile(unit(&mut rng).clamp(1e-16, 1.0 - 1e-16));
            let score = noise + if included { 1.0 } else { 0.0 };
            CanaryScore { included, score }
        };
        let scores: Vec<CanaryScore> = (0..20_000).map(score).collect();
        let expected = epsilon_gaussian(Rho::from_f64(0.5).unwrap(), 1e-5).unwrap();
        // the shift has a deviation of 0.014, and epsilon grows by about 5 per unit: five of these
        assert!((estimate(&scores, 1e-5).unwrap() - expected).abs() < 0.36);
        assert_eq!(estimate(&scores[..1], 1e-5), None);
    }
}
