//! How the noise of different rounds hangs together, by mechanism, and how to take it apart.

use super::AuditError;

/// The covariance of the noise of rounds 1 to T in units of sigma^2; coordinates are independent and
/// alike.
#[derive(Clone, Debug)]
pub(crate) struct RoundLaw {
    /// Row-major, T x T.
    covariance: Vec<f64>,
    /// Lower triangle L with L L^T = covariance, row-major.
    factor: Vec<f64>,
    rounds: usize,
}

impl RoundLaw {
    /// Fresh noise in every round.
    pub(crate) fn independent(rounds: usize) -> Result<Self, AuditError> {
        Self::new("independent noise", rounds, |row, column| {
            f64::from(u8::from(row == column))
        })
    }

    /// Noise x = C^-1 z of a lower triangular Toeplitz C^-1 with these first-column entries: the
    /// covariance of rounds s and t is sum_j c_{s - j} c_{t - j}.
    pub(crate) fn toeplitz(inverse: &[f64]) -> Result<Self, AuditError> {
        Self::new("Toeplitz noise", inverse.len(), |row, column| {
            let (low, high) = (row.min(column), row.max(column));
            let lag = high - low;
            let terms = (0..=low).map(|index| inverse[index] * inverse[index + lag]);
            terms.sum()
        })
    }

    /// Differences of the sums of node noises in the binary decomposition of 1..=t (Dwork, Naor,
    /// Pitassi, Rothblum 2010; Chan, Shi, Song 2011).
    pub(crate) fn tree(rounds: usize) -> Result<Self, AuditError> {
        let shared = |s: usize, t: usize| f64::from(shared_nodes(s, t));
        Self::new("tree noise", rounds, |row, column| {
            let (s, t) = (row + 1, column + 1);
            shared(s, t) - shared(s - 1, t) - shared(s, t - 1) + shared(s - 1, t - 1)
        })
    }

    fn new(
        mechanism: &str,
        rounds: usize,
        covariance: impl Fn(usize, usize) -> f64,
    ) -> Result<Self, AuditError> {
        let cells = (0..rounds * rounds).map(|cell| covariance(cell / rounds, cell % rounds));
        let covariance: Vec<f64> = cells.collect();
        let mut factor = vec![0.0; rounds * rounds];
        for row in 0..rounds {
            for column in 0..=row {
                let products =
                    (0..column).map(|k| factor[row * rounds + k] * factor[column * rounds + k]);
                let left = covariance[row * rounds + column] - products.sum::<f64>();
                factor[row * rounds + column] = if row == column {
                    left.sqrt()
                } else {
                    left / factor[column * rounds + column]
                };
            }
            let diagonal = factor[row * rounds + row];
            if diagonal.is_nan() || diagonal <= 0.0 {
                let mechanism = mechanism.to_owned();
                return Err(AuditError::Covariance { mechanism });
            }
        }
        Ok(Self {
            covariance,
            factor,
            rounds,
        })
    }

    /// Variance of round `index` (from 0).
    pub(crate) fn variance(&self, index: usize) -> f64 {
        self.covariance[index * self.rounds + index]
    }

    /// Variance of the sum of rounds 0 to `index`.
    pub(crate) fn running_sum_variance(&self, index: usize) -> f64 {
        let rows = (0..=index).map(|row| {
            let start = row * self.rounds;
            self.covariance[start..=start + index].iter().sum::<f64>()
        });
        rows.sum()
    }

    /// Independent values of variance 1 from the noise of all rounds, in units of sigma: L^-1 x.
    pub(crate) fn whiten(&self, noise: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut whitened: Vec<Vec<f64>> = Vec::with_capacity(noise.len());
        for (row, values) in noise.iter().enumerate() {
            let mut values = values.clone();
            let factors = &self.factor[row * self.rounds..];
            for (before, factor) in whitened.iter().zip(factors) {
                for (value, before) in values.iter_mut().zip(before) {
                    *value -= factor * before;
                }
            }
            values.iter_mut().for_each(|value| *value /= factors[row]);
            whitened.push(values);
        }
        whitened
    }
}

/// Nodes that the binary decompositions of 1..=s and 1..=t share: those of their common leading bits.
fn shared_nodes(s: usize, t: usize) -> u32 {
    let mut shared = 0;
    for bit in (0..usize::BITS).rev() {
        let (of_s, of_t) = (s >> bit, t >> bit);
        if of_s != of_t {
            break;
        }
        shared += (of_s & 1) as u32;
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_seven_rounds_is_that_worked_by_hand() {
        // 1; 1-2; 1-2, 3; 1-4; 1-4, 5; 1-4, 5-6; 1-4, 5-6, 7
        let law = RoundLaw::tree(7).unwrap();
        let sums: Vec<f64> = (0..7)
            .map(|index| law.running_sum_variance(index))
            .collect();
        assert_eq!(sums, [1.0, 1.0, 2.0, 1.0, 2.0, 2.0, 3.0]);
        // round 2 takes back node 1 and adds node 1-2
        let rounds: Vec<f64> = (0..4).map(|index| law.variance(index)).collect();
        assert_eq!(rounds, [1.0, 2.0, 1.0, 3.0]);
        assert_eq!(law.covariance[1], -1.0);
    }

    #[test]
    fn whitening_undoes_the_mechanism() {
        let inverse = [1.0, -0.4, -0.1, -0.05];
        let law = RoundLaw::toeplitz(&inverse).unwrap();
        let seeds = [[3.0, -1.0], [0.5, 2.0], [-2.0, 0.25], [1.0, 1.0]];
        let emitted: Vec<Vec<f64>> = (0..4)
            .map(|round| {
                let value = |coordinate: usize| {
                    let terms = (0..=round).map(|j| inverse[round - j] * seeds[j][coordinate]);
                    terms.sum()
                };
                (0..2).map(value).collect()
            })
            .collect();
        let whitened = law.whiten(&emitted);
        for (whitened, seeds) in whitened.iter().zip(seeds) {
            for (value, seed) in whitened.iter().zip(seeds) {
                assert!((value - seed).abs() < 1e-12);
            }
        }
        // 1, 1 + 0.16
        assert!((law.variance(1) - 1.16).abs() < 1e-12);
        assert!((law.running_sum_variance(1) - (0.36 + 1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_singular_law_is_refused() {
        let refused = RoundLaw::new("nothing", 2, |_, _| 1.0);
        assert!(matches!(refused, Err(AuditError::Covariance { .. })));
    }
}
