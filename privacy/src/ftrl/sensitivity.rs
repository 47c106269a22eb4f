//! How far the seeds of correlated noise move when one device changes: ||C u|| for the worst
//! pattern u of participations.
//!
//! For a lower triangular Toeplitz matrix C with coefficients c_0 >= c_1 >= ... >= 0 the worst
//! pattern under (k, b) is the earliest and densest one, rounds 0, b, 2b, ... (arXiv 2405.13763,
//! theorem 2): sens^2 = || sum over j < min(k, ceil(n / b)) of c shifted by j b ||^2. One device
//! contributes vectors of L2 norm at most B, not numbers; with coefficients that are not negative
//! the triangle inequality per round gives B times the same sum.

use super::geometric::{partial_sums, power, series};
use super::{FtrlError, Participation};

/// sens^2 for a Toeplitz matrix given by its first column (missing coefficients are zero).
///
/// O(n min(k, n / b)) time.
///
/// # Errors
/// [`FtrlError::BadParticipation`]; [`FtrlError::BadCoefficients`] unless the coefficients are
/// non-negative and never increase, without which the theorem does not hold.
pub fn toeplitz_squared_sensitivity(
    coefficients: &[f64],
    participation: &Participation,
) -> Result<f64, FtrlError> {
    participation.validate()?;
    let ordered = coefficients.windows(2).all(|pair| pair[0] >= pair[1]);
    let last = coefficients.last().copied().unwrap_or(0.0);
    let first = coefficients.first().copied().unwrap_or(0.0);
    if !(ordered && last >= 0.0 && first.is_finite()) {
        return Err(FtrlError::BadCoefficients);
    }
    let separation = participation.separation as usize;
    let most = participation.effective_most() as usize;
    let column = (0..participation.rounds as usize).map(|round| {
        (0..most.min(round / separation + 1))
            .filter_map(|earlier| coefficients.get(round - earlier * separation))
            .sum::<f64>()
    });
    Ok(column.map(|value| value * value).sum())
}

/// sens^2 for the coefficients 1 and sum_m omega_m theta_m^(j-1), in closed form.
///
/// With J = min(k, ceil(n / b)), rho = theta^b and A_j = 1 + rho + ... + rho^(j-1), the round in
/// which participation j (from 0) falls has 1 + sum_m omega_m theta_m^(b-1) A_(m,j), and the r-th
/// round after it sum_m omega_m theta_m^(r-1) A_(m,j+1), for b - 1 rounds or to the end of the run.
pub(super) fn blt_squared_sensitivity(
    theta: &[f64],
    omega: &[f64],
    participation: &Participation,
) -> f64 {
    let times = participation.effective_most();
    let gap = participation.separation.max(1);
    let tail = participation
        .rounds
        .saturating_sub(times.saturating_sub(1) * gap + 1);
    let buffers = || theta.iter().copied().zip(omega.iter().copied());
    let mut total = f64::from(times);
    for (index, (theta_a, omega_a)) in buffers().enumerate() {
        let (before_a, ratio_a) = (power(theta_a, gap - 1), power(theta_a, gap));
        for (other, (theta_b, omega_b)) in buffers().enumerate().skip(index) {
            let (before_b, ratio_b) = (power(theta_b, gap - 1), power(theta_b, gap));
            let sums = partial_sums(ratio_a, ratio_b, times);
            let joint = theta_a * theta_b;
            let between = series(joint, gap - 1) + before_a * before_b;
            let pair = omega_a
                * omega_b
                * (between * sums.product + series(joint, tail) * sums.last[0] * sums.last[1]);
            total += if index == other {
                2.0 * omega_a * before_a * sums.total[0] + pair
            } else {
                2.0 * pair
            };
        }
    }
    total
}
