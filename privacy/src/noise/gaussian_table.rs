//! The discrete Gaussian by rejection from a table of steps: the same distribution as
//! [`DiscreteGaussian`], at about a fifth of its time.
//!
//! # What is drawn
//! Let f(y) = e^(-y^2 / (2 sigma^2)), and M an integer. A proposal is a place and a fair sign:
//! - bin k of n, with weight G_k, is one of the w integers from k w on, all alike;
//! - the tail, with weight G_t, is block j >= 0 with probability 2^-(j+1) by tossing fair coins, then one
//!   of the 16 w integers from n w + 16 w j on, all alike;
//! - nothing, with the weight that is left up to 2^31.
//!
//! A place y of bin k is kept with probability M f(y) / G_k, of block j of the tail with probability
//! M f(y) 2^(j+5) / G_t, and zero with a minus sign never. So every integer x, whatever place it comes
//! from, is the outcome of one proposal with probability
//! (G_k / 2^31) (1 / w) (1 / 2) M f(x) / G_k = M f(x) / (2^32 w), a constant times f(x), and likewise in
//! the tail: (G_t / 2^31) 2^-(j+1) (1 / 16 w) (1 / 2) M f(x) 2^(j+5) / G_t is the same. (Zero
//! comes with a plus sign only.) Proposals are repeated until one is kept: the outcome has exactly
//! P(x) proportional to f(x).
//!
//! # Why nothing is rounded
//! - Weights are integers that sum to 2^31, and the alias table over 128 columns divides them without
//!   remainder: one 32-bit word draws sign and place exactly. Offsets are Lemire draws.
//! - The weights need not be exact, only large enough for all probabilities to be at most 1: f falls,
//!   so G_k >= M f(k w) suffices. In the tail M f(n w + 16 w j) 2^(j+5) <= G_t follows for all j from
//!   G_t >= 32 M f(n w): one more block lowers f by at least e^-((16 n + 128) w^2 / sigma^2) <=
//!   e^-(n / 16 + 1/2) < 1/2, since w >= sigma / 16 and n >= 16. Both are computed from floats with a
//!   relative error below 2^-39 ([`falloff`]) and raised by 2^-30 and rounded up.
//! - Keeping compares a uniform U with p = h e^-v, v = (y^2 - (k w)^2) / (2 sigma^2) in [0, 0.75), h =
//!   M f(k w) / G_k. Taylor's sums alternate and their terms fall, so 1 - v + v^2/2 - v^3/6 <= e^-v <=
//!   1 - v + v^2/2 - v^3/6 + v^4/24. In floats v is off by less than 2^-50, h by less than 2^-38
//!   of itself and either sum by less than 2^-48 more; [`SLACK`] = 2^-30 covers all of it many times
//!   over. Where the 32 bits of U that were drawn put it wholly on one side of that bracket, the answer
//!   is certain; else (about once in three million proposals) [`ExactCoin`] decides in integers, starting from
//!   the same bits. So floats decide how fast the answer is found and never what it is.
//!
//! Block numbers are cut at 2^20, which has a chance below 2^-(2^20), as in the other samplers.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::chunks::{Sampler, add_in_parallel, add_in_sequence};
use super::discrete_gaussian::DiscreteGaussian;
use super::exact_coin::ExactCoin;
use super::uniform::uniform_below;
use super::{NoiseError, NoiseSource};

/// Places of the alias table: bins, the tail, and nothing.
const COLUMNS: usize = 128;
/// Bits of a word below its sign and its column.
const COLUMN_BITS: u32 = 24;
/// Sum of all weights.
const TOTAL: u64 = (COLUMNS as u64) << COLUMN_BITS;
/// Bins up to 7.9 sigma: the tail comes up once in 2^31 proposals.
const BINS: usize = COLUMNS - 2;
/// Bins per sigma.
const FINENESS: u64 = 16;
/// Below this a bin of whole integers would be too wide for the bracket's proof.
const LEAST_SIGMA: u64 = 64;
/// Cut for block numbers of the tail.
const MAX_BLOCKS: u64 = 1 << 20;
/// Float error allowed for in each comparison.
const SLACK: f64 = 1.0 / (1u64 << 30) as f64;
/// What a 32-bit word leaves open of U.
const WORD: f64 = 1.0 / (1u64 << 32) as f64;

/// A discrete Gaussian with a table beside it: the distribution, the charge and the guarantees of the
/// [`DiscreteGaussian`] that it was made from, for long vectors. It draws other values from the same
/// random bits.
#[derive(Debug, Clone)]
pub struct GaussianTable {
    gaussian: DiscreteGaussian,
    sigma: u64,
    /// w: integers per bin.
    width: u64,
    /// M: what f is multiplied by.
    scale: u64,
    /// 1 / (2 sigma^2)
    half_precision: f64,
    columns: [Column; COLUMNS],
    bins: Vec<Bin>,
    tail_weight: u64,
}

/// A column belongs to itself below the threshold and to the alias from it on.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Column {
    threshold: u32,
    alias: u32,
}

#[derive(Debug, Clone, Copy)]
struct Bin {
    /// 2 k w
    twice_start: f64,
    /// h = M f(k w) / G_k
    height: f64,
    /// G_k
    weight: u64,
}

impl GaussianTable {
    /// The table for a Gaussian of integer scale from 64 on. It takes 5 KiB and some microseconds.
    ///
    /// # Errors
    /// [`NoiseError::NoTable`] for fractional and for smaller scales.
    pub fn new(gaussian: &DiscreteGaussian) -> Result<Self, NoiseError> {
        Self::with_bins(gaussian, BINS)
    }

    /// The table with a tail from `bins` / 16 sigma on, for 16..=126 bins.
    fn with_bins(gaussian: &DiscreteGaussian, bins: usize) -> Result<Self, NoiseError> {
        let (numerator, denominator) = gaussian.ratio();
        let refused = NoiseError::NoTable {
            numerator,
            denominator,
            least: LEAST_SIGMA,
        };
        if denominator != 1 || numerator < LEAST_SIGMA {
            return Err(refused);
        }
        let sigma = numerator;
        let width = sigma.div_ceil(FINENESS);
        let heights: Vec<f64> = (0..=bins as u64)
            .map(|k| falloff(k * width, sigma))
            .collect();
        let tail_height = 32.0 * heights[bins];
        let area: f64 = heights[..bins].iter().sum::<f64>() + tail_height;
        // the weights below exceed M times the area by at most 2^-30 of it and one each
        let scale = ((TOTAL - 2 * COLUMNS as u64) as f64 / area) as u64;
        let weight = |height: f64| (scale as f64 * height * (1.0 + SLACK)) as u64 + 1;
        let mut weights = [0; COLUMNS];
        for (place, &height) in weights.iter_mut().zip(&heights[..bins]) {
            *place = weight(height);
        }
        weights[bins] = weight(tail_height);
        let used: u64 = weights.iter().sum();
        weights[COLUMNS - 1] = TOTAL.checked_sub(used).ok_or(refused)?;
        let bins = (0..bins)
            .map(|k| Bin {
                twice_start: (2 * k as u64 * width) as f64,
                height: scale as f64 * heights[k] / weights[k] as f64,
                weight: weights[k],
            })
            .collect::<Vec<_>>();
        Ok(Self {
            gaussian: *gaussian,
            sigma,
            width,
            scale,
            half_precision: 0.5 / (sigma as f64 * sigma as f64),
            columns: alias_table(weights),
            tail_weight: weights[bins.len()],
            bins,
        })
    }

    /// The distribution that is drawn from; its charge is this table's charge.
    pub fn gaussian(&self) -> &DiscreteGaussian {
        &self.gaussian
    }

    /// One sample.
    #[inline]
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> i64 {
        loop {
            let word = rng.next_u32();
            let column = (word >> COLUMN_BITS) & (COLUMNS as u32 - 1);
            let entry = self.columns[column as usize];
            let below_threshold = word & ((1 << COLUMN_BITS) - 1) < entry.threshold;
            let place = if below_threshold { column } else { entry.alias } as usize;
            let magnitude = match self.bins.get(place) {
                Some(bin) => self.propose(place, bin, rng),
                None if place == self.bins.len() => self.propose_tail(rng),
                None => None,
            };
            let negative = word >> 31 == 1;
            match magnitude {
                // zero has one sign only
                Some(0) if negative => {}
                // below 2^61
                Some(value) if negative => return -(value as i64),
                Some(value) => return value as i64,
                None => {}
            }
        }
    }

    /// Adds an independent sample to every value, chunks of [`NoiseSource::CHUNK`] in parallel on the
    /// threads of rayon's current pool.
    ///
    /// Each chunk uses a stream of its own, so the outcome depends on the source alone and not on the
    /// number of threads. A sum at the edge of i64 saturates.
    pub fn add_noise(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_parallel(self, values, source);
    }

    /// What [`GaussianTable::add_noise`] does, bit for bit, on the calling thread alone.
    pub fn add_noise_on_this_thread(&self, values: &mut [i64], source: &mut NoiseSource) {
        add_in_sequence(self, values, source);
    }

    #[inline]
    fn propose<R: Rng + ?Sized>(&self, number: usize, bin: &Bin, rng: &mut R) -> Option<u64> {
        let offset = uniform_below(self.width, rng);
        let word = rng.next_u32();
        let magnitude = number as u64 * self.width + offset;
        let kept = self
            .certain(bin, offset, word)
            .unwrap_or_else(|| self.coin(bin, magnitude).toss(word, rng));
        kept.then_some(magnitude)
    }

    /// Whether a place is kept, where `word` alone tells.
    #[inline]
    fn certain(&self, bin: &Bin, offset: u64, word: u32) -> Option<bool> {
        // all of these are below 2^46 and exact
        let offset = offset as f64;
        let v = offset * (bin.twice_start + offset) * self.half_precision;
        let sum = 1.0 - v * (1.0 - v * (1.0 / 2.0) * (1.0 - v * (1.0 / 3.0)));
        let low = bin.height * sum;
        let gap = v * v * (v * v) * (1.0 / 24.0);
        let start = f64::from(word) * WORD;
        if start + (WORD + SLACK) <= low {
            return Some(true);
        }
        if start >= low + (gap + SLACK) {
            return Some(false);
        }
        None
    }

    fn coin(&self, bin: &Bin, magnitude: u64) -> ExactCoin {
        ExactCoin {
            numerator: self.scale,
            shift: 0,
            denominator: bin.weight,
            y: magnitude,
            sigma: self.sigma,
        }
    }

    #[cold]
    #[inline(never)]
    fn propose_tail<R: Rng + ?Sized>(&self, rng: &mut R) -> Option<u64> {
        let mut block = 0;
        while block < MAX_BLOCKS && rng.next_u32() >> 31 == 1 {
            block += 1;
        }
        let length = FINENESS * self.width;
        let start = self.bins.len() as u64 * self.width + block * length;
        let magnitude = start + uniform_below(length, rng);
        let coin = ExactCoin {
            numerator: self.scale,
            shift: block as u32 + 5,
            denominator: self.tail_weight,
            y: magnitude,
            sigma: self.sigma,
        };
        coin.toss(rng.next_u32(), rng).then_some(magnitude)
    }
}

impl Sampler for GaussianTable {
    #[inline]
    fn draw(&self, rng: &mut ChaCha20Rng) -> i64 {
        self.sample(rng)
    }
}

/// e^(-y^2 / (2 sigma^2)) for y below 10 sigma, with a relative error below 2^-39.
///
/// With t = y^2 / (128 sigma^2) < 0.8, 18 terms of Taylor's series of e^t, all positive, leave out less
/// than 2^-56 and are rounded by less than 2^-47 (54 roundings); six squarings make that 2^-41, and the
/// error of t itself, a few times 2^-53, stays below 2^-44.
fn falloff(y: u64, sigma: u64) -> f64 {
    let ratio = y as f64 / sigma as f64;
    let t = ratio * ratio / 128.0;
    let mut power = (1..=18)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * t / f64::from(n));
    for _ in 0..6 {
        power *= power;
    }
    1.0 / power
}

/// Walker's alias table in integers, after Vose (IEEE Transactions on Software Engineering, 1991): each
/// place gets exactly its weight of the 128 columns of 2^24, for weights that sum to 2^31.
fn alias_table(weights: [u64; COLUMNS]) -> [Column; COLUMNS] {
    let capacity = TOTAL / COLUMNS as u64;
    let mut left = weights;
    let (mut small, mut large): (Vec<usize>, Vec<usize>) =
        (0..COLUMNS).partition(|&place| left[place] < capacity);
    // what is never filled below is full of itself
    let mut columns = [Column::default(); COLUMNS];
    for (place, column) in columns.iter_mut().enumerate() {
        column.threshold = capacity as u32;
        column.alias = place as u32;
    }
    while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
        columns[poor] = Column {
            threshold: left[poor] as u32,
            alias: rich as u32,
        };
        left[rich] -= capacity - left[poor];
        if left[rich] < capacity {
            large.pop();
            small.push(rich);
        }
    }
    columns
}

#[cfg(test)]
mod tests;
