//! Sessions over real gRPC: enrolment, heartbeats, polls, and how they end.

use tributary_device::{AgentError, SessionMode};
use tributary_proto::v1::TrainingPlan;
use tributary_proto::v1::device_event::Event;

use super::fake::setting::start;
use super::fake::world::assignment;
use super::fake::{self, FakeServer, World};
use super::{FEATURES, expected, until, with_run};

#[tokio::test]
async fn a_device_that_was_forgotten_enrols_again() {
    let (mut server, _, plan, digest) = with_run(8).await;
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    until(&agent, "session.welcomed", 1).await;
    server.kill();
    server.world.with(|memory| memory.tokens.clear());
    server.restart().await;
    server
        .world
        .order("d-1", assignment("run-1", 1, &plan, &digest))
        .await;
    server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(server.world.with(|memory| memory.enrolments), 2);
    assert!(agent.tally().count("transport.unauthenticated") >= 1);
}

#[tokio::test]
async fn a_refused_enrolment_ends_the_agent_with_a_typed_error() {
    let server = FakeServer::start().await;
    server.world.with(|memory| memory.refuse_enrolment = true);
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    let error = agent.ended().await.unwrap_err();
    assert!(
        matches!(error, AgentError::EnrolmentRefused { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("token"), "{error}");
}

#[tokio::test]
async fn heartbeats_come_at_the_interval_that_the_coordinator_names_from_the_first_on() {
    let server = FakeServer::start().await;
    server.world.with(|memory| memory.heartbeat_ms = 10);
    let _agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    let three = async {
        for _ in 0..3 {
            assert!(matches!(
                server.world.event("d-1").await,
                Event::Heartbeat(_)
            ));
        }
    };
    // a first heartbeat by the default interval would come after 15 s at the earliest
    let patience = std::time::Duration::from_secs(14);
    tokio::time::timeout(patience, three).await.unwrap();
}

#[tokio::test]
async fn a_polling_device_works_and_never_polls_before_the_window() {
    let (server, model, plan, digest) = with_run(8).await;
    server.world.with(|memory| {
        memory.retry_ms = (40, 60);
        let orders = vec![
            assignment("run-1", 1, &plan, &digest),
            assignment(
                "run-1",
                2,
                &TrainingPlan {
                    epochs: 0,
                    ..plan.clone()
                },
                &digest,
            ),
        ];
        memory.poll_orders.insert("d-1".to_owned(), orders);
    });
    let agent = start(&server, "d-1", FEATURES, SessionMode::Poll);
    let counted = server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(counted, expected(&model, &plan, 1, "d-1"));
    assert!(matches!(
        server.world.event("d-1").await,
        Event::AssignmentAbandoned(_)
    ));
    let polls = server.world.with(|memory| memory.polls.clone());
    assert!(polls.len() >= 2);
    for pair in polls.windows(2) {
        // both ends were seen by the server, so transport can only lengthen or shift it a little
        assert!(
            (pair[1] - pair[0]).as_millis() >= 30,
            "{:?}",
            pair[1] - pair[0]
        );
    }
    assert_eq!(agent.tally().connected, 1);
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn a_poll_that_fails_keeps_its_events_for_the_next() {
    let (mut server, _, plan, digest) = with_run(8).await;
    server.world.with(|memory| {
        // long enough to end the server between the order and the poll that answers it
        memory.retry_ms = (500, 500);
        let bad = TrainingPlan {
            epochs: 0,
            ..plan.clone()
        };
        memory.poll_orders.insert(
            "d-1".to_owned(),
            vec![assignment("run-1", 1, &bad, &digest)],
        );
    });
    let agent = start(&server, "d-1", FEATURES, SessionMode::Poll);
    until(&agent, "assignment.received", 1).await;
    server.kill();
    until(&agent, "session.lost", 1).await;
    server.restart().await;
    assert!(matches!(
        server.world.event("d-1").await,
        Event::AssignmentAbandoned(_)
    ));
}

#[tokio::test]
async fn an_agent_that_stops_ends_its_stream_in_order() {
    let server = FakeServer::start().await;
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    until(&agent, "session.welcomed", 1).await;
    let environment = std::sync::Arc::clone(&agent.environment);
    agent.stop().await.unwrap();
    let gone = |memory: &fake::Memory| memory.sessions.is_empty().then_some(());
    World::wait(&server.world, "the session to end", gone).await;
    let tally = environment.tally.snapshot();
    assert_eq!((tally.connected, tally.count("session.lost")), (0, 0));
}
