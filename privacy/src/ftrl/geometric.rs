//! Geometric sums by doubling: only additions and multiplications of non-negative numbers, so
//! nothing cancels, and the same bits on every machine.
//!
//! A power a^n carries a relative error of at most n u (u = 2^-53), and so does each sum of
//! non-negative terms here up to a small factor: with n <= 2^20 everything is right to 2^-30.

/// a^n.
pub(super) fn power(a: f64, n: u32) -> f64 {
    let (mut result, mut base, mut left) = (1.0, a, n);
    while left > 0 {
        if left & 1 == 1 {
            result *= base;
        }
        base *= base;
        left >>= 1;
    }
    result
}

/// 1 + a + ... + a^(n-1).
pub(super) fn series(a: f64, n: u32) -> f64 {
    let (mut sum, mut power) = (0.0, 1.0);
    for bit in (0..u32::BITS - n.leading_zeros()).rev() {
        sum += power * sum;
        power *= power;
        if n >> bit & 1 == 1 {
            sum = 1.0 + a * sum;
            power *= a;
        }
    }
    sum
}

/// Sums over the partial sums A_j = 1 + a + ... + a^(j-1) and B_j, likewise of b.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartialSums {
    /// A_n and B_n.
    pub last: [f64; 2],
    /// Sums of A_j and of B_j over j < n.
    pub total: [f64; 2],
    /// Sum of A_j B_j over j < n.
    pub product: f64,
}

/// The sums over j < n for the ratios a and b.
pub(super) fn partial_sums(a: f64, b: f64, n: u32) -> PartialSums {
    let (mut count, mut powers) = (0.0, [1.0, 1.0]);
    let mut sums = PartialSums {
        last: [0.0; 2],
        total: [0.0; 2],
        product: 0.0,
    };
    for bit in (0..u32::BITS - n.leading_zeros()).rev() {
        // A_(c+j) = A_c + a^c A_j
        let PartialSums {
            last,
            total,
            product,
        } = sums;
        sums.product += count * last[0] * last[1]
            + last[0] * powers[1] * total[1]
            + last[1] * powers[0] * total[0]
            + powers[0] * powers[1] * product;
        for side in 0..2 {
            sums.total[side] += count * last[side] + powers[side] * total[side];
            sums.last[side] += powers[side] * last[side];
            powers[side] *= powers[side];
        }
        count *= 2.0;
        if n >> bit & 1 == 1 {
            sums.product += sums.last[0] * sums.last[1];
            for (side, ratio) in [a, b].into_iter().enumerate() {
                sums.total[side] += sums.last[side];
                sums.last[side] = 1.0 + ratio * sums.last[side];
                powers[side] *= ratio;
            }
            count += 1.0;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn doubling_equals_adding_one_by_one(a in 0.0f64..=1.0, b in 0.0f64..=1.0, n in 0u32..300) {
            let near = |x: f64, y: f64| (x - y).abs() <= 1e-12 * y.abs();
            let (mut last, mut total, mut product) = ([0.0, 0.0], [0.0, 0.0], 0.0);
            for _ in 0..n {
                product += last[0] * last[1];
                total = [total[0] + last[0], total[1] + last[1]];
                last = [1.0 + a * last[0], 1.0 + b * last[1]];
            }
            let sums = partial_sums(a, b, n);
            prop_assert!(near(series(a, n), last[0]));
            prop_assert!(near(sums.last[0], last[0]) && near(sums.last[1], last[1]));
            prop_assert!(near(sums.total[0], total[0]) && near(sums.total[1], total[1]));
            prop_assert!(near(sums.product, product));
            prop_assert!(near(power(a, n), a.powf(f64::from(n))) || a < 1e-3);
        }
    }
}
