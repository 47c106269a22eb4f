//! Room, pace, and who is sent away.

use super::*;
use crate::fixtures::device;

const MIB: usize = 1 << 20;

/// A budget with a pace of tests.
fn budget() -> Arc<Budget> {
    let pace = Pace {
        done_within: Duration::from_millis(400),
        grace: Duration::from_millis(200),
        patience: Duration::from_secs(20),
    };
    Budget::with_pace(64 * MIB, pace)
}

#[tokio::test]
async fn headers_hold_nothing_and_uploads_at_pace_hold_what_they_announced() {
    let budget = budget();
    let places: Vec<_> = (0..100)
        .map(|number| budget.open(&device(number), 4 * MIB))
        .collect();
    assert_eq!(budget.free(), 64 * MIB);
    for place in &places[..16] {
        place.grow(256 * 1024).await.unwrap();
    }
    assert_eq!(budget.free(), 0);
    for _ in 0..15 {
        places[3].grow(256 * 1024).await.unwrap();
    }
    let room = places.into_iter().nth(3).unwrap().finish().unwrap();
    assert_eq!(room.num_permits(), 4 * MIB);
}

#[tokio::test]
async fn a_trickle_holds_the_bytes_that_it_sent_and_no_more() {
    let budget = budget();
    let slow: Vec<_> = (0..16)
        .map(|number| budget.open(&device(number), 4 * MIB))
        .collect();
    for place in &slow {
        place.grow(1_024).await.unwrap();
    }
    assert_eq!(budget.free(), 0, "they may be fast for a moment");
    let honest = budget.open(&device(99), 4 * MIB);
    honest.grow(MIB).await.unwrap();
    // it waited for room beyond its own grace, so it has what it sent until it shows its pace
    let held = [MIB, 4 * MIB].map(|honest| 64 * MIB - honest - 16 * 1_024);
    assert!(held.contains(&budget.free()), "{}", budget.free());
    assert!(slow.iter().all(|place| !place.sent_away.is_cancelled()));
    // they go on as long as there is room
    slow[0].grow(1_024).await.unwrap();
}

#[tokio::test]
async fn slow_uploads_that_hold_all_the_memory_are_sent_away_for_others() {
    let budget = budget();
    let slow: Vec<_> = (0..16)
        .map(|number| budget.open(&device(number), 4 * MIB))
        .collect();
    for place in &slow {
        place.grow(4 * MIB - 1).await.unwrap();
    }
    // all but one byte came, and then nothing
    tokio::time::sleep(Duration::from_secs(1)).await;
    let honest = budget.open(&device(99), 4 * MIB);
    let growing = async {
        let grown = honest.grow(MIB).await;
        assert_eq!(grown, Ok(()));
    };
    let leaving = async {
        let gone: Vec<_> = slow
            .iter()
            .map(|place| Box::pin(place.sent_away()))
            .collect();
        let (_, index, _) = futures::future::select_all(gone).await;
        index
    };
    // whoever is sent away drops its bytes and its place
    let (index, growing) = {
        let mut growing = Box::pin(growing);
        let index = tokio::select! {
            index = leaving => index,
            () = &mut growing => panic!("there was no room"),
        };
        (index, growing)
    };
    let mut slow: Vec<Option<Place>> = slow.into_iter().map(Some).collect();
    slow[index] = None;
    growing.await;
    assert_eq!(slow.iter().flatten().count(), 15, "one was enough");
}

#[tokio::test]
async fn a_device_that_breaks_off_must_show_its_pace_before_it_holds_more_than_it_sent() {
    let budget = budget();
    let first = budget.open(&device(1), 32 * MIB);
    first.grow(1).await.unwrap();
    assert_eq!(budget.free(), 32 * MIB);
    drop(first);
    let second = budget.open(&device(1), 32 * MIB);
    second.grow(1).await.unwrap();
    assert_eq!(budget.free(), 64 * MIB - 1);
    tokio::time::sleep(Duration::from_millis(250)).await;
    second.grow(24 * MIB).await.unwrap();
    second.grow(1).await.unwrap();
    assert_eq!(budget.free(), 32 * MIB, "it is fast");
    let _third = budget.open(&device(1), 1);
    assert!(
        second.sent_away.is_cancelled(),
        "one upload of a device at a time"
    );
}

#[tokio::test]
async fn memory_stays_within_the_budget_and_an_update_that_is_larger_is_alone() {
    let budget = budget();
    let large = budget.open(&device(0), 256 * MIB);
    for _ in 0..256 {
        large.grow(MIB).await.unwrap();
    }
    assert_eq!(budget.free(), 0);
    let other = budget.open(&device(1), MIB);
    let waits = tokio::time::timeout(Duration::from_millis(300), other.grow(1)).await;
    assert!(waits.is_err(), "there is room beside the whole budget");
    drop(large.finish());
    other.grow(1).await.unwrap();
}
