//! From a recipe to runs and a report.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::time::Instant;
use tributary_coordinator::spec::RunSpec;
use tributary_device_sim::FleetStats;
use tributary_proto::v1::GetPrivacyResponse;

use super::population::{load, populate};
use super::write_up::write_up;
use super::{
    ExperimentRecipe, HeldOut, Laboratory, Operator, Progress, RunResult, RunnerError, Variant,
    follow_run, peak_resident_bytes,
};
use crate::data::Dataset;
use crate::report::{Summary, write_all};

/// What came of one variant.
#[derive(Clone, Debug, Serialize)]
pub struct VariantOutcome {
    /// Its name.
    pub name: String,
    /// Held-out accuracy before the first round, 0 to 1.
    pub initial: f64,
    /// Held-out accuracy of the last version.
    pub trained: f64,
    /// Held-out accuracy of the last version by region.
    pub regions: Vec<(String, f64)>,
    /// Rounds published.
    pub rounds: u64,
    /// Contributions counted.
    pub contributions: u64,
    /// Epsilon of the device that spent most; 0 without privacy.
    pub epsilon: f64,
    /// Digest of the last version.
    pub model_digest: String,
    /// Seconds from the first device to the last round.
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
    /// The HTML page.
    pub report: PathBuf,
    /// Largest resident memory of the process in bytes.
    pub peak_rss_bytes: Option<u64>,
}

/// A variant with everything that the report shows of it.
pub(super) struct VariantResult {
    pub(super) name: String,
    pub(super) held_out: HeldOut,
    pub(super) run: RunResult,
    pub(super) privacy: GetPrivacyResponse,
    pub(super) stats: FleetStats,
    pub(super) wall_s: f64,
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
    for variant in &recipe.variants {
        results.push(Box::pin(run_variant(recipe, &data, variant, progress)).await?);
    }
    progress.stage("writing the report");
    let mut report = write_up(recipe, &data, &results);
    report.summary.peak_rss_bytes = peak_resident_bytes();
    let written = write_all(&report, folder)?;
    Ok(outcome(recipe, results, report.summary, written.page))
}

async fn run_variant(
    recipe: &ExperimentRecipe,
    data: &Dataset,
    variant: &Variant,
    progress: &dyn Progress,
) -> Result<VariantResult, RunnerError> {
    let started = Instant::now();
    let (devices, held_out) = populate(recipe, data, &variant.partition)?;
    let mut laboratory = Laboratory::open(devices, recipe.run.seed, progress).await?;
    progress.stage(&format!("training: {}", variant.name));
    let played = train(&mut laboratory.operator, &recipe.run, &held_out, progress).await;
    let stats = laboratory.close().await;
    let (run, privacy) = played?;
    let (name, wall_s) = (variant.name.clone(), started.elapsed().as_secs_f64());
    Ok(VariantResult {
        name,
        held_out,
        run,
        privacy,
        stats,
        wall_s,
    })
}

async fn train(
    operator: &mut Operator,
    spec: &RunSpec,
    held_out: &HeldOut,
    progress: &dyn Progress,
) -> Result<(RunResult, GetPrivacyResponse), RunnerError> {
    let run_id = operator.start_run(recipe_text(spec)?).await?;
    let run = follow_run(operator, &run_id, held_out, progress).await?;
    Ok((run, operator.privacy().await?))
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
    summary: Summary,
    report: PathBuf,
) -> ExperimentOutcome {
    let variant = |result: VariantResult| {
        let score = result.run.last_score();
        let regions = result.held_out.regions().map(str::to_owned);
        VariantOutcome {
            initial: result.run.first_score.overall,
            trained: score.overall,
            regions: regions.zip(score.by_region.iter().copied()).collect(),
            rounds: result.run.rounds.len() as u64,
            contributions: result.run.run.contributions_total,
            epsilon: result
                .privacy
                .worst_device
                .as_ref()
                .map_or(0.0, |spend| spend.epsilon),
            model_digest: result.run.run.model_digest.clone(),
            wall_s: result.wall_s,
            name: result.name,
        }
    };
    ExperimentOutcome {
        title: recipe.title.clone(),
        variants: results.into_iter().map(variant).collect(),
        not_private: recipe.run.is_seeded(),
        report,
        peak_rss_bytes: summary.peak_rss_bytes,
    }
}
