//! Strategies that are measured against, not run: fresh noise, noise on every running sum, and the
//! square root of the running sum.

/// A lower triangular Toeplitz strategy known in closed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// C = I: independent noise in every round.
    Identity,
    /// C = A: independent noise on every running sum.
    Prefix,
    /// C = A^(1/2): optimal to leading order for one participation (arXiv 2202.11205).
    SquareRoot,
}

impl Reference {
    /// The first `n` coefficients of C.
    pub fn coefficients(self, n: usize) -> Vec<f64> {
        match self {
            Self::Identity => leading(n, &[1.0]),
            Self::Prefix => vec![1.0; n],
            Self::SquareRoot => binomials(n).collect(),
        }
    }

    /// The first `n` coefficients of the inverse of C.
    pub fn inverse_coefficients(self, n: usize) -> Vec<f64> {
        match self {
            Self::Identity => leading(n, &[1.0]),
            Self::Prefix => leading(n, &[1.0, -1.0]),
            // (1 - q)^(1/2) = sum_j -binomial(2j, j) 4^-j / (2j - 1) q^j
            Self::SquareRoot => binomials(n)
                .enumerate()
                .map(|(j, binomial)| -binomial / (2.0 * j as f64 - 1.0))
                .collect(),
        }
    }
}

fn leading(n: usize, values: &[f64]) -> Vec<f64> {
    let mut column = vec![0.0; n];
    for (place, value) in column.iter_mut().zip(values) {
        *place = *value;
    }
    column
}

/// binomial(2j, j) 4^-j, the coefficients of (1 - q)^(-1/2).
fn binomials(n: usize) -> impl Iterator<Item = f64> {
    let mut value = 1.0;
    (0..n).map(move |j| {
        if j > 0 {
            value *= 1.0 - 0.5 / j as f64;
        }
        value
    })
}
