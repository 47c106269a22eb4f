//! A run as a whole: what it does when the store fails, and what is left of it when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tributary_proto::RunId;
use tributary_proto::v1::RunState;

use tributary_proto::v1;

use super::*;
use crate::CoordinatorError;
use crate::coordinator::Coordinator;
use crate::engine::Reject;
use crate::fixtures::{Flaky, coordinator_on, plain_spec};
use tributary_store::MemoryStore;

async fn started(served: &Arc<Coordinator>) -> RunHandle {
    let run = start_run(&served.runs, plain_spec(), Origin::default())
        .await
        .unwrap();
    served.runs.handle(&run.id).unwrap()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_is_asked_ever_more_seldom_and_the_run_goes_on_when_it_is_back() {
    use std::sync::atomic::Ordering;
    let (store, flaky) = Flaky::store();
    let served = coordinator_on(store).await;
    // nobody is there: the run fails at once in its own words, which it can't write down
    let mut spec = plain_spec();
    (
        spec.seed,
        spec.rounds.population,
        spec.rounds.selection_timeout_ms,
    ) = (None, Some(12), 0);
    let run = start_run(&served.runs, spec, Origin::default())
        .await
        .unwrap();
    flaky.set_fails(true);
    served.core.clock.resume(5_000);
    let mut follow = run.follow();
    let says = |view: &RunView| view.run.reason.contains("a test lets it fail");
    follow.wait_for(says).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // 0.2, 0.4, 0.8 and 1.6 seconds apart
    let refused = flaky.refused.load(Ordering::SeqCst);
    assert!(
        (2..=6).contains(&refused),
        "{refused} commits in three seconds"
    );
    flaky.set_fails(false);
    let over = follow.wait_for(RunView::is_over).await.unwrap().run.clone();
    assert_eq!(over.state(), RunState::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_over_leaves_memory_and_its_view_comes_from_the_store() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let run = started(&served).await;
    let id = run.id.clone();
    run.stop().await.unwrap();
    let last = run.view();
    assert_eq!(last.run.state(), RunState::Stopped);
    until("the run leaves memory", || served.runs.live().is_empty()).await;
    assert!(served.runs.handle(&id).is_err() && served.runs.catalogue.is_known(&id));
    let view = served.runs.run_view(&id).await.unwrap();
    assert_eq!((view.run.clone(), view.history), (last.run, last.history));
    assert_eq!(
        served
            .runs
            .list_runs(served.runs.catalogue.newest())
            .await
            .unwrap(),
        [view.run]
    );
    let again = served.runs.handle(&id).map(drop).unwrap_err();
    assert_eq!(again.code(), "TRB-0300", "{again}");
    // the same after a restart, which reads no state of it
    let listed = served
        .runs
        .list_runs(served.runs.catalogue.newest())
        .await
        .unwrap();
    served
        .runs
        .catalogue
        .set_aside(id.clone(), crate::quarantine::Cause::from(&again));
    recover_runs(&served.runs).await.unwrap();
    assert_eq!(
        served
            .runs
            .list_runs(served.runs.catalogue.newest())
            .await
            .unwrap(),
        listed
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_started_before_with_the_same_key_is_found_when_it_is_over() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let origin = || Origin {
        idempotency_key: "once".to_owned(),
        ..Origin::default()
    };
    let first = start_run(&served.runs, plain_spec(), origin())
        .await
        .unwrap();
    served.runs.handle(&first.id).unwrap().stop().await.unwrap();
    until("the run leaves memory", || served.runs.live().is_empty()).await;
    let again = start_run(&served.runs, plain_spec(), origin())
        .await
        .unwrap();
    assert_eq!(again.id, first.id);
    let over = again
        .follow()
        .wait_for(RunView::is_over)
        .await
        .unwrap()
        .run
        .clone();
    assert_eq!(over.state(), RunState::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playbooks_run_has_the_permission_of_the_run_whose_playbook_it_is() {
    let served = coordinator_on(Arc::new(MemoryStore::new())).await;
    let hold = served.core.ledger.hold().await;
    let cap = crate::ledger::Cap::new(8.0, 1e-5).unwrap();
    let changes = vec![crate::ledger::Change::Cap(None, cap)];
    hold.commit(changes, tributary_store::Batch::new())
        .await
        .unwrap();
    let mut spec = plain_spec();
    spec.builds = None;
    spec.drift.as_mut().unwrap().noise_votes = 0.0;
    let allowed = Origin {
        allow_no_privacy: "laboratory data".to_owned(),
        ..Origin::default()
    };
    let parent = start_run(&served.runs, spec.clone(), allowed)
        .await
        .unwrap();
    let nothing = served.core.ledger.reservation(parent.id.as_str());
    assert!(nothing.is_none(), "it charges nothing");
    let version = served
        .runs
        .handle(&parent.id)
        .unwrap()
        .view()
        .run
        .model_digest;
    let child = |of: &RunId| {
        let region = &spec.regions[0];
        let recipe = spec.of_playbook(region, &version).unwrap();
        let origin = Origin {
            playbook_of: Some(of.clone()),
            ..Origin::default()
        };
        start_run(&served.runs, recipe, origin)
    };
    let retraining = child(&parent.id).await.unwrap();
    let reason = served
        .core
        .ledger
        .permission(retraining.id.as_str())
        .unwrap();
    assert_eq!(reason, "laboratory data (by playbook of run tiny-1)");
    let decided = served.core.ledger.decisions(1).remove(0);
    assert_eq!(decided.run, retraining.id.as_str());
    // nobody has said so of another run
    let other = "other-1".parse().unwrap();
    let refused = child(&other).await.map(drop).unwrap_err();
    assert_eq!(refused.code(), "TRB-0130", "{refused}");
}

/// Events do not fit so many times.
struct Misfits(std::sync::atomic::AtomicU32);

impl crate::failpoint::Failpoint for Misfits {
    fn reach(&self, place: crate::failpoint::Place, _: &RunId) -> Result<(), Reject> {
        use std::sync::atomic::Ordering::SeqCst;
        let left = |left: u32| left.checked_sub(1);
        let fails = place == crate::failpoint::Place::Applying
            && self.0.fetch_update(SeqCst, SeqCst, left).is_ok();
        if fails {
            Err(Reject::WrongPhase)
        } else {
            Ok(())
        }
    }
}

/// A run, on a coordinator whose events do not fit so many times.
async fn misfitting(times: u32) -> (Arc<Coordinator>, RunHandle) {
    let failpoint = Arc::new(Misfits(times.into()));
    let served =
        crate::fixtures::coordinator_failing(Arc::new(MemoryStore::new()), failpoint).await;
    let run = started(&served).await;
    (served, run)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_meets_a_crash_says_so_and_the_run_is_stopped_once_it_is_read_back() {
    let (served, run) = misfitting(1).await;
    let told = run.stop().await.unwrap_err();
    assert_eq!(
        (told.code(), told.retry_after_ms()),
        ("TRB-0220", 1_000),
        "{told}"
    );
    let mut follow = run.follow();
    let over = follow.wait_for(RunView::is_over).await.unwrap().run.state();
    assert_eq!(over, RunState::Stopped, "its event was on disk");
    until("the run leaves memory", || served.runs.live().is_empty()).await;
    let told = run.stop().await.unwrap_err();
    assert!(
        matches!(told, CoordinatorError::Reject(Reject::RunOver)),
        "{told}"
    );
    let device = crate::fixtures::device(1);
    let refused = run.admit(device, 1, None).await.unwrap_err();
    assert_eq!(refused, Refusal::Engine(Reject::RunOver));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_set_aside_says_so_to_devices_operators_and_watchers() {
    let (served, run) = misfitting(u32::MAX).await;
    let mut events = served.core.watch();
    drop(run.stop().await);
    let mut follow = run.follow();
    let aside = follow.wait_for(RunView::is_over).await.unwrap().run.clone();
    assert_eq!(aside.state(), RunState::Quarantined);
    assert!(aside.reason.contains("[TRB-0531]"), "{aside:?}");
    until("its task is gone", || run.commands.is_closed()).await;
    let told = run.stop().await.unwrap_err();
    assert_eq!(told.code(), "TRB-0530", "{told}");
    let device = crate::fixtures::device(1);
    assert_eq!(
        run.admit(device, 1, None).await.unwrap_err(),
        Refusal::SetAside
    );
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event.event);
    }
    assert!(told.contains(&Some(v1::watch_response::Event::Run(aside))));
}
