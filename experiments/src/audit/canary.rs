//! Part 3: what does an attacker learn who looks for single devices?
//!
//! A membership attack in one run. Every canary device sends a payload of its own, as long as the clip
//! allows and orthogonal to all others, in a direction that the attacker knows; the auditor's coins
//! decide which of them take part. The attacker sees the published models only, scores every canary by
//! how much of its direction they hold, and guesses that the highest were there and the lowest were
//! not. More right guesses than (epsilon, delta)-DP allows refute it.

use std::collections::HashMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tributary_privacy::{Rho, SCALE, epsilon_gaussian};

use super::AuditError;
use super::device::{Act, Scripted};
use super::grid::{unit, values_of};
use super::one_run::Guesses;
use super::outcome::{CanaryOutcome, CanaryRun, CanaryScore};
use super::pipeline::{self, Trace};
use super::plan::{Plan, Privacy};
use super::recipe::AuditRecipe;
use super::statistics::{mean, normal_quantile};
use crate::runner::{Progress, derived_seed};

/// Simulated attacks on noise of exactly the claimed size.
const SIMULATIONS: usize = 2000;

/// What a run of the attack should show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    /// The claim holds.
    Holds,
    /// The attack sees that it does not.
    Refuted,
}

/// The canaries of an audit.
struct Canaries {
    /// By canary: whether it takes part.
    included: Vec<bool>,
    /// By parameter: 1 or -1.
    signs: Vec<i32>,
    /// Parameters of each canary.
    block: usize,
}

impl Canaries {
    fn draw(seed: u64, count: usize, dimension: usize) -> Self {
        let mut coins = ChaCha20Rng::from_seed(derived_seed(seed, "audit coins"));
        let mut signs = ChaCha20Rng::from_seed(derived_seed(seed, "audit directions"));
        Self {
            included: (0..count).map(|_| unit(&mut coins) < 0.5).collect(),
            signs: (0..dimension)
                .map(|_| if unit(&mut signs) < 0.5 { 1 } else { -1 })
                .collect(),
            block: dimension / count,
        }
    }

    /// The payload of a canary: the clip, spread over its own parameters.
    fn payload(&self, canary: usize, clip: f32) -> Vec<f32> {
        let step = (SCALE as f64 / (self.block as f64).sqrt()).floor() as i32;
        let mut steps = vec![0; self.signs.len()];
        let own = canary * self.block..(canary + 1) * self.block;
        for (place, sign) in steps[own.clone()].iter_mut().zip(&self.signs[own]) {
            *place = step * sign;
        }
        values_of(&steps, clip)
    }

    fn devices(&self, clip: f32) -> Vec<Scripted> {
        let device = |(canary, included): (usize, &bool)| {
            if !included {
                return Scripted::new(|_| Act::StayAway);
            }
            let payload = self.payload(canary, clip);
            Scripted::new(move |_| Act::Send(payload.clone()))
        };
        self.included.iter().enumerate().map(device).collect()
    }

    /// How much of each canary's direction the steps of all rounds hold.
    fn scores(&self, trace: &Trace) -> Vec<CanaryScore> {
        let mut total = vec![0.0; self.signs.len()];
        for index in 0..trace.rounds.len() {
            for (total, step) in total.iter_mut().zip(trace.step(index)) {
                *total += step;
            }
        }
        let length = (self.block as f64).sqrt();
        let score = |(canary, included): (usize, &bool)| {
            let own = canary * self.block..(canary + 1) * self.block;
            let products = total[own.clone()].iter().zip(&self.signs[own]);
            let held: f64 = products.map(|(step, sign)| step * f64::from(*sign)).sum();
            CanaryScore {
                included: *included,
                score: held / length,
            }
        };
        self.included.iter().enumerate().map(score).collect()
    }
}

/// Attacks three runs: with the noise that is claimed, with too little, and with none.
pub(super) async fn audit(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<CanaryOutcome, AuditError> {
    let settings = &recipe.canary;
    let z = settings.noise_multiplier;
    let central = |z| Privacy::central(recipe.clip, z, recipe.delta);
    let none = Privacy {
        mode: "none",
        noise_multiplier: None,
        ..central(z)
    };
    let small = z / settings.shrink;
    let runs = [
        ("as claimed", z, central(z), Expectation::Holds),
        (
            "noise too small",
            small,
            central(small),
            Expectation::Refuted,
        ),
        ("no noise", 0.0, none, Expectation::Refuted),
    ];
    let mut outcome = CanaryOutcome {
        canaries: settings.canaries,
        rounds: settings.rounds,
        delta: recipe.delta,
        confidence: settings.confidence,
        claimed: 0.0,
        claimed_gaussian: 0.0,
        runs: Vec::new(),
        simulated_bound: 0.0,
        simulated_above: 0.0,
        simulations: SIMULATIONS,
        passed: false,
    };
    for (name, noise, privacy, expectation) in runs {
        progress.stage(&format!("canaries: {name}"));
        let plan = Plan::new(
            "audit-canaries",
            &recipe.model,
            settings.rounds,
            settings.canaries,
            privacy,
        )?;
        let canaries = Canaries::draw(recipe.seed, settings.canaries, plan.dimension()?);
        let trace = pipeline::run(&plan, &canaries.devices(recipe.clip)).await?;
        if expectation == Expectation::Holds {
            outcome.claimed = trace.spend.epsilon;
            outcome.claimed_gaussian = trace.spend.epsilon_gaussian.unwrap_or(f64::NAN);
        }
        let scores = canaries.scores(&trace);
        outcome.attack(recipe, name, noise, scores, expectation);
    }
    outcome.simulate(recipe);
    outcome.passed = outcome.runs.iter().all(|run| run.passed);
    Ok(outcome)
}

impl CanaryOutcome {
    /// Guesses from scores, and judges the bound against the claim.
    fn attack(
        &mut self,
        recipe: &AuditRecipe,
        name: &str,
        noise_multiplier: f64,
        scores: Vec<CanaryScore>,
        expectation: Expectation,
    ) {
        let mut bounds = Bounds::new(recipe);
        let (guesses, bound) = bounds.best(&scores);
        // both conversions are claims: the attack must stay below the lower, or pass the higher
        let low = self.claimed.min(self.claimed_gaussian);
        let high = self.claimed.max(self.claimed_gaussian);
        let passed = match expectation {
            Expectation::Holds => bound <= low && low.is_finite(),
            Expectation::Refuted => bound > high,
        };
        self.runs.push(CanaryRun {
            name: name.to_owned(),
            noise_multiplier,
            guesses: guesses.made,
            correct: guesses.correct,
            bound,
            estimate: estimate(&scores, recipe.delta),
            must_be_refuted: expectation == Expectation::Refuted,
            scores,
            passed,
        });
    }

    /// The same attack on exact Gaussian noise of the claimed size, many times over.
    fn simulate(&mut self, recipe: &AuditRecipe) {
        let settings = &recipe.canary;
        let shift = f64::from(settings.rounds).sqrt() / settings.noise_multiplier;
        let mut rng = ChaCha20Rng::from_seed(derived_seed(recipe.seed, "audit simulation"));
        let mut bounds = Bounds::new(recipe);
        let attack = |_| {
            let score = |_| {
                let included = unit(&mut rng) < 0.5;
                let noise = normal_quantile(unit(&mut rng).clamp(1e-16, 1.0 - 1e-16));
                let score = noise + if included { shift } else { 0.0 };
                CanaryScore { included, score }
            };
            let scores: Vec<CanaryScore> = (0..settings.canaries).map(score).collect();
            bounds.best(&scores).1
        };
        let mut simulated: Vec<f64> = (0..SIMULATIONS).map(attack).collect();
        simulated.sort_by(f64::total_cmp);
        self.simulated_bound = simulated[SIMULATIONS / 2];
        let claim = self.claimed.min(self.claimed_gaussian);
        let above = simulated.iter().filter(|bound| **bound > claim);
        self.simulated_above = above.count() as f64 / SIMULATIONS as f64;
    }
}

/// Lower bounds for every number of guesses that was fixed before the run.
struct Bounds {
    canaries: usize,
    made: Vec<usize>,
    delta: f64,
    level: f64,
    known: HashMap<Guesses, f64>,
}

impl Bounds {
    fn new(recipe: &AuditRecipe) -> Self {
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
    fn best(&mut self, scores: &[CanaryScore]) -> (Guesses, f64) {
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
            let lowest = sorted[..half].iter().filter(|canary| !canary.included);
            let highest = sorted[sorted.len() - half..].iter();
            let highest = highest.filter(|canary| canary.included);
            let guesses = Guesses {
                canaries: self.canaries,
                made: 2 * half,
                correct: lowest.count() + highest.count(),
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

/// Epsilon of Gaussian noise under which the scores of the included and of the others lie as far apart
/// as they do (Andrew et al. 2023, "One-shot empirical privacy estimation"): an estimate, no bound.
fn estimate(scores: &[CanaryScore], delta: f64) -> Option<f64> {
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
    use super::*;

    #[test]
    fn canaries_are_orthogonal_and_as_long_as_the_clip_allows() {
        let canaries = Canaries::draw(1, 7, 508);
        let payloads: Vec<Vec<f32>> = (0..7).map(|canary| canaries.payload(canary, 0.5)).collect();
        for (index, payload) in payloads.iter().enumerate() {
            let product = |other: &Vec<f32>| -> f64 {
                let pairs = payload.iter().zip(other);
                pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let norm = product(payload).sqrt();
            assert!((0.4999..=0.5).contains(&norm), "{norm}");
            let others = payloads
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            assert!(
                others
                    .map(|(_, other)| product(other))
                    .all(|product| product == 0.0)
            );
        }
    }

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

    fn recipe() -> AuditRecipe {
        AuditRecipe::from_toml(crate::audit::PRIVACY_AUDIT).unwrap()
    }

    fn claimed(epsilon: f64) -> CanaryOutcome {
        CanaryOutcome {
            canaries: 200,
            rounds: 1,
            delta: 1e-5,
            confidence: 0.95,
            claimed: epsilon,
            claimed_gaussian: epsilon,
            runs: Vec::new(),
            simulated_bound: 0.0,
            simulated_above: 0.0,
            simulations: 0,
            passed: false,
        }
    }

    /// Scores whose ranking says nothing, or everything.
    fn scores(tell: bool) -> Vec<CanaryScore> {
        let score = |index: usize| CanaryScore {
            included: index.is_multiple_of(2),
            score: if tell {
                f64::from(u8::from(index.is_multiple_of(2)))
            } else {
                (index / 2) as f64
            },
        };
        (0..200).map(score).collect()
    }

    #[test]
    fn a_claim_that_the_attack_refutes_fails() {
        let verdict = |tell, expectation| {
            let mut outcome = claimed(2.0);
            outcome.attack(&recipe(), "by hand", 1.0, scores(tell), expectation);
            (outcome.runs[0].bound, outcome.runs[0].passed)
        };
        assert_eq!(verdict(false, Expectation::Holds), (0.0, true));
        // all guesses right: ln of about 200 over the level
        let (bound, passed) = verdict(true, Expectation::Holds);
        assert!(bound > 3.5 && !passed, "{bound}");
        assert!(verdict(true, Expectation::Refuted).1);
        // an attack without power is no audit
        assert!(!verdict(false, Expectation::Refuted).1);
    }

    #[test]
    fn simulated_attacks_on_the_claimed_noise_seldom_pass_the_claim() {
        let rho = Rho::from_f64(1.0 / 8.0).unwrap();
        let mut outcome = claimed(epsilon_gaussian(rho, 1e-5).unwrap());
        outcome.simulate(&recipe());
        // the theorem allows 5 %
        assert!(
            outcome.simulated_above <= 0.005,
            "{}",
            outcome.simulated_above
        );
        assert!(outcome.simulated_bound < outcome.claimed);
    }
}
