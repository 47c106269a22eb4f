//! Rounds over real gRPC: training, uploads, and what happens when connections break.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

#[path = "../fake/mod.rs"]
mod fake;

mod sessions;

use std::sync::atomic::Ordering;

use fake::FakeServer;
use fake::setting::{CountedData, Running, examples, model, plan, start};
use fake::world::assignment;
use tributary_aggregator::Codec;
use tributary_device::{Purposes, SessionMode, seeded};
use tributary_model::{Batch, Digest, FastEngine, LocalTraining, ModelFile, train};
use tributary_privacy::clip_l2;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{Assignment, Reject, RejectReason, TrainingPlan};

const FEATURES: usize = 6;

/// A server that knows a run and its model.
async fn with_run(hidden: u32) -> (FakeServer, ModelFile, TrainingPlan, String) {
    let server = FakeServer::start().await;
    let model = model(FEATURES, hidden);
    let plan = plan(&model);
    let digest = server.world.put(model.to_bytes().unwrap());
    server
        .world
        .with(|memory| memory.runs.insert("run-1".to_owned(), plan.clone()));
    (server, model, plan, digest)
}

/// The update worked out without an agent.
fn expected(model: &ModelFile, plan: &TrainingPlan, round: u32, device: &str) -> Vec<u8> {
    let graph = model.spec.graph().unwrap();
    let mut weights = model.weights.clone();
    let data = examples(FEATURES, 12);
    let settings = LocalTraining {
        epochs: plan.epochs,
        batch_size: plan.batch_size,
        learning_rate: plan.learning_rate,
        max_steps: plan.max_steps,
    };
    let mut rng = seeded(
        &plan.simulation_seed,
        "run-1",
        u64::from(round),
        device,
        Purposes::Training,
    );
    let batch = Batch {
        inputs: &data.inputs,
        labels: &data.labels,
    };
    train(
        &mut FastEngine::new(&graph),
        &mut weights,
        batch,
        &settings,
        &mut rng,
    )
    .unwrap();
    let mut delta: Vec<f32> = weights
        .iter()
        .zip(&model.weights)
        .map(|(n, o)| n - o)
        .collect();
    clip_l2(&mut delta, plan.clip).unwrap();
    Codec::F32.encode(&delta, &mut seeded(&[], "", 0, "", Purposes::Encoding))
}

fn trainings(data: &CountedData) -> usize {
    data.trainings.load(Ordering::SeqCst)
}

/// Waits for a shape: it is noted when the work is over, after what was counted of it.
async fn shaped(agent: &Running, shape: &str) {
    for _ in 0..6000 {
        if agent.tally().shapes.contains_key(shape) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {shape}: {:?}", agent.tally());
}

async fn until(agent: &Running, event: &str, count: u64) {
    for _ in 0..6000 {
        if agent.tally().count(event) >= count {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {event}: {:?}", agent.tally());
}

fn reject(reason: RejectReason, retry_after_ms: u64) -> Reject {
    Reject {
        reason: reason.into(),
        message: String::new(),
        retry_after_ms,
        ..Reject::default()
    }
}

#[tokio::test]
async fn a_device_enrols_trains_and_its_clipped_delta_is_counted_to_the_bit() {
    let (server, model, plan, digest) = with_run(8).await;
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    for round in 1..=2 {
        server
            .world
            .order("d-1", assignment("run-1", round, &plan, &digest))
            .await;
        let counted = server.world.counted("run-1", round, "d-1").await;
        assert_eq!(counted, expected(&model, &plan, round, "d-1"));
        until(&agent, "upload.counted", u64::from(round)).await;
    }
    let downloads = server.world.with(|memory| memory.downloads.len());
    assert_eq!(
        downloads, 1,
        "the second round starts from a model that the device has"
    );
    let tally = agent.tally();
    assert_eq!(tally.bytes_up, 2 * plan.parameters * 4);
    assert_eq!(tally.bytes_down, model.to_bytes().unwrap().len() as u64);
    assert_eq!(tally.shapes.get("-v[]+"), Some(&2), "{:?}", tally.shapes);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn an_upload_cut_midway_goes_on_with_identical_bytes_where_it_was_cut() {
    // 1.2 MB: five chunks, of which two, then one more arrive before the cuts
    let (server, model, plan, digest) = with_run(30_000).await;
    server
        .world
        .with(|memory| memory.break_uploads.extend([500_000, 700_000]));
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    let counted = server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(counted, expected(&model, &plan, 1, "d-1"));
    let headers = server
        .world
        .with(|memory| std::mem::take(&mut memory.headers));
    assert_eq!(headers.len(), 3);
    assert!(
        headers
            .iter()
            .all(|header| header.digest == headers[0].digest)
    );
    assert_eq!(trainings(&agent.data), 1);
    until(&agent, "upload.counted", 1).await;
    shaped(&agent, "-v[]~~+").await;
    let tally = agent.tally();
    assert_eq!(tally.count("transport.unavailable"), 2);
}

#[tokio::test]
async fn a_download_cut_midway_goes_on_from_its_offset() {
    let (server, _, plan, digest) = with_run(8).await;
    server
        .world
        .with(|memory| memory.break_downloads.extend([300, 0, 200]));
    let _agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    server.world.counted("run-1", 1, "d-1").await;
    let offsets: Vec<u64> = server
        .world
        .with(|memory| memory.downloads.iter().map(|(_, offset)| *offset).collect());
    assert_eq!(offsets, [0, 300, 300, 500]);
}

#[tokio::test]
async fn a_damaged_model_is_never_trained_on() {
    let (server, _, plan, digest) = with_run(8).await;
    server.world.with(|memory| memory.damage_downloads = true);
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    let Event::AssignmentAbandoned(abandoned) = server.world.event("d-1").await else {
        panic!("expected the assignment back");
    };
    assert_eq!((abandoned.round, abandoned.reason.as_str()), (1, "network"));
    assert_eq!(agent.tally().count("download.wrong_digest"), 1);
    assert_eq!(agent.tally().count("abandoned.wrong_digest"), 1);
}

#[tokio::test]
async fn after_a_crash_of_the_coordinator_the_kept_update_is_sent_again_without_training() {
    let (mut server, model, plan, digest) = with_run(8).await;
    // the contribution is lost: the upload breaks before its end
    server
        .world
        .with(|memory| memory.break_uploads.push_back(1));
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    let seen = |memory: &fake::Memory| (!memory.partial.is_empty()).then_some(());
    server.world.wait("the cut", seen).await;
    server.kill();
    server.world.with(|memory| memory.partial.clear());
    server.restart().await;
    // recovered: the device comes back and gets the same assignment again
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    let counted = server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(counted, expected(&model, &plan, 1, "d-1"));
    until(&agent, "assignment.received", 2).await;
    until(&agent, "upload.counted", 1).await;
    assert_eq!(
        trainings(&agent.data),
        1,
        "a kept update is not computed twice"
    );
    let digests: std::collections::BTreeSet<String> = server.world.with(|memory| {
        memory
            .headers
            .iter()
            .map(|header| header.digest.clone())
            .collect()
    });
    assert_eq!(digests, [Digest::of(&counted).to_string()].into());
}

#[tokio::test]
async fn a_lost_receipt_ends_as_counted_because_a_duplicate_is_a_success() {
    let (server, _, plan, digest) = with_run(8).await;
    server.world.with(|memory| memory.withhold_receipts = true);
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    until(&agent, "upload.counted", 1).await;
    assert_eq!(agent.tally().count("rejected.duplicate"), 1);
}

#[tokio::test]
async fn an_order_sent_twice_is_worked_once_and_another_attempt_is_worked_again() {
    let (server, _, plan, digest) = with_run(8).await;
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    let order = |attempt| match assignment("run-1", 1, &plan, &digest) {
        Order::Assignment(first) => Order::Assignment(Assignment { attempt, ..first }),
        other => other,
    };
    server.world.order("d-1", order(1)).await;
    until(&agent, "upload.counted", 1).await;
    server.world.order("d-1", order(1)).await;
    until(&agent, "assignment.already_counted", 1).await;
    // the coordinator gave the round up: it forgets the contribution and begins once more
    server.world.with(|memory| memory.counted.clear());
    server.world.order("d-1", order(2)).await;
    until(&agent, "upload.counted", 2).await;
    assert_eq!(trainings(&agent.data), 2);
    assert_eq!(server.world.with(|memory| memory.counted.len()), 1);
}

#[tokio::test]
async fn a_busy_coordinator_is_asked_again_and_a_final_refusal_is_not() {
    let (server, _, plan, digest) = with_run(8).await;
    let busy = reject(RejectReason::Busy, 20);
    server
        .world
        .with(|memory| memory.rejects.extend([busy.clone(), busy]));
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(agent.tally().count("rejected.busy"), 2);

    server
        .world
        .with(|memory| memory.rejects.push_back(reject(RejectReason::GoalMet, 0)));
    server
        .world
        .order("d-1", assignment("run-1", 2, &plan, &digest))
        .await;
    until(&agent, "upload.refused", 1).await;
    assert_eq!(agent.tally().count("rejected.goal_met"), 1);
    assert_eq!(server.world.with(|memory| memory.headers.len()), 4);
    assert_eq!(
        agent.tally().bytes_up,
        plan.parameters * 4,
        "a refused header costs no bytes"
    );
    shaped(&agent, "-v[]#").await;
}

#[tokio::test]
async fn an_assignment_that_the_device_is_not_made_for_is_given_back_by_name() {
    let (server, _, plan, digest) = with_run(8).await;
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    let bad_codec = TrainingPlan {
        codec: "zip".to_owned(),
        ..plan.clone()
    };
    let bad_clip = TrainingPlan {
        clip: f32::NAN,
        ..plan.clone()
    };
    let other_layout = TrainingPlan {
        parameters: plan.parameters + 1,
        ..plan.clone()
    };
    let other_task = TrainingPlan {
        task: "sleep".to_owned(),
        ..plan.clone()
    };
    let cases = [
        (bad_codec, "unknown_codec", "zip"),
        (bad_clip, "bad_plan", "clip"),
        (other_layout, "bad_plan", "parameters"),
        (other_task, "unknown_task", "sleep"),
    ];
    for (round, (plan, counted, named)) in (1..).zip(cases) {
        let before = agent.tally().count(&format!("abandoned.{counted}"));
        server
            .world
            .order("d-1", assignment("run-1", round, &plan, &digest))
            .await;
        let Event::AssignmentAbandoned(abandoned) = server.world.event("d-1").await else {
            panic!("expected the assignment back");
        };
        assert_eq!(
            (abandoned.round, abandoned.reason.as_str()),
            (round, "configuration"),
            "{counted}"
        );
        assert!(abandoned.detail.contains(named), "{abandoned:?}");
        let after = agent.tally().count(&format!("abandoned.{counted}"));
        assert_eq!(after, before + 1, "{counted}");
    }
    assert!(server.world.with(|memory| memory.headers.is_empty()));
}
