//! What is known of all pairs of points.

/// A square matrix of f64, row by row.
pub(super) struct Matrix {
    order: usize,
    values: Vec<f64>,
}

impl Matrix {
    pub(super) fn zero(order: usize) -> Self {
        Self {
            order,
            values: vec![0.0; order * order],
        }
    }

    pub(super) fn order(&self) -> usize {
        self.order
    }

    pub(super) fn row(&self, index: usize) -> &[f64] {
        &self.values[index * self.order..(index + 1) * self.order]
    }

    pub(super) fn row_mut(&mut self, index: usize) -> &mut [f64] {
        &mut self.values[index * self.order..(index + 1) * self.order]
    }

    pub(super) fn set_pair(&mut self, left: usize, right: usize, value: f64) {
        self.row_mut(left)[right] = value;
        self.row_mut(right)[left] = value;
    }
}
