//! Whether a run can last within its budget, checked before any device is asked to work.

use tributary_aggregator::{FixedPoint, Rho};

use super::costs::RunCosts;
use crate::CoordinatorError;
use crate::spec::{NoiseMechanism, PrivacyMode, RunSpec};

/// Steps in which an advised noise multiplier is raised until it really fits.
const ADVICE_STEPS: usize = 24;
/// Largest noise multiplier that a recipe may have.
const MAX_NOISE: f64 = 1e4;

/// Refuses a plan that can't finish within its budget, and says what would.
///
/// # Errors
/// [`CoordinatorError::Budget`] with the number of participations and the noise that fit.
pub fn check_budget(
    spec: &RunSpec,
    costs: &RunCosts,
    fixed: &FixedPoint,
    spent_pico_rho: u64,
) -> Result<(), CoordinatorError> {
    let Some(cap) = costs.cap_pico_rho else {
        return Ok(());
    };
    let most = spec.rounds.needed_participations();
    let wanted = costs.worst_case(spec);
    let left = cap.saturating_sub(spent_pico_rho);
    if wanted <= left {
        return Ok(());
    }
    let mut ways = Vec::new();
    if let Some(fewer) = fewer_participations(spec, fixed, left) {
        ways.push(format!(
            "allow {fewer} participations (rounds.max_participations)"
        ));
    }
    if let Some(noise) = more_noise(spec, costs, fixed, left) {
        ways.push(format!("raise privacy.noise_multiplier to {noise:.3}"));
    }
    let remedy = match ways.is_empty() {
        true if left == 0 => "the budget is spent: raise privacy.epsilon".to_owned(),
        true => "too little is left: raise privacy.epsilon".to_owned(),
        false => format!("{}, or raise privacy.epsilon", ways.join(", ")),
    };
    Err(CoordinatorError::Budget(format!(
        "privacy.epsilon {} can't last: a device may take part in {most} of {} rounds, which costs it \
         rho {} in all, but {} remains: {remedy}",
        spec.privacy.epsilon.unwrap_or(0.0),
        spec.rounds.count,
        Rho::from_pico(wanted),
        Rho::from_pico(left),
    )))
}

/// The most participations whose plan costs at most `left`; none when not even one does.
fn fewer_participations(spec: &RunSpec, fixed: &FixedPoint, left: u64) -> Option<u32> {
    let fits = |most: u32| {
        let mut fewer = spec.clone();
        fewer.rounds.max_participations = most;
        let costs = RunCosts::new(&fewer, fixed, None);
        costs.is_ok_and(|costs| costs.worst_case(&fewer) <= left)
    };
    if spec.privacy.mechanism != NoiseMechanism::Independent {
        // z is in units of the whole run: fewer participations cost the same with less noise
        return None;
    }
    let (mut low, mut high) = (0, spec.rounds.needed_participations());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low > 0).then_some(low)
}

/// The noise multiplier, in thousandths, whose plan costs at most `left`; none when there is none.
fn more_noise(spec: &RunSpec, now: &RunCosts, fixed: &FixedPoint, left: u64) -> Option<f64> {
    if left == 0 || spec.privacy.mode == PrivacyMode::None {
        return None;
    }
    // rho falls with the square of the noise, but for what moving the clip costs
    let wanted = now.worst_case(spec);
    let mut noise = spec.privacy.noise_multiplier * (wanted as f64 / left as f64).sqrt();
    for _ in 0..ADVICE_STEPS {
        noise = ((noise * 1_000.0).floor() + 1.0) / 1_000.0;
        let mut noisier = spec.clone();
        noisier.privacy.noise_multiplier = noise;
        if noise > MAX_NOISE {
            return None;
        }
        // how the rounds hang together does not depend on how much noise there is
        let costs = RunCosts::new(&noisier, fixed, now.strategy()).ok()?;
        if costs.worst_case(&noisier) <= left {
            return Some(noise);
        }
        noise *= 1.01;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use tributary_aggregator::SCALE;

    use super::super::costs::SumNoise;
    use super::*;
    use crate::fixtures::{plain_spec, spec};

    fn fixed() -> FixedPoint {
        FixedPoint::new(1.0, 15).unwrap()
    }

    fn costs(spec: &RunSpec) -> RunCosts {
        RunCosts::new(spec, &fixed(), None).unwrap()
    }

    #[test]
    fn a_charge_is_that_of_the_gaussian_mechanism_over_the_integer_bound() {
        let costs = costs(&spec());
        let bound = fixed().bound() as f64 / SCALE as f64;
        let rho = bound * bound / (2.0 * 2.0 * 2.0);
        assert!(
            (costs.spent(0, 1) as f64 * 1e-12 - rho).abs() < 1e-9,
            "{costs:?} against {rho}"
        );
        assert!(costs.cap_pico_rho.unwrap() > costs.spent(0, 1));
    }

    #[test]
    fn without_privacy_nothing_is_charged_and_nothing_is_capped() {
        let costs = costs(&plain_spec());
        assert!(
            costs.noise == SumNoise::None && costs.spent(9, 9) == 0 && costs.cap_pico_rho.is_none()
        );
        check_budget(&plain_spec(), &costs, &fixed(), u64::MAX).unwrap();
    }

    #[test]
    fn participations_are_bounded_by_rounds_separation_and_the_limit() {
        let mut spec = spec();
        (spec.rounds.count, spec.rounds.max_participations) = (10, u32::MAX);
        assert_eq!(spec.rounds.needed_participations(), 10);
        spec.rounds.min_separation = 3;
        assert_eq!(spec.rounds.needed_participations(), 4);
        spec.rounds.max_participations = 2;
        assert_eq!(spec.rounds.needed_participations(), 2);
    }

    #[test]
    fn a_spent_budget_is_refused_with_the_only_remedy() {
        let spec = spec();
        let message = check_budget(&spec, &costs(&spec), &fixed(), u64::MAX)
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
            let check = |spec: &RunSpec| check_budget(spec, &costs(spec), &fixed(), spent);
            let Err(refusal) = check(&spec) else {
                let most = costs(&spec).worst_case(&spec);
                prop_assert!(spent + most <= costs(&spec).cap_pico_rho.unwrap());
                return Ok(());
            };
            let text = refusal.to_string();
            prop_assert!(text.contains("can't last"), "{}", text);
            if let Some(most) = number_after(&text, "allow ") {
                prop_assert!(most >= 1.0, "{}", text);
                let mut fewer = spec.clone();
                fewer.rounds.max_participations = most as u32;
                prop_assert!(check(&fewer).is_ok(), "{}", text);
            }
            if let Some(more) = number_after(&text, "privacy.noise_multiplier to ") {
                spec.privacy.noise_multiplier = more;
                prop_assert!(check(&spec).is_ok(), "{}", text);
            } else {
                prop_assert!(text.contains("raise privacy.epsilon"), "{}", text);
            }
        }
    }
}
