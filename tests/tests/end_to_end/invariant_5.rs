//! Nothing un-noised leaves the coordinator when privacy is on.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tonic::Code;
use tributary_aggregator::Partial;
use tributary_model::{Digest, ModelFile};

use crate::harness::coordinator::files_below;
use crate::harness::hand::{encoded, hands, update};
use crate::harness::operator::of;
use crate::harness::recipe::PARAMETERS;
use crate::harness::{Coordinator, GLANCE, Recipe, within};
use crate::invariant_1::expected;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_nothing_unnoised_can_be_downloaded_or_seen() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let run = operator.start(&Recipe::private().rounds(2, 3)).await;
    let order = devices[0].1.assignment().await;
    let base = operator.file(&order.model_digest).await;
    let mut segments = Vec::new();
    for number in [0, 1] {
        let hand = devices[number].0.clone();
        segments.push(
            hand.counted(&order, &update(number as u64))
                .await
                .segment_id,
        );
    }
    // exact partial sums are on disk now, and by their digests they can't be had
    let vault = files_below(&coordinator.data().join("vault"));
    let (mut secret, mut sums) = (Vec::new(), Vec::new());
    for (_, bytes) in &vault {
        secret.push(Digest::of(bytes).to_string());
        // a sum's blob ends with 32 random bytes and the name of its run
        let sum = bytes.strip_suffix(run.as_bytes()).unwrap_or(bytes);
        let sum = sum.split_last_chunk::<32>().map_or(sum, |(sum, _)| sum);
        if Partial::from_bytes(sum).is_ok() {
            sums.push(Digest::of(bytes).to_string());
        }
    }
    assert!(!sums.is_empty(), "nothing was sealed, so nothing is tested");
    for digest in secret.iter().chain(&segments) {
        let refused = operator.download(digest, 0).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
        assert_eq!(
            operator.try_model(digest).await.unwrap_err().code(),
            Code::NotFound
        );
    }
    for segment in &segments {
        assert!(
            !secret.contains(segment),
            "a receipt names the digest of a sum"
        );
    }
    // what can be had are models, and only models
    for (path, bytes) in files_below(&coordinator.data().join("blobs")) {
        assert!(
            ModelFile::from_bytes(&bytes).is_ok(),
            "{} is no model",
            path.display()
        );
    }
    // a checkpoint of the open round is a shown run: counts, no sums
    let open = operator.show(&run).await;
    assert_eq!(open.rounds.last().unwrap().model_digest, "");

    let hand = devices[2].0.clone();
    hand.counted(&devices[2].1.assignment().await, &update(2))
        .await;
    let published = operator
        .until(&run, "the release", |shown| of(shown).round == 2)
        .await;
    let released = operator.file(&of(&published).model_digest).await;
    let exact = expected(&base, &[update(0), update(1), update(2)]);
    let same = released
        .weights
        .iter()
        .zip(&exact)
        .filter(|(a, b)| a == b)
        .count();
    // noise of standard deviation 0.17 leaves a 24-bit float as it was about once in 10^7
    assert_eq!(same, 0, "weights were released without noise");
    // they are deleted once the next round is on the disk
    let vault = coordinator.data().join("vault");
    let gone = async {
        loop {
            let left = files_below(&vault).into_iter();
            let left: Vec<String> = left
                .map(|(_, bytes)| Digest::of(&bytes).to_string())
                .collect();
            if sums.iter().all(|digest| !left.contains(digest)) {
                return;
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    within("the end of the sums of a round that is over", gone).await;
}

/// A log that is kept.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_5_logs_and_metrics_name_no_device_and_no_norm() {
    let log = Kept::default();
    let writer = log.clone();
    let filter = "tributary_coordinator=trace,tributary_device=trace,tributary_aggregator=trace,\
                  tributary_privacy=trace";
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(move || writer.clone());
    subscriber.try_init().unwrap();
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    let hand = crate::harness::Hand::enrol(&channel, "unmistakable-device", "eu").await;
    let other = crate::harness::Hand::enrol(&channel, "another-device", "eu").await;
    let mut session = hand.connect().await;
    let mut other_session = other.connect().await;
    let run = operator.start(&Recipe::private().rounds(1, 2)).await;
    let order = session.assignment().await;
    other_session.assignment().await;
    // a norm of 0.4242 x sqrt(44) x 1000 = 2813.8
    let huge = encoded(&[424.2; PARAMETERS]);
    hand.counted(&order, &huge).await;
    let hidden = update(0);
    other.counted(&order, &hidden).await;
    operator.completed(&run).await;

    // that it is over is logged once it is on disk
    let kept = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for _ in 0..300 {
        if kept().contains("run is over") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let text = kept();
    assert!(text.contains("run is over"), "the log was not kept: {text}");
    let metrics = coordinator.metrics().await;
    assert!(!metrics.contains("tributary_rejects_total{"), "{metrics}");
    assert!(
        metrics.contains("tributary_contributions_total 2"),
        "{metrics}"
    );
    // what was found inside the update is in no line of the most talkative log
    for word in ["norm", "clip", "finite", "zero"] {
        assert!(!text.contains(word), "{word} is in the log: {text}");
    }
    let token = hex::encode(&hand.token);
    for shown in [&text, &metrics] {
        for word in ["unmistakable-device", "2813", "424.2", token.as_str()] {
            assert!(!shown.contains(word), "{word} is shown in: {shown}");
        }
    }
    let body = metrics.split("\r\n\r\n").nth(1).unwrap();
    for line in body.lines().filter(|line| line.starts_with("tributary_")) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(
            value.parse::<u64>().is_ok(),
            "metrics are counts of public events: {line}"
        );
    }
}
