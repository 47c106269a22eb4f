//! A device answers no window and no calibration that is not newer than what it has answered.

use std::sync::Arc;

use tributary_device::StateFolder;
use tributary_drift::Quantity;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{QuantitySpec, SummaryRequest, Ticket};

use crate::fake::setting::{Kept, TASK};
use crate::stage::{DEVICE, Stage};

const MONITOR: &str = "run-1-drift";

/// What a coordinator asks of a device beside rounds.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Window,
    Calibration,
}

impl Asked {
    /// The sequence that the numbers belong to.
    fn subject(self) -> String {
        match self {
            Self::Window => MONITOR.to_owned(),
            Self::Calibration => format!("{MONITOR}/calibration"),
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Window => "prediction",
            Self::Calibration => "activation:0",
        }
    }
}

/// Asks for a vote in an epoch; the ticket of the question.
async fn ask(stage: &Stage, asked: Asked, epoch: u64, number: u64) -> Ticket {
    let ticket = Ticket {
        epoch,
        subject: asked.subject(),
        number,
        seal: vec![epoch as u8, number as u8].into(),
        ..Ticket::default()
    };
    let quantity = match asked {
        Asked::Window => Quantity::prediction(asked.source(), 3).unwrap(),
        Asked::Calibration => Quantity::with_edges(asked.source(), vec![-1.0, 0.0]).unwrap(),
    };
    let edges = match asked {
        Asked::Window => Vec::new(),
        Asked::Calibration => vec![-1.0, 0.0],
    };
    let request = SummaryRequest {
        monitor_id: MONITOR.to_owned(),
        window: number,
        task: TASK.to_owned(),
        model_digest: stage.version(&stage.model.weights),
        quantities: vec![QuantitySpec {
            quantity_id: quantity.id().to_string(),
            source: asked.source().to_owned(),
            edges,
            bins: quantity.bins() as u32,
        }],
        deadline_ms: 60_000,
        ticket: Some(ticket.clone()),
        ..SummaryRequest::default()
    };
    let world = &stage.server.world;
    world.order(DEVICE, Order::SummaryRequest(request)).await;
    ticket
}

async fn votes(stage: &Stage, asked: Asked, epoch: u64, number: u64) -> Ticket {
    let ticket = ask(stage, asked, epoch, number).await;
    let Event::SummaryReport(report) = stage.server.world.event(DEVICE).await else {
        panic!("{asked:?} {number} of epoch {epoch} is answered");
    };
    assert_eq!(report.window, number);
    ticket
}

/// The question is refused with the newest ticket, and no vote leaves the device.
async fn refuses(stage: &Stage, asked: Asked, epoch: u64, number: u64, newest: &Ticket) {
    let before = stage.agent.tally().count("summary.stale");
    ask(stage, asked, epoch, number).await;
    let Event::OrderRefused(refused) = stage.server.world.event(DEVICE).await else {
        panic!("the newest ticket is shown instead of {asked:?} {number}");
    };
    assert_eq!(refused.newest.as_ref(), Some(newest));
    stage.until("summary.stale", before + 1).await;
}

fn in_folder(folder: &std::path::Path) -> Kept {
    let folder = StateFolder::open(folder).unwrap();
    Kept {
        tickets: Arc::new(folder.tickets().unwrap()),
        ..Kept::default()
    }
}

#[tokio::test]
async fn a_device_answers_no_window_and_no_calibration_that_is_not_newer() {
    for (asked, other) in [
        (Asked::Window, Asked::Calibration),
        (Asked::Calibration, Asked::Window),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage::keeping(5, in_folder(folder.path())).await;
        votes(&stage, asked, 7, 3).await;
        let newest = votes(&stage, asked, 7, 5).await;
        for (epoch, number) in [(7, 4), (7, 3), (6, 9), (0, 9)] {
            refuses(&stage, asked, epoch, number, &newest).await;
        }
        // the other sequence of the same monitor has numbers of its own
        let beside = votes(&stage, other, 7, 2).await;
        assert_eq!(stage.agent.tally().count("summary.voted"), 3);

        // as after a restart of the device, and of a coordinator that was put back from a copy
        let stage = stage.restart_keeping(in_folder(folder.path())).await;
        refuses(&stage, asked, 7, 4, &newest).await;
        refuses(&stage, other, 7, 1, &beside).await;
        let hello = stage
            .server
            .world
            .with(|memory| memory.hellos.last().cloned());
        let shown = hello.unwrap().tickets;
        assert_eq!(shown.len(), 2, "{shown:?}");
        assert!(
            shown.contains(&newest) && shown.contains(&beside),
            "{shown:?}"
        );
        assert_eq!(stage.agent.tally().count("summary.voted"), 0);
        // a new epoch begins afresh
        votes(&stage, asked, 8, 1).await;
    }
}
