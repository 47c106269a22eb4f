//! Row-major matrices on slices, multiplied by `ndarray` on the calling thread.
//!
//! One thread and a fixed order of additions: the same input gives the same bits on one machine,
//! whatever else runs.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::Blend;

/// `values` as `rows` x `columns`.
pub(crate) fn view(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), &values[..rows * columns]).expect("length is exact") // sliced to rows * columns
}

/// `target = keep target + scale left right`, with `target` row major.
pub(crate) fn multiply(
    left: ArrayView2<'_, f32>,
    right: ArrayView2<'_, f32>,
    blend: Blend,
    target: &mut [f32],
) {
    let shape = (left.nrows(), right.ncols());
    let target = &mut target[..shape.0 * shape.1];
    let mut target = ArrayViewMut2::from_shape(shape, target).expect("length is exact"); // sliced to rows * columns
    general_mat_mul(blend.scale, &left, &right, blend.keep, &mut target);
}
