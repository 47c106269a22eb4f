//! The vectors a rule looks at.
//!
//! Clipping changes lengths and mixing takes means. Neither makes a copy: a cloud remembers a factor
//! for each vector it was given and, after mixing, the positions that each point is the mean of. Its
//! points only come into being block by block, or as weights of the final sum.

use std::borrow::Cow;

use tributary_privacy::l2_norm;

use super::RobustError;

/// Columns handled at a time; the same block of 100 vectors stays in the second-level cache.
pub(super) const BLOCK: usize = 256;

/// Places between the rows of a block. Not a power of two, so that a column's values don't all fall
/// into the same cache set.
pub(super) const STRIDE: usize = BLOCK + 16;

/// Norms above this many typical norms are cut before distances are taken.
const FAR: f64 = 1000.0;

pub(super) struct UpdateSet<'a> {
    vectors: Vec<Cow<'a, [f32]>>,
    /// What each vector is multiplied by, in (0, 1].
    scales: Vec<f64>,
    /// L2 norm of each vector after scaling.
    norms: Vec<f64>,
    /// After mixing: point i is the mean of these vectors. All lists have the same length.
    mixtures: Option<Vec<Vec<usize>>>,
}

/// Refuses a vector of another length than `expected` or with a value that is not finite.
pub(super) fn check_vector(
    what: &'static str,
    index: usize,
    values: &[f32],
    expected: usize,
) -> Result<(), RobustError> {
    if values.len() != expected {
        return Err(RobustError::LengthMismatch {
            what,
            index,
            expected,
            actual: values.len(),
        });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(RobustError::NotFinite {
            what,
            index,
            position,
        }),
        None => Ok(()),
    }
}

impl<'a> UpdateSet<'a> {
    pub(super) fn new(vectors: &'a [Vec<f32>]) -> Result<Self, RobustError> {
        let dimension = vectors.first().map_or(0, Vec::len);
        if dimension == 0 {
            return Err(RobustError::Empty);
        }
        for (index, vector) in vectors.iter().enumerate() {
            check_vector("vector", index, vector, dimension)?;
        }
        let borrowed = vectors.iter().map(|vector| Cow::from(vector.as_slice()));
        Ok(Self::of(borrowed.collect()))
    }

    pub(super) fn of(vectors: Vec<Cow<'a, [f32]>>) -> Self {
        Self {
            scales: vec![1.0; vectors.len()],
            norms: vectors.iter().map(|vector| l2_norm(vector)).collect(),
            vectors,
            mixtures: None,
        }
    }

    /// Number of points; mixing keeps it.
    pub(super) fn len(&self) -> usize {
        self.vectors.len()
    }

    pub(super) fn dimension(&self) -> usize {
        self.vectors.first().map_or(0, |vector| vector.len())
    }

    /// Norms of the vectors before any mixing.
    pub(super) fn norms(&self) -> &[f64] {
        &self.norms
    }

    /// Shortens every vector that is longer than `limit` to that norm.
    pub(super) fn shorten(&mut self, limit: f64) {
        for (scale, norm) in self.scales.iter_mut().zip(&mut self.norms) {
            if *norm > limit {
                *scale *= limit / *norm;
                *norm = limit;
            }
        }
    }

    /// Shortens vectors beyond 1,000 typical norms, so that squared distances keep their precision.
    pub(super) fn shorten_far(&mut self) {
        let typical = self.typical_norm();
        if typical > 0.0 {
            self.shorten(FAR * typical);
        }
    }

    /// The median norm, or the smallest one above zero when most vectors are zero.
    pub(super) fn typical_norm(&self) -> f64 {
        let median = upper_median(&self.norms);
        if median > 0.0 {
            return median;
        }
        let above_zero = self.norms.iter().copied().filter(|&norm| norm > 0.0);
        above_zero.min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// Makes point i the mean of the vectors in `mixtures[i]`.
    pub(super) fn mix(&mut self, mixtures: Vec<Vec<usize>>) {
        self.mixtures = Some(mixtures);
    }

    /// After mixing: which vectors each point is the mean of.
    pub(super) fn mixtures(&self) -> Option<&[Vec<usize>]> {
        self.mixtures.as_deref()
    }

    /// Passes the points on in blocks of columns: `consume(offset, width, rows)` finds value j of
    /// point i at `rows[i * STRIDE + j]`, j < width.
    pub(super) fn for_each_block(&self, mut consume: impl FnMut(usize, usize, &[f32])) {
        let count = self.len();
        let mut block = vec![0.0f32; count * STRIDE];
        let mut mixed = vec![0.0f32; self.mixtures.as_ref().map_or(0, |_| count * STRIDE)];
        let dimension = self.dimension();
        for offset in (0..dimension).step_by(BLOCK) {
            let width = BLOCK.min(dimension - offset);
            self.copy_block(offset, width, &mut block);
            match &self.mixtures {
                None => consume(offset, width, &block),
                Some(mixtures) => {
                    mix_block(mixtures, width, &block, &mut mixed);
                    consume(offset, width, &mixed);
                }
            }
        }
    }

    /// Copies columns `offset..offset + width` of the scaled vectors, one row each.
    pub(super) fn copy_block(&self, offset: usize, width: usize, block: &mut [f32]) {
        let rows = block.chunks_mut(STRIDE);
        for ((vector, &scale), row) in self.vectors.iter().zip(&self.scales).zip(rows) {
            let values = &vector[offset..offset + width];
            if scale == 1.0 {
                row[..width].copy_from_slice(values);
            } else {
                for (place, &value) in row.iter_mut().zip(values) {
                    *place = (f64::from(value) * scale) as f32;
                }
            }
        }
    }

    /// L2 norms of the points, mixing included.
    pub(super) fn point_norms(&self) -> Vec<f64> {
        if self.mixtures.is_none() {
            return self.norms.clone();
        }
        let mut squares = vec![0.0f64; self.len()];
        self.for_each_block(|_, width, rows| {
            for (square, row) in squares.iter_mut().zip(rows.chunks(STRIDE)) {
                *square += l2_norm(&row[..width]).powi(2);
            }
        });
        squares.into_iter().map(f64::sqrt).collect()
    }

    pub(super) fn mean(&self) -> Result<Vec<f32>, RobustError> {
        let count = self.len();
        self.combine(&vec![1.0 / count as f64; count])
    }

    /// The sum of the points times their weights.
    pub(super) fn combine(&self, weights: &[f64]) -> Result<Vec<f32>, RobustError> {
        let factors = self.factors(weights);
        let mut result = Vec::with_capacity(self.dimension());
        let mut sums = [0.0f64; 4 * BLOCK];
        for offset in (0..self.dimension()).step_by(sums.len()) {
            let width = sums.len().min(self.dimension() - offset);
            sums.fill(0.0);
            for (vector, &factor) in self.vectors.iter().zip(&factors) {
                if factor == 0.0 {
                    continue;
                }
                for (sum, &value) in sums.iter_mut().zip(&vector[offset..offset + width]) {
                    *sum += factor * f64::from(value);
                }
            }
            result.extend(sums[..width].iter().map(|&sum| sum as f32));
        }
        if result.iter().all(|value| value.is_finite()) {
            Ok(result)
        } else {
            Err(RobustError::Overflow)
        }
    }

    /// What each vector is multiplied by in a sum of points with `weights`.
    fn factors(&self, weights: &[f64]) -> Vec<f64> {
        let mut factors = vec![0.0; self.len()];
        match &self.mixtures {
            None => factors.copy_from_slice(weights),
            Some(mixtures) => {
                for (members, &weight) in mixtures.iter().zip(weights) {
                    let share = weight / members.len() as f64;
                    for &member in members {
                        factors[member] += share;
                    }
                }
            }
        }
        for (factor, scale) in factors.iter_mut().zip(&self.scales) {
            *factor *= scale;
        }
        factors
    }
}

fn mix_block(mixtures: &[Vec<usize>], width: usize, block: &[f32], mixed: &mut [f32]) {
    for (members, place) in mixtures.iter().zip(mixed.chunks_mut(STRIDE)) {
        let place = &mut place[..width];
        place.fill(0.0);
        for &member in members {
            let row = &block[member * STRIDE..member * STRIDE + width];
            for (sum, value) in place.iter_mut().zip(row) {
                *sum += value;
            }
        }
        let share = 1.0 / members.len() as f32;
        for sum in place {
            *sum *= share;
        }
    }
}

/// The middle value, of an even number the upper of both middle values.
pub(super) fn upper_median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    let middle = sorted.len() / 2;
    if sorted.is_empty() {
        return 0.0;
    }
    *sorted.select_nth_unstable_by(middle, f64::total_cmp).1
}
