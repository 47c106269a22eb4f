//! Privacy loss distributions of Poisson samples.

use tributary_aggregator::Rho;
use tributary_aggregator::accountant::{
    Accountant, Adjacency, DEFAULT_GRID, LossDistribution, PoissonGaussian, epsilon_gaussian,
};

use crate::reference::{assert_close, cases, number};

#[test]
fn compositions_match_the_reference() {
    for case in cases("poisson_gaussian_add_remove") {
        let (q, z) = (number(&case, "q"), number(&case, "sigma"));
        let (steps, delta) = (number(&case, "steps") as u64, number(&case, "delta"));
        let step = PoissonGaussian::new(q, z).unwrap();
        let loss = LossDistribution::new(&step).unwrap();
        let found = loss.epsilon(steps, delta).unwrap();
        println!(
            "{} {} {case}",
            found.epsilon,
            found.epsilon / number(&case, "eps_pld") - 1.0
        );
    }
}
