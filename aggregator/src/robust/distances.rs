//! Squared distances of all pairs.

use super::matrix::Matrix;
use super::update_set::{BLOCK, STRIDE, UpdateSet};

/// Independent sums of an inner loop, so that the compiler can use vector registers.
const LANES: usize = 8;

impl UpdateSet<'_> {
    /// Squared distances between all points.
    ///
    /// Those of mixtures follow from those of the vectors: with weights a and b that each sum to 1,
    /// ||sum (a - b) x||^2 = a'Db - a'Da / 2 - b'Db / 2.
    pub(super) fn distances(&self) -> Matrix {
        let plain = squared_distances(self);
        let Some(mixtures) = self.mixtures() else {
            return plain;
        };
        let count = mixtures.len();
        let mut sums = Matrix::zero(count);
        for (point, members) in mixtures.iter().enumerate() {
            let row = sums.row_mut(point);
            for &member in members {
                for (sum, distance) in row.iter_mut().zip(plain.row(member)) {
                    *sum += distance;
                }
            }
        }
        let pairs = |left: usize, right: usize| -> f64 {
            let share = 1.0 / (mixtures[left].len() * mixtures[right].len()) as f64;
            let row = sums.row(left);
            share
                * mixtures[right]
                    .iter()
                    .map(|&member| row[member])
                    .sum::<f64>()
        };
        let own: Vec<f64> = (0..count).map(|point| pairs(point, point)).collect();
        let mut mixed = Matrix::zero(count);
        for left in 0..count {
            for right in left + 1..count {
                let distance = pairs(left, right) - 0.5 * (own[left] + own[right]);
                mixed.set_pair(left, right, distance.max(0.0));
            }
        }
        mixed
    }
}

/// Squared distances between the scaled vectors of a cloud.
///
/// The loops are those of a blocked matrix product, two rows against two within a block of columns
/// that stays in the cache, but with (x - y)^2 in place of x y: one operation in three more than a
/// Gram matrix, and none of its cancellation when updates share a large common part. Sums are f32
/// within a block and f64 across blocks. A power of two brings the typical norm to about 1 first, so
/// that squares neither overflow nor vanish; it changes no digit.
fn squared_distances(cloud: &UpdateSet<'_>) -> Matrix {
    let count = cloud.len();
    let even = count.next_multiple_of(2);
    let factor = power_of_two_near_inverse(cloud.typical_norm());
    let mut sums = Matrix::zero(even);
    let mut block = vec![0.0f32; even * STRIDE];
    let dimension = cloud.dimension();
    for offset in (0..dimension).step_by(BLOCK) {
        let width = BLOCK.min(dimension - offset);
        if width < BLOCK {
            block.fill(0.0);
        }
        cloud.copy_block(offset, width, &mut block);
        for value in &mut block {
            *value *= factor;
        }
        add_block(&block, &mut sums);
    }
    let undo = f64::from(factor).powi(-2);
    let mut distances = Matrix::zero(count);
    for left in 0..count {
        for right in left + 1..count {
            distances.set_pair(left, right, sums.row(left)[right] * undo);
        }
    }
    distances
}

/// Adds what one block contributes to the pairs above the diagonal.
fn add_block(block: &[f32], sums: &mut Matrix) {
    let row = |index: usize| &block[index * STRIDE..index * STRIDE + BLOCK];
    for left in (0..sums.order()).step_by(2) {
        for right in (left..sums.order()).step_by(2) {
            let tile = tile([row(left), row(left + 1)], [row(right), row(right + 1)]);
            for (half, pair) in tile.iter().enumerate() {
                sums.row_mut(left + half)[right] += f64::from(pair[0]);
                sums.row_mut(left + half)[right + 1] += f64::from(pair[1]);
            }
        }
    }
}

/// Squared distances of two rows to two others.
fn tile(left: [&[f32]; 2], right: [&[f32]; 2]) -> [[f32; 2]; 2] {
    let mut sums = [[[0.0f32; LANES]; 2]; 2];
    let lefts = left[0]
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(left[1].as_chunks::<LANES>().0);
    let rights = right[0]
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(right[1].as_chunks::<LANES>().0);
    for ((a, b), (c, d)) in lefts.zip(rights) {
        for lane in 0..LANES {
            let differences = [a[lane] - c[lane], a[lane] - d[lane], b[lane] - c[lane]];
            let last = b[lane] - d[lane];
            sums[0][0][lane] += differences[0] * differences[0];
            sums[0][1][lane] += differences[1] * differences[1];
            sums[1][0][lane] += differences[2] * differences[2];
            sums[1][1][lane] += last * last;
        }
    }
    sums.map(|pair| pair.map(|lanes| lanes.iter().sum()))
}

/// The power of two nearest to 1 / `norm`, within what an f32 can hold; 1 for a norm of zero.
fn power_of_two_near_inverse(norm: f64) -> f32 {
    if norm > 0.0 {
        (-norm.log2()).round().clamp(-120.0, 120.0).exp2() as f32
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(left: &[f32], right: &[f32]) -> f64 {
        let difference = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        left.iter().zip(right).map(difference).sum()
    }

    fn vectors(count: usize, dimension: usize, scale: f32, shift: f32) -> Vec<Vec<f32>> {
        let value = |index: usize| ((index * 7919 + 13) % 2003) as f32 / 1001.0 - 1.0;
        (0..count)
            .map(|row| {
                let start = row * 31_337;
                (start..start + dimension)
                    .map(|at| scale * (value(at) + shift))
                    .collect()
            })
            .collect()
    }

    #[test]
    fn all_pairs_agree_with_double_precision_at_every_scale_and_offset() {
        for (count, dimension) in [(1, 1), (2, 7), (5, 255), (7, 1000)] {
            for (scale, shift) in [(1.0, 0.0), (1e-30, 0.0), (1e30, 0.0), (1.0, 1000.0)] {
                let vectors = vectors(count, dimension, scale, shift);
                let cloud = UpdateSet::new(&vectors).unwrap();
                let distances = squared_distances(&cloud);
                for left in 0..count {
                    for right in 0..count {
                        let expected = exact(&vectors[left], &vectors[right]);
                        let found = distances.row(left)[right];
                        let gap = (found - expected).abs();
                        assert!(gap <= 2e-6 * expected, "{left} {right} {found} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn scaled_vectors_are_compared_as_scaled() {
        let vectors = vec![vec![3.0, 4.0], vec![0.3, 0.4]];
        let mut cloud = UpdateSet::new(&vectors).unwrap();
        cloud.shorten(1.0);
        assert!((squared_distances(&cloud).row(0)[1] - 0.25).abs() < 1e-6);
    }
}
