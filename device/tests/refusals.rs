//! What a device says when its update is refused or too late, so that no round waits for it.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod fake;

use std::sync::atomic::Ordering;

use fake::FakeServer;
use fake::setting::{Running, model, plan, start};
use fake::world::assignment;
use tributary_device::SessionMode;
use tributary_model::ModelFile;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{Assignment, Reject, RejectReason, TrainingPlan};

const FEATURES: usize = 6;
const DEVICE: &str = "d-1";

struct Scene {
    server: FakeServer,
    agent: Running,
    model: ModelFile,
    plan: TrainingPlan,
    digest: String,
}

impl Scene {
    async fn new() -> Self {
        let server = FakeServer::start().await;
        let model = model(FEATURES, 8);
        let plan = plan(&model);
        let digest = server.world.put(model.to_bytes().unwrap());
        let run = "run-1".to_owned();
        server
            .world
            .with(|memory| memory.runs.insert(run, plan.clone()));
        let agent = start(&server, DEVICE, FEATURES, SessionMode::Stream);
        Self {
            server,
            agent,
            model,
            plan,
            digest,
        }
    }

    fn refuse(&self, reason: RejectReason, retry_after_ms: u64) {
        let reject = Reject {
            reason: reason.into(),
            message: String::new(),
            retry_after_ms,
            ..Reject::default()
        };
        self.server
            .world
            .with(|memory| memory.rejects.push_back(reject));
    }

    async fn order(&self, round: u32, change: impl FnOnce(&mut Assignment)) {
        let Order::Assignment(mut order) = assignment("run-1", round, &self.plan, &self.digest)
        else {
            unreachable!("an assignment")
        };
        change(&mut order);
        let order = Order::Assignment(order);
        self.server.world.order(DEVICE, order).await;
    }

    /// The round and the word of the next assignment that comes back.
    async fn given_back(&self) -> (u32, String) {
        loop {
            match self.server.world.event(DEVICE).await {
                Event::Heartbeat(_) => {}
                Event::AssignmentAbandoned(back) => return (back.round, back.reason),
                other => panic!("expected the assignment back, got {other:?}"),
            }
        }
    }

    async fn until(&self, event: &str, count: u64) {
        for _ in 0..6000 {
            if self.agent.tally().count(event) >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {event}: {:?}", self.agent.tally());
    }

    fn trainings(&self) -> usize {
        self.agent.data.trainings.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_update_that_is_refused_for_good_is_given_back_as_failed() {
    let scene = Scene::new().await;
    let reasons = [
        RejectReason::WrongLayout,
        RejectReason::WrongDigest,
        RejectReason::NotFinite,
        RejectReason::NormTooLarge,
        RejectReason::AllZero,
        RejectReason::TooLarge,
        RejectReason::Protocol,
        RejectReason::WrongCodec,
    ];
    for (round, reason) in (1..).zip(reasons) {
        scene.refuse(reason, 0);
        scene.order(round, |_| {}).await;
        assert_eq!(scene.given_back().await, (round, "failed".to_owned()));
    }
    let tally = scene.agent.tally();
    assert_eq!(tally.count("upload.refused"), reasons.len() as u64);
    // refused, which is counted, and not given back for a reason of the device's own
    let events = tally.events.keys();
    assert!(!events.clone().any(|event| event.starts_with("abandoned")));
}

#[tokio::test]
async fn a_round_that_waits_for_nobody_is_told_nothing() {
    let scene = Scene::new().await;
    let reasons = [
        RejectReason::GoalMet,
        RejectReason::WrongRound,
        RejectReason::UnknownRun,
        RejectReason::LeaseExpired,
        RejectReason::NotAssigned,
        RejectReason::Duplicate,
        RejectReason::WrongLayout,
    ];
    for (round, reason) in (1..).zip(reasons) {
        scene.refuse(reason, 0);
        scene.order(round, |_| {}).await;
    }
    // events keep their order, so the first one would be of an earlier round if there were any
    assert_eq!(scene.given_back().await, (7, "failed".to_owned()));
    assert_eq!(scene.agent.tally().count("upload.refused"), 6);
    assert_eq!(scene.agent.tally().count("upload.counted_otherwise"), 1);
}

#[tokio::test]
async fn an_update_whose_lease_ends_first_is_given_back_as_slow() {
    let scene = Scene::new().await;
    // fetches the model, so that the short lease is left to the upload
    scene.order(1, |_| {}).await;
    scene.until("upload.counted", 1).await;
    scene.refuse(RejectReason::Busy, 60_000);
    let short = |order: &mut Assignment| {
        order.lease_ms = 300;
        // without a seed: in a seeded plan time is virtual
        order.plan.as_mut().unwrap().simulation_seed.clear();
    };
    scene.order(2, short).await;
    assert_eq!(scene.given_back().await, (2, "slow".to_owned()));
    assert_eq!(scene.agent.tally().count("upload.expired"), 1);
}

#[tokio::test]
async fn a_busy_machine_does_not_make_a_seeded_device_late() {
    let scene = Scene::new().await;
    // the lease is over before the model is fetched, and the coordinator is busy for longer
    scene.refuse(RejectReason::Busy, 300);
    scene.order(1, |order| order.lease_ms = 1).await;
    scene.until("upload.counted", 1).await;
    assert_eq!(scene.agent.tally().count("upload.expired"), 0);
}

#[tokio::test]
async fn a_kept_update_answers_another_attempt_that_starts_from_the_same_model() {
    let scene = Scene::new().await;
    scene.refuse(RejectReason::GoalMet, 0);
    scene.order(1, |_| {}).await;
    scene.until("upload.refused", 1).await;
    scene.order(1, |order| order.attempt = 2).await;
    scene.until("upload.counted", 1).await;
    assert_eq!(scene.trainings(), 1, "sent again, not trained again");
    // counted in the second attempt: that one alone is answered already
    scene.order(1, |order| order.attempt = 2).await;
    scene.until("assignment.already_counted", 1).await;
    scene.server.world.with(|memory| memory.counted.clear());
    scene.order(1, |order| order.attempt = 3).await;
    scene.until("upload.counted", 2).await;
    assert_eq!(scene.trainings(), 2);
}

#[tokio::test]
async fn a_kept_update_is_not_sent_for_a_round_that_starts_from_another_model() {
    let scene = Scene::new().await;
    scene.refuse(RejectReason::GoalMet, 0);
    scene.order(1, |_| {}).await;
    scene.until("upload.refused", 1).await;
    let mut other = scene.model.clone();
    other.weights[0] += 0.5;
    let digest = scene.server.world.put(other.to_bytes().unwrap());
    let named = digest.clone();
    scene
        .order(1, |order| {
            order.attempt = 2;
            order.model_digest = named;
        })
        .await;
    scene.until("upload.counted", 1).await;
    assert_eq!(scene.trainings(), 2);
    let headers = scene.server.world.with(|memory| memory.headers.clone());
    assert_eq!(headers[1].model_digest, digest);
    assert_ne!(headers[1].digest, headers[0].digest);
}
