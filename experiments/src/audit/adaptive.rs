//! Part 4: does an adaptive clip find the quantile from far away?
//!
//! Devices have fixed norms around 1, in units of their median. One device sends a payload that is
//! longer than any clip: what leaves its agent is as long as the clip of the round, so the clip is read
//! off the wire and not taken from what the coordinator tells. Each step of the clip is then taken
//! apart: the share of norms within it is known, and what remains is the noise on the votes.

use tributary_report::audit::{AdaptiveOutcome, AdaptiveRun, Check};

use super::AuditError;
use super::device::{Act, Scripted};
use super::field;
use super::grid::{honest_steps, values_of};
use super::mechanism::{central_noise, split};
use super::pipeline::{self, Trace};
use super::plan::{Plan, Privacy};
use super::recipe::{AdaptiveRecipe, AuditRecipe};
use super::statistics::{
    chi_square_two_sided, mean, mean_square, normal_quantile, normal_two_sided,
};
use crate::runner::Progress;

/// Deviation of the logarithms of the norms.
const SPREAD: f64 = 0.5;
/// The ruler's norm in median norms: above any clip that a start of at most 1000 can reach.
const RULER: f64 = 1e5;
/// Questions of chance per run.
const STATISTICAL: f64 = 4.0;
/// How far a clip on the wire may lie from the one that is told, relatively: the margin of the clip
/// and the rounding of an `f32`.
const SAME: f64 = 1e-6;

/// The devices and the law of one audit.
struct World<'r> {
    recipe: &'r AuditRecipe,
    settings: &'r AdaptiveRecipe,
    /// Norms in median norms; the ruler's is infinite.
    norms: Vec<f64>,
    /// sigma_b, in devices.
    count_noise: f64,
    target: f64,
    tolerance: f64,
}

/// Runs from every start, and once with a phase that only estimates.
pub(crate) async fn audit(
    recipe: &AuditRecipe,
    settings: &AdaptiveRecipe,
    progress: &dyn Progress,
) -> Result<AdaptiveOutcome, AuditError> {
    let world = World::new(recipe, settings);
    let mut runs = Vec::new();
    for &start in &settings.starts {
        progress.stage(&format!("adaptive clip from {start} medians"));
        runs.push(world.run(start, 0).await?);
    }
    if let Some(&start) = settings
        .starts
        .first()
        .filter(|_| settings.frozen_rounds > 0)
    {
        progress.stage("adaptive clip, estimated, then frozen");
        runs.push(world.run(start, settings.rounds).await?);
    }
    Ok(AdaptiveOutcome {
        devices: settings.devices,
        quantile: settings.quantile,
        learning_rate: settings.learning_rate,
        target: world.target,
        tolerance: world.tolerance,
        false_alarm: recipe.false_alarm,
        passed: runs.iter().all(|run| run.passed),
        runs,
    })
}

impl<'r> World<'r> {
    fn new(recipe: &'r AuditRecipe, settings: &'r AdaptiveRecipe) -> Self {
        let others = settings.devices - 1;
        let norm = |index: usize| {
            let level = (index as f64 + 0.5) / others as f64;
            (SPREAD * normal_quantile(level)).exp()
        };
        let mut norms = vec![f64::INFINITY];
        norms.extend((0..others).map(norm));
        let count_noise = settings.devices as f64 / 20.0;
        let mut world = Self {
            recipe,
            settings,
            // z must stay below 2 sigma_b, with room
            count_noise: count_noise.max(recipe.noise_multiplier),
            norms,
            target: 1.0,
            tolerance: 0.0,
        };
        let (low, high) = world.neighbours();
        world.target = (low * high).sqrt();
        world.tolerance = world.tolerance((high / low).ln() / 2.0);
        world
    }

    /// The norms between which the quantile lies.
    fn neighbours(&self) -> (f64, f64) {
        let mut sorted = self.norms.clone();
        sorted.sort_by(f64::total_cmp);
        let within = self.settings.quantile * sorted.len() as f64;
        let below = (within.ceil() as usize).clamp(1, sorted.len() - 1);
        let above = (within.floor() as usize).clamp(below - 1, sorted.len() - 2);
        (sorted[below - 1], sorted[above.max(below - 1)])
    }

    fn share_within(&self, clip: f64) -> f64 {
        let within = self.norms.iter().filter(|norm| **norm <= clip).count();
        within as f64 / self.norms.len() as f64
    }

    /// Near the target u = ln C obeys u <- u - eta (f (u - u*) + noise), whose stationary deviation
    /// is eta s / sqrt(1 - (1 - eta f)^2) for noise of deviation s = sigma_b / n on the share and a
    /// slope f of the share within.
    fn tolerance(&self, half_gap: f64) -> f64 {
        let eta = self.settings.learning_rate;
        let slope = (self.share_within(self.target * 0.25f64.exp())
            - self.share_within(self.target * (-0.25f64).exp()))
            / 0.5;
        let kept = 1.0 - (eta * slope).min(1.0);
        let noise = self.count_noise / self.norms.len() as f64;
        let deviation = eta * noise / (1.0 - kept * kept).max(1e-6).sqrt();
        half_gap - normal_quantile(self.recipe.false_alarm / 2.0) * deviation
    }

    async fn run(&self, start: f64, estimation: u32) -> Result<AdaptiveRun, AuditError> {
        let plan = self.plan(start, estimation)?;
        let trace = pipeline::run(&plan, &self.devices(&plan)?).await?;
        let medians = f64::from(self.recipe.clip);
        let clips: Vec<f64> = ruler(&trace).iter().map(|clip| clip / medians).collect();
        let told = trace
            .rounds
            .iter()
            .map(|round| f64::from(round.told.clip) / medians);
        let moved = if estimation == 0 {
            clips.len()
        } else {
            estimation as usize + 1
        };
        let moved = moved.min(clips.len());
        let mut checks = vec![
            apart("clip on the wire against the clip told", &clips, told),
            self.arrival(&clips[..moved]),
        ];
        checks.extend(self.votes(&clips[..moved]));
        checks.extend(if estimation == 0 {
            vec![self.noise_of(
                &trace,
                0,
                split(self.recipe.noise_multiplier, self.count_noise),
            )]
        } else {
            self.frozen(&trace, &clips, estimation as usize)
        });
        let rate = self.settings.learning_rate;
        let (quantile, rounds) = (self.settings.quantile, clips.len() as u32 - 1);
        Ok(AdaptiveRun {
            start,
            estimation_rounds: estimation,
            field_clips: field::clips(&self.norms, start, quantile, rate, rounds),
            passed: checks.iter().all(|check| check.passed),
            checks,
            clips,
        })
    }

    fn plan(&self, start: f64, estimation: u32) -> Result<Plan, AuditError> {
        let (recipe, settings) = (self.recipe, self.settings);
        let clip = (f64::from(recipe.clip) * start) as f32;
        let mut privacy = Privacy::central(clip, recipe.noise_multiplier, recipe.delta);
        privacy.more = format!(
            "\n[privacy.adaptive_clip]\nquantile = {:?}\nlearning_rate = {:?}\ncount_noise = {:?}\n",
            settings.quantile, settings.learning_rate, self.count_noise
        );
        let mut rounds = settings.rounds;
        if estimation > 0 {
            privacy.more += &format!("rounds = {estimation}\n");
            rounds += settings.frozen_rounds;
        }
        let name = format!(
            "audit-clip-{}",
            if estimation > 0 { "frozen" } else { "moves" }
        );
        Plan::new(&name, &recipe.model, rounds, settings.devices, privacy)
    }

    /// Device 0 is the ruler.
    fn devices(&self, plan: &Plan) -> Result<Vec<Scripted>, AuditError> {
        let (seed, dimension) = (self.recipe.seed, plan.dimension()?);
        let median = self.recipe.clip;
        let device = |(number, norm): (usize, &f64)| {
            let norm = norm.min(RULER) * f64::from(median);
            Scripted::new(move |round| {
                let values = values_of(&honest_steps(seed, number, round, dimension, 1.0), median);
                let factor = norm / length(&values);
                let scaled = values
                    .iter()
                    .map(|value| (f64::from(*value) * factor) as f32);
                Act::Send(scaled.collect())
            })
        };
        Ok(self.norms.iter().enumerate().map(device).collect())
    }

    /// Where the last quarter of the clips lies.
    fn arrival(&self, clips: &[f64]) -> Check {
        let last = &clips[clips.len() - clips.len().div_ceil(4)..];
        let logarithms: Vec<f64> = last.iter().map(|clip| (clip / self.target).ln()).collect();
        let distance = mean(&logarithms).abs();
        Check::at_most("last clips from the quantile, ln", distance, self.tolerance)
    }

    /// The noise on the votes: what a step of the clip holds beyond the share within.
    fn votes(&self, clips: &[f64]) -> Vec<Check> {
        let devices = self.norms.len() as f64;
        let noise = |pair: &[f64]| {
            let step = (pair[1] / pair[0]).ln();
            let fraction = self.settings.quantile - step / self.settings.learning_rate;
            // votes of 1 and -1 with noise of deviation 2 sigma_b
            2.0 * devices * (fraction - self.share_within(pair[0])) / (2.0 * self.count_noise)
        };
        let noise: Vec<f64> = clips.windows(2).map(noise).collect();
        let count = noise.len() as f64;
        let threshold = self.recipe.false_alarm / STATISTICAL;
        let (average, squares) = (mean(&noise), mean_square(&noise));
        let mean_p = normal_two_sided(average * count.sqrt());
        let variance_p = chi_square_two_sided(squares * count, count);
        let check = |name, measured, expected, p_value| {
            Check::statistical(name, measured, expected, p_value, threshold)
        };
        vec![
            check("noise on the votes, mean", average, 0.0, mean_p),
            check("noise on the votes, variance", squares, 1.0, variance_p),
        ]
    }

    /// Variance of the update noise of rounds from `first` on, each in units of its own clip.
    fn noise_of(&self, trace: &Trace, first: usize, noise_multiplier: f64) -> Check {
        let clip = |index: usize| trace.rounds[index].told.clip;
        let cohort = self.norms.len();
        let (noise, _) = central_noise(trace, cohort, clip, noise_multiplier);
        let noise = noise.get(first..).unwrap_or_default().concat();
        let (squares, count) = (mean_square(&noise), noise.len() as f64);
        Check::statistical(
            "update noise in its round's clip, variance",
            squares,
            1.0,
            chi_square_two_sided(squares * count, count),
            self.recipe.false_alarm / STATISTICAL,
        )
    }

    /// A phase that only estimates releases nothing, and then the clip stays.
    fn frozen(&self, trace: &Trace, clips: &[f64], estimation: usize) -> Vec<Check> {
        let rounds = estimation.min(trace.rounds.len());
        let steps = (0..rounds).flat_map(|index| trace.step(index));
        let released = steps.map(f64::abs).fold(0.0, f64::max);
        let frozen = clips.get(estimation..).unwrap_or_default();
        let moves = frozen
            .windows(2)
            .map(|pair| (pair[1] / pair[0] - 1.0).abs());
        let moved = moves.fold(0.0, f64::max);
        vec![
            Check::at_most("model released while estimating", released, 0.0),
            Check::at_most("clip moved while frozen", moved, SAME),
            self.noise_of(trace, estimation, self.recipe.noise_multiplier),
        ]
    }
}

/// The clip of each round as the ruler shows it.
fn ruler(trace: &Trace) -> Vec<f64> {
    let sent = trace.rounds.iter().map(|round| round.sent.get(&0));
    sent.map(|sent| sent.map_or(f64::NAN, |sent| length(sent)))
        .collect()
}

fn apart(name: &str, clips: &[f64], told: impl Iterator<Item = f64>) -> Check {
    let distances = clips
        .iter()
        .zip(told)
        .map(|(wire, told)| (wire / told - 1.0).abs());
    // fold would lose what is no number
    let worst = distances.max_by(f64::total_cmp).unwrap_or(f64::NAN);
    Check::at_most(name, worst, SAME)
}

fn length(values: &[f32]) -> f64 {
    let squares = values.iter().map(|value| f64::from(*value).powi(2));
    squares.sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;

    use super::super::grid::unit;
    use super::*;

    /// The clips of a rule: `sign` 1 is the right one, `noise` scales that on the votes.
    fn clips(world: &World<'_>, start: f64, sign: f64, noise: f64) -> Vec<f64> {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let mut clips = vec![start];
        for round in 1..world.settings.rounds as usize {
            let drawn = normal_quantile(unit(&mut rng).clamp(1e-16, 1.0 - 1e-16));
            let devices = world.norms.len() as f64;
            let share = world.share_within(clips[round - 1]);
            let share = share + noise * drawn * world.count_noise / devices;
            let step = world.settings.learning_rate * (share - world.settings.quantile);
            clips.push(clips[round - 1] * (-sign * step).exp());
        }
        clips
    }

    fn with_world(judge: impl Fn(&World<'_>)) {
        let recipe = AuditRecipe::from_toml(crate::audit::PRIVACY_AUDIT).unwrap();
        let settings = AdaptiveRecipe {
            devices: 24,
            rounds: 48,
            starts: vec![0.01, 100.0],
            quantile: 0.5,
            learning_rate: 0.4,
            frozen_rounds: 0,
        };
        judge(&World::new(&recipe, &settings));
    }

    #[test]
    fn the_right_rule_arrives_from_both_sides_and_the_wrong_sign_does_not() {
        with_world(|world| {
            assert!((0.9..1.2).contains(&world.target), "{}", world.target);
            assert!(
                (0.05..0.5).contains(&world.tolerance),
                "{}",
                world.tolerance
            );
            for start in [0.01, 100.0] {
                let right = clips(world, start, 1.0, 1.0);
                assert!(world.arrival(&right).passed, "{right:?}");
                assert!(world.votes(&right).iter().all(|check| check.passed));
                let wrong = clips(world, start, -1.0, 1.0);
                assert!(!world.arrival(&wrong).passed);
                assert!(!world.votes(&wrong).iter().all(|check| check.passed));
            }
        });
    }

    #[test]
    fn votes_with_too_little_noise_fail() {
        with_world(|world| {
            let quiet = clips(world, 0.01, 1.0, 0.3);
            assert!(world.arrival(&quiet).passed);
            assert!(!world.votes(&quiet)[1].passed);
        });
    }

    #[test]
    fn clips_that_differ_or_are_no_numbers_fail() {
        let check = |wire: &[f64]| apart("clip", wire, [1.0, 2.0].into_iter()).passed;
        assert!(check(&[1.0, 2.0]));
        assert!(!check(&[1.0, 2.1]) && !check(&[f64::NAN, 2.0]) && !check(&[]));
    }
}
