//! The buffered linear Toeplitz strategy: parameters, coefficients, errors.

use serde::{Deserialize, Serialize};

use super::interlaced::zeros_of;
use super::sensitivity::blt_squared_sensitivity;
use super::{Errors, FtrlError, Participation};

/// Most buffers that a strategy may have; 2 to 4 are enough for runs of any length here.
pub const MAX_BUFFERS: usize = 8;

/// C with the coefficients c_0 = 1 and c_j = sum_m omega_m theta_m^(j-1) (arXiv 2408.08868).
///
/// Each of the m buffers costs one more vector of model size. The conditions 0 < theta < 1,
/// omega > 0, sum omega < 1 and sum omega / theta < 1 make c the moments of a measure on [0, 1):
/// c decreases, and by Kaluza's theorem the inverse is 1 followed by coefficients that are not
/// positive and add up to more than -1. So seeds bounded by A give noise bounded by 2 A.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parameters", into = "Parameters")]
pub struct Blt {
    theta: Vec<f64>,
    omega: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
struct Parameters {
    theta: Vec<f64>,
    omega: Vec<f64>,
}

impl TryFrom<Parameters> for Blt {
    type Error = FtrlError;

    fn try_from(parameters: Parameters) -> Result<Self, FtrlError> {
        Self::new(parameters.theta, parameters.omega)
    }
}

impl From<Blt> for Parameters {
    fn from(blt: Blt) -> Self {
        Self {
            theta: blt.theta,
            omega: blt.omega,
        }
    }
}

impl Blt {
    /// Checked parameters, one decay `theta` and one weight `omega` per buffer.
    ///
    /// # Errors
    /// [`FtrlError::BadBlt`] for anything outside the conditions above, for lists of different
    /// length, and for no buffer or more than [`MAX_BUFFERS`].
    pub fn new(theta: Vec<f64>, omega: Vec<f64>) -> Result<Self, FtrlError> {
        let refused = |field, value, remedy| {
            Err(FtrlError::BadBlt {
                field,
                value,
                remedy,
            })
        };
        if theta.is_empty() || theta.len() > MAX_BUFFERS {
            let buffers = theta.len() as f64;
            return refused("number of buffers", buffers, "use 1 to 8, better 2 to 4");
        }
        if theta.len() != omega.len() {
            let weights = omega.len() as f64;
            return refused("number of omegas", weights, "give one per theta");
        }
        if let Some(&value) = theta.iter().find(|&&value| !(value > 0.0 && value < 1.0)) {
            return refused("theta", value, "it must lie strictly between 0 and 1");
        }
        if let Some(&value) = omega.iter().find(|&&value| !(value > 0.0 && value < 1.0)) {
            return refused("omega", value, "it must lie strictly between 0 and 1");
        }
        let total: f64 = omega.iter().sum();
        if total >= 1.0 {
            return refused("sum of omega", total, "keep it below 1 or C grows");
        }
        let total: f64 = omega.iter().zip(&theta).map(|(o, t)| o / t).sum();
        if total.is_nan() || total >= 1.0 {
            return refused(
                "sum of omega / theta",
                total,
                "keep it below 1 or the inverse is not stable",
            );
        }
        Ok(Self { theta, omega })
    }

    /// The decays.
    pub fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// The weights.
    pub fn omega(&self) -> &[f64] {
        &self.omega
    }

    /// m: model-sized vectors that the strategy keeps.
    pub fn buffers(&self) -> usize {
        self.theta.len()
    }

    /// The first `n` coefficients of C.
    pub fn coefficients(&self, n: usize) -> Vec<f64> {
        buffered_coefficients(&self.theta, &self.omega, n)
    }

    /// C^-1 applied to one number per round.
    pub fn apply_inverse(&self, seeds: impl IntoIterator<Item = f64>) -> impl Iterator<Item = f64> {
        apply_buffered_inverse(&self.theta, &self.omega, seeds)
    }

    /// The first `n` coefficients of the inverse of C.
    pub fn inverse_coefficients(&self, n: usize) -> Vec<f64> {
        let impulse = std::iter::once(1.0).chain(std::iter::repeat(0.0));
        self.apply_inverse(impulse.take(n)).collect()
    }

    /// Errors of the running sums over `n` rounds, per unit of seed variance; O(n m) time.
    pub fn errors(&self, n: usize) -> Errors {
        // the prefix sums of the inverse coefficients are the answer to a constant seed
        Errors::of_prefix_sums(self.apply_inverse(std::iter::repeat_n(1.0, n)))
    }

    /// sens^2 for contributions of norm 1 under the limits, in closed form; right to 2^-30.
    ///
    /// Limits that [`Participation::validate`] refuses give a number without meaning.
    pub fn squared_sensitivity(&self, participation: &Participation) -> f64 {
        blt_squared_sensitivity(&self.theta, &self.omega, participation)
    }

    /// sens times the root of the largest error: standard deviation of the noise in the last
    /// running sum, in clip units at noise multiplier 1.
    pub fn max_loss(&self, participation: &Participation) -> f64 {
        self.errors(participation.rounds as usize)
            .max_loss(self.squared_sensitivity(participation))
    }

    /// How many times less noise than fresh noise in every round the last running sum carries at
    /// equal rho. About 1 means that this strategy gains nothing: use independent noise, which needs
    /// no buffers.
    pub fn gain(&self, participation: &Participation) -> f64 {
        participation.independent_max_loss() / self.max_loss(participation)
    }

    /// Upper bound of the root of the sum of squares of the answer of any buffer to one seed of 1:
    /// its standard deviation under seeds of variance 1.
    ///
    /// With thetas in ascending order and hats the zeros of C, the answer of buffer i to the seeds
    /// is q prod_(j != i) (1 - theta_j q) / prod_j (1 - hat_j q). The zeros interlace, 0 < hat_1 <
    /// theta_1 < hat_2 < theta_2 < ..., so each of the m - 1 factors (1 - theta_j q) / (1 - hat_j q)
    /// = 1 - (theta_j - hat_j) (q + hat_j q^2 + ...) has absolute coefficients that add up to less
    /// than 2, and those of the factor left over have squares that add up to 1 / (1 - hat_i^2).
    pub(super) fn buffer_gain(&self) -> f64 {
        let hats = zeros_of(&self.theta, &self.omega);
        let largest = hats.iter().copied().fold(0.0, f64::max);
        let factors = 2.0f64.powi(self.theta.len() as i32 - 1);
        // bisection is right to a few units of the last place, theta at most 1 - 2^-53
        let rest = (1.0 - largest * largest).max(f64::EPSILON / 4.0);
        1.01 * factors / rest.sqrt()
    }
}

/// The first `n` of the coefficients 1 and sum_m omega_m theta_m^(j-1), for any parameters: of a
/// strategy C, or of an inverse that is given in this form, with negative weights.
pub fn buffered_coefficients(theta: &[f64], omega: &[f64], n: usize) -> Vec<f64> {
    let mut terms = omega.to_vec();
    let tail = (1..n).map(|_| {
        let coefficient = terms.iter().sum();
        for (term, theta) in terms.iter_mut().zip(theta) {
            *term *= theta;
        }
        coefficient
    });
    std::iter::once(1.0).take(n).chain(tail).collect()
}

/// The inverse of the matrix with [`buffered_coefficients`], applied to one number per round by the
/// streaming recursion x = z - sum omega S, S <- theta S + x (arXiv 2408.08868, algorithm 3).
pub fn apply_buffered_inverse(
    theta: &[f64],
    omega: &[f64],
    seeds: impl IntoIterator<Item = f64>,
) -> impl Iterator<Item = f64> {
    let mut buffers = vec![0.0; theta.len()];
    seeds.into_iter().map(move |seed| {
        let taken: f64 = buffers.iter().zip(omega).map(|(s, o)| s * o).sum();
        let emitted = seed - taken;
        for (buffer, theta) in buffers.iter_mut().zip(theta) {
            *buffer = theta * *buffer + emitted;
        }
        emitted
    })
}
