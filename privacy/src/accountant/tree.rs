//! Tree aggregation when every device takes part in at most one step.

use super::error::check_steps;
use super::{AccountingError, check_positive};
use crate::rho::{Rho, RhoError};

/// Height of the tree over `steps` steps: ceil(log2(steps + 1)), the most nodes that cover one leaf
/// in the released prefix sums (Kairouz et al. 2021, "Practical and private (deep) learning without
/// sampling or shuffling", appendix D).
///
/// # Errors
/// [`AccountingError::NoSteps`].
pub fn tree_height(steps: u64) -> Result<u32, AccountingError> {
    check_steps(steps)?;
    // ceil(log2(n + 1)) is the number of binary digits of n
    Ok(u64::BITS - steps.leading_zeros())
}

/// The charge of a whole tree run, height / (2 z^2), rounded up: a device's update lies in `height`
/// nodes, each with noise of standard deviation `noise_multiplier` = z times the clip.
///
/// # Errors
/// [`AccountingError::NoSteps`]; [`AccountingError::BadParameter`] unless the multiplier is finite
/// and above 0; [`RhoError::TooLarge`].
pub fn tree_rho(noise_multiplier: f64, steps: u64) -> Result<Rho, AccountingError> {
    let height = f64::from(tree_height(steps)?);
    check_positive("noise multiplier", noise_multiplier)?;
    let rho = height / (2.0 * noise_multiplier * noise_multiplier);
    if !rho.is_finite() {
        return Err(RhoError::TooLarge.into());
    }
    Ok(Rho::from_f64(rho)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_height_grows_at_powers_of_two() {
        let heights = [(1, 1), (2, 2), (3, 2), (4, 3), (2047, 11), (2048, 12)];
        for (steps, height) in heights {
            assert_eq!(tree_height(steps), Ok(height));
        }
        assert_eq!(tree_height(u64::MAX), Ok(64));
        assert_eq!(tree_height(0), Err(AccountingError::NoSteps));
    }

    #[test]
    fn the_charge_is_the_height_over_twice_the_variance() {
        let charge = tree_rho(2.0, 100).unwrap();
        assert_eq!(charge, Rho::from_f64(7.0 / 8.0).unwrap());
        assert_eq!(tree_rho(1e-200, 1), Err(RhoError::TooLarge.into()));
        for bad in [0.0, -1.0, f64::NAN] {
            assert!(tree_rho(bad, 1).is_err());
        }
    }
}
