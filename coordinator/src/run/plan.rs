//! What a run costs, checked before any device is asked to work.

use tributary_aggregator::{
    AccountingError, DiscreteGaussian, FixedPoint, Rho, SCALE, rho_for_epsilon,
};

use crate::CoordinatorError;
use crate::spec::{PrivacyMode, PrivacySpec, RunSpec};

/// The privacy price of a run.
#[derive(Debug, Clone)]
pub struct RunCosts {
    /// The noise on the integer sum; none when privacy is off.
    pub noise: Option<DiscreteGaussian>,
    /// Charge to a device for each round that it is in, in units of 1e-12 of zCDP.
    pub pico_rho: u64,
    /// Cap on a device's account.
    pub cap_pico_rho: Option<u64>,
}

/// The price of one round under `privacy` for a model of so many parameters.
///
/// # Errors
/// When the noise or the cap can't be represented.
pub fn costs(privacy: &PrivacySpec, fixed: &FixedPoint) -> Result<RunCosts, AccountingError> {
    if privacy.mode == PrivacyMode::None {
        return Ok(RunCosts { noise: None, pico_rho: 0, cap_pico_rho: None });
    }
    // z is stated in units of the clip, the grid has S steps in it; the charge uses the exact
    // integer bound, which is a little larger than S
    let sigma = (privacy.noise_multiplier * SCALE as f64).ceil() as u64;
    let noise = DiscreteGaussian::new(sigma).map_err(|_| AccountingError::BadParameter {
        field: "noise_multiplier",
        value: privacy.noise_multiplier,
    })?;
    let bound = u128::from(fixed.bound());
    let pico_rho = noise.rho(bound * bound)?.pico();
    let cap = privacy.epsilon.map(|epsilon| rho_for_epsilon(epsilon, privacy.delta)).transpose()?;
    Ok(RunCosts { noise: Some(noise), pico_rho, cap_pico_rho: cap.map(Rho::pico) })
}

/// Refuses a plan that can't finish within its budget, and says what would.
///
/// # Errors
/// [`CoordinatorError::Budget`] with the number of participations and the noise that fit.
pub fn check_budget(
    spec: &RunSpec,
    costs: &RunCosts,
    spent_pico_rho: u64,
) -> Result<(), CoordinatorError> {
    let Some(cap) = costs.cap_pico_rho else { return Ok(()) };
    let rounds = &spec.rounds;
    let most = u64::from(needed_participations(spec));
    let wanted = costs.pico_rho.saturating_mul(most);
    let left = cap.saturating_sub(spent_pico_rho);
    if wanted <= left {
        return Ok(());
    }
    let affordable = left / costs.pico_rho.max(1);
    let noise = spec.privacy.noise_multiplier * (wanted as f64 / left.max(1) as f64).sqrt();
    let remedy = if left == 0 {
        "the budget is spent: raise privacy.epsilon".to_owned()
    } else {
        format!(
            "allow {affordable} participations (rounds.max_participations), raise \
             privacy.noise_multiplier to {noise:.3}, or raise privacy.epsilon"
        )
    };
    Err(CoordinatorError::Budget(format!(
        "privacy.epsilon {} can't last: a device may take part in {most} of {} rounds at rho {} \
         each, {} in all, but {} remains: {remedy}",
        spec.privacy.epsilon.unwrap_or(0.0),
        rounds.count,
        Rho::from_pico(costs.pico_rho),
        Rho::from_pico(wanted),
        Rho::from_pico(left),
    )))
}

/// Rounds that one device may be in at the most.
pub fn needed_participations(spec: &RunSpec) -> u32 {
    let rounds = &spec.rounds;
    rounds.count.div_ceil(rounds.min_separation).min(rounds.max_participations)
}
