//! State in files: it survives the end of the device's program.

use std::sync::Arc;

use tributary_device::{DeviceMemory, FileMemory, StateFolder};
use tributary_proto::v1::Ditto;
use tributary_proto::v1::TrainingPlan;
use tributary_proto::v1::personalisation::Kind;

use crate::reference::{assert_near, times};
use crate::stage::{RUN, Stage, personalised};

fn plan(stage: &Stage) -> TrainingPlan {
    let ditto = Ditto {
        lambda: 0.1,
        epochs: 1,
    };
    TrainingPlan {
        momentum: 0.5,
        ..personalised(&stage.plan, Kind::Ditto(ditto))
    }
}

fn memory(folder: &std::path::Path) -> Arc<dyn DeviceMemory> {
    Arc::new(StateFolder::open(folder).unwrap().memory().unwrap())
}

#[tokio::test]
async fn momentum_and_personal_models_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::remembering(memory(folder.path())).await;
    let plan = plan(&stage);
    let start = stage.model.weights.clone();
    let d = start.len();
    let first = stage.round(1, &plan, &start, &[], d).await;
    // without a restart the second round would start from this
    let before = stage.agent.view.personal_model(RUN, None).unwrap();
    let stage = stage.restart(memory(folder.path())).await;
    assert_eq!(
        stage.agent.view.personal_model(RUN, None),
        None,
        "no model seen yet"
    );
    stage.refused_round(2, &plan, &start, &[]).await;
    let after = stage.agent.view.personal_model(RUN, None).unwrap();
    assert_eq!(after, before, "nothing moves without a receipt");
    let third = stage.round(3, &plan, &start, &[], d).await;
    assert_near(&third.values, &times(1.5, &first.values));
    assert_eq!(stage.agent.tally().count("memory.damaged"), 0);
}

#[tokio::test]
async fn damaged_state_is_counted_and_the_run_starts_afresh() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::remembering(Arc::new(FileMemory::open(folder.path()).unwrap())).await;
    let plan = TrainingPlan {
        momentum: 0.5,
        ..stage.plan.clone()
    };
    let start = stage.model.weights.clone();
    let d = start.len();
    let first = stage.round(1, &plan, &start, &[], d).await;
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1);
    let path = files[0].as_ref().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let again = stage.round(2, &plan, &start, &[], d).await;
    assert_near(&again.values, &first.values);
    assert_eq!(stage.agent.tally().count("memory.damaged"), 1);
    let third = stage.round(3, &plan, &start, &[], d).await;
    assert_near(&third.values, &times(1.5, &first.values));
}
