//! From a recipe to runs and a report.

use std::path::Path;

use tokio::time::Instant;
use tributary_model::Personalisation;
use tributary_recipe::RunSpec;

use super::outcome::outcome;
use super::population::{Population, load, populate};
use super::result::{SeedResult, VariantResult};
use super::write_up::write_up;
use super::{
    ExperimentOutcome, ExperimentRecipe, Laboratory, Progress, RunnerError, Variant, follow_run,
    peak_resident_bytes,
};
use crate::data::Dataset;
use crate::output::write_all;

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
    if !recipe.is_seeded() {
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
