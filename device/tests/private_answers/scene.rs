//! A coordinator with one private plan, and devices whose data a test chooses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tributary_device::{DataError, DataForm, Examples, LocalData, Purpose};
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{AnswerWindow, QuantitySpec, SummaryRequest, TrainingPlan, UploadHeader};

use crate::fake::FakeServer;
use crate::fake::setting::{Kept, Running, TASK, examples, model, plan, start_with_data};
use crate::fake::world::assignment;

pub const RUN: &str = "run-1";
pub const FEATURES: usize = 6;
/// Begin and end of the window of these tests, in milliseconds.
pub const WINDOW: (u64, u64) = (120, 160);

/// What a device finds when it looks at its data; a problem, or the word `panic`.
pub type Found = Result<Examples, &'static str>;

/// Data that a test chooses and may change, with a declared width.
#[derive(Clone)]
pub struct Chosen(pub Arc<Mutex<Found>>);

impl Chosen {
    pub fn new(found: Found) -> Self {
        Self(Arc::new(Mutex::new(found)))
    }
}

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
        let found = self.0.lock().unwrap().clone();
        found.map_err(|problem| {
            assert_ne!(problem, "panic", "a test's data panic");
            DataError::Unreadable {
                task: task.to_owned(),
                problem: problem.to_owned(),
            }
        })
    }
}

pub fn filled(value: f32, count: usize) -> Found {
    Ok(Examples {
        inputs: vec![value; FEATURES * count].into(),
        labels: vec![0; count].into(),
    })
}

pub fn found() -> Vec<(&'static str, Found)> {
    vec![
        ("usual", Ok(examples(FEATURES, 12))),
        ("one example", filled(0.5, 1)),
        ("not a number", filled(f32::NAN, 12)),
        ("beyond the finite numbers", filled(3e38, 12)),
        ("so small that a processor is slow", filled(1e-40, 12)),
        ("no examples", filled(0.0, 0)),
        ("unreadable", Err("the sensor is off")),
        ("a panic", Err("panic")),
    ]
}

pub struct Scene {
    pub server: FakeServer,
    pub digest: String,
    pub plan: TrainingPlan,
}

impl Scene {
    pub async fn new(codec: &str) -> Self {
        let codec = codec.to_owned();
        let window = Some(AnswerWindow {
            from_ms: WINDOW.0,
            until_ms: WINDOW.1,
        });
        let change = |plan| TrainingPlan {
            codec,
            answer_window: window,
            report_within_clip: true,
            ..plan
        };
        Self::with(change).await
    }

    /// A private plan whose answers come when they are there, unless `change` says otherwise.
    pub async fn with(change: impl FnOnce(TrainingPlan) -> TrainingPlan) -> Self {
        let server = FakeServer::start().await;
        let model = model(FEATURES, 8);
        let digest = server.world.put(model.to_bytes().unwrap());
        let plan = change(TrainingPlan {
            simulation_seed: Vec::new().into(),
            answer_window: Some(AnswerWindow::default()),
            ..plan(&model)
        });
        server
            .world
            .with(|memory| memory.runs.insert(RUN.to_owned(), plan.clone()));
        Self {
            server,
            digest,
            plan,
        }
    }

    pub fn start(&self, device: &str, found: Found) -> Running {
        self.start_keeping(device, Box::new(Chosen::new(found)), Kept::default())
    }

    /// A device that is not simulated.
    pub fn start_keeping(&self, device: &str, data: Box<dyn LocalData>, kept: Kept) -> Running {
        let simulated = false;
        start_with_data(&self.server, device, data, Kept { simulated, ..kept })
    }

    pub async fn order(&self, device: &str, round: u32, digest: &str) {
        let order = assignment(RUN, round, &self.plan, digest);
        self.server.world.order(device, order).await;
    }

    /// Asks for a vote on the predicted class in window 1.
    pub async fn ask(&self, device: &str, window: AnswerWindow) {
        let quantity = tributary_drift::Quantity::prediction("prediction", 3).unwrap();
        let request = SummaryRequest {
            monitor_id: "m-1".to_owned(),
            window: 1,
            task: TASK.to_owned(),
            model_digest: self.digest.clone(),
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
        let order = Order::SummaryRequest(request);
        self.server.world.order(device, order).await;
    }

    /// One round of a device: the header, the bytes, and how long after the download the answer came.
    pub async fn round(&self, device: &str) -> (UploadHeader, Vec<u8>, Duration) {
        self.order(device, 1, &self.digest).await;
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
        let bytes = self.server.world.counted(RUN, 1, device).await;
        (header, bytes, answered)
    }
}
