//! The distributed discrete Gaussian.

use tributary_privacy::accountant::DistributedGaussian;

use crate::reference::{assert_close, cases, number};

#[test]
fn the_bound_for_noise_in_shares_matches_the_reference() {
    for case in cases("ddg") {
        let devices = number(&case, "clients") as u64;
        let fleet = DistributedGaussian::new(devices, number(&case, "sigma2_each")).unwrap();
        assert_close(fleet.tau(), number(&case, "tau"), 1e-9, &case);
        let (squared, dimension) = (number(&case, "delta2_sq"), number(&case, "dim") as u64);
        let epsilon = fleet.concentrated_epsilon(squared, dimension).unwrap();
        assert_close(epsilon, number(&case, "eps_cdp"), 1e-9, &case);
        let rho = fleet.rho(squared, dimension).unwrap().as_f64();
        // charges are rounded up to 1e-12
        assert!(
            (0.0..2e-12).contains(&(rho - 0.5 * epsilon * epsilon)),
            "{case}"
        );
    }
}
