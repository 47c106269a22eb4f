//! From the results of an experiment to its report.

use tributary_proto::v1::PrivacySpend;

use super::ExperimentRecipe;
use super::experiment::VariantResult;
use crate::data::Dataset;
use crate::report::{
    AccuracySummary, Fact, LedgerLine, Phase, PrivacySummary, Report, RoundPoint, RoundSeries,
    Summary, WireBytes, WirePoint,
};

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
        seed: recipe.run.seed,
        phases: vec![Phase {
            name: "training".to_owned(),
            first_round: 1,
            last_round: recipe.run.rounds.count.into(),
        }],
        accuracy: accuracy(results),
        epsilon: results.iter().map(epsilon).collect(),
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

fn summary(recipe: &ExperimentRecipe, results: &[VariantResult]) -> Summary {
    // the milestones are those of the last variant; the plots show all
    let last = results.last();
    let spends = results
        .iter()
        .filter_map(|result| result.privacy.worst_device.as_ref());
    let worst = spends.max_by(|a, b| a.rho.total_cmp(&b.rho));
    Summary {
        devices: recipe.fleet.devices.into(),
        regions: series_names(results),
        rounds: results
            .iter()
            .map(|result| result.run.rounds.len() as u64)
            .sum(),
        accuracy: AccuracySummary {
            initial: last.map(|result| result.run.first_score.overall),
            trained: last.map(|result| result.run.last_score().overall),
            ..AccuracySummary::default()
        },
        privacy: privacy_summary(worst),
        model_digest: last.map_or(String::new(), |result| result.run.run.model_digest.clone()),
        wire_bytes: WireBytes {
            down: results
                .iter()
                .map(|result| result.stats.tally.bytes_down)
                .sum(),
            up: results
                .iter()
                .map(|result| result.stats.tally.bytes_up)
                .sum(),
        },
        wall_s: Some(results.iter().map(|result| result.wall_s).sum()),
        ..Summary::default()
    }
}

/// What the lines of the accuracy plot are called.
fn series_names(results: &[VariantResult]) -> Vec<String> {
    results
        .iter()
        .flat_map(|result| names(result, results.len()))
        .collect()
}

/// A variant's lines: one, or one for each region.
fn names(result: &VariantResult, variants: usize) -> Vec<String> {
    let regions: Vec<&str> = result.held_out.regions().collect();
    match (variants, regions.as_slice()) {
        (_, [_]) => vec![result.name.clone()],
        (1, regions) => regions.iter().map(ToString::to_string).collect(),
        (_, regions) => regions
            .iter()
            .map(|name| format!("{}, {name}", result.name))
            .collect(),
    }
}

fn accuracy(results: &[VariantResult]) -> Vec<RoundSeries> {
    let lines = |result: &VariantResult| {
        let names = names(result, results.len());
        let line = |(index, region): (usize, String)| {
            let first = (0, &result.run.first_score);
            let later = result.run.rounds.iter();
            let later = later.map(|round| (u64::from(round.round.round), &round.score));
            let points = std::iter::once(first).chain(later);
            let point = |(round, score): (u64, &super::Score)| {
                RoundPoint::new(
                    round,
                    score.by_region.get(index).copied().unwrap_or(f64::NAN),
                )
            };
            RoundSeries {
                region,
                points: points.map(point).collect(),
            }
        };
        names.into_iter().enumerate().map(line).collect::<Vec<_>>()
    };
    results.iter().flat_map(lines).collect()
}

fn epsilon(result: &VariantResult) -> RoundSeries {
    let point = |round: &super::RoundResult| {
        let spent = round
            .round
            .privacy
            .as_ref()
            .map_or(0.0, |spend| spend.epsilon);
        RoundPoint::new(round.round.round.into(), spent)
    };
    let points = std::iter::once(RoundPoint::new(0, 0.0));
    let points = points.chain(result.run.rounds.iter().map(point)).collect();
    RoundSeries {
        region: result.name.clone(),
        points,
    }
}

/// Bytes by round, all variants together.
fn wire(results: &[VariantResult]) -> Vec<WirePoint> {
    let rounds = results
        .iter()
        .map(|result| result.run.rounds.len())
        .max()
        .unwrap_or(0);
    let total = |index: usize| {
        let rounds = results
            .iter()
            .filter_map(|result| result.run.rounds.get(index));
        rounds.fold(WirePoint::default(), |sum, round| WirePoint {
            round: round.round.round.into(),
            down: sum.down + round.round.bytes_down,
            up: sum.up + round.round.bytes_up,
        })
    };
    (0..rounds).map(total).collect()
}

fn ledger(result: &VariantResult) -> Vec<LedgerLine> {
    let each = result
        .run
        .rounds
        .first()
        .and_then(|first| first.round.privacy.as_ref());
    let each = each.map_or(0.0, |spend| spend.rho);
    let line = |account: &tributary_proto::v1::PrivacyAccount| {
        let rho = account.spend.as_ref().map_or(0.0, |spend| spend.rho);
        LedgerLine {
            kind: format!("{} of {}", account.kind, result.name),
            region: String::new(),
            charges: account.charges,
            charges_per_device: if each > 0.0 {
                (rho / each).round() as u64
            } else {
                0
            },
            rho,
        }
    };
    result.privacy.accounts.iter().map(line).collect()
}

fn facts(recipe: &ExperimentRecipe, data: &Dataset, results: &[VariantResult]) -> Vec<Fact> {
    let fact = |name: &str, value: String| Fact {
        name: name.to_owned(),
        value,
    };
    let mut facts = vec![
        fact(
            "Data",
            format!(
                "{}: {} training and {} held-out samples",
                data.name,
                data.train.len(),
                data.test.len()
            ),
        ),
        fact("Model", recipe_model(recipe)),
        fact("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    for result in results {
        let last = 100.0 * result.run.last_score().overall;
        let text = format!("{last:.1}% after {} rounds", result.run.rounds.len());
        facts.push(fact(&result.name, text));
    }
    facts
}

fn recipe_model(recipe: &ExperimentRecipe) -> String {
    use tributary_coordinator::spec::ModelSource;
    match &recipe.run.model {
        ModelSource::Architecture(spec) => {
            let kinds: Vec<&str> = spec.layers.iter().map(|layer| layer.kind()).collect();
            format!("{}: {}", spec.name, kinds.join(", "))
        }
        ModelSource::Version(source) => source.version.clone(),
    }
}
