//! Raw data never leaves a device: votes and one clipped update per round do.

use tributary_device_sim::{Shard, SimDevice};

use crate::harness::operator::of;
use crate::harness::recipe::PARAMETERS;
use crate::harness::tap::tap;
use crate::harness::{Coordinator, GLANCE, PATIENCE, Recipe, fleet};

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_7_only_votes_and_one_update_per_round_leave_a_device() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let address = coordinator
        .endpoint()
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let (endpoint, sent) = tap(address).await;
    // 2,000 examples are 32 kB of raw data
    let examples = 2_000_usize;
    let inputs: Vec<f32> = (0..examples * 4)
        .map(|index| (index as f32 * 0.618_034).fract() - 0.5)
        .collect();
    let labels: Vec<u32> = (0..examples as u32).map(|index| index % 2).collect();
    let device = SimDevice {
        data: Shard::new(inputs.clone(), labels),
        shifted: None,
        ..fleet::device("eu", 0)
    };
    let running = fleet::start(&endpoint, 1, vec![device]);
    running.wait_connected(1).await;
    let recipe = Recipe::private()
        .set("regions", vec!["eu"])
        .rounds(2, 1)
        .set("training.epochs", 1)
        .set("training.batch_size", 500)
        .set("drift.interval_ms", 1)
        .set("drift.windows", 3)
        .set("drift.noise_votes", 2.0)
        .set("drift.minimum_devices", 1)
        .set("drift.max_invisible_psi", 1e6)
        .set("drift.quantities", quantities());
    let run = operator.start(&recipe).await;
    operator.completed(&run).await;
    let begun = std::time::Instant::now();
    let windows = loop {
        let windows = operator
            .monitor(&run)
            .await
            .map_or(Vec::new(), |monitor| monitor.windows);
        if windows.len() == 3 {
            break windows;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for windows");
        tokio::time::sleep(GLANCE).await;
    };
    assert!(
        windows
            .iter()
            .all(|window| window.devices == 1 && window.rho > 0.0),
        "{windows:?}"
    );
    let stats = running.shutdown().await.tally;
    assert_eq!(
        stats.bytes_up,
        2 * 4 * PARAMETERS as u64,
        "one update per round"
    );

    let sent = sent.lock().unwrap().clone();
    assert!(
        contains(&sent, b"eu-000"),
        "the tap saw nothing of the device"
    );
    assert!(contains(&sent, b"prediction@"), "the tap saw no vote");
    let raw_bytes = inputs.len() * 4;
    assert!(sent.len() < raw_bytes / 2, "{} bytes were sent", sent.len());
    for pair in inputs.chunks_exact(2).step_by(7) {
        let pattern = [pair[0].to_le_bytes(), pair[1].to_le_bytes()].concat();
        assert!(!contains(&sent, &pattern), "raw values {pair:?} were sent");
    }
    assert_eq!(of(&operator.show(&run).await).contributions_total, 2);
}

/// What is monitored here and in the drift loop: the class, and where the second feature lies.
pub fn quantities() -> Vec<toml::Value> {
    let quantity = |source: &str, edges: Vec<f64>| {
        let mut table = toml::Table::new();
        table.insert("source".to_owned(), source.into());
        if !edges.is_empty() {
            table.insert("edges".to_owned(), edges.into());
        }
        toml::Value::Table(table)
    };
    vec![
        quantity("prediction", Vec::new()),
        quantity("feature:1", vec![1.0]),
    ]
}
