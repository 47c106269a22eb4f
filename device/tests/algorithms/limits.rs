//! A device that counts its own participations gives back what would be one too many.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tributary_device::{
    Clock, ParticipationRecord, Participations, RecordError, StateFolder, VolatileRecord,
};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{ParticipationLimit, TrainingPlan};

use crate::fake::setting::Kept;
use crate::stage::{DEVICE, RUN, Stage};

const HOUR: u64 = 3_600_000;

/// A clock that tests set, forwards and back.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn limited(
    stage: &Stage,
    max_participations: u32,
    min_separation: u32,
    hours: u64,
) -> TrainingPlan {
    let limit = ParticipationLimit {
        max_participations,
        min_separation,
        min_interval_ms: hours * HOUR,
    };
    TrainingPlan {
        participation: Some(limit),
        ..stage.plan.clone()
    }
}

fn in_folder(folder: &Path) -> Kept {
    let folder = StateFolder::open(folder).unwrap();
    Kept {
        memory: Arc::new(folder.memory().unwrap()),
        record: Arc::new(folder.record().unwrap()),
        tickets: Arc::new(folder.tickets().unwrap()),
        ..Kept::default()
    }
}

impl Stage {
    async fn takes_part(&self, round: u32, plan: &TrainingPlan) {
        let weights = self.model.weights.clone();
        self.round(round, plan, &weights, &[], weights.len()).await;
    }

    /// Orders a round, and reads the word with which it comes back.
    async fn gives_back(&self, round: u32, plan: &TrainingPlan, because: &str) -> String {
        let event = format!("abandoned.{because}");
        let before = self.agent.tally().count(&event);
        self.order(round, plan, &self.model.weights, &[]).await;
        self.until(&event, before + 1).await;
        let Event::AssignmentAbandoned(abandoned) = self.server.world.event(DEVICE).await else {
            panic!("an assignment is given back");
        };
        assert_eq!((abandoned.run_id.as_str(), abandoned.round), (RUN, round));
        abandoned.reason
    }

    fn participations(&self) -> Participations {
        self.agent.view.participations(RUN).unwrap()
    }
}

#[tokio::test]
async fn a_device_gives_back_what_would_be_one_participation_too_many_before_it_trains() {
    let stage = Stage::new().await;
    let plan = limited(&stage, 2, 0, 0);
    stage.takes_part(1, &plan).await;
    stage.takes_part(2, &plan).await;
    let reason = stage.gives_back(3, &plan, "max_participations").await;
    assert_eq!(reason, "limit");
    assert_eq!(stage.agent.data.trainings.load(Ordering::SeqCst), 2);
    assert_eq!(stage.participations().count, 2);
    assert_eq!(stage.server.world.with(|memory| memory.headers.len()), 2);
}

#[tokio::test]
async fn a_device_keeps_its_rounds_apart() {
    let stage = Stage::new().await;
    let plan = limited(&stage, 0, 3, 0);
    stage.takes_part(2, &plan).await;
    for round in [3, 4] {
        let reason = stage.gives_back(round, &plan, "min_separation").await;
        assert_eq!(reason, "limit");
    }
    stage.takes_part(5, &plan).await;
    // a round of before comes under every limit, and under none
    stage.order(1, &plan, &stage.model.weights, &[]).await;
    stage.until("abandoned.stale", 1).await;
}

#[tokio::test]
async fn a_device_pauses_by_its_own_clock_and_setting_that_back_does_not_help() {
    let clock = Arc::new(SetClock::default());
    let set = |hours: u64| clock.0.store(hours * HOUR, Ordering::SeqCst);
    let kept = Kept {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        simulated: false,
        ..Kept::default()
    };
    let stage = Stage::keeping(5, kept).await;
    let plan = limited(&stage, 0, 0, 24);
    set(100);
    stage.takes_part(1, &plan).await;
    for (round, hours) in [(2, 100), (3, 123), (4, 0), (5, 50)] {
        set(hours);
        let reason = stage.gives_back(round, &plan, "min_interval").await;
        assert_eq!(reason, "limit", "at {hours} h");
    }
    set(124);
    stage.takes_part(6, &plan).await;
    assert_eq!(stage.participations().at_ms, 124 * HOUR);
}

#[tokio::test]
async fn in_a_seeded_run_a_simulated_device_makes_no_pause() {
    let stage = Stage::new().await;
    let plan = limited(&stage, 0, 0, 24);
    stage.takes_part(1, &plan).await;
    stage.takes_part(2, &plan).await;
    // without a seed time is real for it too
    let real = TrainingPlan {
        simulation_seed: Vec::new().into(),
        ..limited(&stage, 9, 0, 24)
    };
    stage.takes_part(3, &limited(&stage, 9, 0, 24)).await;
    assert_eq!(stage.gives_back(4, &real, "min_interval").await, "limit");
}

#[tokio::test]
async fn the_record_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::keeping(5, in_folder(folder.path())).await;
    let plan = limited(&stage, 1, 0, 0);
    stage.takes_part(1, &plan).await;
    let stage = stage.restart_keeping(in_folder(folder.path())).await;
    assert_eq!(stage.participations().count, 1);
    let reason = stage.gives_back(2, &plan, "max_participations").await;
    assert_eq!(reason, "limit");
    assert_eq!(stage.agent.data.trainings.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_device_that_dies_after_its_first_byte_has_taken_part() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::keeping(5, in_folder(folder.path())).await;
    let plan = limited(&stage, 1, 0, 0);
    let stage = stage.dies_sending(1, &plan, in_folder(folder.path())).await;
    assert_eq!(stage.participations().count, 1);
    let reason = stage.gives_back(2, &plan, "max_participations").await;
    assert_eq!(reason, "limit");
    // the round itself may still be finished
    stage.takes_part(1, &plan).await;
    assert_eq!(stage.participations().count, 1);
}

#[tokio::test]
async fn an_update_that_is_refused_by_its_header_is_no_participation() {
    let stage = Stage::new().await;
    let plan = limited(&stage, 1, 0, 0);
    let weights = stage.model.weights.clone();
    stage.refused_round(1, &plan, &weights, &[]).await;
    assert_eq!(stage.participations(), Participations::default());
    stage.takes_part(2, &plan).await;
}

#[tokio::test]
async fn another_attempt_at_the_same_round_does_not_count_twice() {
    let stage = Stage::new().await;
    let plan = limited(&stage, 1, 0, 0);
    stage.takes_part(1, &plan).await;
    stage.server.world.with(|memory| memory.counted.clear());
    let weights = stage.model.weights.clone();
    stage.order_from(DEVICE, (1, 2), &plan, &weights, &[]).await;
    stage.until("upload.counted", 2).await;
    let known = stage.participations();
    assert_eq!((known.count, known.round, known.attempt), (1, 1, 2));
}

#[tokio::test]
async fn a_damaged_record_keeps_the_device_out_of_limited_runs_and_of_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::keeping(5, in_folder(folder.path())).await;
    let plan = limited(&stage, 9, 0, 0);
    stage.takes_part(1, &plan).await;
    let files = std::fs::read_dir(folder.path().join("record")).unwrap();
    for file in files {
        std::fs::write(file.unwrap().path(), b"zeros").unwrap();
    }
    assert_eq!(stage.gives_back(2, &plan, "record_damaged").await, "failed");
    let error = stage.agent.view.participations(RUN).unwrap_err();
    assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
    stage.takes_part(3, &stage.plan).await;
}

/// Reads as if nothing had happened, and can't write.
struct FullDisk;

impl ParticipationRecord for FullDisk {
    fn load(&self, run_id: &str) -> Result<Participations, RecordError> {
        VolatileRecord::default().load(run_id)
    }

    fn store(&self, _: &str, _: &Participations) -> Result<(), RecordError> {
        Err(RecordError::Io {
            path: "record".to_owned(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    }
}

#[tokio::test]
async fn no_byte_leaves_before_the_participation_is_written() {
    let kept = Kept {
        record: Arc::new(FullDisk),
        ..Kept::default()
    };
    let stage = Stage::keeping(5, kept).await;
    let plan = limited(&stage, 9, 0, 0);
    assert_eq!(stage.gives_back(1, &plan, "record_io").await, "failed");
    assert_eq!(stage.agent.tally().bytes_up, 0);
    let sent = |memory: &mut crate::fake::Memory| memory.partial.len() + memory.counted.len();
    assert_eq!(stage.server.world.with(sent), 0);
}
