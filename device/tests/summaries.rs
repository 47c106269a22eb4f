//! Votes over real gRPC.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod fake;

use std::collections::BTreeSet;

use fake::FakeServer;
use fake::setting::{Running, examples, model, start};
use tributary_device::{Purposes, SessionMode, seeded};
use tributary_drift::Quantity;
use tributary_model::{Engine, FastEngine, ModelFile};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{QuantitySpec, SummaryReport, SummaryRequest};

const FEATURES: usize = 6;
const SEED: [u8; 32] = [8; 32];

fn spec(quantity: &Quantity, source: &str, edges: &[f64]) -> QuantitySpec {
    QuantitySpec {
        quantity_id: quantity.id().to_string(),
        source: source.to_owned(),
        edges: edges.to_vec(),
        bins: quantity.bins() as u32,
    }
}

fn quantities() -> Vec<(Quantity, QuantitySpec)> {
    let confidence = [0.4, 0.5, 0.6];
    let feature = [-0.5, 0.0, 0.5];
    let activation = [-4.0, -2.0, -1.0, 0.0];
    let with_edges = |name: &str, edges: &[f64]| {
        let quantity = Quantity::with_edges(name, edges.to_vec()).unwrap();
        let spec = spec(&quantity, name, edges);
        (quantity, spec)
    };
    let prediction = Quantity::prediction("prediction", 3).unwrap();
    let prediction_spec = spec(&prediction, "prediction", &[]);
    vec![
        (prediction, prediction_spec),
        with_edges("confidence", &confidence),
        with_edges("feature:2", &feature),
        with_edges("activation:0", &activation),
        with_edges("activation:2", &activation),
    ]
}

fn request(window: u64, model_digest: &str, seed: &[u8]) -> SummaryRequest {
    SummaryRequest {
        monitor_id: "m-1".to_owned(),
        window,
        task: fake::setting::TASK.to_owned(),
        model_digest: model_digest.to_owned(),
        quantities: quantities().into_iter().map(|(_, spec)| spec).collect(),
        deadline_ms: 60_000,
        simulation_seed: seed.to_vec().into(),
        ..SummaryRequest::default()
    }
}

async fn report(server: &FakeServer, request: SummaryRequest) -> SummaryReport {
    server
        .world
        .order("d-1", Order::SummaryRequest(request))
        .await;
    match server.world.event("d-1").await {
        Event::SummaryReport(report) => report,
        other => panic!("expected votes, got {other:?}"),
    }
}

/// The bins worked out without an agent: quantities of the example that the seed chooses.
fn expected(model: &ModelFile, window: u64) -> Vec<u32> {
    use rand_core::Rng;
    let data = examples(FEATURES, 12);
    let mut rng = seeded(&SEED, "m-1", window, "d-1", Purposes::Summary);
    // 12 examples: the multiply-shift map of 64 bits rejects with probability below 1e-18
    let index = ((u128::from(rng.next_u64()) * 12) >> 64) as usize;
    let input = &data.inputs[index * FEATURES..(index + 1) * FEATURES];
    let graph = model.spec.graph().unwrap();
    let mut engine = FastEngine::new(&graph);
    let mut probabilities = Vec::new();
    engine
        .predict(&model.weights, input, &mut probabilities)
        .unwrap();
    let mut magnitudes = [0.0f32; 5];
    let mut note = |index: usize, values: &[f32]| {
        magnitudes[index] = values
            .iter()
            .fold(0.0, |largest, value| largest.max(value.abs()));
    };
    engine
        .visit_activations(&model.weights, input, &mut note)
        .unwrap();
    let best = probabilities.iter().copied().fold(0.0, f32::max);
    let class = probabilities.iter().position(|p| *p == best).unwrap();
    let values = [
        class as f64,
        f64::from(best),
        f64::from(input[2]),
        f64::from(magnitudes[0]).log2(),
        f64::from(magnitudes[2]).log2(),
    ];
    let bins = quantities().into_iter().zip(values);
    bins.map(|((quantity, _), value)| quantity.bin_of(value) as u32)
        .collect()
}

async fn with_model() -> (FakeServer, ModelFile, String, Running) {
    let server = FakeServer::start().await;
    let model = model(FEATURES, 8);
    let digest = server.world.put(model.to_bytes().unwrap());
    let agent = start(&server, "d-1", FEATURES, SessionMode::Stream);
    (server, model, digest, agent)
}

#[tokio::test]
async fn one_seeded_example_casts_exactly_one_vote_per_quantity() {
    let (server, model, digest, _agent) = with_model().await;
    let mut seen = BTreeSet::new();
    for window in 1..=12 {
        let report = report(&server, request(window, &digest, &SEED)).await;
        assert_eq!((report.monitor_id.as_str(), report.window), ("m-1", window));
        let asked = quantities().into_iter().map(|(_, spec)| spec.quantity_id);
        assert!(asked.eq(report.votes.iter().map(|vote| vote.quantity_id.clone())));
        let bins: Vec<u32> = report.votes.iter().map(|vote| vote.ballot - 1).collect();
        assert_eq!(bins, expected(&model, window), "window {window}");
        seen.insert(bins);
    }
    assert!(
        seen.len() > 1,
        "different windows choose different examples"
    );
    assert_eq!(server.world.with(|memory| memory.downloads.len()), 1);
}

#[tokio::test]
async fn a_window_asked_for_twice_gets_the_same_votes_even_without_a_seed() {
    let (server, _, digest, agent) = with_model().await;
    let first = report(&server, request(1, &digest, &[])).await;
    for _ in 0..8 {
        // another example would be drawn with probability 11/12 each time
        assert_eq!(report(&server, request(1, &digest, &[])).await, first);
    }
    assert_eq!(agent.tally().count("summary.voted"), 1);
}

#[tokio::test]
async fn a_busy_machine_does_not_make_seeded_votes_late() {
    let (server, model, digest, agent) = with_model().await;
    let mut short = request(1, &digest, &SEED);
    short.deadline_ms = 1; // over before the model is fetched
    let report = report(&server, short).await;
    let bins: Vec<u32> = report.votes.iter().map(|vote| vote.ballot - 1).collect();
    assert_eq!(bins, expected(&model, 1));
    assert_eq!(agent.tally().count("summary.late"), 0);
}

#[tokio::test]
async fn a_request_with_foreign_bins_is_declined_by_name_and_counted() {
    let (server, _, digest, agent) = with_model().await;
    let mut foreign = request(1, &digest, &SEED);
    foreign.quantities[1].edges[0] = 0.3;
    server
        .world
        .order("d-1", Order::SummaryRequest(foreign))
        .await;
    let Event::SummaryDeclined(declined) = server.world.event("d-1").await else {
        panic!("expected a refusal");
    };
    assert_eq!(
        (declined.window, declined.reason.as_str()),
        (1, "configuration")
    );
    assert!(declined.detail.contains("confidence"), "{declined:?}");
    assert_eq!(report(&server, request(2, &digest, &SEED)).await.window, 2);
    assert_eq!(agent.tally().count("summary.wrong_identity"), 1);
}
