//! The two-sided series of the sampled Gaussian for fractional orders, term by term: slow, and
//! independent of the quadrature that it checks.

use statrs::function::gamma::ln_gamma;

/// What becomes of the sign of the binomial coefficients beyond the order.
#[derive(Clone, Copy, PartialEq)]
pub enum Signs {
    /// Alternating, as in the formula.
    Kept,
    /// All terms positive, as in the reference.
    Dropped,
}

/// ln(A) / (a - 1) by Mironov, Talwar, Zhang 2019, section 3.3:
/// with z0 = z^2 ln(1/q - 1) + 1/2 and j = a - i,
///
/// A = sum_i C(a,i) ( (1-q)^j q^i e^((i^2-i)/2z^2) Phi((z0-i)/z)
///                  + q^j (1-q)^i e^((j^2-j)/2z^2) Phi((j-z0)/z) )
///
/// `None` when a thousand terms don't settle it, with the stopping rule of the reference.
pub fn series(q: f64, z: f64, order: f64, signs: Signs) -> Option<f64> {
    let z0 = z * z * (1.0 / q - 1.0).ln() + 0.5;
    let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
    // A lies near 1 to e^(a^2/2z^2): sums are kept relative to the largest term so far
    let (mut sum, mut scale) = (0.0f64, f64::NEG_INFINITY);
    let (mut last_left, mut last_right) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    let mut sign = 1.0;
    for term in 0..1000 {
        let i = f64::from(term);
        let j = order - i;
        let ln_binomial = ln_gamma(order + 1.0) - ln_gamma(i + 1.0) - ln_abs_gamma(j + 1.0);
        let left = ln_binomial
            + j * ln_rest
            + i * ln_q
            + i * (i - 1.0) / (2.0 * z * z)
            + ln_normal((z0 - i) / z);
        let right = ln_binomial
            + j * ln_q
            + i * ln_rest
            + j * (j - 1.0) / (2.0 * z * z)
            + ln_normal((j - z0) / z);
        let largest = scale.max(left).max(right);
        sum = sum * (scale - largest).exp()
            + sign * ((left - largest).exp() + (right - largest).exp());
        scale = largest;
        let total = scale + sum.abs().ln();
        if left < last_left && right < last_right && left.max(right) < total - 30.0 {
            return (sum > 0.0).then(|| total / (order - 1.0));
        }
        (last_left, last_right) = (left, right);
        // C(a, i+1) = C(a, i) (a - i) / (i + 1)
        if signs == Signs::Kept && j < 0.0 {
            sign = -sign;
        }
    }
    None
}

/// ln |Gamma(x)| for x that is no integer below 1.
fn ln_abs_gamma(x: f64) -> f64 {
    if x > 0.0 {
        return ln_gamma(x);
    }
    // reflection: Gamma(x) Gamma(1 - x) = pi / sin(pi x)
    let pi = std::f64::consts::PI;
    (pi / (pi * x).sin().abs()).ln() - ln_gamma(1.0 - x)
}

/// ln Phi(x)
fn ln_normal(x: f64) -> f64 {
    if x > -30.0 {
        return (0.5 * statrs::function::erf::erfc(-x / std::f64::consts::SQRT_2)).ln();
    }
    // Mills' ratio: Phi(-t) = phi(t) / t (1 - 1/t^2 + 3/t^4 - ...)
    let square = x * x;
    -0.5 * square - (-x).ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
        + (-1.0 / square + 3.0 / (square * square)).ln_1p()
}
