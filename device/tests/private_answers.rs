//! Answers of a run with privacy: one length, one order of calls and a drawn moment, whatever the data are.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod fake;

use std::time::{Duration, Instant};

use fake::FakeServer;
use fake::setting::{Kept, Running, TASK, model, plan, start_with_data};
use fake::world::assignment;
use prost::Message as _;
use tributary_aggregator::{Codec, Scheme};
use tributary_device::{DataError, DataForm, Examples, LocalData, Purpose};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{
    AnswerWindow, ClipReport, QuantitySpec, SummaryRequest, TrainingPlan, UploadHeader,
};

const FEATURES: usize = 6;
/// Begin and end of the window of these tests, in milliseconds.
const WINDOW: (u64, u64) = (120, 160);

/// Data that a test chooses, with a declared width.
struct Chosen(Result<Examples, &'static str>);

impl LocalData for Chosen {
    fn form(&self, task: &str) -> Result<DataForm, DataError> {
        if task != TASK {
            let task = task.to_owned();
            return Err(DataError::UnknownTask { task });
        }
        Ok(DataForm {
            features: Some(FEATURES),
            classes: Some(3),
        })
    }

    fn examples(&self, task: &str, _purpose: &Purpose) -> Result<Examples, DataError> {
        self.0.clone().map_err(|problem| {
            assert_ne!(problem, "panic", "a test's data panic");
            DataError::Unreadable {
                task: task.to_owned(),
                problem: problem.to_owned(),
            }
        })
    }
}

fn filled(value: f32, count: usize) -> Result<Examples, &'static str> {
    Ok(Examples {
        inputs: vec![value; FEATURES * count].into(),
        labels: vec![0; count].into(),
    })
}

fn found() -> Vec<(&'static str, Result<Examples, &'static str>)> {
    vec![
        ("usual", Ok(fake::setting::examples(FEATURES, 12))),
        ("one example", filled(0.5, 1)),
        ("not a number", filled(f32::NAN, 12)),
        ("beyond the finite numbers", filled(3e38, 12)),
        ("so small that a processor is slow", filled(1e-40, 12)),
        ("no examples", filled(0.0, 0)),
        ("unreadable", Err("the sensor is off")),
        ("a panic", Err("panic")),
    ]
}

struct Scene {
    server: FakeServer,
    digest: String,
    plan: TrainingPlan,
}

impl Scene {
    async fn new(codec: &str) -> Self {
        let server = FakeServer::start().await;
        let model = model(FEATURES, 8);
        let digest = server.world.put(model.to_bytes().unwrap());
        let window = AnswerWindow {
            from_ms: WINDOW.0,
            until_ms: WINDOW.1,
        };
        let plan = TrainingPlan {
            codec: codec.to_owned(),
            simulation_seed: Vec::new().into(),
            answer_window: Some(window),
            report_within_clip: true,
            ..plan(&model)
        };
        server
            .world
            .with(|memory| memory.runs.insert("run-1".to_owned(), plan.clone()));
        Self {
            server,
            digest,
            plan,
        }
    }

    fn start(&self, device: &str, found: Result<Examples, &'static str>) -> Running {
        let kept = Kept {
            simulated: false,
            ..Kept::default()
        };
        start_with_data(&self.server, device, Box::new(Chosen(found)), kept)
    }

    /// One round of a device: the header, the bytes, and how long after the download the answer came.
    async fn round(&self, device: &str) -> (UploadHeader, Vec<u8>, Duration) {
        let order = assignment("run-1", 1, &self.plan, &self.digest);
        self.server.world.order(device, order).await;
        let downloaded = self
            .server
            .world
            .wait("a download", |memory| {
                (!memory.downloads.is_empty()).then(Instant::now)
            })
            .await;
        let header = self
            .server
            .world
            .wait("a header", |memory| memory.headers.last().cloned())
            .await;
        let answered = downloaded.elapsed();
        let bytes = self.server.world.counted("run-1", 1, device).await;
        (header, bytes, answered)
    }
}

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
        let order = assignment("run-1", round, &plan, digest);
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
    let quantity = tributary_drift::Quantity::prediction("prediction", 3).unwrap();
    let mut lengths = None;
    for (name, found) in found() {
        let has_examples = found.as_ref().is_ok_and(|examples| !examples.is_empty());
        let scene = Scene::new("f32").await;
        let _agent = scene.start("d-1", found);
        let request = SummaryRequest {
            monitor_id: "m-1".to_owned(),
            window: 1,
            task: TASK.to_owned(),
            model_digest: scene.digest.clone(),
            quantities: vec![QuantitySpec {
                quantity_id: quantity.id().to_string(),
                source: "prediction".to_owned(),
                edges: Vec::new(),
                bins: quantity.bins() as u32,
            }],
            deadline_ms: 60_000,
            answer_window: Some(window),
            ..SummaryRequest::default()
        };
        let asked = Instant::now();
        let order = Order::SummaryRequest(request);
        scene.server.world.order("d-1", order).await;
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
