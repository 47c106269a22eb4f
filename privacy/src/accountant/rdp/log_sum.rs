//! Sums of numbers that are known by their logarithms.

/// A running ln(sum of e^x), scaled by the largest x so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogSum {
    largest: f64,
    scaled: f64,
}

impl LogSum {
    pub(crate) const EMPTY: LogSum = LogSum {
        largest: f64::NEG_INFINITY,
        scaled: 0.0,
    };

    /// Adds e^x.
    pub(crate) fn add(&mut self, x: f64) {
        if x <= self.largest {
            self.scaled += (x - self.largest).exp();
        } else if x > f64::NEG_INFINITY {
            self.scaled = self.scaled * (self.largest - x).exp() + 1.0;
            self.largest = x;
        }
    }

    /// The logarithm of the sum; -infinity for none.
    pub(crate) fn ln(self) -> f64 {
        self.largest + self.scaled.ln()
    }
}

/// ln(1 + e^x)
pub(crate) fn ln_one_plus_exp(x: f64) -> f64 {
    if x > 0.0 {
        x + (-x).exp().ln_1p()
    } else {
        x.exp().ln_1p()
    }
}

/// ln(e^x - 1) for x > 0
pub(crate) fn ln_exp_minus_one(x: f64) -> f64 {
    if x > 36.0 {
        x + (-(-x).exp()).ln_1p()
    } else {
        x.exp_m1().ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_logarithms_neither_overflow_nor_vanish() {
        let mut sum = LogSum::EMPTY;
        assert_eq!(sum.ln(), f64::NEG_INFINITY);
        for x in [-1000.0, 3000.0, 3000.0, f64::NEG_INFINITY] {
            sum.add(x);
        }
        assert!((sum.ln() - (3000.0 + 2.0f64.ln())).abs() < 1e-12);
        assert_eq!(ln_one_plus_exp(1e6), 1e6);
        assert!((ln_one_plus_exp(-1e-3) - (-1e-3f64).exp().ln_1p()).abs() < 1e-16);
        assert!((ln_exp_minus_one(1e-9) - 1e-9f64.ln()).abs() < 1e-9);
        assert_eq!(ln_exp_minus_one(1e5), 1e5);
    }
}
