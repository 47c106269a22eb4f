//! Means under a centred Gaussian of functions that are known by their logarithms.

use super::log_sum::LogSum;

/// Standard deviations beyond which the density is below the rounding of the result.
const REACH: f64 = 9.5;

/// Relative change from one step width to half of it at which the finer value is taken. The error
/// of the trapezoidal rule on an analytic integrand squares with every halving.
const TOLERANCE: f64 = 1e-8;

/// Points that are evaluated before giving up.
const MOST_POINTS: usize = 1 << 21;

/// ln E[f(X)] for X ~ N(0, `deviation`^2) and positive f, given ln f.
///
/// `reach` is how far right the mass of f(x) density(x) may be moved: f must grow no faster than
/// e^(`reach` x / deviation^2), which moves it by `reach`. `step` is the first step width; it is
/// halved until the sum stands still. Trapezoidal sums over the whole line converge exponentially
/// for integrands that are analytic in a strip (Trefethen and Weideman 2014, theorem 5.1).
///
/// `None` when the sums don't settle.
pub(super) fn ln_mean(
    deviation: f64,
    reach: f64,
    mut step: f64,
    ln_f: impl Fn(f64) -> f64,
) -> Option<f64> {
    let (start, end) = (-REACH * deviation, reach + REACH * deviation);
    let ln_weighted = |x: f64| {
        let standard = x / deviation;
        ln_f(x) - 0.5 * standard * standard
    };
    let ln_scale = -(deviation * (2.0 * std::f64::consts::PI).sqrt()).ln();
    let mut sum = LogSum::EMPTY;
    let mut points = ((end - start) / step).ceil() as usize + 1;
    for point in 0..points {
        sum.add(ln_weighted(start + point as f64 * step));
    }
    let mut previous = sum.ln() + step.ln() + ln_scale;
    while points < MOST_POINTS {
        // the points half way between those already summed
        for point in 0..points {
            sum.add(ln_weighted(start + (point as f64 + 0.5) * step));
        }
        points *= 2;
        step *= 0.5;
        let finer = sum.ln() + step.ln() + ln_scale;
        if (finer - previous).abs() <= TOLERANCE {
            return Some(finer);
        }
        previous = finer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_exponentials_and_powers_come_out_as_in_the_books() {
        for deviation in [0.05, 0.7, 1.0, 30.0] {
            for tilt in [0.0, 1.0, 17.5, 400.0] {
                let exponent = tilt / (deviation * deviation);
                let mean = ln_mean(deviation, tilt, deviation, |x| exponent * x).unwrap();
                let expected = 0.5 * tilt * exponent;
                assert!(
                    (mean - expected).abs() <= 1e-12 * expected.max(1.0),
                    "{mean} {expected}"
                );
            }
            // E[x^4] = 3 sigma^4
            let fourth = ln_mean(deviation, 0.0, deviation, |x| 4.0 * x.abs().ln()).unwrap();
            let expected = (3.0 * deviation.powi(4)).ln();
            assert!((fourth - expected).abs() < 1e-12, "{fourth} {expected}");
        }
    }
}
