//! Part 1: is the noise in a release what the mechanism says?
//!
//! Devices send payloads on the grid, so their exact sum is known; what a release holds beyond it is
//! noise. Rounds are taken apart by the mechanism's covariance, which leaves independent standard
//! normals if, and only if, the covariance and the law are right.

use tributary_report::audit::{Bin, Check, NoiseOutcome, NoiseRound, QuantilePair};

use super::law::RoundLaw;
use super::statistics::{
    anderson_darling, chi_square_two_sided, correlation, equal_bins, equal_bins_p_value, mean,
    mean_p_value, mean_square, normal_cdf, normal_quantile, normal_two_sided, variance_p_value,
};

/// Distances between coordinates that are tested for correlation.
const LAGS: usize = 16;
/// Intervals of the chi-square on equal bins.
const EQUAL_BINS: usize = 64;
/// Checks that are questions of chance.
const STATISTICAL: f64 = 8.0;
/// Rounding of released weights may be so much of sigma.
const FINE: f64 = 1e-3;
/// Standardised values beyond are drawn at the edge.
const EDGE: f64 = 4.5;
/// Bars of the histogram.
const BARS: usize = 36;

/// Noise of all rounds in units of sigma, with what is known of it.
pub(crate) struct Measured {
    pub(crate) mechanism: String,
    pub(crate) law_in_words: String,
    pub(crate) devices: usize,
    /// Parameters of the model.
    pub(crate) parameters: usize,
    pub(crate) law: RoundLaw,
    /// By round and coordinate; under local noise the coordinates of all devices, one after the other.
    pub(crate) noise: Vec<Vec<f64>>,
    /// Largest error of any value.
    pub(crate) rounding: f64,
    /// What the ledger charged the device that spent most, in zCDP.
    pub(crate) charged: f64,
    /// What it should have charged at least.
    pub(crate) due: f64,
}

/// The verdict on measured noise.
pub(crate) fn judge(measured: &Measured, false_alarm: f64) -> NoiseOutcome {
    let white = measured.law.whiten(&measured.noise);
    let all: Vec<f64> = white.concat();
    let rounds = rounds(measured);
    let checks = checks(measured, &white, &all, &rounds, false_alarm / STATISTICAL);
    let quantile = -normal_quantile(false_alarm / STATISTICAL / 2.0);
    NoiseOutcome {
        mechanism: measured.mechanism.clone(),
        law: measured.law_in_words.clone(),
        devices: measured.devices,
        parameters: measured.parameters,
        samples: all.len(),
        rounds,
        passed: checks.iter().all(|check| check.passed),
        checks,
        false_alarm,
        // the deviation of a mean square is sqrt(2 / n); of its root, half of that
        noticed_share: quantile * (0.5 / all.len().max(1) as f64).sqrt(),
        histogram: histogram(&all),
        quantiles: quantiles(all),
    }
}

fn rounds(measured: &Measured) -> Vec<NoiseRound> {
    let dimension = measured.noise.first().map_or(0, Vec::len);
    let mut sum = vec![0.0; dimension];
    let of_round = |(index, noise): (usize, &Vec<f64>)| {
        for (sum, noise) in sum.iter_mut().zip(noise) {
            *sum += noise;
        }
        NoiseRound {
            round: index as u32 + 1,
            variance: mean_square(noise),
            predicted: measured.law.variance(index),
            running_variance: mean_square(&sum),
            running_predicted: measured.law.running_sum_variance(index),
        }
    };
    measured.noise.iter().enumerate().map(of_round).collect()
}

fn checks(
    measured: &Measured,
    white: &[Vec<f64>],
    all: &[f64],
    rounds: &[NoiseRound],
    threshold: f64,
) -> Vec<Check> {
    let dimension = measured.noise.first().map_or(0, Vec::len);
    let questions = moments(all)
        .into_iter()
        .chain(variances(rounds, dimension))
        .chain(distribution(all))
        .chain(correlations(white, all, dimension));
    let check = |(name, measured, expected, p_value)| {
        Check::statistical(name, measured, expected, p_value, threshold)
    };
    let certain = [
        Check::at_most("rounding of weights, in sigma", measured.rounding, FINE),
        Check::at_least(
            "charge of the ledger, in rho",
            measured.charged,
            measured.due,
        ),
    ];
    questions.map(check).chain(certain).collect()
}

/// A question of chance: its name, what was measured, what was expected, and the p-value.
type Question = (&'static str, f64, f64, f64);

/// Mean and variance of all values.
fn moments(all: &[f64]) -> [Question; 2] {
    let variance = mean_square(all);
    [
        ("mean of the noise", mean(all), 0.0, mean_p_value(all)),
        ("variance, all rounds", variance, 1.0, variance_p_value(all)),
    ]
}

/// Variance by round, of what was added and of the sum so far.
fn variances(rounds: &[NoiseRound], dimension: usize) -> [Question; 2] {
    let by_round = rounds.iter().map(|round| round.variance / round.predicted);
    let running = rounds
        .iter()
        .map(|round| round.running_variance / round.running_predicted);
    let (of_round, round_p) = worst_variance(by_round, dimension);
    let (of_sum, sum_p) = worst_variance(running, dimension);
    [
        ("variance, worst round", of_round, 1.0, round_p),
        (
            "variance of the running sum, worst round",
            of_sum,
            1.0,
            sum_p,
        ),
    ]
}

/// The form of the distribution.
fn distribution(all: &[f64]) -> [Question; 2] {
    let (distance, distance_p) = anderson_darling(all);
    let (pearson, pearson_p) = equal_bins_p_value(&equal_bins(all, EQUAL_BINS));
    let freedom = EQUAL_BINS as f64 - 1.0;
    [
        ("Anderson-Darling distance", distance, 1.0, distance_p),
        ("chi-square on 64 equal bins", pearson, freedom, pearson_p),
    ]
}

/// Correlation of neighbouring coordinates and of rounds.
fn correlations(white: &[Vec<f64>], all: &[f64], dimension: usize) -> [Question; 2] {
    let lags = (1..=LAGS.min(all.len() / 2)).map(|lag| correlation(&all[lag..], all));
    let (neighbours, neighbours_p) = worst_correlation(lags, all.len());
    let pairs = (1..white.len()).flat_map(|late| (0..late).map(move |early| (early, late)));
    let pairs = pairs.map(|(early, late)| correlation(&white[early], &white[late]));
    let (echo, echo_p) = worst_correlation(pairs, dimension);
    [
        (
            "correlation of coordinates, worst of 16 lags",
            neighbours,
            0.0,
            neighbours_p,
        ),
        ("correlation of rounds, worst pair", echo, 0.0, echo_p),
    ]
}

/// The ratio of measured and predicted variance that is least likely, and its p-value among all.
fn worst_variance(ratios: impl Iterator<Item = f64>, dimension: usize) -> (f64, f64) {
    let freedom = dimension as f64;
    let p_value = |ratio| chi_square_two_sided(ratio * freedom, freedom);
    worst(ratios.map(|ratio| (ratio, p_value(ratio))))
}

/// The correlation that is least likely, as a correlation, and its p-value among all.
fn worst_correlation(statistics: impl Iterator<Item = f64>, count: usize) -> (f64, f64) {
    let root = (count.max(1) as f64).sqrt();
    worst(statistics.map(|statistic| (statistic / root, normal_two_sided(statistic))))
}

/// The measurement with the smallest p-value, which is multiplied by their number (Bonferroni).
fn worst(measured: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    let (mut count, mut worst) = (0.0, (f64::NAN, f64::INFINITY));
    for (value, p_value) in measured {
        count += 1.0;
        // what is no number is the worst of all
        let p_value = if p_value.is_nan() { 0.0 } else { p_value };
        if p_value < worst.1 {
            worst = (value, p_value);
        }
    }
    (worst.0, (worst.1 * count).min(1.0))
}

fn histogram(sample: &[f64]) -> Vec<Bin> {
    let width = 2.0 * EDGE / BARS as f64;
    let mut counts = vec![0u64; BARS];
    for value in sample {
        let bar = ((value + EDGE) / width).clamp(0.0, BARS as f64 - 1.0);
        counts[bar as usize] += 1;
    }
    let bin = |(bar, count): (usize, u64)| {
        let from = bar as f64 * width - EDGE;
        Bin {
            from,
            to: from + width,
            density: count as f64 / sample.len().max(1) as f64 / width,
            expected: (normal_cdf(from + width) - normal_cdf(from)) / width,
        }
    };
    counts.into_iter().enumerate().map(bin).collect()
}

fn quantiles(mut sample: Vec<f64>) -> Vec<QuantilePair> {
    sample.sort_by(f64::total_cmp);
    let count = sample.len();
    let pair = |index: i32| {
        let expected = f64::from(index) / 8.0;
        let rank = normal_cdf(expected) * count as f64;
        // at least ten values beyond, so that a point is more than one value's luck
        let is_shown = rank >= 10.0 && rank + 10.0 <= count as f64;
        is_shown.then(|| QuantilePair {
            expected,
            measured: sample[(rank as usize).min(count - 1)],
        })
    };
    (-36..=36).filter_map(pair).collect()
}
