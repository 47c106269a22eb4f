//! How often a device may take part, and what counts.

use super::*;
use crate::fixtures::device;

/// A run whose devices join every third round and three rounds in all.
fn limited() -> RunState {
    let mut spec = crate::fixtures::spec();
    (spec.rounds.count, spec.rounds.min_separation) = (9, 3);
    spec.rounds.max_participations = 3;
    crate::fixtures::state(spec)
}

#[test]
fn what_a_device_gave_to_a_round_that_was_given_up_counts_for_its_limits_and_costs_nothing() {
    let mut state = limited();
    state.round.number = 2;
    let one = device(1);
    state.take_part(one.clone(), 500, false);
    assert!(state.may_participate(&one), "the same round again");
    state.round.number = 4;
    assert!(!state.may_participate(&one), "its own record says no");
    state.round.number = 5;
    assert!(state.may_participate(&one));
    let past = state.participations[&one];
    assert_eq!((past.count, past.given_up), (0, 1));
    // given up twice and published at last: one participation
    state.take_part(one.clone(), 600, false);
    state.take_part(one.clone(), 700, false);
    state.take_part(one.clone(), 800, true);
    let past = state.participations[&one];
    assert_eq!((past.count, past.given_up, past.last_ms), (1, 1, 800));
    state.round.number = 8;
    assert!(state.may_participate(&one));
    state.take_part(one.clone(), 900, true);
    state.round.number = 11;
    assert!(!state.may_participate(&one), "three in all");
}

#[test]
fn a_device_is_not_asked_before_its_own_timer_lets_it() {
    let mut state = limited();
    state.spec.rounds.min_interval_ms = 1_000;
    let one = device(1);
    assert!(state.has_rested(&one, 0));
    state.round.number = 2;
    state.take_part(one.clone(), 500, true);
    state.round.number = 5;
    assert!(!state.has_rested(&one, 1_499) && state.has_rested(&one, 1_500));
    state.spec.seed = Some(1);
    assert!(
        state.has_rested(&one, 501),
        "no time passes in a seeded run"
    );
}

#[test]
fn under_local_noise_every_ask_counts_and_stays_in_what_is_shown() {
    let mut state = limited();
    state.spec.privacy.mode = tributary_recipe::PrivacyMode::Local;
    let ask = |state: &mut RunState, worst_pico_rho| {
        let round = state.round.number;
        let devices = vec![Assigned {
            device: device(1),
            region: 0,
        }];
        let asked = Event::Selected {
            round,
            devices,
            lease_until_ms: 10,
            complete: true,
            worst_pico_rho,
            incarnation: 0,
        };
        state.apply(&asked).unwrap();
        let reason = "nobody came".to_owned();
        state.apply(&Event::Aborted { round, reason }).unwrap();
    };
    for attempt in 1..=3 {
        assert!(state.may_participate(&device(1)), "attempt {attempt}");
        ask(&mut state, 7 * attempt);
    }
    assert!(
        !state.may_participate(&device(1)),
        "three asks, as budgeted"
    );
    assert_eq!(state.history.last().unwrap().worst_pico_rho, 21);
    state.apply(&Event::Stopped).unwrap();
    assert_eq!(state.history.last().unwrap().worst_pico_rho, 21);
}
