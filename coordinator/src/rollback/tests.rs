//! Seals, epochs, the halt, and what devices can and can't prove.

use std::sync::Arc;

use tributary_proto::v1::DeviceProfile;

use tributary_model::Digest;
use tributary_proto::v1::Ticket;

use super::*;
use crate::coordinator::Coordinator;
use crate::engine::{Assigned, Event, MarkKey, RunState, RunStatus, Segment};
use crate::epoch::{Epoch, Place, Subject, Witness, calibrations_of};
use crate::fixtures::{coordinator_on, device, plain_spec, state};
use crate::ledger::PastCaps;
use crate::run::create_journal;
use tributary_store::{
    Batch, Expect, MemoryStore, REPAIR_KEY, RepairNote, Store as _, StoreError, Table,
};

const SECRET: [u8; 32] = [3; 32];

async fn epoch(store: &MemoryStore, new: bool, now_ms: u64) -> Epoch {
    Epoch::open(store, &SECRET, new, now_ms).await.unwrap()
}

#[tokio::test]
async fn a_ticket_proves_what_was_ordered_to_the_device_that_it_was_given_to_and_nothing_else() {
    let epoch = epoch(&MemoryStore::new(), true, 5).await;
    let place = Place::of_round(7, 2);
    let counted = Digest::of(b"update");
    let order = epoch.order(&device(1), "tiny-1", (place, 7));
    let receipt = epoch.receipt(&device(1), "tiny-1", (place, 7), counted);
    let proved = epoch.verify(&device(1), &order).unwrap();
    assert_eq!((proved.place, proved.counted), (place, None));
    assert_eq!(
        proved.subject(),
        Some(Subject::Run("tiny-1".parse().unwrap()))
    );
    let proved = epoch.verify(&device(1), &receipt).unwrap();
    assert_eq!(proved.counted, Some(counted));
    assert_eq!(epoch.verify(&device(2), &order), None, "another's");
    let forged = [
        Ticket {
            epoch: order.epoch + 1,
            ..order.clone()
        },
        Ticket {
            subject: "tiny-2".to_owned(),
            ..order.clone()
        },
        Ticket {
            number: 8,
            ..order.clone()
        },
        Ticket {
            attempt: 3,
            ..order.clone()
        },
        Ticket {
            digest: counted.to_string(),
            ..order.clone()
        },
        Ticket {
            digest: String::new(),
            ..receipt
        },
        Ticket {
            seal: Default::default(),
            ..order.clone()
        },
        Ticket {
            seal: order.seal.slice(1..),
            ..order.clone()
        },
    ];
    for forged in forged {
        assert_eq!(epoch.verify(&device(1), &forged), None, "{forged:?}");
    }
    let elsewhere = Epoch::open(&MemoryStore::new(), &[4; 32], true, 5)
        .await
        .unwrap();
    assert_eq!(
        elsewhere.verify(&device(1), &order),
        None,
        "another coordinator's"
    );
}

#[tokio::test]
async fn an_epoch_lasts_and_a_new_one_is_newer_than_all_that_was_seen() {
    let store = MemoryStore::new();
    let first = epoch(&store, true, 1_000).await;
    assert_eq!(epoch(&store, false, 9_000).await.number(), first.number());
    // with a clock that was set back, and by two restores of one copy at one time
    for seen in [0, first.number() + 500, u64::MAX / 2] {
        let renew = |now_ms| first.renew(seen, now_ms, &mut Batch::new()).unwrap();
        let (one, other) = (renew(0), renew(0));
        assert!(one > first.number() && one > seen);
        assert_ne!(one, other);
    }
    // a folder of before epochs has the same in every copy
    let old = |store| async move { epoch(&store, false, 7_000).await.number() };
    assert_eq!(old(MemoryStore::new()).await, old(MemoryStore::new()).await);
}

/// A coordinator that knows the run `tiny-1` with this state, without its task.
/// A coordinator that knows a run which is over: its first round was asked in another start than the second.
async fn knowing(mut run: RunState, status: RunStatus) -> Arc<Coordinator> {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    run.lineage.note(Place::of_round(1, 1), EARLIER);
    run.lineage
        .note(Place::of_round(2, 1), served.core.epoch.incarnation());
    run.round.number = 2;
    run.status = status;
    create_journal(&served.core, &mut run).await.unwrap();
    served
}

/// Another start of the coordinator.
const EARLIER: u64 = 11;

#[tokio::test]
async fn a_run_that_is_not_known_here_halts_the_coordinator_and_a_made_up_one_does_not() {
    let served = knowing(state(plain_spec()), RunStatus::Completed).await;
    let asked = (Place::of_round(2, 1), served.core.epoch.incarnation());
    let ticket = |subject: &str| served.core.epoch.order(&device(1), subject, asked);
    let made_up = Ticket {
        seal: vec![1; 32].into(),
        ..ticket("tiny-2")
    };
    let foreign = served
        .core
        .epoch
        .order(&device(2), "tiny-2", (Place::of_round(2, 1), 0));
    served
        .witness(&device(1), &[made_up, foreign, Ticket::default()])
        .await
        .unwrap();
    served
        .witness(&device(1), &[ticket("tiny-1")])
        .await
        .unwrap();
    assert!(!served.core.halt.is_halted());
    served
        .witness(&device(1), &[ticket("tiny-2")])
        .await
        .unwrap();
    let reason = served.core.halt.reason().unwrap();
    for word in [
        "older than what devices have seen",
        "tiny-2",
        "round 2",
        "tributary restore",
    ] {
        assert!(reason.contains(word), "{reason}");
    }
}

#[tokio::test]
async fn a_round_of_another_start_than_the_one_that_is_known_halts_though_the_run_is_over() {
    for (round, start, halts, why) in [
        (1, EARLIER, false, "as it was"),
        (1, EARLIER + 1, true, "another round of this number"),
        (2, EARLIER, true, "before the start in which it was asked"),
        (3, EARLIER, true, "a round after the last"),
    ] {
        let served = knowing(state(plain_spec()), RunStatus::Completed).await;
        let asked = (Place::of_round(round, 1), start);
        let ticket = served.core.epoch.order(&device(1), "tiny-1", asked);
        // the second time it is in memory
        for _ in 0..2 {
            let shown = [ticket.clone()];
            served.witness(&device(1), &shown).await.unwrap();
            assert_eq!(served.core.halt.is_halted(), halts, "round {round}: {why}");
        }
    }
}

#[tokio::test]
async fn a_receipt_of_a_run_that_is_over_halts_where_it_is_known_that_the_device_was_not_counted() {
    for (status, round, counted, halts, why) in [
        (RunStatus::Completed, 2, false, true, "nobody was counted"),
        (RunStatus::Completed, 2, true, false, "it was"),
        (RunStatus::Stopped, 2, false, false, "nobody knows any more"),
        (
            RunStatus::Stopped,
            1,
            false,
            true,
            "of a round before the last",
        ),
    ] {
        let mut run = state(plain_spec());
        if counted {
            let past = run.participations.entry(device(1)).or_default();
            past.last_round = 2;
        }
        let served = knowing(run, status).await;
        let start = match round {
            1 => EARLIER,
            _ => served.core.epoch.incarnation(),
        };
        let asked = (Place::of_round(round, 1), start);
        let digest = Digest::of(b"update");
        let receipt = served
            .core
            .epoch
            .receipt(&device(1), "tiny-1", asked, digest);
        served.witness(&device(1), &[receipt]).await.unwrap();
        assert_eq!(served.core.halt.is_halted(), halts, "{why}");
    }
}

#[tokio::test]
async fn a_ticket_of_a_run_that_was_given_up_unread_keeps_no_device_out() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let note = serde_json::json!({ "snapshot": null, "events": 0 });
    let mut batch = Batch::new();
    batch
        .put_json(Table::Runs, "tiny-1", &note, Expect::Absent)
        .unwrap();
    served.core.store.commit(batch).await.unwrap();
    let asked = (Place::of_round(2, 1), EARLIER);
    let ticket = served.core.epoch.order(&device(1), "tiny-1", asked);
    let genuine = served.witness(&device(1), &[ticket]).await.unwrap();
    assert_eq!(genuine.len(), 1);
    assert!(!served.core.halt.is_halted(), "nothing can be compared");
}

#[tokio::test]
async fn a_seal_of_before_starts_were_told_apart_is_still_genuine() {
    let epoch = epoch(&MemoryStore::new(), true, 5).await;
    let place = Place::of_round(7, 2);
    let former = epoch.order(&device(1), "tiny-1", (place, 0));
    assert_eq!(former.seal.len(), 32);
    let proved = epoch.verify(&device(1), &former).unwrap();
    assert_eq!((proved.place, proved.incarnation), (place, 0));
    let now = epoch.order(&device(1), "tiny-1", (place, 1 << 60));
    let proved = epoch.verify(&device(1), &now).unwrap();
    assert_eq!((proved.place, proved.incarnation), (place, 1 << 60));
    // another start is another ticket
    let mut seal = now.seal.to_vec();
    seal[7] ^= 1;
    for seal in [
        seal,
        now.seal[8..].to_vec(),
        [&[0; 8][..], &former.seal].concat(),
    ] {
        let forged = Ticket {
            seal: seal.into(),
            ..now.clone()
        };
        assert_eq!(epoch.verify(&device(1), &forged), None);
    }
}

#[tokio::test]
async fn once_halted_nothing_is_committed_and_a_restart_changes_nothing() {
    let store = Arc::new(MemoryStore::new());
    let served = coordinator_on(store.clone()).await;
    let newer = Ticket {
        epoch: served.core.epoch.number() + 1,
        ..served
            .core
            .epoch
            .order(&device(1), "m-drift", (Place::of_window(3), 0))
    };
    served.witness(&device(1), &[newer]).await.unwrap();
    assert!(
        !served.core.halt.is_halted(),
        "its seal is not of that epoch"
    );
    let window = served
        .core
        .epoch
        .order(&device(1), "m-drift", (Place::of_window(3), 0));
    served.witness(&device(1), &[window]).await.unwrap();
    assert!(served.core.halt.is_halted(), "no such monitor");
    let served = coordinator_on(store).await;
    assert!(served.core.halt.is_halted());
    let mut batch = Batch::new();
    batch.put_json(Table::Meta, "x", &1, Expect::Any).unwrap();
    let refused = served.core.store.commit(batch).await.unwrap_err();
    assert!(matches!(refused, StoreError::Halted { .. }), "{refused}");
    assert!(served.core.store.get(Table::Meta, b"x").unwrap().is_none());
}

#[tokio::test]
async fn a_ticket_about_a_monitor_whose_record_is_damaged_proves_nothing_and_keeps_no_device_out() {
    use tributary_store::key::Key;
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let mut batch = Batch::new();
    let header = Key::new().text("m-drift").into_bytes();
    batch.put(
        Table::Monitors,
        header,
        b"{ no header".to_vec(),
        Expect::Absent,
    );
    let calibrations = "calibrations/m-drift";
    batch.put(
        Table::Meta,
        calibrations,
        b"no number".to_vec(),
        Expect::Absent,
    );
    served.core.store.commit(batch).await.unwrap();
    let window = served
        .core
        .epoch
        .order(&device(1), "m-drift", (Place::of_window(3), 0));
    let subject = calibrations_of("m-drift");
    let calibration = served
        .core
        .epoch
        .order(&device(1), &subject, (Place::of_window(9), 0));
    for _ in 0..2 {
        let shown = [window.clone(), calibration.clone()];
        let genuine = served.witness(&device(1), &shown).await.unwrap();
        assert_eq!(genuine.len(), 2);
    }
    assert!(!served.core.halt.is_halted());
    let page = served.core.quarantine.page();
    assert_eq!(page.lines().count(), 1, "named once: {page}");
    assert!(page.starts_with("quarantined monitor m-drift: "), "{page}");
    // what is proved of others still counts
    let other = served
        .core
        .epoch
        .order(&device(1), "other-1", (Place::of_round(2, 1), 0));
    served.witness(&device(1), &[window, other]).await.unwrap();
    assert!(served.core.halt.is_halted());
}

fn witness(round: u32, attempt: u32, counted: Option<&[u8]>) -> Witness {
    Witness {
        epoch: 1,
        subject: "tiny-1".to_owned(),
        place: Place::of_round(round, attempt),
        incarnation: 0,
        counted: counted.map(Digest::of),
    }
}

#[test]
fn a_state_is_contradicted_by_what_it_does_not_know_and_by_nothing_else() {
    let mut state = state(plain_spec());
    state.adopt_key(MarkKey::new([3; 32]));
    assert!(
        state.contradicts(&device(0), &witness(1, 1, None)),
        "nobody was asked yet"
    );
    let devices = (0..4).map(|number| Assigned {
        device: device(number),
        region: 0,
    });
    let selected = Event::Selected {
        round: 1,
        devices: devices.collect(),
        lease_until_ms: 50,
        complete: true,
        worst_pico_rho: 0,
        incarnation: 0,
    };
    state.apply(&selected).unwrap();
    assert!(!state.contradicts(&device(0), &witness(1, 1, None)));
    assert!(
        state.contradicts(&device(9), &witness(1, 1, None)),
        "it was not asked"
    );
    assert!(
        state.contradicts(&device(0), &witness(1, 2, None)),
        "a later attempt"
    );
    assert!(
        state.contradicts(&device(0), &witness(2, 1, None)),
        "a later round"
    );
    assert!(
        state.contradicts(&device(0), &witness(1, 1, Some(b"a"))),
        "it is not counted"
    );
    let segment = Segment {
        region: 0,
        cluster: 0,
        digest: Digest::of(b"sum"),
        contributors: vec![device(0)],
        marks: state.update_marks(&[device(0)], &[Digest::of(b"a")]),
        salted: true,
        bytes_up: 1,
    };
    state.apply(&Event::Sealed { round: 1, segment }).unwrap();
    assert!(!state.contradicts(&device(0), &witness(1, 1, Some(b"a"))));
    assert!(
        state.contradicts(&device(0), &witness(1, 1, Some(b"b"))),
        "other bytes"
    );
    let aborted = Event::Aborted {
        round: 1,
        reason: String::new(),
    };
    state.apply(&aborted).unwrap();
    assert!(
        !state.contradicts(&device(0), &witness(1, 1, Some(b"a"))),
        "it was in that attempt"
    );
    assert!(
        state.contradicts(&device(1), &witness(1, 1, Some(b"a"))),
        "it was not"
    );
    assert!(!state.contradicts(&device(1), &witness(1, 1, None)));
}

#[tokio::test]
async fn a_restored_folder_has_a_new_epoch_and_no_run_that_goes_on() {
    let store = Arc::new(MemoryStore::new());
    let served = coordinator_on(store.clone()).await;
    let mut run = state(plain_spec());
    crate::run::create_journal(&served.core, &mut run)
        .await
        .unwrap();
    let id = device(1);
    let profile = DeviceProfile {
        name: "watch".to_owned(),
        ..DeviceProfile::default()
    };
    let region = crate::fixtures::region("eu");
    let enrolled = served
        .core
        .fleet
        .enrol(id, &[7; 32], region, profile, vec![], 1);
    enrolled.await.unwrap();
    let order = served
        .core
        .epoch
        .order(&device(1), "lost-1", (Place::of_round(2, 1), 0));
    served
        .witness(&device(1), std::slice::from_ref(&order))
        .await
        .unwrap();
    assert!(served.core.halt.is_halted());
    let restored = restore::restore_core(&served.core, PastCaps::Held)
        .await
        .unwrap();
    assert!(restored.was_halted && restored.epoch > restored.former_epoch);
    assert_eq!(restored.runs_ended, ["tiny-1"]);
    assert_eq!(
        (restored.devices_charged, restored.devices_not_private),
        (0, 1)
    );
    let served = coordinator_on(store.clone()).await;
    assert!(!served.core.halt.is_halted());
    assert_eq!(served.core.epoch.number(), restored.epoch);
    // what the device saw before is the past now
    served.witness(&device(1), &[order]).await.unwrap();
    assert!(!served.core.halt.is_halted());
    let again = restore::restore_core(&served.core, PastCaps::Held)
        .await
        .unwrap();
    assert!(again.runs_ended.is_empty() && again.epoch > restored.epoch);
}

#[tokio::test]
async fn a_device_that_enrols_again_after_a_restore_is_marked_by_its_ticket_of_before() {
    let store = Arc::new(MemoryStore::new());
    let before = coordinator_on(store.clone()).await;
    let ticket = before
        .core
        .epoch
        .order(&device(1), "lost-1", (Place::of_round(2, 1), 0));
    restore::restore_core(&before.core, PastCaps::Held)
        .await
        .unwrap();
    let served = coordinator_on(store).await;
    for number in [1, 2] {
        let profile = DeviceProfile {
            name: "watch".to_owned(),
            ..DeviceProfile::default()
        };
        let region = crate::fixtures::region("eu");
        let enrolled =
            served
                .core
                .fleet
                .enrol(device(number), &[7; 32], region, profile, vec![], 1);
        enrolled.await.unwrap();
    }
    served
        .witness(&device(1), std::slice::from_ref(&ticket))
        .await
        .unwrap();
    served.witness(&device(2), &[ticket]).await.unwrap();
    assert!(served.core.ledger.is_forfeited(&device(1)));
    assert!(
        !served.core.ledger.is_forfeited(&device(2)),
        "another's ticket"
    );
    assert!(!served.core.halt.is_halted());
}

#[tokio::test]
async fn a_repaired_store_that_has_lost_records_is_halted_until_it_is_restored() {
    let store = Arc::new(MemoryStore::new());
    let note = RepairNote {
        lost: vec!["3 records of table ledger".to_owned()],
    };
    let mut batch = Batch::new();
    batch
        .put_json(Table::Meta, REPAIR_KEY, &note, Expect::Absent)
        .unwrap();
    store.commit(batch).await.unwrap();
    let served = coordinator_on(store.clone()).await;
    let reason = served.core.halt.reason().unwrap();
    for word in ["repaired", "3 records of table ledger", "tributary restore"] {
        assert!(reason.contains(word), "{reason}");
    }
    restore::restore_core(&served.core, PastCaps::Held)
        .await
        .unwrap();
    assert!(!coordinator_on(store).await.core.halt.is_halted());
}
