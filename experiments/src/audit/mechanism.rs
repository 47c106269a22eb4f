//! One run of each mechanism, and what its noise and its charge should be.

use tributary_privacy::ftrl::{Blt, Participation};
use tributary_privacy::{Grid, SCALE};

use super::AuditError;
use super::device::{Act, Scripted};
use super::grid::{honest_steps, values_of};
use super::law::RoundLaw;
use super::noise::Measured;
use super::pipeline::{self, Trace, TracedRound};
use super::plan::{Plan, Privacy};
use super::recipe::{AuditRecipe, AuditedMechanism};

/// Norm of an honest payload in clips.
const HONEST: f64 = 0.9;
/// Noise on the votes for a clip that moves, in z: far enough above 1/2 that the split is mild.
const VOTE_NOISE: f64 = 2.0;

/// Runs one mechanism.
pub(crate) async fn run(
    recipe: &AuditRecipe,
    mechanism: AuditedMechanism,
) -> Result<Measured, AuditError> {
    match mechanism {
        AuditedMechanism::Independent => independent(recipe).await,
        AuditedMechanism::Blt => blt(recipe).await,
        AuditedMechanism::Tree => tree(recipe).await,
        AuditedMechanism::AdaptiveClip => adaptive_clip(recipe).await,
        AuditedMechanism::Local => local(recipe).await,
    }
}

async fn independent(recipe: &AuditRecipe) -> Result<Measured, AuditError> {
    let z = recipe.noise_multiplier;
    let plan = plan(recipe, "independent", String::new())?;
    let trace = pipeline::run(&plan, &honest(recipe, &plan, plan.cohort)?).await?;
    let (noise, rounding) = central_noise(&trace, plan.cohort, |_| recipe.clip, z);
    Ok(Measured {
        mechanism: "independent".to_owned(),
        law_in_words: format!("N(0, ({z} C)\u{b2}) on the sum, fresh in every round"),
        devices: plan.cohort,
        parameters: plan.dimension()?,
        law: RoundLaw::independent(noise.len())?,
        charged: trace.spend.rho,
        due: noise.len() as f64 * longest(&plan)?.powi(2) / (2.0 * z * z),
        noise,
        rounding,
    })
}

async fn blt(recipe: &AuditRecipe) -> Result<Measured, AuditError> {
    // the recipe's limits decide the matrix: anybody can work it out again
    let settings = &recipe.noise;
    let limits = Participation {
        rounds: settings.rounds,
        most: settings.max_participations,
        separation: settings.min_separation.min(settings.rounds),
    };
    let blt = Blt::optimise(&limits)?;
    let rounds = settings.rounds as usize;
    let sensitivity = toeplitz_sensitivity(&blt.coefficients(rounds), &limits);
    let law = RoundLaw::toeplitz(&blt.inverse_coefficients(rounds))?;
    let words = format!("{} buffers, theta {:.3?}", blt.buffers(), blt.theta());
    correlated(recipe, "blt", law, sensitivity, &words).await
}

async fn tree(recipe: &AuditRecipe) -> Result<Measured, AuditError> {
    let settings = &recipe.noise;
    let sensitivity = tree_sensitivity(
        settings.rounds,
        settings.max_participations,
        settings.min_separation,
    );
    let law = RoundLaw::tree(settings.rounds as usize)?;
    let words = "nodes of a binary tree, the open ones in every release";
    correlated(recipe, "tree", law, f64::from(sensitivity), words).await
}

/// Under correlated noise z is in units of what one device can change over the whole run: seeds have
/// deviation z times the root of the `sensitivity` (squared, in clips) times B, and the run costs
/// 1 / (2 z^2) in all.
async fn correlated(
    recipe: &AuditRecipe,
    mechanism: &str,
    law: RoundLaw,
    sensitivity: f64,
    words: &str,
) -> Result<Measured, AuditError> {
    let z = recipe.noise_multiplier;
    let (plan, trace) = run_correlated(recipe, mechanism).await?;
    let deviation = z * sensitivity.sqrt() * longest(&plan)?;
    let (noise, rounding) = central_noise(&trace, plan.cohort, |_| recipe.clip, deviation);
    Ok(Measured {
        mechanism: mechanism.to_owned(),
        law_in_words: format!("Seeds of N(0, ({deviation:.4} C)\u{b2}), {words}"),
        devices: plan.cohort,
        parameters: plan.dimension()?,
        law,
        charged: trace.spend.rho,
        due: 1.0 / (2.0 * z * z),
        noise,
        rounding,
    })
}

/// A run with correlated noise; enough devices that each keeps to its limits.
async fn run_correlated(
    recipe: &AuditRecipe,
    mechanism: &str,
) -> Result<(Plan, Trace), AuditError> {
    let settings = &recipe.noise;
    let (most, apart) = (settings.max_participations, settings.min_separation);
    let mut plan = plan(recipe, mechanism, format!("mechanism = \"{mechanism}\"\n"))?;
    let groups = apart.max(settings.rounds.div_ceil(most)) as usize;
    let population = groups * plan.cohort;
    plan.more_rounds = format!(
        "max_participations = {most}\nmin_separation = {apart}\npopulation = {population}\n"
    );
    let trace = pipeline::run(&plan, &honest(recipe, &plan, population)?).await?;
    Ok((plan, trace))
}

async fn adaptive_clip(recipe: &AuditRecipe) -> Result<Measured, AuditError> {
    let z = recipe.noise_multiplier;
    let votes = VOTE_NOISE * z;
    let more = format!("\n[privacy.adaptive_clip]\ncount_noise = {votes:?}\n");
    let plan = plan(recipe, "adaptive", more)?;
    let trace = pipeline::run(&plan, &honest(recipe, &plan, plan.cohort)?).await?;
    let split = split(z, votes);
    let clip = |index: usize| trace.rounds[index].told.clip;
    let (noise, rounding) = central_noise(&trace, plan.cohort, clip, split);
    // off the grid of the first clip every payload is rounded, by half a step at most
    let off_grid = plan.cohort as f64 / 2.0 / (SCALE as f64 * split);
    let rho = longest(&plan)?.powi(2) / (2.0 * split * split) + 1.0 / (8.0 * votes * votes);
    Ok(Measured {
        mechanism: "adaptive clip".to_owned(),
        law_in_words: format!("N(0, ({split:.4} C_t)\u{b2}) with the clip C_t of the same round"),
        devices: plan.cohort,
        parameters: plan.dimension()?,
        law: RoundLaw::independent(noise.len())?,
        charged: trace.spend.rho,
        due: noise.len() as f64 * rho,
        noise,
        rounding: rounding + off_grid,
    })
}

/// z_Delta = (z^-2 - (2 sigma_b)^-2)^(-1/2) (Andrew et al. 2021, theorem 1).
pub(crate) fn split(noise_multiplier: f64, count_noise: f64) -> f64 {
    (noise_multiplier.powi(-2) - (2.0 * count_noise).powi(-2)).powf(-0.5)
}

async fn local(recipe: &AuditRecipe) -> Result<Measured, AuditError> {
    let z = recipe.noise_multiplier;
    let mut plan = plan(recipe, "local", String::new())?;
    plan.privacy.mode = "local";
    let trace = pipeline::run(&plan, &honest(recipe, &plan, plan.cohort)?).await?;
    let dimension = plan.dimension()?;
    let of_round = |round: &TracedRound| upload_noise(recipe, round, dimension);
    let noise: Vec<Vec<f64>> = trace.rounds.iter().map(of_round).collect();
    Ok(Measured {
        mechanism: "local".to_owned(),
        law_in_words: format!("N(0, ({z} C)\u{b2}) on every upload, by the device"),
        devices: plan.cohort,
        parameters: plan.dimension()?,
        law: RoundLaw::independent(noise.len())?,
        charged: trace.spend.rho,
        // replacing one device moves its upload by twice the clip
        due: noise.len() as f64 * (2.0 * longest(&plan)?).powi(2) / (2.0 * z * z),
        noise,
        // what travels is an f32, exact to 2^-24 of values of at most seven deviations
        rounding: 7.0 * f64::powi(2.0, -24),
    })
}

/// The noise of all uploads of a round one after the other, in units of z C.
fn upload_noise(recipe: &AuditRecipe, round: &TracedRound, dimension: usize) -> Vec<f64> {
    let sigma = recipe.noise_multiplier * f64::from(recipe.clip);
    let of_device = |(number, sent): (&usize, &Vec<f32>)| {
        let steps = honest_steps(recipe.seed, *number, round.told.round, dimension, HONEST);
        let meant = values_of(&steps, recipe.clip);
        let pairs = sent.iter().zip(meant);
        pairs
            .map(|(sent, meant)| (f64::from(*sent) - f64::from(meant)) / sigma)
            .collect::<Vec<f64>>()
    };
    round.sent.iter().flat_map(of_device).collect()
}

fn plan(recipe: &AuditRecipe, mechanism: &str, more: String) -> Result<Plan, AuditError> {
    let mut privacy = Privacy::central(recipe.clip, recipe.noise_multiplier, recipe.delta);
    privacy.more = more;
    let name = format!("audit-{mechanism}");
    let (rounds, devices) = (recipe.noise.rounds, recipe.noise.devices);
    Plan::new(&name, &recipe.model, rounds, devices, privacy)
}

/// B / S: the longest contribution that is admitted, in clips.
fn longest(plan: &Plan) -> Result<f64, AuditError> {
    let grid = Grid::new(plan.privacy.clip, plan.dimension()?)?;
    Ok(grid.bound() as f64 / SCALE as f64)
}

/// Devices that send payloads on the grid, no two alike.
fn honest(recipe: &AuditRecipe, plan: &Plan, devices: usize) -> Result<Vec<Scripted>, AuditError> {
    let (seed, clip, dimension) = (recipe.seed, recipe.clip, plan.dimension()?);
    let device = |number| {
        Scripted::new(move |round| {
            let steps = honest_steps(seed, number, round, dimension, HONEST);
            Act::Send(values_of(&steps, clip))
        })
    };
    Ok((0..devices).map(device).collect())
}

/// What releases hold beyond the exact sum of what was sent, in units of z C, with the largest error
/// of any value; `clip` is that of each round.
pub(crate) fn central_noise(
    trace: &Trace,
    cohort: usize,
    clip: impl Fn(usize) -> f32,
    noise_multiplier: f64,
) -> (Vec<Vec<f64>>, f64) {
    let mut worst = 0.0f64;
    let of_round = |(index, round): (usize, &TracedRound)| {
        let sigma = noise_multiplier * f64::from(clip(index));
        let cohort = cohort as f64;
        worst = worst.max(trace.rounding(index) * cohort / sigma);
        let mut noise = trace.step(index);
        noise.iter_mut().for_each(|value| *value *= cohort);
        for sent in round.sent.values() {
            for (value, sent) in noise.iter_mut().zip(sent) {
                *value -= f64::from(*sent);
            }
        }
        noise.iter_mut().for_each(|value| *value /= sigma);
        noise
    };
    let noise = trace.rounds.iter().enumerate().map(of_round).collect();
    (noise, worst)
}

/// || sum_j shift(c, j b) ||^2 over the participations that fit: for non-negative coefficients that do
/// not grow, the squared sensitivity (Kalinin and Lampert 2024, theorem 2).
fn toeplitz_sensitivity(coefficients: &[f64], limits: &Participation) -> f64 {
    let apart = limits.separation as usize;
    let squared = |round: usize| {
        let starts = (0..limits.most as usize).map(|participation| participation * apart);
        let reached = starts.filter(|start| *start <= round);
        let sum: f64 = reached.map(|start| coefficients[round - start]).sum();
        sum * sum
    };
    (0..coefficients.len()).map(squared).sum()
}

/// Largest sum over tree nodes of the squared number of participations below them, over all patterns
/// that the limits allow; tried one by one. Only nodes that some release uses count: the binary
/// decomposition of 1..=t never needs a right child.
fn tree_sensitivity(rounds: u32, most: u32, apart: u32) -> u32 {
    fn best(rounds: u32, left: u32, apart: u32, from: u32, taken: &mut Vec<u32>) -> u32 {
        let mut largest = nodes(taken, rounds);
        if left > 0 {
            for round in from..rounds {
                taken.push(round);
                largest = largest.max(best(rounds, left - 1, apart, round + apart, taken));
                taken.pop();
            }
        }
        largest
    }
    fn nodes(taken: &[u32], rounds: u32) -> u32 {
        let levels = 0..=rounds.ilog2();
        let of_level = |level: u32| {
            let nodes = (0..rounds >> level).step_by(2);
            let squares = nodes.map(|node| {
                let below = taken.iter().filter(|round| **round >> level == node);
                (below.count() as u32).pow(2)
            });
            squares.sum::<u32>()
        };
        levels.map(of_level).sum()
    }
    best(rounds, most, apart, 0, &mut Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitivities_are_those_worked_by_hand() {
        let limits = Participation {
            rounds: 4,
            most: 2,
            separation: 2,
        };
        // 1, .5, .25 + 1, .125 + .5
        let expected = 1.0 + 0.25 + 1.5625 + 0.390_625;
        let sensitivity = toeplitz_sensitivity(&[1.0, 0.5, 0.25, 0.125], &limits);
        assert!((sensitivity - expected).abs() < 1e-12);
        // one participation in 8 rounds: the first is in a node of each of four levels
        assert_eq!(tree_sensitivity(8, 1, 1), 4);
        // rounds 1 and 5: leaves 1 and 5, pairs 1-2 and 5-6, 1-4, and twice in 1-8
        assert_eq!(tree_sensitivity(8, 2, 4), 2 + 2 + 1 + 4);
        // every round: leaves 1 and 3, twice in 1-2, four times in 1-4
        assert_eq!(tree_sensitivity(4, 4, 1), 2 + 4 + 16);
    }

    #[test]
    fn the_split_of_the_noise_is_that_of_the_paper() {
        // z = 1, sigma_b = 1: 1 / sqrt(1 - 1/4)
        assert!((split(1.0, 1.0) - 1.154_700_538_379_251_5).abs() < 1e-12);
    }
}
