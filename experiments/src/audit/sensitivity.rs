//! Part 2: how much does one device change a release?
//!
//! Two runs with the same seed draw the same noise. They differ in one device, so their releases
//! differ by exactly what that device put into the sum. The other run is the one in which the device
//! stays away; one in which its training fails, or its bytes are faulty, releases the same to the bit,
//! and differs in the number of contributions alone, which is public.

use tributary_privacy::SCALE;
use tributary_report::audit::{FieldOutcome, SensitivityCase, SensitivityOutcome};

use super::AuditError;
use super::device::{Act, Scripted};
use super::field::{self, Contribution};
use super::grid::{honest_steps, steps_of_squared_norm, values_of};
use super::pipeline::{self, Trace};
use super::plan::{Plan, Privacy};
use super::recipe::AuditRecipe;
use crate::runner::Progress;

/// Norm of an honest payload in clips.
const HONEST: f64 = 0.9;
/// The cap on examples where they weigh.
const CAP: u64 = 100;
/// A weight in units of 2^-20 that no plan allows.
const GREEDY: u64 = 1000 << 20;

/// What the varied device does.
struct Variation {
    name: &'static str,
    device: Scripted,
    /// Whether it may change anything. It is counted whatever it does.
    changes: bool,
    /// Whether it is compared with the honest device instead of its absence.
    same_as_honest: bool,
    expected: String,
}

impl Variation {
    /// One that may change something.
    fn counted(name: &'static str, device: Scripted, expected: &str) -> Self {
        Self {
            changes: true,
            ..Self::without_effect(name, device, expected)
        }
    }

    /// One that may change nothing.
    fn without_effect(name: &'static str, device: Scripted, expected: &str) -> Self {
        Self {
            name,
            device,
            changes: false,
            same_as_honest: false,
            expected: expected.to_owned(),
        }
    }

    /// One whose update is faulty or missing.
    fn zeros(name: &'static str, device: Scripted) -> Self {
        Self::without_effect(name, device, "counted as zeros")
    }
}

/// Runs all variations and measures what they change.
pub(crate) async fn audit(
    recipe: &AuditRecipe,
    progress: &dyn Progress,
) -> Result<(SensitivityOutcome, FieldOutcome), AuditError> {
    let plan = plan(recipe)?;
    let dimension = plan.dimension()?;
    let bound = bound(dimension);
    let mut outcome = SensitivityOutcome {
        devices: recipe.sensitivity.devices,
        parameters: dimension,
        bound: bound as f64 / SCALE as f64,
        rounding: 0.0,
        cases: Vec::new(),
        passed: false,
    };
    let away = Scripted::new(|_| Act::StayAway);
    let without = run(recipe, &plan, away.clone()).await?;
    let mut plain: Option<Trace> = None;
    for variation in variations(recipe, dimension, bound) {
        progress.stage(&format!("sensitivity: {}", variation.name));
        let with = run(recipe, &plan, variation.device.clone()).await?;
        let other = plain.as_ref().filter(|_| variation.same_as_honest);
        let other = other.unwrap_or(&without);
        compare(&mut outcome, recipe, &variation, (&with, other));
        // the first variation is the honest one
        plain.get_or_insert(with);
    }
    let mut weighted = plan;
    weighted.examples_cap = Some(CAP);
    let without = run(recipe, &weighted, away).await?;
    let variation = Variation::counted(
        "weighted by examples, holds the most",
        honest(recipe, dimension, 0).holding(recipe.sensitivity.examples),
        "weights are in [0, 1]: within the bound",
    );
    progress.stage(&format!("sensitivity: {}", variation.name));
    let with = run(recipe, &weighted, variation.device.clone()).await?;
    compare(&mut outcome, recipe, &variation, (&with, &without));
    outcome.passed = outcome.cases.iter().all(|case| case.passed);
    let plain = plain.as_ref().unwrap_or(&with);
    let field = field_default(recipe, plain, outcome.cases.first())?;
    Ok((outcome, field))
}

/// What the field's default would have made of what the devices sent in the first round, had device 0
/// held many examples and the others one each.
fn field_default(
    recipe: &AuditRecipe,
    plain: &Trace,
    ours: Option<&SensitivityCase>,
) -> Result<FieldOutcome, AuditError> {
    let settings = &recipe.sensitivity;
    let first = plain.rounds.first().map(|round| &round.sent);
    let sent = first.into_iter().flatten();
    let contribution = |(number, update): (&usize, &Vec<f32>)| Contribution {
        update: update.clone(),
        examples: if *number == 0 { settings.examples } else { 1 },
    };
    let contributions: Vec<Contribution> = sent.map(contribution).collect();
    let clips = settings.devices as f64 / f64::from(recipe.clip);
    let field_change = clips * field::change_of_mean(&contributions, 0);
    let our_change = ours.map_or(f64::NAN, |case| case.distance);
    let z = recipe.noise_multiplier;
    // both add noise of deviation z C / n to the mean
    let (our_multiplier, field_multiplier) = (z / our_change, z / field_change);
    let (rounds, delta) = (settings.rounds, recipe.delta);
    Ok(FieldOutcome {
        devices: settings.devices,
        examples: settings.examples,
        noise_multiplier: z,
        rounds,
        delta,
        our_change,
        field_change,
        our_multiplier,
        field_multiplier,
        our_epsilon: field::epsilon(our_multiplier, rounds, delta)?,
        field_epsilon: field::epsilon(field_multiplier, rounds, delta)?,
        field_clip_ratio: None,
    })
}

fn plan(recipe: &AuditRecipe) -> Result<Plan, AuditError> {
    let privacy = Privacy::central(recipe.clip, recipe.noise_multiplier, recipe.delta);
    let (rounds, devices) = (recipe.sensitivity.rounds, recipe.sensitivity.devices);
    let mut plan = Plan::new("audit-sensitivity", &recipe.model, rounds, devices, privacy)?;
    // equal noise in all runs; what is measured is the sum, not the noise
    plan.seed = Some(recipe.seed >> 1);
    Ok(plan)
}

/// B = S + ceil(sqrt(d) / 2), worked out here again.
fn bound(dimension: usize) -> u64 {
    let half_root = (dimension as f64).sqrt() / 2.0;
    SCALE + half_root.ceil() as u64
}

/// What the varied device does, the honest first.
fn variations(recipe: &AuditRecipe, dimension: usize, bound: u64) -> Vec<Variation> {
    let mut not_a_number = vec![0.0; dimension];
    not_a_number[0] = f32::NAN;
    let mut greedy = honest(recipe, dimension, 0);
    greedy.claims = Some(GREEDY);
    let unclipped = |squared| unclipped(recipe, dimension, squared);
    vec![
        Variation::counted(
            "honest, 1 example",
            honest(recipe, dimension, 0),
            "within the bound",
        ),
        Variation {
            same_as_honest: true,
            ..Variation::without_effect(
                "honest, many examples, compared with 1",
                honest(recipe, dimension, 0).holding(recipe.sensitivity.examples),
                "the same release to the bit",
            )
        },
        Variation::counted(
            "a thousand times too long, clipped by its agent",
            scaled(recipe, dimension, 1000.0),
            "clipped, within the bound",
        ),
        Variation::counted(
            "longest that is admitted: squares sum to B^2",
            unclipped(bound * bound),
            "counted, exactly the bound",
        ),
        Variation::zeros(
            "one grid step too long: squares sum to B^2 + 1",
            unclipped(bound * bound + 1),
        ),
        Variation::zeros(
            "a hundred times too long, unclipped",
            unclipped(10_000 * bound * bound),
        ),
        Variation::zeros(
            "not a number",
            Scripted::new(move |_| Act::SendUnclipped(not_a_number.clone())),
        ),
        Variation::zeros("its training fails", Scripted::new(|_| Act::Fail)),
        Variation::counted(
            "claims a weight of 1000",
            greedy,
            "not read: within the bound",
        ),
    ]
}

/// Sends values on the grid whose squares sum to `squared`, without clipping.
fn unclipped(recipe: &AuditRecipe, dimension: usize, squared: u64) -> Scripted {
    let steps = steps_of_squared_norm(squared, dimension);
    let values = values_of(&steps, recipe.clip);
    Scripted::new(move |_| Act::SendUnclipped(values.clone()))
}

/// Sends an honest payload times `factor`.
fn scaled(recipe: &AuditRecipe, dimension: usize, factor: f32) -> Scripted {
    let (seed, clip) = (recipe.seed, recipe.clip);
    Scripted::new(move |round| {
        let steps = honest_steps(seed, 0, round, dimension, HONEST);
        let values = values_of(&steps, clip).into_iter();
        Act::Send(values.map(|value| value * factor).collect())
    })
}

fn honest(recipe: &AuditRecipe, dimension: usize, number: usize) -> Scripted {
    let (seed, clip) = (recipe.seed, recipe.clip);
    Scripted::new(move |round| {
        let steps = honest_steps(seed, number, round, dimension, HONEST);
        Act::Send(values_of(&steps, clip))
    })
}

/// The varied device is number 0.
async fn run(recipe: &AuditRecipe, plan: &Plan, varied: Scripted) -> Result<Trace, AuditError> {
    let dimension = plan.dimension()?;
    let mut devices = vec![varied];
    let others = 1..recipe.sensitivity.devices;
    devices.extend(others.map(|number| honest(recipe, dimension, number)));
    pipeline::run(plan, &devices).await
}

/// Compares two runs that differ in what one device does, and adds the case.
fn compare(
    outcome: &mut SensitivityOutcome,
    recipe: &AuditRecipe,
    variation: &Variation,
    (with, without): (&Trace, &Trace),
) {
    let scale = recipe.sensitivity.devices as f64 / f64::from(recipe.clip);
    let rounds = with.rounds.len().min(without.rounds.len());
    let distances = (0..rounds).map(|index| scale * distance(with, without, index));
    let errors = (0..rounds).map(|index| {
        // both runs round, in every coordinate
        let error = with.rounding(index) + without.rounding(index);
        scale * error * (outcome.parameters as f64).sqrt()
    });
    let rounding = errors.fold(0.0, f64::max);
    let others = recipe.sensitivity.devices as u64 - 1;
    let counted = with
        .rounds
        .iter()
        .filter(|round| round.told.counted > others);
    let case = Measured {
        name: variation.name,
        changes: variation.changes,
        expected: &variation.expected,
        counted: counted.count() as u32,
        rounds: rounds as u32,
        distance: distances.fold(0.0, f64::max),
        bound: outcome.bound,
        rounding,
    };
    outcome.rounding = outcome.rounding.max(rounding);
    outcome.cases.push(case.judge());
}

/// L2 distance of what round `index` added in two runs.
fn distance(with: &Trace, without: &Trace, index: usize) -> f64 {
    let pairs = with.step(index).into_iter().zip(without.step(index));
    let squares = pairs.map(|(with, without)| (with - without).powi(2));
    squares.sum::<f64>().sqrt()
}

/// One comparison, before it is judged.
pub(crate) struct Measured<'a> {
    pub(crate) name: &'a str,
    /// Whether it may change anything.
    pub(crate) changes: bool,
    pub(crate) expected: &'a str,
    pub(crate) counted: u32,
    pub(crate) rounds: u32,
    /// In clips.
    pub(crate) distance: f64,
    /// In clips.
    pub(crate) bound: f64,
    /// In clips.
    pub(crate) rounding: f64,
}

impl Measured<'_> {
    /// Everything is counted; what may change something stays within the bound.
    pub(crate) fn judge(&self) -> SensitivityCase {
        let (limit, tolerance) = if self.changes {
            (self.bound, self.rounding)
        } else {
            (0.0, 0.0)
        };
        SensitivityCase {
            name: self.name.to_owned(),
            counted: self.counted,
            rounds: self.rounds,
            distance: self.distance,
            limit,
            expected: self.expected.to_owned(),
            passed: self.rounds > 0
                && self.counted == self.rounds
                && self.distance <= limit + tolerance,
        }
    }
}
