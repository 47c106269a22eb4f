//! Rational scales in lowest terms, and the range in which they are sampled exactly.

/// Largest integer scale; 2 sigma^2 times the longest possible series still fits the coins.
pub(super) const MAX_INTEGER_SCALE: u64 = 1 << 40;
/// Largest numerator and denominator of a fractional scale, for the same reason.
pub(super) const MAX_FRACTION_PART: u64 = 1 << 20;

/// `numerator / denominator` in lowest terms, where samplers are exact: an integer from 1 to 2^40, or
/// a fraction whose parts are from 1 to 2^20. `None` for any other.
pub(super) fn exact_scale(numerator: u64, denominator: u64) -> Option<(u64, u64)> {
    if numerator == 0 || denominator == 0 {
        return None;
    }
    let divisor = greatest_common_divisor(numerator, denominator);
    let (p, q) = (numerator / divisor, denominator / divisor);
    let fits = if q == 1 {
        p <= MAX_INTEGER_SCALE
    } else {
        p.max(q) <= MAX_FRACTION_PART
    };
    fits.then_some((p, q))
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
