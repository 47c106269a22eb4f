//! Samples of fixed size, and trees with one participation.

use tributary_privacy::accountant::{
    Accountant, Adjacency, FixedSizeGaussian, RdpCurve, default_orders, tree_height, tree_rho,
};

use crate::reference::{assert_close, cases, number};

#[test]
fn samples_of_fixed_size_match_the_reference() {
    for case in cases("without_replacement_replace_one") {
        let (population, sample) = (number(&case, "population"), number(&case, "sample"));
        let step = FixedSizeGaussian::new(population as u64, sample as u64, number(&case, "sigma"))
            .unwrap();
        let steps = number(&case, "steps") as u64;
        let curve = RdpCurve::fixed_size_gaussian(&step, steps, &default_orders()).unwrap();
        let found = curve.epsilon(number(&case, "delta")).unwrap();
        assert_close(found.epsilon, number(&case, "eps_rdp"), 1e-6, &case);
        let order = number(&case, "rdp_order");
        assert_eq!(found.accountant, Accountant::Rdp { order }, "{case}");
        assert_eq!(found.adjacency, Adjacency::ReplaceDevice);
    }
}

#[test]
fn trees_match_the_reference_at_the_default_orders() {
    for case in cases("tree_single_participation") {
        let (z, steps) = (number(&case, "sigma"), number(&case, "steps") as u64);
        let height = tree_height(steps).unwrap();
        assert_eq!(f64::from(height), number(&case, "height"), "{case}");
        let rho = tree_rho(z, steps).unwrap().as_f64();
        assert_close(rho, number(&case, "rho"), 1e-9, &case);
        let curve = RdpCurve::tree(z, steps, &default_orders()).unwrap();
        let found = curve.epsilon(number(&case, "delta")).unwrap();
        assert_close(found.epsilon, number(&case, "eps_rdp"), 1e-9, &case);
    }
}
