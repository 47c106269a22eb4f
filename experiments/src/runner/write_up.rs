//! From the results of an experiment to its report.

use tributary_proto::v1::PrivacySpend;
use tributary_report::experiment::{
    AccuracySummary, Conditions, Fact, LedgerLine, Phase, PrivacySummary, Report, RoundPoint,
    RoundSeries, Summary, WireBytes, WirePoint,
};

use super::ExperimentRecipe;
use super::result::{SeedResult, VariantResult, deviation};
use crate::data::Dataset;

/// The report of an experiment.
pub(super) fn write_up(
    recipe: &ExperimentRecipe,
    data: &Dataset,
    results: &[VariantResult],
) -> Report {
    Report {
        title: recipe.title.clone(),
        subtitle: recipe.description.clone(),
        summary: summary(recipe, results),
        seed: recipe.run.seed.or(recipe.seeds.first().copied()),
        seeds: recipe.seeds.clone(),
        phases: vec![Phase {
            name: "training".to_owned(),
            first_round: 1,
            last_round: recipe.run.rounds.count.into(),
        }],
        accuracy: accuracy(results),
        epsilon: results
            .iter()
            .map(|result| epsilon(result, results.len()))
            .collect(),
        epsilon_conditions: results.iter().map(conditions_of).collect(),
        epsilon_cap: recipe.run.privacy.epsilon,
        wire: wire(results),
        ledger: results.iter().flat_map(ledger).collect(),
        facts: facts(recipe, data, results),
        ..Report::default()
    }
}

/// A spend as the report states it.
pub(crate) fn privacy_summary(spend: Option<&PrivacySpend>) -> PrivacySummary {
    spend.map_or_else(PrivacySummary::default, |spend| PrivacySummary {
        epsilon: spend.epsilon,
        delta: spend.delta,
        rho: spend.rho,
        adjacency: spend.adjacency.clone(),
        mechanism: spend.mechanism.clone(),
    })
}

/// What an epsilon of this spend has to be read with.
pub(crate) fn conditions(spend: Option<&PrivacySpend>) -> Conditions {
    spend.map_or_else(Conditions::default, |spend| Conditions {
        delta: spend.delta,
        adjacency: spend.adjacency.clone(),
        mechanism: spend.mechanism.clone(),
    })
}

fn conditions_of(result: &VariantResult) -> Conditions {
    let first = result.runs.first();
    conditions(first.and_then(|seed| seed.run.run.privacy.as_ref()))
}

fn summary(recipe: &ExperimentRecipe, results: &[VariantResult]) -> Summary {
    // the milestones are those of the variant that learnt most; the plots show all
    let best = best(results);
    let runs = || results.iter().flat_map(|result| &result.runs);
    let rounds = || {
        runs()
            .flat_map(|seed| &seed.run.rounds)
            .map(|result| &result.round)
    };
    let first = |result: &VariantResult| result.runs.first().map(|seed| seed.run.run.clone());
    let spends = runs().filter_map(|seed| seed.privacy.worst_device.as_ref());
    let worst = spends.max_by(|a, b| a.rho.total_cmp(&b.rho));
    Summary {
        devices: recipe.fleet.devices.into(),
        regions: recipe.run.regions.iter().map(ToString::to_string).collect(),
        rounds: runs().map(|seed| seed.run.rounds.len() as u64).sum(),
        accuracy: AccuracySummary {
            initial: best.map(|result| result.mean(|seed| seed.run.first_score.overall)),
            trained: best.map(|result| result.mean(|seed| seed.run.last_score().overall)),
            ..AccuracySummary::default()
        },
        privacy: privacy_summary(worst),
        marks: marks(results),
        headline: best
            .filter(|_| results.len() > 1)
            .map_or_else(String::new, |best| best.name.clone()),
        model_digest: best
            .and_then(first)
            .map_or(String::new(), |run| run.model_digest),
        wire_bytes: WireBytes {
            down: rounds().map(|round| round.bytes_down).sum(),
            up: rounds().map(|round| round.bytes_up).sum(),
        },
        // what a seed repeats has no clock in it
        wall_s: (!recipe.is_seeded()).then(|| runs().map(|seed| seed.wall_s).sum()),
        ..Summary::default()
    }
}

/// The marks of all versions that were made, each once.
fn marks(results: &[VariantResult]) -> Vec<String> {
    let runs = results.iter().flat_map(|result| &result.runs);
    let marks = runs.flat_map(|seed| seed.run.run.marks.clone());
    let marks: std::collections::BTreeSet<String> = marks.collect();
    marks.into_iter().collect()
}

/// The variant whose last version scores most; the first of equals.
fn best(results: &[VariantResult]) -> Option<&VariantResult> {
    let trained = |result: &VariantResult| result.mean(|seed| seed.run.last_score().overall);
    results
        .iter()
        .rev()
        .max_by(|a, b| trained(a).total_cmp(&trained(b)))
}

/// How a series names its variant: not at all where there is one.
fn named(result: &VariantResult, variants: usize) -> String {
    if variants > 1 {
        result.name.clone()
    } else {
        String::new()
    }
}

/// A variant's lines: one for each region.
fn regions_of(result: &VariantResult) -> Vec<String> {
    result.held_out.regions().map(str::to_owned).collect()
}

fn accuracy(results: &[VariantResult]) -> Vec<RoundSeries> {
    let lines = |result: &VariantResult| {
        let variant = named(result, results.len());
        let rounds = result.runs.iter().map(|seed| seed.run.rounds.len());
        let rounds = rounds.min().unwrap_or(0);
        // the mean over the seeds, as far as all of them went
        let line = |(index, region): (usize, String)| {
            let point = |round: usize| {
                let score = |seed: &SeedResult| {
                    let score = match round.checked_sub(1) {
                        None => &seed.run.first_score,
                        Some(past) => &seed.run.rounds[past].score,
                    };
                    score.by_region.get(index).copied().unwrap_or(f64::NAN)
                };
                RoundPoint::new(round as u64, result.mean(score))
            };
            RoundSeries {
                variant: variant.clone(),
                region,
                points: (0..=rounds).map(point).collect(),
            }
        };
        regions_of(result)
            .into_iter()
            .enumerate()
            .map(line)
            .collect::<Vec<_>>()
    };
    results.iter().flat_map(lines).collect()
}

fn epsilon(result: &VariantResult, variants: usize) -> RoundSeries {
    let spend = |round: &super::RoundResult| round.round.privacy.clone();
    let point = |round: &super::RoundResult| {
        let spent = spend(round).map_or(0.0, |spend| spend.epsilon);
        RoundPoint::new(round.round.round.into(), spent)
    };
    let rounds = result.runs.iter().take(1).flat_map(|seed| &seed.run.rounds);
    let points: Vec<RoundPoint> = rounds.map(point).collect();
    // without noise nothing was ever private, also before the first round
    let start = points.first().map_or(0.0, |first| 0.0 * first.value);
    let start = std::iter::once(RoundPoint::new(0, start));
    RoundSeries {
        variant: named(result, variants),
        region: String::new(),
        points: start.chain(points).collect(),
    }
}

/// Bytes by round and variant, the mean over its seeds.
fn wire(results: &[VariantResult]) -> Vec<WirePoint> {
    let of_variant = |result: &VariantResult| {
        let variant = named(result, results.len());
        let rounds = result.runs.iter().map(|seed| seed.run.rounds.len());
        let rounds = rounds.max().unwrap_or(0);
        let mean = |index: usize| {
            let there = result
                .runs
                .iter()
                .filter_map(|seed| seed.run.rounds.get(index));
            let there: Vec<_> = there.map(|result| &result.round).collect();
            let seeds = (there.len() as u64).max(1);
            WirePoint {
                variant: variant.clone(),
                round: there.first().map_or(0, |round| round.round.into()),
                down: there.iter().map(|round| round.bytes_down).sum::<u64>() / seeds,
                up: there.iter().map(|round| round.bytes_up).sum::<u64>() / seeds,
            }
        };
        (0..rounds).map(mean).collect::<Vec<_>>()
    };
    results.iter().flat_map(of_variant).collect()
}

fn ledger(result: &VariantResult) -> Vec<LedgerLine> {
    let Some(first) = result.runs.first() else {
        return Vec::new();
    };
    let each = first
        .run
        .rounds
        .first()
        .and_then(|first| first.round.privacy.as_ref());
    let each = each.map_or(0.0, |spend| spend.rho);
    let line = |account: &tributary_proto::v1::PrivacyAccount| {
        let spent = account.spend.clone().unwrap_or_default();
        // what no noise hides is bounded by nothing
        let rho = match spent.epsilon.is_finite() {
            true => spent.rho,
            false => f64::INFINITY,
        };
        LedgerLine {
            kind: format!("{} of {}", account.kind, result.name),
            region: String::new(),
            charges: account.charges,
            charges_per_device: if each > 0.0 && rho.is_finite() {
                (rho / each).round() as u64
            } else {
                0
            },
            rho,
            adjacency: spent.adjacency,
            mechanism: spent.mechanism,
        }
    };
    first.privacy.accounts.iter().map(line).collect()
}

fn facts(recipe: &ExperimentRecipe, data: &Dataset, results: &[VariantResult]) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact {
        name: name.to_owned(),
        value,
    };
    let samples = format!(
        "{}: {} training and {} held-out samples",
        data.name,
        data.train.len(),
        data.test.len()
    );
    let mut facts = vec![
        fact("Data", samples),
        fact("Model", recipe_model(recipe)),
        fact("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    facts.extend(
        results
            .iter()
            .map(|result| fact(&result.name, reached(result))),
    );
    facts
}

/// What a variant reached, in words.
fn reached(result: &VariantResult) -> String {
    let trained = result.trained();
    let last = 100.0 * result.mean(|seed| seed.run.last_score().overall);
    let rounds = result.runs.iter().map(|seed| seed.run.rounds.len()).max();
    let spread = match trained.len() {
        0 | 1 => String::new(),
        seeds => format!(
            " (standard deviation {:.1} over {seeds} seeds)",
            100.0 * deviation(&trained)
        ),
    };
    let personal = result.runs.iter().map(|seed| seed.local_personal);
    let personal: Option<Vec<f64>> = personal.collect();
    let personal = personal.map_or(String::new(), |values| {
        let own = 100.0 * values.iter().sum::<f64>() / values.len().max(1) as f64;
        let shared = 100.0 * result.mean(|seed| seed.local_shared);
        format!("; on the devices' own mix {own:.1}% with their models, {shared:.1}% with the shared one")
    });
    format!(
        "{last:.1}%{spread} after {} rounds{personal}",
        rounds.unwrap_or(0)
    )
}

fn recipe_model(recipe: &ExperimentRecipe) -> String {
    use tributary_recipe::ModelSource;
    match &recipe.run.model {
        ModelSource::Architecture(spec) => {
            let kinds: Vec<&str> = spec.layers.iter().map(|layer| layer.kind()).collect();
            format!("{}: {}", spec.name, kinds.join(", "))
        }
        ModelSource::Version(source) => source.version.clone(),
    }
}
