//! What is newer, and what the same bytes may do again.

use proptest::prelude::*;

use super::*;

fn place(epoch: u64, number: u64, attempt: u32) -> Place {
    Place {
        epoch,
        number,
        attempt,
    }
}

fn answered(at: Place, bytes: &[u8]) -> Answered {
    Answered {
        place: at,
        digest: Digest::of(bytes),
        counted: false,
        seal: Bytes::new(),
    }
}

#[test]
fn rounds_attempts_and_epochs_only_rise() {
    let last = answered(place(5, 3, 2), b"a");
    let digest = Digest::of(b"b");
    for newer in [place(5, 3, 3), place(5, 4, 1), place(6, 1, 1)] {
        assert_eq!(last.check_bytes(newer, digest), Ok(()), "{newer:?}");
    }
    for older in [
        place(5, 3, 1),
        place(5, 2, 9),
        place(4, 9, 9),
        place(0, 9, 9),
    ] {
        let refused = last.check(older).unwrap_err();
        assert_eq!(refused.reason(), "stale", "{older:?}");
        assert!(last.check_bytes(older, Digest::of(b"a")).is_err());
    }
    assert_eq!(last.check(last.place), Ok(()));
    assert_eq!(last.check_bytes(last.place, Digest::of(b"a")), Ok(()));
    let refused = last.check_bytes(last.place, digest).unwrap_err();
    assert_eq!(refused.reason(), "answered_otherwise");
}

#[test]
fn a_ticket_that_does_not_belong_to_its_order_is_no_ticket() {
    let ticket = Ticket {
        epoch: 7,
        subject: "run-1".to_owned(),
        number: 2,
        attempt: 1,
        seal: vec![1; 32].into(),
        ..Ticket::default()
    };
    let order = |ticket: Ticket| Assignment {
        run_id: "run-1".to_owned(),
        round: 2,
        attempt: 1,
        ticket: Some(ticket),
        ..Assignment::default()
    };
    assert_eq!(
        Order::of_round(&order(ticket.clone())).place,
        place(7, 2, 1)
    );
    let wrong = [
        Ticket {
            subject: "run-10".to_owned(),
            ..ticket.clone()
        },
        Ticket {
            subject: "run-1/calibration".to_owned(),
            ..ticket.clone()
        },
        Ticket {
            number: 3,
            ..ticket.clone()
        },
        Ticket {
            attempt: 2,
            ..ticket.clone()
        },
        Ticket {
            seal: vec![1; 65].into(),
            ..ticket.clone()
        },
    ];
    for wrong in wrong {
        let read = Order::of_round(&order(wrong));
        assert_eq!((read.place, read.seal.len()), (place(0, 2, 1), 0));
        assert_eq!(read.subject, "run-1");
    }
    let request = SummaryRequest {
        monitor_id: "m".to_owned(),
        window: 2,
        ticket: Some(Ticket {
            subject: "m/calibration".to_owned(),
            attempt: 0,
            ..ticket
        }),
        ..SummaryRequest::default()
    };
    let read = Order::of_window(&request);
    assert_eq!(
        (read.subject.as_str(), read.place),
        ("m/calibration", place(7, 2, 0))
    );
}

#[test]
fn only_the_receipt_of_these_bytes_is_kept_and_shown() {
    let last = answered(place(7, 2, 1), b"a");
    let receipt = Ticket {
        digest: Digest::of(b"a").to_string(),
        seal: vec![9; 32].into(),
        ..last.ticket("run-1")
    };
    let counted = last.clone().with_receipt("run-1", Some(&receipt));
    assert!(counted.counted);
    assert_eq!(counted.ticket("run-1"), receipt);
    let other = Ticket {
        digest: Digest::of(b"b").to_string(),
        ..receipt.clone()
    };
    assert_eq!(last.clone().with_receipt("run-1", Some(&other)), last);
    assert_eq!(last.clone().with_receipt("run-2", Some(&receipt)), last);
    assert_eq!(last.clone().with_receipt("run-1", None), last);
}

proptest! {
    /// Whatever a coordinator orders, also one that forgets and repeats itself, each place is answered
    /// with one update at most.
    #[test]
    fn no_place_is_ever_answered_with_two_updates(
        orders in prop::collection::vec((0u64..3, 1u64..4, 1u32..3, 0u8..3), 1..200),
    ) {
        let mut last: Option<Answered> = None;
        let mut sent = std::collections::BTreeMap::new();
        for (epoch, number, attempt, bytes) in orders {
            let (at, digest) = (place(epoch, number, attempt), Digest::of(&[bytes]));
            let allowed = last.as_ref().is_none_or(|last| last.check_bytes(at, digest).is_ok());
            if allowed {
                prop_assert_eq!(*sent.entry(at).or_insert(digest), digest);
                last = Some(answered(at, &[bytes]));
            }
        }
    }
}
