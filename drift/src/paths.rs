//! How often the EWMA statistic of a stream without drift passes a level: rare-event simulation.
//!
//! In whitened coordinates the windows of a stream without drift are independent standard normal vectors
//! `x_t` of dimension `d`, and the noise of the reference is one more normal vector `u` of variance `r`
//! per coordinate that all windows share. The EWMA `e_t = (1-L) e_(t-1) + L (x_t - u)` is a Gaussian path
//! with independent, equal coordinates and covariance
//! `C(s,t) = L/(2-L) (1-L)^|t-s| (1 - (1-L)^(2 min(s,t))) + r w_s w_t`, `w_t = 1 - (1-L)^t`;
//! the statistic is `|e_t|^2 / C(t,t)`, chi-square at each single `t`.
//!
//! The chance that it passes `h` anywhere in windows 1..H is a rare event. Following Adler, Blanchet and
//! Liu (2012, "Efficient Monte Carlo for high excursions of Gaussian random fields"), draw a window `t`
//! uniformly, draw its statistic from the chi-square law above `h`, the rest of the path given that, and
//! count the exceedances `N`: `P = H P(chi2_d > h) E[1/N]`. `1/N` lies in (0, 1], so the relative error
//! doesn't grow as the event gets rarer.

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
    horizon: usize,
    /// Per path: draw of an exponential variable for the conditioned statistic.
    exponentials: Vec<f64>,
    /// Per path and window: the statistic given the conditioned value `q` is
    /// `rest + 2 cross sqrt(q) + share q`.
    windows: Vec<Coefficients>,
}

#[derive(Clone, Copy)]
struct Coefficients {
    rest: f32,
    cross: f32,
    share: f32,
}

impl PathLaw {
    fn covariance(&self, s: usize, t: usize) -> f64 {
        let keep = 1.0 - self.smoothing;
        let power = |exponent: usize| keep.powi(exponent as i32);
        let memory = self.smoothing / (2.0 - self.smoothing);
        let windows = memory * power(s.abs_diff(t)) * (1.0 - power(2 * s.min(t)));
        windows + self.reference_ratio * (1.0 - power(s)) * (1.0 - power(t))
    }

    /// Simulates paths; about 2 million normal draws in all.
    pub(crate) fn simulate(&self) -> Excursions {
        let (degrees, horizon) = (self.degrees as usize, self.horizon as usize);
        let paths = (2_000_000 / (degrees * horizon)).clamp(256, 4_000);
        let mut normals = Normals::new(SEED);
        let mut excursions = Excursions {
            degrees: f64::from(self.degrees),
            horizon,
            exponentials: Vec::with_capacity(paths),
            windows: Vec::with_capacity(paths * horizon),
        };
        let mut coordinate = vec![0.0; horizon];
        let mut sums = vec![[0.0; 2]; horizon];
        for path in 0..paths {
            // stratified rather than drawn: every window is conditioned on equally often
            let conditioned = 1 + path * horizon / paths;
            excursions.exponentials.push(-normals.uniform().ln());
            let correlations = self.correlations(conditioned);
            sums.fill([0.0; 2]);
            for axis in 0..degrees {
                self.fill_coordinate(&mut coordinate, &mut normals);
                let anchor = coordinate[conditioned - 1];
                for ((sum, value), correlation) in
                    sums.iter_mut().zip(&coordinate).zip(&correlations)
                {
                    let residual = value - correlation * anchor;
                    sum[0] += residual * residual;
                    // by symmetry the conditioned vector may point along the first axis
                    if axis == 0 {
                        sum[1] = residual * correlation;
                    }
                }
            }
            let coefficients =
                sums.iter()
                    .zip(&correlations)
                    .map(|(sum, correlation)| Coefficients {
                        rest: sum[0] as f32,
                        cross: sum[1] as f32,
                        share: (correlation * correlation) as f32,
                    });
            excursions.windows.extend(coefficients);
        }
        excursions
    }

    fn correlations(&self, conditioned: usize) -> Vec<f64> {
        let own = self.covariance(conditioned, conditioned);
        let horizon = self.horizon as usize;
        (1..=horizon)
            .map(|t| self.covariance(t, conditioned) / (own * self.covariance(t, t)).sqrt())
            .collect()
    }

    /// One coordinate of an unconditioned path, each window scaled to variance 1.
    fn fill_coordinate(&self, coordinate: &mut [f64], normals: &mut Normals) {
        let keep = 1.0 - self.smoothing;
        let offset = self.reference_ratio.sqrt() * normals.next();
        let memory = self.smoothing / (2.0 - self.smoothing);
        let (mut value, mut decay) = (0.0, 1.0);
        for slot in coordinate {
            value = keep * value + self.smoothing * (normals.next() - offset);
            decay *= keep;
            let weight = 1.0 - decay;
            let variance = memory * (1.0 - decay * decay) + self.reference_ratio * weight * weight;
            *slot = value / variance.sqrt();
        }
    }
}

impl Excursions {
    /// Chance that the statistic passes `level` within the horizon, given the chi-square tail there.
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
            .zip(self.windows.chunks(self.horizon))
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
        self.horizon as f64 * tail * hits / weights
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
