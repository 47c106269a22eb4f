//! Devices that are asked in vain: they are pushed back, and a run with enough others completes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tributary_proto::DeviceId;

use super::tests::{apply_all, closed, published, sealed, selected};
use super::*;
use crate::fixtures::{device, plain_spec, state};
use tributary_recipe::{PrivacyMode, RunSpec};

/// How a device that can't be relied on behaves, every time that it is asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    GivesBack(DropReason),
    /// It says nothing and its lease ends.
    Vanishes,
}

fn recipe(count: u32, cohort: u32, minimum: u32, over_selection: f64) -> RunSpec {
    let mut spec = plain_spec();
    let rounds = &mut spec.rounds;
    (rounds.count, rounds.cohort, rounds.minimum) = (count, cohort, Some(minimum));
    rounds.over_selection = over_selection;
    rounds.max_participations = u32::MAX;
    spec
}

fn number(id: &DeviceId) -> usize {
    id.as_str().trim_start_matches("device-").parse().unwrap()
}

fn pool(devices: usize) -> Vec<Candidate> {
    let one = |number| Candidate {
        device: device(number),
        region: number % 2,
    };
    (0..devices).map(one).collect()
}

fn dropped(round: u32, devices: &[usize], reason: DropReason) -> Event {
    Event::Dropped {
        round,
        devices: devices.iter().map(|&number| device(number)).collect(),
        reason,
    }
}

/// One attempt, as the actor would run it: who can answers until the goal is met; those that vanish
/// are noticed at the deadline only. Gives who was asked.
fn attempt(run: &mut RunState, faults: &[Option<Fault>]) -> Vec<usize> {
    let round = run.round.number;
    let chosen = select(run, &pool(faults.len()));
    let asked: Vec<usize> = chosen.iter().map(|one| number(&one.device)).collect();
    apply_all(run, &[selected(round, chosen)]);
    for &one in &asked {
        if let Some(Fault::GivesBack(reason)) = faults[one] {
            apply_all(run, &[dropped(round, &[one], reason)]);
        }
    }
    let goal = run.spec.rounds.cohort as usize;
    let healthy = asked.iter().filter(|&&one| faults[one].is_none());
    let mut healthy: Vec<usize> = healthy.copied().collect();
    // those that are tried again answer first
    healthy.sort_by_key(|&one| run.standing(&device(one)) == Standing::Good);
    healthy.truncate(goal);
    for &one in &healthy {
        apply_all(run, &[sealed(round, &[one])]);
    }
    if healthy.len() < goal {
        let silent = asked
            .iter()
            .filter(|&&one| faults[one] == Some(Fault::Vanishes));
        let silent: Vec<usize> = silent.copied().collect();
        apply_all(run, &[dropped(round, &silent, DropReason::Expired)]);
    }
    if healthy.len() < run.spec.rounds.minimum() as usize {
        let reason = "too few".to_owned();
        apply_all(run, &[Event::Aborted { round, reason }]);
    } else {
        let charged = Event::Charged {
            round,
            pico_rho: 0,
            worst_pico_rho: 0,
        };
        apply_all(run, &[closed(round), charged, published(round)]);
    }
    asked
}

fn to_the_end(run: &mut RunState, faults: &[Option<Fault>]) {
    while run.is_running() {
        attempt(run, faults);
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    let reasons = prop::sample::select(&DropReason::ALL[..]);
    prop_oneof![reasons.prop_map(Fault::GivesBack), Just(Fault::Vanishes)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_devices_always_fail_a_run_with_enough_others_completes(
        faults in prop::collection::vec(prop::option::weighted(0.6, fault()), 40..140),
        cohort in 2u32..16,
        over_selection in 1.0f64..2.0,
        share in 0.3f64..1.0,
        key in any::<[u8; 32]>(),
    ) {
        let minimum = ((f64::from(cohort) * share) as u32).max(1);
        let healthy = faults.iter().filter(|fault| fault.is_none()).count();
        prop_assume!(healthy >= cohort as usize);
        let mut run = state(recipe(30, cohort, minimum, over_selection));
        run.key = key;
        to_the_end(&mut run, &faults);
        prop_assert_eq!(&run.status, &RunStatus::Completed, "{:?}", run.history.last());
    }

    #[test]
    fn no_more_are_tried_again_than_the_over_selection_bears(
        faults in prop::collection::vec(prop::option::weighted(0.3, fault()), 100..160),
        cohort in 4u32..20,
        over_selection in 1.0f64..2.0,
    ) {
        let mut run = state(recipe(60, cohort, 1, over_selection));
        let spare = run.spec.rounds.to_select() - cohort;
        while run.is_running() {
            let standings: Vec<Standing> =
                (0..faults.len()).map(|one| run.standing(&device(one))).collect();
            let good = standings.iter().filter(|&&one| one == Standing::Good).count();
            let enough = good >= run.spec.rounds.to_select() as usize;
            let asked = attempt(&mut run, &faults);
            let doubtful = asked.iter().filter(|&&one| standings[one] != Standing::Good);
            let doubtful = doubtful.count();
            prop_assert!(!enough || doubtful <= spare.div_ceil(2) as usize, "{} tried", doubtful);
        }
    }
}

#[test]
fn eight_of_a_hundred_devices_that_always_give_back_do_not_end_a_run() {
    let fault = Some(Fault::GivesBack(DropReason::Battery));
    let faults: Vec<_> = (0..100).map(|one| fault.filter(|_| one < 8)).collect();
    let mut run = state(recipe(60, 10, 5, 1.2));
    let mut asked_in_vain = 0;
    while run.is_running() {
        let asked = attempt(&mut run, &faults);
        asked_in_vain += asked.iter().filter(|&&one| one < 8).count();
    }
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(run.history.len(), 60, "no attempt was given up");
    assert!((8..90).contains(&asked_in_vain), "{asked_in_vain}");
}

#[test]
fn a_device_that_fails_again_is_passed_over_for_twice_as_long_and_forgiven_once_it_counts() {
    let mut run = state(recipe(900, 1, 1, 4.0));
    let mut faults = vec![None; 9];
    faults[0] = Some(Fault::GivesBack(DropReason::Slow));
    let mut asked = Vec::new();
    for attempted in 0..400 {
        if attempt(&mut run, &faults).contains(&0) {
            asked.push(attempted);
        }
    }
    let gaps: Vec<i32> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.len() >= 7, "{asked:?}");
    for pair in gaps.windows(2) {
        assert!(pair[0] <= pair[1] && pair[1] <= 80, "{gaps:?}");
    }
    assert!(*gaps.last().unwrap() >= 64, "{gaps:?}");
    faults[0] = None;
    while run.is_running() && run.standing(&device(0)) != Standing::Good {
        attempt(&mut run, &faults);
    }
    assert!(run.is_running(), "it was tried again");
    assert_eq!(run.participations[&device(0)].setbacks, 0);
}

#[test]
fn where_nobody_else_is_left_those_that_failed_are_asked_and_the_run_fails_with_its_reasons() {
    let fault = Some(Fault::GivesBack(DropReason::ModelMismatch));
    let mut run = state(recipe(5, 8, 4, 1.0));
    to_the_end(&mut run, &[fault; 8]);
    let RunStatus::Failed(why) = &run.status else {
        panic!("{:?}", run.status)
    };
    assert!(
        why.contains("given up 6 times"),
        "one taught something: {why}"
    );
    let drops = run.history.iter().map(|record| &record.drops);
    for drops in drops {
        assert_eq!(drops[&DropReason::ModelMismatch], 8);
    }
}

#[test]
fn under_privacy_only_what_does_not_depend_on_data_pushes_back() {
    let pushed = |spec: RunSpec, reason| {
        let mut run = state(spec);
        let one = vec![Assigned {
            device: device(0),
            region: 0,
        }];
        apply_all(&mut run, &[selected(1, one), dropped(1, &[0], reason)]);
        run.standing(&device(0)) != Standing::Good
    };
    let mut private = recipe(5, 8, 4, 1.0);
    (private.privacy.mode, private.privacy.noise_multiplier) = (PrivacyMode::Dp, 1.0);
    let used: BTreeSet<DropReason> = DropReason::ALL
        .into_iter()
        .filter(|&reason| pushed(private.clone(), reason))
        .collect();
    let never = [
        DropReason::NotStated,
        DropReason::Slow,
        DropReason::NoData,
        DropReason::TrainingFailed,
        DropReason::Refused,
    ];
    assert!(
        never.iter().all(|reason| !used.contains(reason)),
        "{used:?}"
    );
    assert_eq!(used.len() + never.len(), DropReason::ALL.len());
    // without privacy everything does
    let plain = recipe(5, 8, 4, 1.0);
    assert!(
        DropReason::ALL
            .into_iter()
            .all(|reason| pushed(plain.clone(), reason))
    );
    // what a simulation draws for each round says nothing of the next
    let seeded = RunSpec {
        seed: Some(1),
        ..plain
    };
    assert!(
        !pushed(seeded.clone(), DropReason::Network) && !pushed(seeded.clone(), DropReason::Slow)
    );
    assert!(pushed(seeded, DropReason::ConnectionLost));
}

#[test]
fn under_privacy_devices_that_are_unable_or_silent_do_not_starve_a_run() {
    for fault in [Fault::GivesBack(DropReason::Unable), Fault::Vanishes] {
        let mut spec = recipe(20, 10, 5, 1.2);
        (spec.privacy.mode, spec.privacy.noise_multiplier) = (PrivacyMode::Dp, 1.0);
        let mut run = state(spec);
        let mut faults = vec![None; 100];
        faults[..8].fill(Some(fault));
        to_the_end(&mut run, &faults);
        assert_eq!(run.status, RunStatus::Completed, "{:?}", run.history.last());
    }
}

#[test]
fn a_device_that_was_only_asked_in_vain_is_bound_by_no_separation() {
    let mut spec = recipe(9, 2, 1, 1.0);
    (spec.rounds.min_separation, spec.rounds.min_interval_ms) = (3, 1_000);
    let mut run = state(spec);
    let one = vec![Assigned {
        device: device(0),
        region: 0,
    }];
    apply_all(
        &mut run,
        &[selected(1, one), dropped(1, &[0], DropReason::Limit)],
    );
    assert!(run.may_participate(&device(0)) && run.has_rested(&device(0), 0));
}

#[test]
fn a_region_whose_devices_all_fail_takes_no_more_places_than_its_trials() {
    // all of the odd devices, which are the second region
    let fault = Some(Fault::Vanishes);
    let faults: Vec<_> = (0..100).map(|one| fault.filter(|_| one % 2 == 1)).collect();
    let mut run = state(recipe(40, 10, 8, 1.2));
    to_the_end(&mut run, &faults);
    assert_eq!(run.status, RunStatus::Completed);
}
