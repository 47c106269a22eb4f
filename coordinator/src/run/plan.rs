//! Whether a run can last within its budget, checked before any device is asked to work.

use tributary_aggregator::FixedPoint;
use tributary_privacy::Rho;

use super::costs::RunCosts;
use super::reserve::WorstCase;
use crate::CoordinatorError;
use crate::ledger::Headroom;
use tributary_recipe::{NoiseMechanism, PrivacyMode, RunSpec};

/// Steps in which an advised noise multiplier is raised until it really fits.
const ADVICE_STEPS: usize = 24;
/// Largest noise multiplier that a recipe may have.
const MAX_NOISE: f64 = 1e4;

/// What is left for a plan, and whose cap it is.
pub struct Room<'r> {
    /// The device that has least left.
    pub headroom: &'r Headroom,
    /// True when the recipe's own epsilon is the cap that binds.
    pub own: bool,
    /// True when a larger one would help: no cap from before is as low.
    pub is_new: bool,
}

/// Refuses a plan that can't finish under the caps of its devices, and says what would.
///
/// # Errors
/// [`CoordinatorError::Budget`] with the number of participations or windows and the noise that fit.
pub fn check_budget(
    spec: &RunSpec,
    costs: &RunCosts,
    fixed: &FixedPoint,
    worst: &WorstCase,
    room: &Room<'_>,
) -> Result<(), CoordinatorError> {
    let Some(left) = room.headroom.left else {
        return Ok(());
    };
    if let Some(run) = &room.headroom.endless {
        return Err(CoordinatorError::Budget(format!(
            "the monitor of run {run} may charge these devices without end: stop it first, with \
             `tributary monitor stop {}`",
            crate::names::monitor_of(run)
        )));
    }
    let beside = worst.beside_windows();
    let Some(windows) = worst.all_windows() else {
        return Err(endless_monitor(worst, left.saturating_sub(beside)));
    };
    let wanted = beside.saturating_add(windows);
    if wanted <= left {
        return Ok(());
    }
    // what is left for the rounds when the rest is kept, and for windows
    let training = left.saturating_sub(wanted - worst.training);
    let ways = ways(spec, costs, fixed, worst, training);
    let windows = left.saturating_sub(beside).checked_div(worst.window);
    Err(CoordinatorError::Budget(refusal(
        spec,
        worst,
        room,
        [ways, windows_that_fit(windows)].concat(),
    )))
}

fn windows_that_fit(windows: Option<u64>) -> Vec<String> {
    let some = windows.filter(|windows| *windows > 0);
    let way = |windows| format!("plan {windows} windows (drift.windows)");
    some.map(way).into_iter().collect()
}

/// What would make the rounds fit into `left`.
fn ways(
    spec: &RunSpec,
    costs: &RunCosts,
    fixed: &FixedPoint,
    worst: &WorstCase,
    left: u64,
) -> Vec<String> {
    let mut ways = Vec::new();
    if worst.training <= left {
        return ways;
    }
    if let Some(fewer) = fewer_participations(spec, fixed, left) {
        ways.push(format!(
            "allow {fewer} participations (rounds.max_participations)"
        ));
    }
    if let Some(noise) = more_noise(spec, costs, fixed, left) {
        ways.push(format!("raise privacy.noise_multiplier to {noise:.3}"));
    }
    ways
}

fn endless_monitor(worst: &WorstCase, left: u64) -> CoordinatorError {
    let fit = left / worst.window.max(1);
    CoordinatorError::Budget(format!(
        "drift.windows is missing: under a cap a monitor needs an end; each window costs a device rho {} \
         and {fit} windows would fit into the rho {} that remain",
        Rho::from_pico(worst.window),
        Rho::from_pico(left)
    ))
}

/// The sentence: whose cap, what is asked of it, what is left of it, and what would fit.
fn refusal(spec: &RunSpec, worst: &WorstCase, room: &Room<'_>, ways: Vec<String>) -> String {
    let headroom = room.headroom;
    let left = headroom.left.unwrap_or(0);
    let cap = match (room.own, spec.privacy.epsilon) {
        (true, Some(epsilon)) => format!("privacy.epsilon {epsilon}"),
        _ => format!("the cap of rho {}", Rho::from_pico(headroom.cap)),
    };
    let raise = match room.own && room.is_new {
        true => "raise privacy.epsilon",
        false => "raise the cap with `tributary privacy cap --raise --reason TEXT`",
    };
    let ways: Vec<String> = ways.into_iter().chain(free(&headroom.holders)).collect();
    let remedy = match ways.is_empty() {
        true if left == 0 && headroom.reserved == 0 => format!("the budget is spent: {raise}"),
        true => format!("too little is left: {raise}"),
        false => format!("{}, or {raise}", ways.join(", ")),
    };
    let rest = [
        ("drift windows", worst.all_windows().unwrap_or(0)),
        ("playbook runs", worst.playbooks),
        ("calibrations", worst.calibrations),
    ];
    let rest = rest.iter().filter(|(_, pico)| *pico > 0);
    let rest = rest.map(|(what, pico)| format!(", {what} {}", Rho::from_pico(*pico)));
    let rest: String = rest.collect();
    let reserved = match headroom.reserved {
        0 => String::new(),
        reserved => format!(
            ", {} reserved by {}",
            Rho::from_pico(reserved),
            headroom.holders.join(", ")
        ),
    };
    format!(
        "{cap} can't last: a device may take part in {} of {} rounds, which costs it rho {} in all{rest} \
         ({}; {}), but {} remains ({} spent{reserved}): {remedy}",
        spec.rounds.needed_participations(),
        spec.rounds.count,
        Rho::from_pico(worst.training),
        spec.privacy.adjacency().words(),
        spec.privacy.mechanism(spec.is_seeded()).name(),
        Rho::from_pico(left),
        Rho::from_pico(headroom.spent),
    )
}

/// How to get back what others have reserved and not spent.
fn free(holders: &[String]) -> Option<String> {
    let id = holders.first()?;
    Some(format!(
        "stop what reserves it (`tributary run stop {id}`, or `monitor stop {id}` when the run is over)"
    ))
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

    use tributary_privacy::{SCALE, rho_for_epsilon};

    use super::super::costs::SumNoise;
    use super::*;
    use crate::fixtures::{plain_spec, spec};

    fn fixed() -> FixedPoint {
        FixedPoint::new(1.0, 15).unwrap()
    }

    fn costs(spec: &RunSpec) -> RunCosts {
        RunCosts::new(spec, &fixed(), None).unwrap()
    }

    /// What is left of the recipe's own cap when `spent` of it is spent.
    fn headroom(spec: &RunSpec, spent: u64) -> Headroom {
        let privacy = &spec.privacy;
        let cap = privacy.epsilon.map(|epsilon| {
            let cap = rho_for_epsilon(epsilon, privacy.delta).unwrap();
            cap.pico()
        });
        Headroom {
            left: cap.map(|cap| cap.saturating_sub(spent)),
            cap: cap.unwrap_or(0),
            spent,
            reserved: 0,
            holders: Vec::new(),
            endless: None,
        }
    }

    fn check(spec: &RunSpec, spent: u64) -> Result<(), CoordinatorError> {
        let costs = costs(spec);
        let worst = WorstCase {
            training: costs.worst_case(spec),
            windows: Some(0),
            ..WorstCase::default()
        };
        check_with(spec, &worst, &headroom(spec, spent))
    }

    fn check_with(
        spec: &RunSpec,
        worst: &WorstCase,
        headroom: &Headroom,
    ) -> Result<(), CoordinatorError> {
        let room = Room {
            headroom,
            own: true,
            is_new: true,
        };
        check_budget(spec, &costs(spec), &fixed(), worst, &room)
    }

    #[test]
    fn a_monitor_that_does_not_fit_is_told_how_many_windows_would() {
        let spec = spec();
        let headroom = headroom(&spec, 0);
        let left = headroom.left.unwrap();
        let mut worst = WorstCase {
            training: left / 2,
            window: left / 10,
            windows: None,
            playbooks: left / 10,
            calibrations: 0,
        };
        let refused = |worst: &WorstCase| {
            let refused = check_with(&spec, worst, &headroom);
            refused.unwrap_err().to_string()
        };
        let endless = refused(&worst);
        assert!(
            endless.contains("drift.windows is missing") && endless.contains("4 windows would fit"),
            "{endless}"
        );
        worst.windows = Some(5);
        let many = refused(&worst);
        assert!(many.contains("plan 4 windows (drift.windows)"), "{many}");
        worst.windows = Some(4);
        check_with(&spec, &worst, &headroom).unwrap();
        let held = Headroom {
            reserved: left / 5,
            left: Some(left - left / 5),
            holders: vec!["other-1".to_owned()],
            ..headroom.clone()
        };
        let shared = check_with(&spec, &worst, &held).unwrap_err().to_string();
        assert!(
            shared.contains("reserved by other-1")
                && shared.contains("`tributary run stop other-1`")
                && shared.contains("plan 2 windows"),
            "{shared}"
        );
        let endless = Headroom {
            endless: Some("other-1".to_owned()),
            ..held
        };
        let waits = check_with(&spec, &worst, &endless).unwrap_err().to_string();
        assert!(
            waits.contains("tributary monitor stop other-1-drift"),
            "{waits}"
        );
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
    }

    #[test]
    fn without_privacy_nothing_is_charged_and_nothing_is_capped() {
        let costs = costs(&plain_spec());
        assert!(costs.noise == SumNoise::None && costs.spent(9, 9) == 0);
        check(&plain_spec(), u64::MAX).unwrap();
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
        let message = check(&spec, u64::MAX).unwrap_err().to_string();
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
            let check = |spec: &RunSpec| check(spec, spent);
            let Err(refusal) = check(&spec) else {
                let most = costs(&spec).worst_case(&spec);
                prop_assert!(most <= headroom(&spec, spent).left.unwrap());
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
