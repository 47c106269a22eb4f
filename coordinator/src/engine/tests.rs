//! The transition table, example by example, and selection.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tributary_model::Digest;
use tributary_proto::DeviceId;

use super::*;
use crate::fixtures::{device, plain_spec, spec, state};
use tributary_recipe::RunSpec;

pub(super) fn assigned(numbers: impl IntoIterator<Item = usize>) -> Vec<Assigned> {
    let one = |number| Assigned {
        device: device(number),
        region: number % 2,
    };
    numbers.into_iter().map(one).collect()
}

pub(super) fn selected(round: u32, devices: Vec<Assigned>) -> Event {
    Event::Selected {
        round,
        devices,
        lease_until_ms: 1_000,
        complete: true,
        worst_pico_rho: 0,
        incarnation: 0,
    }
}

pub(super) fn sealed(round: u32, numbers: &[usize]) -> Event {
    let contributors: Vec<DeviceId> = numbers.iter().map(|&number| device(number)).collect();
    let digest = Digest::of(format!("{round} {numbers:?}").as_bytes());
    let region = numbers[0] % 2;
    Event::Sealed {
        round,
        segment: Segment {
            marks: Vec::new(),
            salted: false,
            region,
            cluster: 0,
            digest,
            contributors,
            bytes_up: 10,
        },
    }
}

pub(super) fn closed(round: u32) -> Event {
    Event::Closed {
        round,
        reason: CloseReason::GoalMet,
    }
}

pub(super) fn published(round: u32) -> Event {
    let model = Digest::of(&round.to_be_bytes());
    Event::Published {
        round,
        model,
        variants: Vec::new(),
        control: None,
        server: Digest::of(b"server"),
        bytes_down: 7,
        clip: None,
        signs: None,
    }
}

/// A run with devices 0..6 collecting in round 1.
pub(super) fn collecting(spec: RunSpec) -> RunState {
    let mut state = state(spec);
    state.apply(&selected(1, assigned(0..6))).unwrap();
    state
}

/// Applies events that must all fit.
pub(super) fn apply_all(state: &mut RunState, events: &[Event]) -> Vec<Effect> {
    events
        .iter()
        .flat_map(|event| state.apply(event).unwrap())
        .collect()
}

/// An event that must be refused, with the state left as it was.
fn refuse(state: &mut RunState, event: &Event) -> Reject {
    let before = state.clone();
    let reject = state.apply(event).unwrap_err();
    assert_eq!(*state, before, "a refused event changed the state");
    reject
}

#[test]
fn a_selection_in_parts_collects_only_once_it_is_complete() {
    let mut state = state(spec());
    let part = Event::Selected {
        round: 1,
        devices: assigned(0..2),
        lease_until_ms: 5,
        complete: false,
        worst_pico_rho: 0,
        incarnation: 0,
    };
    assert_eq!(state.apply(&part).unwrap(), []);
    assert_eq!(state.round.phase, Phase::Selecting);
    assert_eq!(state.admit(&device(0), 1, 0, 0), Err(Reject::WrongPhase));
    let effects = state.apply(&selected(1, assigned(2..4))).unwrap();
    assert_eq!(effects, [Effect::Offer((0..4).map(device).collect())]);
    assert_eq!(state.admit(&device(0), 1, 0, 0), Ok(0));
}

#[test]
fn a_full_round_walks_through_every_phase_and_opens_the_next() {
    let mut state = collecting(spec());
    assert_eq!(state.apply(&sealed(1, &[0, 2])).unwrap(), []);
    assert_eq!(state.round.counted(), 2);
    assert_eq!(state.apply(&closed(1)).unwrap(), [Effect::Charge]);
    let charged = Event::Charged {
        round: 1,
        pico_rho: 5,
        worst_pico_rho: 5,
    };
    assert_eq!(state.apply(&charged).unwrap(), [Effect::Release]);
    let effects = state.apply(&published(1)).unwrap();
    assert_eq!(effects[1..], [Effect::CountRound, Effect::Select]);
    assert!(matches!(&effects[0], Effect::Discard(digests) if digests.len() == 1));
    assert_eq!((state.round.number, state.round.attempt), (2, 1));
    let record = &state.history[0];
    assert_eq!(record.counted, [2, 0]);
    assert_eq!(
        (record.assigned, record.bytes_up, record.bytes_down),
        (6, 10, 7)
    );
    assert_eq!(record.worst_pico_rho, 5);
}

#[test]
fn the_last_round_completes_the_run() {
    let mut state = state(spec());
    for round in 1..=3 {
        let first = round as usize * 2;
        apply_all(
            &mut state,
            &[
                selected(round, assigned([first, first + 2])),
                sealed(round, &[first, first + 2]),
                closed(round),
                Event::Charged {
                    round,
                    pico_rho: 1,
                    worst_pico_rho: 1,
                },
                published(round),
            ],
        );
    }
    assert_eq!(state.status, RunStatus::Completed);
    assert_eq!(refuse(&mut state, &Event::Stopped), Reject::RunOver);
    assert_eq!(state.contributions_by_region(), [6, 0]);
}

#[test]
fn invariant_1_a_device_is_counted_at_most_once_per_round() {
    let mut state = collecting(spec());
    state.apply(&sealed(1, &[0])).unwrap();
    assert_eq!(state.admit(&device(0), 1, 0, 0), Err(Reject::Duplicate));
    assert_eq!(refuse(&mut state, &sealed(1, &[0])), Reject::Duplicate);
    assert_eq!(refuse(&mut state, &sealed(1, &[2, 0])), Reject::Duplicate);
    assert_eq!(refuse(&mut state, &sealed(1, &[4, 4])), Reject::Duplicate);
    assert_eq!(state.round.counted(), 1);
}

#[test]
fn invariant_2_an_abort_releases_nothing_and_frees_everybody() {
    let mut state = collecting(spec());
    state.apply(&sealed(1, &[0, 2])).unwrap();
    let before = state.model;
    let effects = state
        .apply(&Event::Aborted {
            round: 1,
            reason: "tested".to_owned(),
        })
        .unwrap();
    assert!(
        matches!(&effects[..], [Effect::Discard(digests), Effect::Select] if digests.len() == 1)
    );
    assert_eq!(state.model, before);
    let published = state.participations.values().map(|past| past.count);
    assert_eq!(published.sum::<u32>(), 0);
    assert_eq!((state.round.number, state.round.attempt), (1, 2));
    let second = RoundState {
        fruitless: 1,
        ..RoundState::open(1, 2)
    };
    assert_eq!(state.round, second);
    assert_eq!(state.contributions_by_region(), [0, 0]);
}

#[test]
fn invariant_3_a_round_is_published_only_after_its_charge() {
    let mut state = collecting(spec());
    state.apply(&sealed(1, &[0, 2])).unwrap();
    assert_eq!(refuse(&mut state, &published(1)), Reject::WrongPhase);
    state.apply(&closed(1)).unwrap();
    assert_eq!(refuse(&mut state, &published(1)), Reject::WrongPhase);
    state
        .apply(&Event::Charged {
            round: 1,
            pico_rho: 1,
            worst_pico_rho: 1,
        })
        .unwrap();
    let again = Event::Charged {
        round: 1,
        pico_rho: 1,
        worst_pico_rho: 1,
    };
    assert_eq!(refuse(&mut state, &again), Reject::WrongPhase);
    let abort = Event::Aborted {
        round: 1,
        reason: String::new(),
    };
    assert_eq!(
        refuse(&mut state, &abort),
        Reject::WrongPhase,
        "it is charged: it must be released"
    );
    state.apply(&published(1)).unwrap();
}

#[test]
fn a_round_that_fails_too_often_fails_the_run_and_says_why() {
    let mut state = state(spec());
    for attempt in 1..=5 {
        assert_eq!(state.round.attempt, attempt);
        state
            .apply(&Event::Aborted {
                round: 1,
                reason: "nobody came".to_owned(),
            })
            .unwrap();
    }
    let RunStatus::Failed(why) = &state.status else {
        panic!("{:?}", state.status)
    };
    assert!(
        why.contains("given up 5 times") && why.contains("nobody came"),
        "{why}"
    );
}

#[test]
fn a_round_below_its_minimum_does_not_close() {
    let mut state = collecting(spec());
    state.apply(&sealed(1, &[0])).unwrap();
    assert_eq!(refuse(&mut state, &closed(1)), Reject::BelowMinimum);
}

#[test]
fn facts_of_another_round_or_of_strangers_are_refused() {
    let mut state = collecting(spec());
    for event in [
        selected(2, vec![]),
        sealed(2, &[0]),
        closed(0),
        published(9),
    ] {
        assert_eq!(refuse(&mut state, &event), Reject::WrongRound, "{event:?}");
    }
    assert_eq!(refuse(&mut state, &sealed(1, &[99])), Reject::NotAssigned);
    let dropped = Event::Dropped {
        round: 1,
        devices: vec![device(0), device(99)],
        reason: DropReason::Battery,
    };
    assert_eq!(refuse(&mut state, &dropped), Reject::NotAssigned);
    assert_eq!(state.admit(&device(99), 1, 0, 0), Err(Reject::NotAssigned));
    assert_eq!(state.admit(&device(0), 2, 0, 0), Err(Reject::WrongRound));
}

#[test]
fn a_region_that_the_recipe_does_not_have_is_refused() {
    let mut fresh = state(spec());
    let stranger = vec![Assigned {
        device: device(0),
        region: 2,
    }];
    assert_eq!(
        refuse(&mut fresh, &selected(1, stranger)),
        Reject::NotAssigned
    );
    let mut state = collecting(spec());
    let empty = Segment {
        marks: Vec::new(),
        salted: false,
        cluster: 0,
        region: 2,
        digest: Digest::of(b""),
        contributors: vec![],
        bytes_up: 0,
    };
    let event = Event::Sealed {
        round: 1,
        segment: empty,
    };
    assert_eq!(refuse(&mut state, &event), Reject::NotAssigned);
}

#[test]
fn a_segment_of_another_region_than_its_contributors_is_refused() {
    let mut state = collecting(spec());
    assert_eq!(refuse(&mut state, &sealed(1, &[0, 1])), Reject::NotAssigned);
}

#[test]
fn a_device_that_gave_up_is_told_that_its_lease_is_gone() {
    let mut state = collecting(spec());
    state.apply(&sealed(1, &[2])).unwrap();
    let devices = vec![device(0), device(2)];
    let reason = DropReason::Slow;
    state
        .apply(&Event::Dropped {
            round: 1,
            devices,
            reason,
        })
        .unwrap();
    assert_eq!(state.admit(&device(0), 1, 0, 0), Err(Reject::LeaseExpired));
    assert_eq!(
        state.admit(&device(2), 1, 0, 0),
        Err(Reject::Duplicate),
        "who is counted stays so"
    );
}

#[test]
fn late_and_surplus_updates_are_refused_with_their_reason() {
    let mut state = collecting(plain_spec());
    assert_eq!(state.admit(&device(0), 1, 0, 1_000), Ok(0));
    assert_eq!(
        state.admit(&device(0), 1, 0, 1_001),
        Err(Reject::LeaseExpired)
    );
    apply_all(&mut state, &[sealed(1, &[0, 2]), sealed(1, &[1, 3])]);
    assert_eq!(state.admit(&device(4), 1, 0, 0), Err(Reject::GoalMet));
    assert_eq!(state.should_close(0), Some(CloseReason::GoalMet));
    state.apply(&closed(1)).unwrap();
    assert_eq!(state.admit(&device(4), 1, 0, 0), Err(Reject::WrongPhase));
    assert_eq!(state.admit(&device(0), 1, 0, 0), Err(Reject::Duplicate));
}

#[test]
fn collection_ends_with_the_last_answer_or_the_deadline() {
    let mut state = collecting(spec());
    assert_eq!(state.should_close(1_000), None);
    assert_eq!(state.should_close(1_001), Some(CloseReason::Deadline));
    let devices = (1..6).map(device).collect();
    apply_all(
        &mut state,
        &[
            sealed(1, &[0]),
            Event::Dropped {
                round: 1,
                devices,
                reason: DropReason::Network,
            },
        ],
    );
    assert_eq!(state.should_close(0), Some(CloseReason::AllAnswered));
}

#[test]
fn invariant_9_neither_time_nor_order_refuses_a_device_of_a_seeded_round() {
    let mut seeded = spec();
    seeded.seed = Some(1);
    let mut state = collecting(seeded);
    apply_all(&mut state, &[sealed(1, &[0, 2]), sealed(1, &[1, 3])]);
    assert_eq!(
        state.admit(&device(4), 1, 0, u64::MAX),
        Ok(0),
        "past the goal and the deadline"
    );
    assert_eq!(state.should_close(u64::MAX), None);
    apply_all(&mut state, &[sealed(1, &[4]), sealed(1, &[5])]);
    assert_eq!(state.should_close(0), Some(CloseReason::AllAnswered));
}

#[test]
fn stopping_ends_a_run_in_any_phase_and_releases_nothing() {
    let steps = [
        selected(1, assigned(0..6)),
        sealed(1, &[0, 2]),
        closed(1),
        Event::Charged {
            round: 1,
            pico_rho: 1,
            worst_pico_rho: 1,
        },
    ];
    for done in 0..=steps.len() {
        let mut state = state(spec());
        apply_all(&mut state, &steps[..done]);
        let effects = state.apply(&Event::Stopped).unwrap();
        assert_eq!(effects.last(), Some(&Effect::Finish));
        assert_eq!(state.status, RunStatus::Stopped);
        assert_eq!(state.model, Digest::of(b"first"));
        assert_eq!(state.contributions_by_region(), [0, 0]);
        assert_eq!(state.should_close(u64::MAX), None);
    }
}

#[test]
fn the_state_and_every_event_survive_json() {
    let mut state = collecting(spec());
    let events = [
        sealed(1, &[0, 2]),
        closed(1),
        Event::Charged {
            round: 1,
            pico_rho: u64::MAX,
            worst_pico_rho: u64::MAX,
        },
    ];
    for event in events {
        state.apply(&event).unwrap();
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<RunState>(&text).unwrap(), state);
    }
}

/// A run in round `number` whose devices have been in rounds before.
fn experienced(number: u32, cohort: u32, separation: u32, pasts: &[(u32, u32)]) -> RunState {
    let mut spec = spec();
    spec.rounds.cohort = cohort;
    spec.rounds.over_selection = 1.0;
    spec.rounds.min_separation = separation;
    let mut state = state(spec);
    state.round.number = number;
    for (index, &(count, last_round)) in pasts.iter().enumerate() {
        if count > 0 {
            let last_round = last_round.min(number - 1);
            state.participations.insert(
                device(index),
                Participation {
                    count,
                    last_round,
                    ..Participation::default()
                },
            );
        }
    }
    state
}

fn candidates(count: usize) -> Vec<Candidate> {
    let one = |number| Candidate {
        device: device(number),
        region: number % 2,
    };
    (0..count).map(one).collect()
}

proptest! {
    #[test]
    fn selection_does_not_depend_on_the_order_of_the_candidates(
        pasts in prop::collection::vec((0u32..3, 0u32..9), 1..60),
        cohort in 1u32..40,
        shuffled in Just((0usize..60).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let state = experienced(10, cohort, 2, &pasts);
        let sorted = candidates(pasts.len());
        let order = shuffled.into_iter().filter(|&index| index < pasts.len());
        let mixed: Vec<_> = order.map(|index| sorted[index].clone()).collect();
        prop_assert_eq!(select(&state, &sorted), select(&state, &mixed));
    }

    #[test]
    fn selection_takes_only_who_may_take_part_each_once_and_as_many_as_are_wanted(
        pasts in prop::collection::vec((0u32..4, 0u32..9), 1..60),
        cohort in 1u32..40,
        separation in 1u32..6,
    ) {
        let state = experienced(10, cohort, separation, &pasts);
        let chosen = select(&state, &candidates(pasts.len()));
        let eligible = (0..pasts.len()).filter(|&index| {
            let (count, last) = pasts[index];
            count == 0 || count < 2 && 10 - last.min(9) >= separation
        });
        let eligible: BTreeSet<DeviceId> = eligible.map(device).collect();
        let ids: BTreeSet<DeviceId> = chosen.iter().map(|one| one.device.clone()).collect();
        prop_assert_eq!(ids.len(), chosen.len());
        prop_assert!(ids.is_subset(&eligible));
        prop_assert_eq!(chosen.len(), eligible.len().min(cohort as usize));
    }

    #[test]
    fn within_a_region_those_with_the_fewest_participations_come_first(
        pasts in prop::collection::vec((0u32..2, 0u32..9), 2..60),
        cohort in 1u32..40,
    ) {
        let state = experienced(10, cohort, 1, &pasts);
        let ids: BTreeSet<DeviceId> =
            select(&state, &candidates(pasts.len())).into_iter().map(|one| one.device).collect();
        for region in 0..2 {
            let members = || (region..pasts.len()).step_by(2);
            let taken = members().filter(|&index| ids.contains(&device(index)));
            let left = members().filter(|&index| !ids.contains(&device(index)));
            let most = taken.map(|index| pasts[index].0).max();
            let fewest = left.map(|index| pasts[index].0).min();
            if let (Some(most), Some(fewest)) = (most, fewest) {
                prop_assert!(most <= fewest);
            }
        }
    }
}

#[test]
fn another_attempt_of_the_same_round_asks_other_devices() {
    let first = experienced(1, 10, 1, &[]);
    let mut second = first.clone();
    second.round.attempt = 2;
    let pool = candidates(200);
    assert_ne!(select(&first, &pool), select(&second, &pool));
}
