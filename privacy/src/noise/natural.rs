//! Natural numbers of any size, with the few operations that [`super::exact_coin`] needs.

use std::cmp::Ordering;

/// A natural number in base 2^64, least digit first, no zero digits on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Natural(Vec<u64>);

impl Natural {
    /// `value * 2^shift`
    pub(super) fn shifted(value: u64, shift: u32) -> Self {
        Self(vec![value]).trimmed().shift_up(shift)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// `self * factor`
    pub(super) fn times(mut self, factor: u64) -> Self {
        let mut carry = 0u128;
        for digit in &mut self.0 {
            // at most (2^64 - 1)^2 + 2^64 - 1 < 2^128
            let product = u128::from(*digit) * u128::from(factor) + carry;
            *digit = product as u64;
            carry = product >> 64;
        }
        self.0.push(carry as u64);
        self.trimmed()
    }

    /// `floor(self / divisor)`, for a divisor above 0
    pub(super) fn divided(mut self, divisor: u64) -> Self {
        let mut remainder = 0u128;
        for digit in self.0.iter_mut().rev() {
            let dividend = remainder << 64 | u128::from(*digit);
            // the remainder is below the divisor, so the quotient is one digit
            *digit = (dividend / u128::from(divisor)) as u64;
            remainder = dividend % u128::from(divisor);
        }
        self.trimmed()
    }

    /// `self + other`
    pub(super) fn plus(mut self, other: &Self) -> Self {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut carry = false;
        for (index, digit) in self.0.iter_mut().enumerate() {
            let added = other.0.get(index).copied().unwrap_or(0);
            let (sum, first) = digit.overflowing_add(added);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *digit = sum;
            carry = first || second;
        }
        self.0.push(u64::from(carry));
        self.trimmed()
    }

    /// `self * 2^bits`
    pub(super) fn shift_up(self, bits: u32) -> Self {
        let whole = (bits / 64) as usize;
        let shifted = self.times(1 << (bits % 64));
        let mut digits = vec![0; whole];
        digits.extend(shifted.0);
        Self(digits).trimmed()
    }

    /// `floor(self / 2^bits)`
    pub(super) fn shift_down(mut self, bits: u32) -> Self {
        let whole = ((bits / 64) as usize).min(self.0.len());
        self.0.drain(..whole);
        self.divided(1 << (bits % 64))
    }

    fn trimmed(mut self) -> Self {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn natural(value: u128) -> Natural {
        let high = Natural::shifted((value >> 64) as u64, 64);
        high.plus(&Natural::shifted(value as u64, 0))
    }

    #[test]
    fn zero_has_no_digits() {
        assert!(natural(0).is_zero());
        assert!(Natural::shifted(5, 300).times(0).is_zero());
        assert!(Natural::shifted(5, 300).shift_down(303).is_zero());
        assert!(!Natural::shifted(5, 300).shift_down(302).is_zero());
        assert!(natural(3).divided(4).is_zero());
    }

    #[test]
    fn carries_run_through_every_digit() {
        let ones = natural(u128::MAX);
        assert_eq!(ones.clone().plus(&natural(1)), Natural::shifted(1, 128));
        // (2^128 - 1)(2^64 - 1) + (2^128 - 1) = (2^128 - 1) 2^64
        let product = ones.clone().times(u64::MAX).plus(&ones);
        assert_eq!(product, ones.shift_up(64));
    }

    proptest! {
        #[test]
        fn every_operation_agrees_with_machine_integers(
            a in any::<u128>(),
            b in any::<u128>(),
            small in 1u64..,
            bits in 0u32..64,
        ) {
            prop_assert_eq!(natural(a >> 1).plus(&natural(b >> 1)), natural((a >> 1) + (b >> 1)));
            prop_assert_eq!(natural(a >> 64).times(small), natural((a >> 64) * u128::from(small)));
            prop_assert_eq!(natural(a).divided(small), natural(a / u128::from(small)));
            prop_assert_eq!(natural(a).shift_down(bits), natural(a >> bits));
            prop_assert_eq!(natural(a >> 64).shift_up(bits), natural((a >> 64) << bits));
            prop_assert_eq!(natural(a).cmp(&natural(b)), a.cmp(&b));
            prop_assert_eq!(natural(a).cmp(&natural(a >> 70)), a.cmp(&(a >> 70)));
        }

        #[test]
        fn a_division_takes_back_a_multiplication(a in any::<u128>(), factor in 1u64.., bits in 0u32..200) {
            let large = natural(a).times(factor).shift_up(bits);
            prop_assert_eq!(large.shift_down(bits).divided(factor), natural(a));
        }
    }
}
