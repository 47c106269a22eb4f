//! A device answers nothing that is not newer than what it has answered, and moves only for the update
//! that was counted.

use std::sync::Arc;

use tributary_device::{Answered, StateFolder, TicketError, TicketRecord, VolatileTickets};
use tributary_model::Digest;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{Assignment, Reject, RejectReason, Ticket, TrainingPlan};

use crate::fake::setting::Kept;
use crate::fake::world::assignment;
use crate::reference::assert_near;
use crate::stage::{DEVICE, RUN, Stage};

/// An order with the ticket of an epoch.
async fn order(stage: &Stage, epoch: u64, round: u32, attempt: u32) -> Ticket {
    let world = &stage.server.world;
    world.with(|memory| {
        memory.counted.clear();
        memory.runs.insert(RUN.to_owned(), stage.plan.clone())
    });
    let ticket = Ticket {
        epoch,
        subject: RUN.to_owned(),
        number: round.into(),
        attempt,
        seal: vec![epoch as u8, round as u8, attempt as u8].into(),
        ..Ticket::default()
    };
    let version = stage.version(&stage.model.weights);
    let order = match assignment(RUN, round, &stage.plan, &version) {
        Order::Assignment(first) => Order::Assignment(Assignment {
            attempt,
            ticket: Some(ticket.clone()),
            ..first
        }),
        other => other,
    };
    world.order(DEVICE, order).await;
    ticket
}

async fn refuses(stage: &Stage, epoch: u64, round: u32, attempt: u32, newest: &Ticket) {
    order(stage, epoch, round, attempt).await;
    let Event::OrderRefused(refused) = stage.server.world.event(DEVICE).await else {
        panic!("the newest ticket is shown");
    };
    assert_eq!(refused.newest.as_ref(), Some(newest));
    let Event::AssignmentAbandoned(abandoned) = stage.server.world.event(DEVICE).await else {
        panic!("the assignment is given back");
    };
    assert_eq!(
        (abandoned.round, abandoned.reason.as_str()),
        (round, "stale")
    );
}

fn in_folder(folder: &std::path::Path) -> Kept {
    let folder = StateFolder::open(folder).unwrap();
    Kept {
        tickets: Arc::new(folder.tickets().unwrap()),
        ..Kept::default()
    }
}

#[tokio::test]
async fn a_device_follows_no_order_that_is_not_newer_and_shows_what_it_answered() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::keeping(5, in_folder(folder.path())).await;
    order(&stage, 7, 3, 2).await;
    stage.until("upload.counted", 1).await;
    let newest = order(&stage, 7, 5, 1).await;
    stage.until("upload.counted", 2).await;
    let hello = || {
        stage
            .server
            .world
            .with(|memory| memory.hellos.last().cloned().unwrap())
    };
    for (epoch, round, attempt) in [(7, 4, 9), (7, 3, 2), (6, 9, 1), (0, 9, 1)] {
        refuses(&stage, epoch, round, attempt, &newest).await;
    }
    assert!(hello().tickets.is_empty(), "it had answered nothing yet");
    // as after a restart of the device, and of a coordinator that was put back from a copy
    let stage = stage.restart_keeping(in_folder(folder.path())).await;
    refuses(&stage, 7, 4, 1, &newest).await;
    let hello = stage
        .server
        .world
        .with(|memory| memory.hellos.last().cloned().unwrap());
    assert_eq!(hello.tickets, [newest]);
    assert_eq!(stage.agent.tally().bytes_up, 0);
    // the same once more has the same bytes; a new epoch begins afresh
    order(&stage, 7, 5, 1).await;
    stage.until("upload.counted", 1).await;
    order(&stage, 8, 1, 1).await;
    stage.until("upload.counted", 2).await;
}

#[tokio::test]
async fn an_order_that_was_answered_is_not_answered_with_other_bytes() {
    let tickets = Arc::new(VolatileTickets::default());
    let kept = || Kept {
        tickets: Arc::clone(&tickets) as Arc<dyn TicketRecord>,
        ..Kept::default()
    };
    let mut stage = Stage::keeping(5, kept()).await;
    let newest = order(&stage, 7, 1, 1).await;
    stage.until("upload.counted", 1).await;
    // after a restart the same order gives another update, for example from other data
    stage = stage.restart_keeping(kept()).await;
    stage.plan.learning_rate *= 2.0;
    refuses(&stage, 7, 1, 1, &newest).await;
    assert_eq!(stage.agent.tally().count("abandoned.answered_otherwise"), 1);
    assert_eq!(stage.agent.tally().bytes_up, 0);
}

/// Reads as if nothing had happened, and can't write.
struct FullDisk;

impl TicketRecord for FullDisk {
    fn load(&self, _: &str) -> Result<Option<Answered>, TicketError> {
        Ok(None)
    }

    fn store(&self, _: &str, _: &Answered) -> Result<(), TicketError> {
        Err(TicketError::Io {
            path: "ticket".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    }

    fn newest(&self) -> Vec<(String, Answered)> {
        Vec::new()
    }
}

#[tokio::test]
async fn not_even_a_header_leaves_before_the_ticket_is_written() {
    let kept = Kept {
        tickets: Arc::new(FullDisk),
        ..Kept::default()
    };
    let stage = Stage::keeping(5, kept).await;
    order(&stage, 7, 1, 1).await;
    stage.until("abandoned.ticket_io", 1).await;
    let Event::AssignmentAbandoned(abandoned) = stage.server.world.event(DEVICE).await else {
        panic!("the assignment is given back");
    };
    assert_eq!(abandoned.reason, "failed");
    assert!(stage.server.world.with(|memory| memory.headers.is_empty()));
}

#[tokio::test]
async fn state_moves_only_for_the_update_that_was_counted() {
    let stage = Stage::new().await;
    let plan = TrainingPlan {
        momentum: 0.5,
        ..stage.plan.clone()
    };
    let start = stage.model.weights.clone();
    let d = start.len();
    let other = Reject {
        reason: RejectReason::Duplicate.into(),
        digest: Digest::of(b"another update").to_string(),
        ..Reject::default()
    };
    stage
        .server
        .world
        .with(|memory| memory.rejects.push_back(other));
    stage.order(1, &plan, &start, &[]).await;
    stage.until("upload.counted_otherwise", 1).await;
    // as if the first had never been: no momentum comes from an update that is in no sum
    let second = stage.round(2, &plan, &start, &[], d).await;
    let fresh = stage.another("d-2");
    let world = &stage.server.world;
    stage.order_from("d-2", (2, 1), &plan, &start, &[]).await;
    let bytes = world.counted(RUN, 2, "d-2").await;
    drop(fresh);
    let mut expected = vec![0.0; d];
    let codec: tributary_aggregator::Codec = "f32".parse().unwrap();
    codec.decode_into(&bytes, &mut expected).unwrap();
    assert_near(&second.values, &expected);
    let third = stage.round(3, &plan, &start, &[], d).await;
    let grown: Vec<f32> = expected.iter().map(|value| value * 1.5).collect();
    assert_near(&third.values, &grown);
}
