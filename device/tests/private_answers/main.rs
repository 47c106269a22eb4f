//! Answers of a run with privacy: one length, one order of calls and a drawn moment, whatever the data are.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

#[path = "../fake/mod.rs"]
mod fake;

mod scene;
mod traces;

use std::time::{Duration, Instant};

use fake::setting::{Kept, model, start_with_data};
use fake::world::assignment;
use prost::Message as _;
use scene::{Chosen, FEATURES, RUN, Scene, WINDOW, filled, found};
use tributary_aggregator::{Codec, Scheme};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{AnswerWindow, ClipReport, TrainingPlan};

#[tokio::test]
async fn invariant_11_every_answer_has_one_length_and_comes_in_its_window() {
    let codecs = ["f32", "int8", "topk-fixed:0.2", "eden:2"];
    for codec in codecs {
        let mut lengths = None;
        for (number, (name, found)) in found().into_iter().enumerate() {
            let scene = Scene::new(codec).await;
            let is_usual = number == 0;
            let agent = scene.start("d-1", found);
            let (header, bytes, answered) = scene.round("d-1").await;
            // on the wire: the header, and the bytes in chunks that the header decides
            let sent = (header.encoded_len(), bytes.len());
            assert_eq!(*lengths.get_or_insert(sent), sent, "{codec}, {name}");
            assert_eq!(
                (header.weight, header.work, header.within_clip),
                (0, 0, false)
            );
            assert_ne!(header.clip_report(), ClipReport::Unspecified, "{name}");
            let shortest = Duration::from_millis(WINDOW.0);
            // the download was seen a little before the model was accepted
            assert!(answered >= shortest, "{codec}, {name}: after {answered:?}");
            let calls = scene.server.world.with(|memory| {
                assert!(memory.events.is_empty(), "{name}: {:?}", memory.events);
                (memory.downloads.len(), memory.headers.len())
            });
            assert_eq!(calls, (1, 1), "{codec}, {name}");
            let codec: Codec = codec.parse().unwrap();
            let mut values = vec![0.0; scene.plan.parameters as usize];
            codec.decode_into(&bytes, &mut values).unwrap();
            if is_usual {
                assert!(values.iter().any(|value| *value != 0.0));
            }
            if header.clip_report() == ClipReport::None {
                assert!(values.iter().all(|value| *value == 0.0), "{name}");
                assert!(!matches!(codec.scheme(), Scheme::TopK(_)));
            }
            drop(agent);
        }
    }
}

#[tokio::test]
async fn invariant_11_what_a_device_is_not_made_for_is_refused_before_it_looks() {
    let scene = Scene::new("f32").await;
    // data that panic: whoever looks at them does not get as far as a refusal
    let agent = scene.start("d-1", Err("panic"));
    let wide = model(FEATURES + 2, 8);
    let wide_digest = scene.server.world.put(wide.to_bytes().unwrap());
    let cases = [
        (
            TrainingPlan {
                parameters: wide.weights.len() as u64,
                ..scene.plan.clone()
            },
            &wide_digest,
            "takes 8 values, this device's data of the task have 6",
        ),
        (
            TrainingPlan {
                task: "sleep".to_owned(),
                ..scene.plan.clone()
            },
            &scene.digest,
            "sleep",
        ),
        (
            TrainingPlan {
                codec: "int8+zstd".to_owned(),
                ..scene.plan.clone()
            },
            &scene.digest,
            "without +zstd",
        ),
        (
            TrainingPlan {
                codec: "topk:0.1".to_owned(),
                ..scene.plan.clone()
            },
            &scene.digest,
            "topk-fixed",
        ),
    ];
    for (round, (plan, digest, named)) in (1..).zip(cases) {
        let order = assignment(RUN, round, &plan, digest);
        scene.server.world.order("d-1", order).await;
        let Event::AssignmentAbandoned(given) = scene.server.world.event("d-1").await else {
            panic!("expected the assignment back");
        };
        assert_eq!(
            (given.round, given.reason.as_str()),
            (round, "configuration")
        );
        assert!(
            given.detail.contains(named),
            "{named:?} is missing in {given:?}"
        );
    }
    assert!(scene.server.world.with(|memory| memory.headers.is_empty()));
    assert_eq!(agent.tally().count("constant_form.crashed"), 0);
}

#[tokio::test]
async fn invariant_11_votes_are_blank_where_there_is_nothing_to_look_at_and_as_long() {
    let window = AnswerWindow {
        from_ms: WINDOW.0,
        until_ms: WINDOW.1,
    };
    let mut lengths = None;
    for (name, found) in found() {
        let has_examples = found.as_ref().is_ok_and(|examples| !examples.is_empty());
        let scene = Scene::new("f32").await;
        let _agent = scene.start("d-1", found);
        let asked = Instant::now();
        scene.ask("d-1", window).await;
        let Event::SummaryReport(report) = scene.server.world.event("d-1").await else {
            panic!("{name}: expected votes");
        };
        assert!(asked.elapsed() >= Duration::from_millis(WINDOW.0), "{name}");
        let is_blank = report.votes[0].ballot == u32::MAX;
        assert_eq!(is_blank, !has_examples, "{name}: {report:?}");
        let length = report.encoded_len();
        assert_eq!(*lengths.get_or_insert(length), length, "{name}");
    }
}

#[tokio::test]
async fn invariant_11_a_simulated_device_without_data_waits_for_its_processor_like_others() {
    let scene = Scene::new("f32").await;
    let data = Box::new(Chosen::new(filled(0.0, 0)));
    let agent = start_with_data(&scene.server, "d-1", data, Kept::default());
    // the processor is busy with others, in turns: after the model, and after the constant form
    let environment = std::sync::Arc::clone(&agent.environment);
    let busy = |environment: std::sync::Arc<tributary_device::Environment>| {
        let (free, wait) = std::sync::mpsc::channel::<()>();
        let work = async move {
            let blocked = environment.compute.run(move |_| wait.recv());
            let _ = blocked.await;
        };
        (free, tokio::spawn(work))
    };
    let settle = || tokio::time::sleep(Duration::from_millis(100));
    let mut turns = vec![busy(environment.clone())];
    let order = assignment(RUN, 1, &scene.plan, &scene.digest);
    scene.server.world.order("d-1", order).await;
    for _ in 0..2 {
        settle().await;
        turns.push(busy(environment.clone()));
        settle().await;
        let (free, turn) = turns.remove(0);
        free.send(()).unwrap();
        turn.await.unwrap();
    }
    // it has accepted, and its window passes while others have the processor
    tokio::time::sleep(Duration::from_millis(2 * WINDOW.1)).await;
    assert!(scene.server.world.with(|memory| memory.headers.is_empty()));
    let (free, _) = turns.remove(0);
    free.send(()).unwrap();
    let begun = Instant::now();
    scene.server.world.counted(RUN, 1, "d-1").await;
    assert!(begun.elapsed() >= Duration::from_millis(WINDOW.0));
    assert_eq!(agent.tally().count("constant_form.no_examples"), 1);
}
