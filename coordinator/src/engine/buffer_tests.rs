//! Rounds that overlap: leases that go on, staleness, and places that become free.

use super::tests::{apply_all, assigned, closed, collecting, published, sealed, selected};
use super::*;
use crate::fixtures::{device, plain_spec};
use tributary_recipe::RunSpec;

/// A run whose updates may be two rounds late.
fn buffered() -> RunSpec {
    let mut spec = plain_spec();
    (spec.rounds.count, spec.rounds.minimum) = (9, Some(1));
    spec.rounds.staleness_cap = Some(2);
    spec
}

/// Takes the open round, in which `numbers` are counted, to its end.
fn publish(state: &mut RunState, numbers: &[usize]) {
    let round = state.round.number;
    apply_all(
        state,
        &[
            sealed(round, numbers),
            closed(round),
            Event::Charged {
                round,
                pico_rho: 0,
                worst_pico_rho: 0,
            },
            published(round),
        ],
    );
}

#[test]
fn a_late_update_is_counted_in_a_later_buffer_until_it_is_too_stale() {
    let mut state = collecting(buffered());
    let first = state.model;
    publish(&mut state, &[0, 2]);
    assert_eq!(
        state.round.leases.len(),
        4,
        "those that have not answered go on"
    );
    assert_eq!(
        state.admit(&device(1), 1, 0, 0),
        Err(Reject::BetweenBuffers)
    );
    apply_all(&mut state, &[selected(2, assigned([6]))]);
    assert_eq!(state.admit(&device(1), 1, 0, 0), Ok(1));
    assert_eq!(state.admit(&device(1), 2, 0, 0), Err(Reject::NotAssigned));
    assert_eq!(state.admit(&device(6), 2, 0, 0), Ok(0));
    assert_eq!(
        (state.staleness(1), state.models_of(1, 0)),
        (1, &[first][..])
    );
    let second = state.model;
    publish(&mut state, &[4, 6]);
    apply_all(&mut state, &[selected(3, assigned([8]))]);
    assert_eq!(state.admit(&device(1), 1, 0, 0), Ok(1));
    assert_eq!(
        (state.staleness(1), state.models_of(2, 0)),
        (2, &[second][..])
    );
    publish(&mut state, &[8]);
    assert!(
        state.round.leases.is_empty(),
        "three rounds late is too late"
    );
    assert_eq!(state.admit(&device(1), 1, 0, 0), Err(Reject::WrongRound));
    assert!(state.models_of(1, 0).is_empty());
}

#[test]
fn a_full_buffer_sends_a_device_to_the_next_instead_of_refusing_it() {
    let mut spec = buffered();
    (spec.rounds.cohort, spec.rounds.minimum) = (2, Some(1));
    let mut state = collecting(spec);
    apply_all(&mut state, &[sealed(1, &[0, 2])]);
    assert_eq!(
        state.admit(&device(4), 1, 0, 0),
        Err(Reject::BetweenBuffers)
    );
    assert_eq!(state.admit(&device(0), 1, 0, 0), Err(Reject::Duplicate));
}

#[test]
fn fewer_devices_are_asked_while_others_are_still_at_work() {
    let mut state = collecting(buffered());
    assert_eq!(state.spec.rounds.to_select(), 6);
    publish(&mut state, &[0, 2]);
    assert_eq!(state.to_select(), 2);
    let candidates: Vec<Candidate> = (10..16)
        .map(|number| Candidate {
            device: device(number),
            region: number % 2,
        })
        .collect();
    assert_eq!(select(&state, &candidates).len(), 2);
}

#[test]
fn without_a_staleness_cap_no_lease_outlives_its_round() {
    let mut spec = buffered();
    spec.rounds.staleness_cap = Some(0);
    let mut state = collecting(spec);
    publish(&mut state, &[0, 2]);
    assert!(state.round.leases.is_empty() && state.earlier.is_empty());
    assert_eq!(state.admit(&device(1), 1, 0, 0), Err(Reject::WrongRound));
}
