//! From a recipe to runs and a report.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::time::Instant;
use tributary_device_sim::FleetStats;
use tributary_model::Personalisation;
use tributary_proto::v1::GetPrivacyResponse;
use tributary_recipe::RunSpec;

use super::population::{Population, load, populate};
use super::write_up::{is_seeded, write_up};
use super::{
    ExperimentRecipe, HeldOut, Laboratory, Progress, RunResult, RunnerError, Variant, follow_run,
    peak_resident_bytes,
};
use crate::data::Dataset;
use crate::report::write_all;

/// What came of one variant: means over its seeds where it ran with several.
#[derive(Clone, Debug, Serialize)]
pub struct VariantOutcome {
    /// Its name.
    pub name: String,
    /// Held-out accuracy before the first round, 0 to 1.
    pub initial: f64,
    /// Held-out accuracy of the last version.
    pub trained: f64,
    /// Held-out accuracy of the last version with each seed, in the order of the recipe.
    pub trained_by_seed: Vec<f64>,
    /// Standard deviation of these, 0 with one seed.
    pub trained_deviation: f64,
    /// Held-out accuracy of the last version by region.
    pub regions: Vec<(String, f64)>,
    /// Mean local accuracy of the devices with the last shared version; see
    /// [`LocalTests`](super::LocalTests).
    pub local_shared: f64,
    /// The same with the devices' own models; none without personalisation.
    pub local_personal: Option<f64>,
    /// Rounds published, all seeds together.
    pub rounds: u64,
    /// Contributions counted, all seeds together.
    pub contributions: u64,
    /// Bytes of updates, all seeds together.
    pub bytes_up: u64,
    /// Epsilon of the device that spent most; null without noise.
    pub epsilon: f64,
    /// The delta of that epsilon.
    pub delta: f64,
    /// Which fleets it compares, e.g. `zero-out-one-device`.
    pub adjacency: String,
    /// The mechanism.
    pub mechanism: String,
    /// Digest of the last version, with the first seed.
    pub model_digest: String,
    /// Seconds from the first device to the last round, all seeds together.
    pub wall_s: f64,
}

/// What came of an experiment.
#[derive(Clone, Debug, Serialize)]
pub struct ExperimentOutcome {
    /// Title of the recipe.
    pub title: String,
    /// One entry per variant, in the order of the recipe.
    pub variants: Vec<VariantOutcome>,
    /// True when the runs were seeded, so that nothing about them is private.
    pub not_private: bool,
    /// True when it was asked to end early: variants, seeds or rounds are missing.
    pub interrupted: bool,
    /// The HTML page.
    pub report: PathBuf,
    /// Largest resident memory of the process in bytes.
    pub peak_rss_bytes: Option<u64>,
}

/// A variant with everything that the report shows of it.
pub(super) struct VariantResult {
    pub(super) name: String,
    pub(super) held_out: HeldOut,
    /// One per seed, at least one.
    pub(super) runs: Vec<SeedResult>,
}

/// A variant's run with one seed.
pub(super) struct SeedResult {
    pub(super) run: RunResult,
    pub(super) privacy: GetPrivacyResponse,
    pub(super) stats: FleetStats,
    pub(super) wall_s: f64,
    pub(super) local_shared: f64,
    pub(super) local_personal: Option<f64>,
}

impl VariantResult {
    /// Mean over the runs.
    pub(super) fn mean(&self, of: impl Fn(&SeedResult) -> f64) -> f64 {
        self.runs.iter().map(of).sum::<f64>() / self.runs.len().max(1) as f64
    }

    /// Held-out accuracy of the last version of each run.
    pub(super) fn trained(&self) -> Vec<f64> {
        let trained = |result: &SeedResult| result.run.last_score().overall;
        self.runs.iter().map(trained).collect()
    }
}

/// Standard deviation of a sample, 0 of fewer than two values.
pub(super) fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt()
}

/// Runs the variants of a recipe one after the other, each in a fresh laboratory, and writes the
/// report into `folder`.
///
/// # Errors
/// [`RunnerError`] when the recipe can't be carried out, a run ends early, or the report can't be
/// written.
pub async fn run_experiment(
    recipe: &ExperimentRecipe,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<ExperimentOutcome, RunnerError> {
    recipe.check()?;
    progress.stage("loading data");
    let data = load(&recipe.data)?;
    let mut results = Vec::with_capacity(recipe.variants.len());
    let interrupt = progress.interrupt();
    for variant in &recipe.variants {
        match Box::pin(run_variant(recipe, &data, variant, progress)).await {
            Ok(result) => results.push(result),
            // what was finished before is reported
            Err(RunnerError::Interrupted) if !results.is_empty() => break,
            Err(error) => return Err(error),
        }
        if interrupt.is_set() {
            break;
        }
    }
    let interrupted = interrupt.is_set();
    progress.stage("writing the report");
    let mut report = write_up(recipe, &data, &results);
    if interrupted {
        let (done, all) = (results.len(), recipe.variants.len());
        report.subtitle = format!(
            "INTERRUPTED in variant {done} of {all}: what follows is incomplete. {}",
            report.subtitle
        );
    }
    if !is_seeded(recipe) {
        report.summary.peak_rss_bytes = peak_resident_bytes();
    }
    let written = write_all(&report, folder)?;
    let outcome = outcome(recipe, results, written.page);
    Ok(ExperimentOutcome {
        interrupted,
        ..outcome
    })
}

async fn run_variant(
    recipe: &ExperimentRecipe,
    data: &Dataset,
    variant: &Variant,
    progress: &dyn Progress,
) -> Result<VariantResult, RunnerError> {
    let (mut runs, mut judged_on) = (Vec::new(), None);
    for seed in recipe.seeds() {
        let stage = match (recipe.seeds.len(), seed) {
            (2.., Some(seed)) => format!("training: {}, seed {seed}", variant.name),
            _ => format!("training: {}", variant.name),
        };
        let spec = recipe.spec_of(variant, seed)?;
        let population = populate(recipe, data, variant, &spec)?;
        let held_out = population.held_out.clone();
        match Box::pin(run_seed(population, &spec, &stage, progress)).await {
            Ok(run) => runs.push(run),
            Err(RunnerError::Interrupted) if !runs.is_empty() => break,
            Err(error) => return Err(error),
        }
        judged_on.get_or_insert(held_out);
        if progress.interrupt().is_set() {
            break;
        }
    }
    let name = variant.name.clone();
    let held_out = judged_on
        .ok_or_else(|| RunnerError::setting("seeds", "are none".to_owned(), "name one or more"))?;
    Ok(VariantResult {
        name,
        held_out,
        runs,
    })
}

async fn run_seed(
    mut population: Population,
    spec: &RunSpec,
    stage: &str,
    progress: &dyn Progress,
) -> Result<SeedResult, RunnerError> {
    let started = Instant::now();
    let devices = population.devices.split_off(0);
    let mut laboratory = Laboratory::open(devices, spec.seed, progress).await?;
    progress.stage(stage);
    let played = train(&mut laboratory, spec, &population, progress).await;
    let stats = laboratory.close().await;
    let result = SeedResult { stats, ..played? };
    let wall_s = started.elapsed().as_secs_f64();
    Ok(SeedResult { wall_s, ..result })
}

async fn train(
    laboratory: &mut Laboratory,
    spec: &RunSpec,
    population: &Population,
    progress: &dyn Progress,
) -> Result<SeedResult, RunnerError> {
    let (held_out, local) = (&population.held_out, &population.local);
    let operator = &mut laboratory.operator;
    let run_id = operator.start_run(recipe_text(spec)?).await?;
    let run = follow_run(operator, &run_id, held_out, progress).await?;
    let shared = operator.model_file(&run.run.model_digest).await?;
    let graph = shared.spec.graph()?;
    let heads = matches!(
        spec.training.personalisation,
        Some(Personalisation::RegionHeads { .. })
    );
    let local_personal = if heads {
        let mut models = Vec::new();
        for digest in &run.run.variant_digests {
            models.push(operator.model_file(digest).await?.weights);
        }
        Some(local.of_regions(&graph, &models, &population.regions)?)
    } else {
        let own = laboratory.fleet.personal_models(&run_id, None);
        local.of_personal(&graph, &own)?
    };
    Ok(SeedResult {
        local_shared: local.of_shared(&graph, &shared.weights)?,
        local_personal,
        privacy: operator.privacy().await?,
        stats: laboratory.fleet.stats(),
        wall_s: 0.0,
        run,
    })
}

/// A run's recipe as the coordinator reads it.
///
/// # Errors
/// [`RunnerError::Setting`] for a value that TOML can't hold, such as a seed of 2^63 or more.
pub(crate) fn recipe_text(spec: &RunSpec) -> Result<String, RunnerError> {
    toml::to_string(spec).map_err(|error| {
        let problem = format!("can't be written as TOML: {error}");
        RunnerError::setting("run", problem, "use a seed below 2^63")
    })
}

fn outcome(
    recipe: &ExperimentRecipe,
    results: Vec<VariantResult>,
    report: PathBuf,
) -> ExperimentOutcome {
    let variant = |result: VariantResult| {
        let trained = result.trained();
        let by_region = |index: usize| {
            let of = |seed: &SeedResult| seed.run.last_score().by_region.get(index).copied();
            result.mean(|seed| of(seed).unwrap_or(f64::NAN))
        };
        let regions = result.held_out.regions().map(str::to_owned);
        let personal: Option<Vec<f64>> =
            result.runs.iter().map(|seed| seed.local_personal).collect();
        let worst = |seed: &SeedResult| {
            let worst = seed.privacy.worst_device.as_ref();
            worst.map_or(0.0, |spend| spend.epsilon)
        };
        let stated = result.runs.first();
        let stated = stated.and_then(|seed| seed.privacy.worst_device.clone());
        let stated = stated.unwrap_or_default();
        VariantOutcome {
            initial: result.mean(|seed| seed.run.first_score.overall),
            trained: result.mean(|seed| seed.run.last_score().overall),
            trained_deviation: deviation(&trained),
            trained_by_seed: trained,
            regions: regions
                .enumerate()
                .map(|(index, name)| (name, by_region(index)))
                .collect(),
            local_shared: result.mean(|seed| seed.local_shared),
            local_personal: personal
                .map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64),
            rounds: total(&result, |seed| seed.run.rounds.len() as u64),
            contributions: total(&result, |seed| seed.run.run.contributions_total),
            bytes_up: total(&result, |seed| seed.stats.tally.bytes_up),
            epsilon: result.runs.iter().map(worst).fold(0.0, f64::max),
            delta: stated.delta,
            adjacency: stated.adjacency,
            mechanism: stated.mechanism,
            model_digest: result
                .runs
                .first()
                .map_or(String::new(), |seed| seed.run.run.model_digest.clone()),
            wall_s: result.runs.iter().map(|seed| seed.wall_s).sum(),
            name: result.name,
        }
    };
    let not_private = is_seeded(recipe);
    ExperimentOutcome {
        title: recipe.title.clone(),
        variants: results.into_iter().map(variant).collect(),
        not_private,
        interrupted: false,
        report,
        peak_rss_bytes: peak_resident_bytes(),
    }
}

fn total(result: &VariantResult, of: impl Fn(&SeedResult) -> u64) -> u64 {
    result.runs.iter().map(of).sum()
}
