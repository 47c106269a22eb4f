//! The cap that refuses.

use serde::{Deserialize, Serialize};

use crate::rho::Rho;

/// The most that may be spent, by a run, a region or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Upper limit of the sum of all charges.
    pub cap: Rho,
}

/// A charge that would pass the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "budget refuses a charge of rho {charge}: {spent} of {cap} is spent; \
     raise the budget, plan fewer rounds or more noise"
)]
pub struct BudgetError {
    /// Spent before the charge.
    pub spent: Rho,
    /// The refused charge.
    pub charge: Rho,
    /// The cap.
    pub cap: Rho,
}

impl Budget {
    /// Returns what is spent after `charge`, if that is within the cap. A charge that reaches the
    /// cap exactly is admitted. The charges may be chosen adaptively (privacy filters:
    /// Rogers et al. 2016; Feldman and Zrnic 2021 for Renyi loss).
    ///
    /// # Errors
    /// [`BudgetError`]; nothing may be released then.
    pub fn admit(&self, spent: Rho, charge: Rho) -> Result<Rho, BudgetError> {
        match spent.checked_add(charge) {
            Some(total) if total <= self.cap => Ok(total),
            _ => Err(BudgetError {
                spent,
                charge,
                cap: self.cap,
            }),
        }
    }

    /// How many charges of this size still fit; `None` when they cost nothing.
    pub fn affordable(&self, spent: Rho, charge: Rho) -> Option<u64> {
        self.cap
            .saturating_sub(spent)
            .pico()
            .checked_div(charge.pico())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_fourth_of_four_charges_that_sum_over_the_cap_is_refused() {
        let budget = Budget {
            cap: Rho::from_f64(0.1).unwrap(),
        };
        let charge = Rho::from_f64(1.0 / 32.0).unwrap();
        let mut spent = Rho::ZERO;
        for _ in 0..3 {
            spent = budget.admit(spent, charge).unwrap();
        }
        assert_eq!(budget.affordable(spent, charge), Some(0));
        assert_eq!(
            budget.admit(spent, charge),
            Err(BudgetError {
                spent,
                charge,
                cap: budget.cap
            })
        );
    }

    #[test]
    fn a_charge_that_overflows_is_refused_even_under_the_largest_cap() {
        let budget = Budget { cap: Rho::MAX };
        assert!(budget.admit(Rho::MAX, Rho::from_pico(1)).is_err());
        assert_eq!(budget.admit(Rho::MAX, Rho::ZERO), Ok(Rho::MAX));
        assert_eq!(budget.affordable(Rho::ZERO, Rho::ZERO), None);
    }

    proptest! {
        #[test]
        fn no_sequence_of_charges_passes_the_cap(
            cap in any::<u64>(),
            charges in prop::collection::vec(any::<u64>(), 0..20),
        ) {
            let budget = Budget { cap: Rho::from_pico(cap) };
            let mut spent = Rho::ZERO;
            for charge in charges.into_iter().map(Rho::from_pico) {
                match budget.admit(spent, charge) {
                    Ok(total) => spent = total,
                    Err(error) => prop_assert_eq!(error.spent, spent),
                }
                prop_assert!(spent <= budget.cap);
            }
        }
    }
}
