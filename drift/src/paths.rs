//! How often the statistics of a stream without drift pass a level: rare-event simulation.
//!
//! In whitened coordinates the windows of a stream without drift are independent standard normal vectors
//! `x_t` of dimension `d`, and the noise of the reference is one more normal vector `u` of variance `r`
//! per coordinate that all windows share. A window's own deviation is `s_t = x_t - u`, the EWMA is
//! `e_t = (1-L) e_(t-1) + L s_t`. Both are Gaussian paths with independent, equal coordinates:
//! - `Cov(s_i, s_j) = [i = j] + r`
//! - `Cov(e_i, e_j) = L/(2-L) (1-L)^|i-j| (1 - (1-L)^(2 min(i,j))) + r w_i w_j`, `w_t = 1 - (1-L)^t`
//! - `Cov(s_i, e_j) = [i <= j] L (1-L)^(j-i) + r w_j`
//!
//! and the statistics are the squared lengths over the variances, chi-square at each single window.
//!
//! The chance that either passes `h` anywhere in windows 1..H is a rare event. Following Adler, Blanchet
//! and Liu (2012, "Efficient Monte Carlo for high excursions of Gaussian random fields"), draw one of
//! the 2H statistics uniformly, draw its value from the chi-square law above `h`, the rest of the path
//! given that, and count the exceedances `N`: `P = 2H P(chi2_d > h) E[1/N]`. `1/N` lies in (0, 1], so the
//! relative error doesn't grow as the event gets rarer.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Fixed, so that thresholds are the same everywhere and for ever.
const SEED: u64 = 0x0d81_f700_c0ff_ee01;

/// What the path's law depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathLaw {
    pub degrees: u32,
    /// Variance of the reference's error over that of one window.
    pub reference_ratio: f64,
    /// Weight of the newest window, in (0, 1].
    pub smoothing: f64,
    /// Windows looked at.
    pub horizon: u32,
}

/// Simulated paths, kept in the form in which the conditioning value is still free.
pub(crate) struct Excursions {
    degrees: f64,
    per_path: usize,
    /// Per path: draw of an exponential variable for the conditioned statistic.
    exponentials: Vec<f64>,
    /// Per path and statistic: it is `rest + 2 cross sqrt(q) + share q`, `q` the conditioned value.
    statistics: Vec<Coefficients>,
}

#[derive(Clone, Copy)]
struct Coefficients {
    rest: f32,
    cross: f32,
    share: f32,
}

/// One of the 2H statistics: window (from 0) and kind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Single(usize),
    Ewma(usize),
}

impl PathLaw {
    /// Statistics in the order in which a coordinate holds them: all single windows, then all EWMAs.
    fn place(&self, index: usize) -> Place {
        let horizon = self.horizon as usize;
        if index < horizon {
            Place::Single(index)
        } else {
            Place::Ewma(index - horizon)
        }
    }

    fn statistics(&self) -> usize {
        2 * self.horizon as usize
    }

    fn covariance(&self, first: Place, second: Place) -> f64 {
        let power = |exponent: usize| (1.0 - self.smoothing).powi(exponent as i32);
        let weight = |window: usize| 1.0 - power(window + 1);
        match (first, second) {
            (Place::Single(i), Place::Single(j)) => f64::from(i == j) + self.reference_ratio,
            (Place::Ewma(i), Place::Ewma(j)) => {
                let memory = self.smoothing / (2.0 - self.smoothing);
                let windows = memory * power(i.abs_diff(j)) * (1.0 - power(2 * (i.min(j) + 1)));
                windows + self.reference_ratio * weight(i) * weight(j)
            }
            (Place::Single(i), Place::Ewma(j)) | (Place::Ewma(j), Place::Single(i)) => {
                let own = if i <= j {
                    self.smoothing * power(j - i)
                } else {
                    0.0
                };
                own + self.reference_ratio * weight(j)
            }
        }
    }

    fn correlations(&self, conditioned: Place) -> Vec<f64> {
        let own = self.covariance(conditioned, conditioned);
        (0..self.statistics())
            .map(|index| {
                let place = self.place(index);
                let other = self.covariance(place, place);
                self.covariance(place, conditioned) / (own * other).sqrt()
            })
            .collect()
    }

    /// Simulates paths; about a million normal draws in all.
    pub(crate) fn simulate(&self) -> Excursions {
        let statistics = self.statistics();
        let paths = (1_000_000 / (self.degrees * self.horizon) as usize).clamp(256, 2_000);
        let mut normals = Normals::new(SEED);
        let mut excursions = Excursions {
            degrees: f64::from(self.degrees),
            per_path: statistics,
            exponentials: Vec::with_capacity(paths),
            statistics: Vec::with_capacity(paths * statistics),
        };
        for path in 0..paths {
            // stratified rather than drawn: every statistic is conditioned on equally often
            let conditioned = path * statistics / paths;
            excursions.exponentials.push(-normals.uniform().ln());
            let coefficients = self.conditioned_path(conditioned, &mut normals);
            excursions.statistics.extend(coefficients);
        }
        excursions
    }

    /// A path given that the vector at `conditioned` has some length and, by symmetry, points along the
    /// first axis.
    fn conditioned_path(&self, conditioned: usize, normals: &mut Normals) -> Vec<Coefficients> {
        let correlations = self.correlations(self.place(conditioned));
        let mut coordinate = vec![0.0; self.statistics()];
        let mut rests = vec![0.0; self.statistics()];
        let mut crosses = vec![0.0; self.statistics()];
        for axis in 0..self.degrees {
            self.fill_coordinate(&mut coordinate, normals);
            let anchor = coordinate[conditioned];
            for (index, &correlation) in correlations.iter().enumerate() {
                let residual = coordinate[index] - correlation * anchor;
                rests[index] += residual * residual;
                if axis == 0 {
                    crosses[index] = residual * correlation;
                }
            }
        }
        let terms = rests.iter().zip(&crosses).zip(&correlations);
        terms
            .map(|((&rest, &cross), &correlation)| Coefficients {
                rest: rest as f32,
                cross: cross as f32,
                share: (correlation * correlation) as f32,
            })
            .collect()
    }

    /// One coordinate of an unconditioned path, each statistic scaled to variance 1.
    fn fill_coordinate(&self, coordinate: &mut [f64], normals: &mut Normals) {
        let (singles, ewmas) = coordinate.split_at_mut(self.horizon as usize);
        let (keep, ratio) = (1.0 - self.smoothing, self.reference_ratio);
        let memory = self.smoothing / (2.0 - self.smoothing);
        let offset = ratio.sqrt() * normals.next();
        let scale = 1.0 / (1.0 + ratio).sqrt();
        let (mut value, mut decay) = (0.0, 1.0);
        for (single, ewma) in singles.iter_mut().zip(ewmas) {
            let deviation = normals.next() - offset;
            *single = deviation * scale;
            value = keep * value + self.smoothing * deviation;
            decay *= keep;
            let weight = 1.0 - decay;
            let variance = memory * (1.0 - decay * decay) + ratio * weight * weight;
            *ewma = value / variance.sqrt();
        }
    }
}

impl Excursions {
    /// Chance that a statistic passes `level` within the horizon, given the chi-square tail there.
    ///
    /// The conditioned statistic is drawn as `level` plus an exponential of the law's own rate at `level`
    /// and weighted by the ratio of densities, which is at most 1 from two degrees of freedom on.
    pub(crate) fn chance(&self, level: f64, tail: f64) -> f64 {
        let power = 0.5 * self.degrees - 1.0;
        let rate = (0.5 - power / level).max(0.05);
        let (mut hits, mut weights) = (0.0, 0.0);
        for (exponential, path) in self
            .exponentials
            .iter()
            .zip(self.statistics.chunks(self.per_path))
        {
            let beyond = exponential / rate;
            let weight = (power * (beyond / level).ln_1p() - beyond * (0.5 - rate)).exp();
            let value = (level + beyond) as f32;
            let (root, level) = (value.sqrt(), level as f32);
            let count = path
                .iter()
                .filter(|c| c.rest + 2.0 * c.cross * root + c.share * value > level)
                .count();
            hits += weight / count.max(1) as f64;
            weights += weight;
        }
        self.per_path as f64 * tail * hits / weights
    }
}

/// Standard normal draws by Box and Muller.
struct Normals {
    rng: ChaCha8Rng,
    spare: Option<f64>,
}

impl Normals {
    fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            spare: None,
        }
    }

    /// Uniform on (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.rng.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wald::{chi_squared_tail, chi_squared_upper};

    /// Share of streams without drift of which a statistic passes `level`, by brute force.
    fn brute_force(law: PathLaw, level: f64, streams: usize) -> f64 {
        let mut normals = Normals::new(99);
        let mut coordinate = vec![0.0; law.statistics()];
        let passes = |normals: &mut Normals, coordinate: &mut [f64]| {
            let mut statistic = vec![0.0; law.statistics()];
            for _ in 0..law.degrees {
                law.fill_coordinate(coordinate, normals);
                statistic
                    .iter_mut()
                    .zip(&*coordinate)
                    .for_each(|(sum, value)| *sum += value * value);
            }
            statistic.iter().any(|&value| value > level)
        };
        let hits = (0..streams)
            .filter(|_| passes(&mut normals, &mut coordinate))
            .count();
        hits as f64 / streams as f64
    }

    #[test]
    fn conditioned_paths_agree_with_brute_force() {
        // standard errors: 4 % of the brute force, about 3 % of the estimate; the bound is 4 of both
        let tail = 4e-4;
        for (degrees, reference_ratio) in [(1, 0.3), (4, 0.0), (9, 0.3), (9, 1.0)] {
            let law = PathLaw {
                degrees,
                reference_ratio,
                smoothing: 0.2,
                horizon: 60,
            };
            let level = chi_squared_upper(tail, degrees);
            let estimate = law
                .simulate()
                .chance(level, chi_squared_tail(level, degrees));
            let counted = brute_force(law, level, 400 * 60);
            let ratio = estimate / counted;
            assert!(
                (0.8..1.2).contains(&ratio),
                "{law:?}: {estimate} against {counted}"
            );
        }
    }

    #[test]
    fn a_stream_that_outlives_the_horizon_alarms_less_often_than_within_it() {
        let within = PathLaw {
            degrees: 8,
            reference_ratio: 0.3,
            smoothing: 0.2,
            horizon: 50,
        };
        let level = chi_squared_upper(1e-3, within.degrees);
        let first = brute_force(within, level, 8_000);
        let twice = brute_force(
            PathLaw {
                horizon: 100,
                ..within
            },
            level,
            8_000,
        );
        // 0.045 expected against 0.031; standard error of the difference about 0.004
        let second = (twice - first) / (1.0 - first);
        assert!(
            second < 0.9 * first,
            "{first} in the first 50 windows, {second} in the next"
        );
    }

    #[test]
    fn each_coordinate_has_the_stated_covariance() {
        let law = PathLaw {
            degrees: 1,
            reference_ratio: 0.5,
            smoothing: 0.2,
            horizon: 12,
        };
        let mut normals = Normals::new(5);
        let mut coordinate = vec![0.0; law.statistics()];
        const RUNS: usize = 40_000;
        let pairs = [(2, 9), (14, 21), (2, 21), (9, 14), (0, 12)];
        let mut sums = [0.0; 5];
        for _ in 0..RUNS {
            law.fill_coordinate(&mut coordinate, &mut normals);
            for (sum, (a, b)) in sums.iter_mut().zip(pairs) {
                *sum += coordinate[a] * coordinate[b];
            }
        }
        for (sum, (a, b)) in sums.iter().zip(pairs) {
            // standard error at most 0.0071
            let expected = law.correlations(law.place(b))[a];
            assert!(
                (sum / RUNS as f64 - expected).abs() < 0.025,
                "{a} {b}: {sum} {expected}"
            );
        }
    }
}
