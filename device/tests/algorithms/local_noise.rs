//! Noise that the device adds itself, as it arrives on the wire.

use std::path::Path;
use std::sync::Arc;

use tributary_aggregator::Codec;
use tributary_device::StateFolder;
use tributary_privacy::LocalNoise;
use tributary_proto::v1::{ParticipationLimit, TrainingPlan};

use crate::fake::setting::Kept;
use crate::reference::{descend, minus, norm, plainly, times};
use crate::stage::{DEVICE, RUN, Stage};

const RATE: f32 = 0.1;
const CLIP: f32 = 0.05;

fn noised(stage: &Stage, multiplier: f64) -> TrainingPlan {
    let noise = LocalNoise::new(CLIP, stage.parameters(), multiplier).unwrap();
    TrainingPlan {
        clip: CLIP,
        local_noise_multiplier: multiplier,
        wire_clip: noise.wire_clip(),
        ..stage.plan.clone()
    }
}

fn at_most(plan: &TrainingPlan, max_participations: u32) -> TrainingPlan {
    let participation = Some(ParticipationLimit {
        max_participations,
        ..ParticipationLimit::default()
    });
    TrainingPlan {
        participation,
        ..plan.clone()
    }
}

/// 300 hidden units are 3003 parameters.
async fn large() -> Stage {
    Stage::keeping(300, Kept::default()).await
}

/// The variance of 3003 values has a standard error of 2.6 %, their mean one of 1.8 % of sigma: five
/// of them, 1.2e-6 by chance for both.
#[tokio::test]
async fn what_arrives_is_the_clipped_update_with_noise_of_the_planned_scale() {
    let stage = large().await;
    let start = stage.model.weights.clone();
    let d = start.len();
    let plan = noised(&stage, 0.7);
    let sent = stage.round(1, &plan, &start, &[], d).await;
    let delta = minus(
        &descend(&mut stage.engine(), &start, 3, RATE, plainly),
        &start,
    );
    assert!(norm(&delta) > CLIP, "the clip binds");
    let noise = minus(&sent.values, &times(CLIP / norm(&delta), &delta));
    let sigma = 0.7 * f64::from(CLIP);
    let scaled = || noise.iter().map(|value| f64::from(*value) / sigma);
    let mean = scaled().sum::<f64>() / d as f64;
    let variance = scaled().map(|value| value * value).sum::<f64>() / d as f64;
    assert!(mean.abs() < 5.0 * 0.0183, "{mean}");
    assert!((variance - 1.0).abs() < 5.0 * 0.0258, "{variance}");
    let header = sent.header;
    let beside = (
        header.weight,
        header.work,
        header.cluster,
        header.clip_report,
    );
    assert_eq!(beside, (0, 0, 0, 0), "nothing goes beside the noise");
}

#[tokio::test]
async fn a_noised_update_is_never_longer_than_the_wire_clip() {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    let codecs = Codec::ALL.into_iter().map(|codec| codec.to_string());
    let fits = |codec: &String| !codec.starts_with("topk") && !codec.ends_with("+zstd");
    let codecs = codecs.filter(fits);
    for (round, codec) in (1..).zip(codecs) {
        let plan = noised(&stage, 2.0);
        // up to a hundredth too short: the device cuts to what the plan says
        let wire_clip = plan.wire_clip * 0.991;
        let plan = TrainingPlan {
            codec: codec.clone(),
            wire_clip,
            ..plan
        };
        let sent = stage.round(round, &plan, &start, &[], start.len()).await;
        assert!(norm(&sent.values) <= wire_clip, "{codec}");
        assert!(norm(&sent.values) > CLIP, "{codec}");
    }
    assert_eq!(stage.agent.tally().count("upload.refused"), 0);
}

#[tokio::test]
async fn every_device_round_and_attempt_has_noise_of_its_own_that_a_seed_repeats() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let stage = Stage::new().await;
        let other = stage.another("d-2");
        let plan = noised(&stage, 1.0);
        let start = stage.model.weights.clone();
        let mut digests = Vec::new();
        for (device, turn) in [
            (DEVICE, (1, 1)),
            ("d-2", (1, 1)),
            (DEVICE, (1, 2)),
            (DEVICE, (2, 1)),
        ] {
            let world = &stage.server.world;
            world.with(|memory| memory.counted.clear());
            stage.order_from(device, turn, &plan, &start, &[]).await;
            world.counted(RUN, turn.0, device).await;
            digests.push(world.with(|memory| memory.headers.last().unwrap().digest.clone()));
        }
        other.stop().await.unwrap();
        let distinct: std::collections::BTreeSet<_> = digests.iter().collect();
        assert_eq!(distinct.len(), 4, "{digests:?}");
        runs.push(digests);
    }
    assert_eq!(runs[0], runs[1]);
}

#[tokio::test]
async fn an_update_that_may_have_left_is_sent_again_byte_for_byte_and_is_one_exposure() {
    let stage = Stage::new().await;
    let plan = at_most(&noised(&stage, 1.0), 1);
    let start = stage.model.weights.clone();
    let world = &stage.server.world;
    // cut on the way, then refused after its bytes had come, then asked for once more
    world.with(|memory| memory.break_uploads.push_back(1));
    world.with(|memory| memory.dimensions.insert(RUN.to_owned(), start.len() + 1));
    stage.order(1, &plan, &start, &[]).await;
    stage.until("upload.refused", 1).await;
    world.with(|memory| memory.dimensions.clear());
    stage.order_from(DEVICE, (1, 1), &plan, &start, &[]).await;
    stage.until("upload.counted", 1).await;
    let headers = world.with(|memory| std::mem::take(&mut memory.headers));
    assert_eq!(headers.len(), 3);
    let same = headers.iter().all(|next| next.digest == headers[0].digest);
    assert!(same, "{headers:?}");
    assert_eq!(stage.agent.view.participations(RUN).unwrap().count, 1);
}

#[tokio::test]
async fn the_same_bytes_for_another_attempt_are_no_second_exposure_and_new_ones_are() {
    let stage = Stage::new().await;
    let plan = at_most(&noised(&stage, 1.0), 1);
    let start = stage.model.weights.clone();
    let world = &stage.server.world;
    world.with(|memory| memory.dimensions.insert(RUN.to_owned(), start.len() + 1));
    stage.order(1, &plan, &start, &[]).await;
    stage.until("upload.refused", 1).await;
    world.with(|memory| memory.dimensions.clear());
    stage.order_from(DEVICE, (1, 2), &plan, &start, &[]).await;
    stage.until("upload.counted", 1).await;
    let headers = world.with(|memory| memory.headers.clone());
    assert_eq!(headers[0].digest, headers[1].digest);
    let known = stage.agent.view.participations(RUN).unwrap();
    assert_eq!((known.count, known.attempt), (1, 2));
    // counted and let go: another attempt would be noised anew
    stage.order_from(DEVICE, (1, 3), &plan, &start, &[]).await;
    stage.until("abandoned.max_participations", 1).await;
}

fn in_folder(folder: &Path) -> Kept {
    let record = StateFolder::open(folder).unwrap().record().unwrap();
    Kept {
        record: Arc::new(record),
        ..Kept::default()
    }
}

#[tokio::test]
async fn after_a_restart_an_attempt_whose_bytes_may_have_left_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::keeping(5, in_folder(folder.path())).await;
    let plan = at_most(&noised(&stage, 1.0), 2);
    let start = stage.model.weights.clone();
    let stage = stage.dies_sending(1, &plan, in_folder(folder.path())).await;
    stage.order(1, &plan, &start, &[]).await;
    stage.until("abandoned.already_noised", 1).await;
    // another attempt is another exposure, and the last one here
    stage.order_from(DEVICE, (1, 2), &plan, &start, &[]).await;
    stage.until("upload.counted", 1).await;
    stage.order(2, &plan, &start, &[]).await;
    stage.until("abandoned.max_participations", 1).await;
    assert_eq!(stage.agent.view.participations(RUN).unwrap().count, 2);
}

#[tokio::test]
async fn a_real_device_adds_no_noise_that_the_coordinator_could_work_out() {
    let kept = Kept {
        simulated: false,
        ..Kept::default()
    };
    let stage = Stage::keeping(5, kept).await;
    let start = stage.model.weights.clone();
    let plan = noised(&stage, 1.0);
    stage.order(1, &plan, &start, &[]).await;
    stage.until("abandoned.bad_plan", 1).await;
    let unseeded = TrainingPlan {
        simulation_seed: Vec::new().into(),
        ..plan
    };
    let sent = stage.round(2, &unseeded, &start, &[], start.len()).await;
    assert!(norm(&sent.values) > CLIP);
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_noised_and_sent_like_any_other() {
    let stage = Stage::new().await;
    let start = vec![0.1; stage.parameters()];
    // steps too small to move any weight
    let plan = TrainingPlan {
        learning_rate: 1e-30,
        ..noised(&stage, 1.0)
    };
    let sent = stage.round(1, &plan, &start, &[], start.len()).await;
    assert!(sent.values.iter().all(|value| *value != 0.0));
    let bare = TrainingPlan {
        local_noise_multiplier: 0.0,
        wire_clip: 0.0,
        ..plan
    };
    let sent = stage.round(2, &bare, &start, &[], start.len()).await;
    assert!(sent.values.iter().all(|value| *value == 0.0));
    stage.until("upload.counted", 2).await;
}

#[tokio::test]
async fn a_wire_clip_that_does_not_fit_the_noise_is_a_plan_that_can_not_be_followed() {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    let good = noised(&stage, 1.0);
    for (round, factor) in [(1, 0.98), (2, 1.02)] {
        let plan = TrainingPlan {
            wire_clip: good.wire_clip * factor,
            ..good.clone()
        };
        stage.order(round, &plan, &start, &[]).await;
        stage.until("abandoned.bad_plan", u64::from(round)).await;
    }
    let headers = stage.server.world.with(|memory| memory.headers.len());
    assert_eq!(headers, 0);
}
