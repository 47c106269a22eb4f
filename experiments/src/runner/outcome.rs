//! What came of an experiment, as it is printed.

use std::path::PathBuf;

use serde::Serialize;

use super::result::{SeedResult, VariantResult, deviation};
use super::{ExperimentRecipe, peak_resident_bytes};

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

/// Summarises the results of all variants; `report` is the HTML page.
pub(crate) fn outcome(
    recipe: &ExperimentRecipe,
    results: Vec<VariantResult>,
    report: PathBuf,
) -> ExperimentOutcome {
    ExperimentOutcome {
        title: recipe.title.clone(),
        variants: results.into_iter().map(of_variant).collect(),
        not_private: recipe.is_seeded(),
        interrupted: false,
        report,
        peak_rss_bytes: peak_resident_bytes(),
    }
}

fn of_variant(result: VariantResult) -> VariantOutcome {
    let trained = result.trained();
    let stated = result.runs.first();
    let stated = stated.and_then(|seed| seed.privacy.worst_device.clone());
    let stated = stated.unwrap_or_default();
    let digest = |seed: &SeedResult| seed.run.run.model_digest.clone();
    VariantOutcome {
        initial: result.mean(|seed| seed.run.first_score.overall),
        trained: result.mean(|seed| seed.run.last_score().overall),
        trained_deviation: deviation(&trained),
        trained_by_seed: trained,
        regions: by_region(&result),
        local_shared: result.mean(|seed| seed.local_shared),
        local_personal: local_personal(&result),
        rounds: total(&result, |seed| seed.run.rounds.len() as u64),
        contributions: total(&result, |seed| seed.run.run.contributions_total),
        bytes_up: total(&result, |seed| seed.stats.tally.bytes_up),
        epsilon: epsilon(&result),
        delta: stated.delta,
        adjacency: stated.adjacency,
        mechanism: stated.mechanism,
        model_digest: result.runs.first().map_or(String::new(), digest),
        wall_s: result.runs.iter().map(|seed| seed.wall_s).sum(),
        name: result.name,
    }
}

/// Accuracy of the last version by region, the mean over the seeds.
fn by_region(result: &VariantResult) -> Vec<(String, f64)> {
    let mean = |index: usize| {
        let of = |seed: &SeedResult| seed.run.last_score().by_region.get(index).copied();
        result.mean(|seed| of(seed).unwrap_or(f64::NAN))
    };
    let regions = result.held_out.regions().enumerate();
    regions
        .map(|(index, name)| (name.to_owned(), mean(index)))
        .collect()
}

/// Accuracy of the devices' own models, the mean over the seeds; none without personalisation.
fn local_personal(result: &VariantResult) -> Option<f64> {
    let values: Option<Vec<f64>> = result.runs.iter().map(|seed| seed.local_personal).collect();
    values.map(|values| values.iter().sum::<f64>() / values.len().max(1) as f64)
}

/// Epsilon of the device that spent most with any seed.
fn epsilon(result: &VariantResult) -> f64 {
    let worst = |seed: &SeedResult| {
        let worst = seed.privacy.worst_device.as_ref();
        worst.map_or(0.0, |spend| spend.epsilon)
    };
    result.runs.iter().map(worst).fold(0.0, f64::max)
}

fn total(result: &VariantResult, of: impl Fn(&SeedResult) -> u64) -> u64 {
    result.runs.iter().map(of).sum()
}
