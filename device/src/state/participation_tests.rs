use proptest::prelude::*;

use super::*;
use crate::state::record::{MAX_RUNS_RECORDED, ParticipationRecord, RecordError, VolatileRecord};

const DAY: u64 = 24 * 3600 * 1000;

fn limits(max_participations: u32, min_separation: u32, min_interval_ms: u64) -> Limits {
    Limits {
        max_participations,
        min_separation,
        min_interval_ms,
    }
}

fn turn(round: u32, limits: Limits) -> ParticipationRequest {
    ParticipationRequest {
        round,
        attempt: 1,
        limits,
        noised: false,
        resent: false,
    }
}

fn noised(round: u32, attempt: u32, most: u32) -> ParticipationRequest {
    ParticipationRequest {
        attempt,
        noised: true,
        ..turn(round, limits(most, 1, 0))
    }
}

fn refused(known: Participations, turn: ParticipationRequest, now_ms: u64) -> &'static str {
    known.after(&turn, now_ms).unwrap_err().reason()
}

#[test]
fn a_device_that_took_part_as_often_as_it_may_says_so() {
    let two = limits(2, 0, 0);
    let once = Participations::default().after(&turn(1, two), 5).unwrap();
    let twice = once.after(&turn(2, two), 6).unwrap();
    assert_eq!((twice.count, twice.round, twice.at_ms), (2, 2, 6));
    let error = twice.after(&turn(3, two), 7).unwrap_err();
    assert_eq!(error, LimitError::Participations { count: 2, most: 2 });
    assert!(error.to_string().contains("max_participations is 2"));
}

#[test]
fn a_round_too_close_to_the_last_is_refused_with_the_round_that_is_not() {
    let apart = limits(0, 4, 0);
    let known = Participations::default().after(&turn(3, apart), 0).unwrap();
    for round in [4, 5, 6] {
        let error = known.after(&turn(round, apart), DAY).unwrap_err();
        let (last, fewest, next) = (3, 4, 7);
        assert_eq!(error, LimitError::Separation { last, fewest, next });
    }
    assert_eq!(known.after(&turn(7, apart), 0).unwrap().count, 2);
    // separations 0 and 1 keep nothing apart
    for b in [0, 1] {
        assert!(known.after(&turn(4, limits(9, b, 0)), 0).is_ok());
    }
}

#[test]
fn the_pause_lasts_until_its_last_millisecond() {
    let pause = limits(0, 0, DAY);
    let known = Participations::default()
        .after(&turn(1, pause), 1000)
        .unwrap();
    let error = known.after(&turn(2, pause), 1000 + DAY - 1).unwrap_err();
    let (elapsed_ms, fewest_ms) = (DAY - 1, DAY);
    let expected = LimitError::Interval {
        elapsed_ms,
        fewest_ms,
    };
    assert_eq!(error, expected);
    assert!(known.after(&turn(2, pause), 1000 + DAY).is_ok());
}

#[test]
fn a_clock_that_was_set_back_never_shortens_the_pause() {
    let pause = limits(0, 0, DAY);
    let known = Participations::default()
        .after(&turn(1, pause), 10 * DAY)
        .unwrap();
    // back to 1970, and a day later by that clock
    for now in [0, DAY, 10 * DAY, 11 * DAY - 1] {
        assert_eq!(refused(known, turn(2, pause), now), "min_interval");
    }
    // a round that comes again under such a clock does not take the time back either
    let again = known.after(&turn(1, pause), DAY).unwrap();
    assert_eq!(again.at_ms, 10 * DAY);
    // nor does a participation while the pause is not asked for
    let free = known.after(&turn(2, limits(5, 0, 0)), DAY).unwrap();
    assert_eq!((free.count, free.at_ms), (2, 10 * DAY));
    assert!(known.after(&turn(2, pause), 11 * DAY).is_ok());
}

#[test]
fn a_round_before_the_last_is_refused_under_every_limit() {
    for limits in [limits(9, 0, 0), limits(0, 2, 0), limits(0, 0, 1)] {
        let known = Participations::default().after(&turn(8, limits), 0);
        assert_eq!(refused(known.unwrap(), turn(2, limits), DAY), "round_past");
    }
}

#[test]
fn a_round_that_comes_again_counts_once_even_when_nothing_is_left() {
    let last = limits(1, 9, DAY);
    let known = Participations::default().after(&turn(4, last), 5).unwrap();
    let again = ParticipationRequest {
        attempt: 3,
        ..turn(4, last)
    };
    let after = known.after(&again, 9).unwrap();
    assert_eq!((after.count, after.attempt, after.at_ms), (1, 3, 9));
    assert_eq!(
        refused(after, turn(13, last), 2 * DAY),
        "max_participations"
    );
}

#[test]
fn under_local_noise_another_attempt_counts_and_the_same_one_is_refused() {
    let known = Participations::default()
        .after(&noised(1, 1, 2), 0)
        .unwrap();
    assert_eq!(refused(known, noised(1, 1, 2), 0), "already_noised");
    let second = known.after(&noised(1, 2, 2), 0).unwrap();
    assert_eq!((second.count, second.attempt), (2, 2));
    assert_eq!(refused(second, noised(1, 1, 2), 0), "already_noised");
    assert_eq!(refused(second, noised(1, 3, 2), 0), "max_participations");
    // the same bytes once more tell nobody anything new
    let resent = ParticipationRequest {
        resent: true,
        ..noised(1, 3, 2)
    };
    let same = second.after(&resent, 0).unwrap();
    assert_eq!((same.count, same.attempt), (2, 3));
    assert_eq!(refused(same, noised(1, 3, 2), 0), "already_noised");
}

#[test]
fn a_count_at_the_end_of_its_range_stays_there() {
    let full = Participations {
        count: u32::MAX,
        round: 1,
        attempt: 1,
        at_ms: 0,
    };
    let after = full.after(&turn(u32::MAX, limits(0, 2, 0)), 0).unwrap();
    assert_eq!(after.count, u32::MAX);
}

#[test]
fn a_record_forgets_no_run_to_make_room_for_another() {
    let record = VolatileRecord::default();
    let once = Participations {
        count: 1,
        round: 1,
        attempt: 1,
        at_ms: 1,
    };
    for run in 0..MAX_RUNS_RECORDED {
        record.store(&run.to_string(), &once).unwrap();
    }
    let error = record.store("another", &once).unwrap_err();
    assert!(matches!(error, RecordError::Full { .. }), "{error}");
    assert_eq!(record.load("0").unwrap(), once);
    record.store("0", &once).unwrap();
}

/// One order: the round rises by `step`, time by `wait`.
#[derive(Debug, Clone)]
struct Order {
    step: u32,
    attempt: u32,
    wait: u64,
    /// The update was kept by the process and is sent again.
    kept: bool,
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let order = (0u32..4, 1u32..4, 0u64..30, any::<bool>());
    let order = order.prop_map(|(step, attempt, wait, kept)| Order {
        step,
        attempt,
        wait,
        kept,
    });
    prop::collection::vec(order, 1..60)
}

/// All that left the device, as the whole list: round, attempt, time.
type Left = Vec<(u32, u32, u64)>;

/// The rule once more, from the list of all exposures: at most k, no two rounds closer than b or the
/// pause, none before the last.
fn allowed(left: &Left, turn: &ParticipationRequest, now: u64) -> bool {
    let limits = turn.limits;
    let here = || left.iter().filter(|(round, ..)| *round == turn.round);
    if !turn.noised && here().next().is_some() {
        return true;
    }
    let others = left.iter().filter(|(round, ..)| *round != turn.round);
    let apart = others.clone().all(|(round, _, at)| {
        *round < turn.round
            && turn.round - round >= limits.min_separation
            && (here().next().is_some() || now - at >= limits.min_interval_ms)
    });
    let most = limits.max_participations as usize;
    apart
        && here().all(|(_, attempt, _)| turn.attempt > *attempt)
        && (most == 0 || left.len() < most)
}

proptest! {
    #[test]
    fn no_sequence_of_orders_passes_k_participations_or_brings_two_closer_than_b(
        orders in orders(),
        max_participations in 0u32..6,
        min_separation in 0u32..6,
        min_interval_ms in 0u64..60,
        noised in any::<bool>(),
    ) {
        let limits = limits(max_participations, min_separation, min_interval_ms);
        let (mut known, mut left) = (Participations::default(), Left::new());
        let (mut round, mut now) = (1, 0);
        for order in orders {
            round += order.step;
            now += order.wait;
            let turn = ParticipationRequest { round, attempt: order.attempt, limits, noised, resent: false };
            let outcome = known.after(&turn, now);
            prop_assert_eq!(outcome.is_ok(), allowed(&left, &turn, now), "{:?} {:?}", turn, left);
            let Ok(after) = outcome else { continue };
            let again = left.iter().any(|(earlier, ..)| *earlier == round);
            known = after;
            if again && !noised {
                left.iter_mut().filter(|(r, ..)| *r == round).for_each(|(.., at)| *at = now);
            } else {
                left.push((round, order.attempt, now));
            }
            if order.kept {
                // resending moves the time on and nothing else
                let resent = known.after(&ParticipationRequest { resent: true, ..turn }, now).unwrap();
                prop_assert_eq!(resent, known);
            }
        }
        prop_assert_eq!(known.count as usize, left.len());
        if max_participations > 0 {
            prop_assert!(left.len() <= max_participations as usize);
        }
        let rounds: std::collections::BTreeSet<u32> = left.iter().map(|(r, ..)| *r).collect();
        let rounds: Vec<u32> = rounds.into_iter().collect();
        for pair in rounds.windows(2) {
            prop_assert!(pair[1] - pair[0] >= min_separation.max(1));
        }
    }

    #[test]
    fn a_clock_that_jumps_anywhere_lets_two_rounds_no_closer_than_the_pause_by_its_latest_time(
        readings in prop::collection::vec(0u64..1000, 1..60),
        pause in 1u64..400,
    ) {
        let limits = limits(0, 0, pause);
        let (mut known, mut latest) = (Participations::default(), None::<u64>);
        for (round, now) in (1u32..).zip(readings) {
            match known.after(&turn(round, limits), now) {
                Ok(after) => {
                    prop_assert!(latest.is_none_or(|latest| now >= latest + pause));
                    latest = Some(now);
                    known = after;
                }
                Err(error) => {
                    prop_assert_eq!(error.reason(), "min_interval");
                    prop_assert!(latest.is_some_and(|latest| now < latest + pause));
                }
            }
        }
    }
}
