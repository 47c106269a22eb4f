//! Part 3: what does an attacker learn who looks for single devices?
//!
//! A membership attack in one run. Every canary device sends a payload of its own, as long as the clip
//! allows and orthogonal to all others, in a direction that the attacker knows; the auditor's coins
//! decide which of them take part. The attacker sees the published models only, scores every canary by
//! how much of its direction they hold, and guesses that the highest were there and the lowest were
//! not. More right guesses than (epsilon, delta)-DP allows refute it.

mod bounds;
mod payload;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tributary_report::audit::{CanaryOutcome, CanaryRun, CanaryScore};

use self::bounds::{Bounds, estimate};
use self::payload::Canaries;
use super::AuditError;
use super::grid::unit;
use super::pipeline::{self, Trace};
use super::plan::{Plan, Privacy};
use super::recipe::AuditRecipe;
use super::statistics::normal_quantile;
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

/// Attacks three runs: with the noise that is claimed, with too little, and with none.
pub(crate) async fn audit(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<CanaryOutcome, AuditError> {
    let settings = &recipe.canary;
    let z = settings.noise_multiplier;
    let small = z / settings.shrink;
    let central = |z| Privacy::central(recipe.clip, z, recipe.delta);
    let none = Privacy {
        mode: "none",
        noise_multiplier: None,
        ..central(z)
    };
    let runs = [
        (central(z), ("as claimed", z, Expectation::Holds)),
        (
            central(small),
            ("noise too small", small, Expectation::Refuted),
        ),
        (none, ("no noise", 0.0, Expectation::Refuted)),
    ];
    let mut outcome = unjudged(recipe);
    for (privacy, run) in runs {
        let (name, _, expectation) = run;
        progress.stage(&format!("canaries: {name}"));
        let (canaries, trace) = play(recipe, privacy).await?;
        if expectation == Expectation::Holds {
            outcome.claimed = trace.spend.epsilon;
            outcome.claimed_gaussian = trace.spend.epsilon_gaussian.unwrap_or(f64::NAN);
        }
        attack(&mut outcome, recipe, run, canaries.scores(&trace));
    }
    simulate(&mut outcome, recipe);
    outcome.passed = outcome.runs.iter().all(|run| run.passed);
    Ok(outcome)
}

/// An outcome before any attack.
fn unjudged(recipe: &AuditRecipe) -> CanaryOutcome {
    let settings = &recipe.canary;
    CanaryOutcome {
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
    }
}

/// A run in which each canary takes part by its coin.
async fn play(recipe: &AuditRecipe, privacy: Privacy) -> Result<(Canaries, Trace), AuditError> {
    let settings = &recipe.canary;
    let (rounds, count) = (settings.rounds, settings.canaries);
    let plan = Plan::new("audit-canaries", &recipe.model, rounds, count, privacy)?;
    let canaries = Canaries::draw(recipe.seed, count, plan.dimension()?);
    let trace = pipeline::run(&plan, &canaries.devices(recipe.clip)).await?;
    Ok((canaries, trace))
}

/// Guesses from the scores of a run, known by its name, its z and what it should show, and judges the
/// bound against the claim.
fn attack(
    outcome: &mut CanaryOutcome,
    recipe: &AuditRecipe,
    (name, noise_multiplier, expectation): (&str, f64, Expectation),
    scores: Vec<CanaryScore>,
) {
    let mut bounds = Bounds::new(recipe);
    let (guesses, bound) = bounds.best(&scores);
    // both conversions are claims: the attack must stay below the lower, or pass the higher
    let low = outcome.claimed.min(outcome.claimed_gaussian);
    let high = outcome.claimed.max(outcome.claimed_gaussian);
    let passed = match expectation {
        Expectation::Holds => bound <= low && low.is_finite(),
        Expectation::Refuted => bound > high,
    };
    outcome.runs.push(CanaryRun {
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
fn simulate(outcome: &mut CanaryOutcome, recipe: &AuditRecipe) {
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
    outcome.simulated_bound = simulated[SIMULATIONS / 2];
    let claim = outcome.claimed.min(outcome.claimed_gaussian);
    let above = simulated.iter().filter(|bound| **bound > claim);
    outcome.simulated_above = above.count() as f64 / SIMULATIONS as f64;
}

#[cfg(test)]
mod tests {
    use tributary_privacy::{Rho, epsilon_gaussian};

    use super::*;

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
            let run = ("by hand", 1.0, expectation);
            attack(&mut outcome, &recipe(), run, scores(tell));
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
        simulate(&mut outcome, &recipe());
        // the theorem allows 5 %
        assert!(
            outcome.simulated_above <= 0.005,
            "{}",
            outcome.simulated_above
        );
        assert!(outcome.simulated_bound < outcome.claimed);
    }
}
