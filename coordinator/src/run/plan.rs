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
        return Ok(RunCosts {
            noise: None,
            pico_rho: 0,
            cap_pico_rho: None,
        });
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
    let cap = privacy
        .epsilon
        .map(|epsilon| rho_for_epsilon(epsilon, privacy.delta))
        .transpose()?;
    Ok(RunCosts {
        noise: Some(noise),
        pico_rho,
        cap_pico_rho: cap.map(Rho::pico),
    })
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
    let Some(cap) = costs.cap_pico_rho else {
        return Ok(());
    };
    let rounds = &spec.rounds;
    let most = u64::from(needed_participations(spec));
    let wanted = costs.pico_rho.saturating_mul(most);
    let left = cap.saturating_sub(spent_pico_rho);
    if wanted <= left {
        return Ok(());
    }
    let affordable = left / costs.pico_rho.max(1);
    // from the noise on the grid, which is a little more than was asked for, and rounded up: the
    // printed value fits
    let sigma = costs.noise.as_ref().map_or(0.0, DiscreteGaussian::sigma) / SCALE as f64;
    let noise = sigma * (wanted as f64 / left.max(1) as f64).sqrt();
    let noise = ((noise * 1_000.0).floor() + 1.0) / 1_000.0;
    let noise = format!("raise privacy.noise_multiplier to {noise:.3}, or raise privacy.epsilon");
    let remedy = match (left, affordable) {
        (0, _) => "the budget is spent: raise privacy.epsilon".to_owned(),
        (_, 0) => noise,
        _ => format!("allow {affordable} participations (rounds.max_participations), {noise}"),
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
    rounds
        .count
        .div_ceil(rounds.min_separation)
        .min(rounds.max_participations)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{plain_spec, spec};

    fn fixed() -> FixedPoint {
        FixedPoint::new(1.0, 15).unwrap()
    }

    #[test]
    fn a_charge_is_that_of_the_gaussian_mechanism_over_the_integer_bound() {
        let costs = costs(&spec().privacy, &fixed()).unwrap();
        let bound = fixed().bound() as f64 / SCALE as f64;
        let rho = bound * bound / (2.0 * 2.0 * 2.0);
        assert!(
            (costs.pico_rho as f64 * 1e-12 - rho).abs() < 1e-9,
            "{costs:?} against {rho}"
        );
        assert!(costs.cap_pico_rho.unwrap() > costs.pico_rho);
    }

    #[test]
    fn without_privacy_nothing_is_charged_and_nothing_is_capped() {
        let costs = costs(&plain_spec().privacy, &fixed()).unwrap();
        assert!(costs.noise.is_none() && costs.pico_rho == 0 && costs.cap_pico_rho.is_none());
        check_budget(&plain_spec(), &costs, u64::MAX).unwrap();
    }

    #[test]
    fn participations_are_bounded_by_rounds_separation_and_the_limit() {
        let mut spec = spec();
        (spec.rounds.count, spec.rounds.max_participations) = (10, u32::MAX);
        assert_eq!(needed_participations(&spec), 10);
        spec.rounds.min_separation = 3;
        assert_eq!(needed_participations(&spec), 4);
        spec.rounds.max_participations = 2;
        assert_eq!(needed_participations(&spec), 2);
    }

    #[test]
    fn a_spent_budget_is_refused_with_the_only_remedy() {
        let spec = spec();
        let costs = costs(&spec.privacy, &fixed()).unwrap();
        let message = check_budget(&spec, &costs, u64::MAX)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("the budget is spent: raise privacy.epsilon"),
            "{message}"
        );
    }

    /// The number after `before` in `text`.
    fn number_after(text: &str, before: &str) -> Option<f64> {
        let rest = &text[text.find(before)? + before.len()..];
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        rest[..end].trim_end_matches('.').parse().ok()
    }

    proptest! {
        #[test]
        fn what_a_refused_budget_advises_is_accepted(
            noise in 0.3f64..4.0,
            epsilon in 0.2f64..8.0,
            k in 1u32..50,
            spent in 0u64..30_000_000_000,
        ) {
            let mut spec = spec();
            (spec.rounds.count, spec.rounds.max_participations) = (50, k);
            (spec.privacy.noise_multiplier, spec.privacy.epsilon) = (noise, Some(epsilon));
            let price = |spec: &RunSpec| costs(&spec.privacy, &fixed()).unwrap();
            let Err(refusal) = check_budget(&spec, &price(&spec), spent) else {
                let most = price(&spec).pico_rho * u64::from(k);
                prop_assert!(spent + most <= price(&spec).cap_pico_rho.unwrap());
                return Ok(());
            };
            let text = refusal.to_string();
            prop_assert!(text.contains("can't last"), "{}", text);
            if let Some(most) = number_after(&text, "allow ") {
                prop_assert!(most >= 1.0, "{}", text);
                let mut fewer = spec.clone();
                fewer.rounds.max_participations = most as u32;
                prop_assert!(check_budget(&fewer, &price(&fewer), spent).is_ok(), "{}", text);
            }
            if let Some(more) = number_after(&text, "privacy.noise_multiplier to ") {
                spec.privacy.noise_multiplier = more;
                prop_assert!(check_budget(&spec, &price(&spec), spent).is_ok(), "{}", text);
            } else {
                prop_assert!(text.contains("the budget is spent"), "{}", text);
            }
        }
    }
}
