//! Poles and zeros of a BLT.
//!
//! C(q) = 1 + sum_m omega_m q / (1 - theta_m q) = prod (1 - hat_m q) / prod (1 - theta_m q). For
//! valid parameters the hats interlace with the thetas, 0 < hat_1 < theta_1 < hat_2 < ... <
//! theta_M < 1, and every interlaced list is a valid BLT: sum omega = sum (theta - hat) < theta_M
//! and sum omega / theta = 1 - prod hat / prod theta.

/// Bisection steps; a double is settled earlier.
const STEPS: u32 = 80;

/// Zeros (hats) of a BLT in ascending order.
pub(super) fn zeros_of(theta: &[f64], omega: &[f64]) -> Vec<f64> {
    let poles = ascending(theta, omega);
    // f(p) = 1 + sum omega / (p - theta) falls from +inf to -inf between neighbouring poles
    let brackets = std::iter::once(0.0).chain(poles.iter().map(|pole| pole.0));
    let ends = poles.iter().map(|pole| pole.0);
    brackets
        .zip(ends)
        .map(|(low, high)| bisect(low, high, |p| rational(&poles, p) > 0.0))
        .collect()
}

/// omega_m = prod_i (theta_m - hat_i) / prod_(i != m) (theta_m - theta_i).
pub(super) fn weights(theta: &[f64], hats: &[f64], minus: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let weight = |m: usize| {
        let above: f64 = hats.iter().map(|&hat| minus(theta[m], hat)).product();
        let others = theta.iter().enumerate().filter(|&(i, _)| i != m);
        above
            / others
                .map(|(_, &other)| minus(theta[m], other))
                .product::<f64>()
    };
    (0..theta.len()).map(weight).collect()
}

fn ascending(places: &[f64], weights: &[f64]) -> Vec<(f64, f64)> {
    let mut pairs: Vec<_> = places
        .iter()
        .copied()
        .zip(weights.iter().copied())
        .collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    pairs
}

fn rational(pairs: &[(f64, f64)], p: f64) -> f64 {
    1.0 + pairs
        .iter()
        .map(|(place, weight)| weight / (p - place))
        .sum::<f64>()
}

/// The point in [low, high] up to which `before` holds.
fn bisect(mut low: f64, mut high: f64, before: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..STEPS {
        let middle = 0.5 * (low + high);
        if before(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}
