//! Builds over real gRPC: what passes every check is switched to, and nothing else is.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

mod fake;

use fake::FakeServer;
use fake::setting::{Running, hardware, identity, model, start_with};
use tributary_device::{FileSlots, MemorySlots, SessionMode, SlotStore};
use tributary_model::{Digest, ModelFile, observe_ranges, quantise};
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{BuildOffer, InstallOutcome};

const FEATURES: usize = 6;

fn build(model: &ModelFile) -> Vec<u8> {
    let graph = model.spec.graph().unwrap();
    let inputs = fake::setting::examples(FEATURES, 12).inputs;
    let ranges = observe_ranges(&graph, &model.weights, &inputs).unwrap();
    quantise(&graph, &model.weights, &ranges)
        .unwrap()
        .to_bytes()
}

async fn outcome(server: &FakeServer, offer: BuildOffer) -> (InstallOutcome, String) {
    server.world.order("d-1", Order::BuildOffer(offer)).await;
    match server.world.event("d-1").await {
        Event::InstallReport(report) => (report.outcome(), report.message),
        other => panic!("expected an install report, got {other:?}"),
    }
}

fn active(agent: &Running) -> Option<Digest> {
    agent.view.active_build().map(|active| active.build.digest)
}

fn start(server: &FakeServer, slots: Box<dyn SlotStore>) -> Running {
    start_with(server, "d-1", FEATURES, SessionMode::Stream, slots)
}

/// A device that runs a first build.
async fn with_build() -> (FakeServer, Running, Digest) {
    let server = FakeServer::start().await;
    let bytes = build(&model(FEATURES, 8));
    server.world.put(bytes.clone());
    let agent = start(&server, Box::new(MemorySlots::default()));
    let (installed, message) = outcome(&server, server.world.offer(&bytes, 64)).await;
    assert_eq!(
        (installed, message.as_str()),
        (InstallOutcome::Installed, "")
    );
    let digest = Digest::of(&bytes);
    assert_eq!(active(&agent), Some(digest));
    (server, agent, digest)
}

#[tokio::test]
async fn a_better_build_is_switched_to_and_can_be_reverted() {
    let (server, agent, first) = with_build().await;
    let second = build(&model(FEATURES, 12));
    server.world.put(second.clone());
    let (installed, _) = outcome(&server, server.world.offer(&second, 64)).await;
    assert_eq!(installed, InstallOutcome::Installed);
    assert_eq!(active(&agent), Some(Digest::of(&second)));
    agent.view.revert().unwrap();
    assert_eq!(active(&agent), Some(first));
    assert_eq!(agent.tally().shapes.get("-i"), Some(&2));
}

#[tokio::test]
async fn every_failed_check_leaves_the_old_build_running() {
    let (server, agent, first) = with_build().await;
    let bytes = build(&model(FEATURES, 12));
    server.world.put(bytes.clone());
    let good = server.world.offer(&bytes, 64);
    let flipped: bytes::Bytes = good
        .signature
        .iter()
        .enumerate()
        .map(|(i, b)| b ^ u8::from(i == 7))
        .collect();
    // valid in every respect but one: signed bytes that are no build, and one with a broken test
    let noise = vec![7; 500];
    server.world.put(noise.clone());
    let missing = server.world.offer(b"never stored", 64);
    let (slot, ram) = (hardware().flash_slot_bytes, hardware().ram_bytes);
    let cases = [
        (
            BuildOffer {
                signature: flipped,
                ..good.clone()
            },
            InstallOutcome::BadSignature,
        ),
        (
            BuildOffer {
                signature: Default::default(),
                ..good.clone()
            },
            InstallOutcome::BadSignature,
        ),
        (
            BuildOffer {
                build_digest: "zz".to_owned(),
                ..good.clone()
            },
            InstallOutcome::BadDigest,
        ),
        (
            BuildOffer {
                size: slot + 1,
                ..good.clone()
            },
            InstallOutcome::DoesNotFit,
        ),
        (
            BuildOffer {
                arena_bytes: ram + 1,
                ..good.clone()
            },
            InstallOutcome::DoesNotFit,
        ),
        (
            BuildOffer {
                format: "onnx".to_owned(),
                ..good.clone()
            },
            InstallOutcome::DoesNotFit,
        ),
        (
            server.world.offer(&noise, 64),
            InstallOutcome::SelfTestFailed,
        ),
        (missing, InstallOutcome::DownloadFailed),
    ];
    for (offer, expected) in cases {
        let (refused, message) = outcome(&server, offer).await;
        assert_eq!(refused, expected, "{message}");
        assert!(!message.is_empty());
        assert_eq!(active(&agent), Some(first), "{expected:?}");
    }
    server.world.with(|memory| memory.damage_downloads = true);
    let (refused, _) = outcome(&server, good.clone()).await;
    assert_eq!(
        (refused, active(&agent)),
        (InstallOutcome::BadDigest, Some(first))
    );
    server.world.with(|memory| memory.damage_downloads = false);
    assert_eq!(outcome(&server, good).await.0, InstallOutcome::Installed);
}

#[tokio::test]
async fn a_build_larger_than_its_offer_says_is_refused_before_the_switch() {
    let (server, agent, first) = with_build().await;
    // the offer claims little RAM; the decoded build needs 60,000 bytes of activations and more
    let large = build(&model(FEATURES, 20_000));
    server.world.put(large.clone());
    let offer = BuildOffer {
        size: 100,
        ..server.world.offer(&large, 64)
    };
    let (refused, message) = outcome(&server, offer).await;
    assert_eq!(refused, InstallOutcome::DoesNotFit, "{message}");
    assert_eq!(active(&agent), Some(first));
}

#[tokio::test]
async fn a_build_whose_stored_outputs_differ_fails_its_self_test() {
    let (server, agent, first) = with_build().await;
    let mut bytes = build(&model(FEATURES, 12));
    // the last bytes are the self-test's outputs and the checksum over everything before it
    let end = bytes.len() - 4;
    bytes[end - 1] ^= 1;
    let repaired = crc32(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&repaired);
    server.world.put(bytes.clone());
    let (refused, message) = outcome(&server, server.world.offer(&bytes, 64)).await;
    assert_eq!(refused, InstallOutcome::SelfTestFailed, "{message}");
    assert!(
        message.contains("self-test"),
        "the checksum was meant to pass: {message}"
    );
    assert_eq!(active(&agent), Some(first));
}

/// CRC-32 (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[tokio::test]
async fn a_restarted_device_says_which_model_it_runs() {
    let server = FakeServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let slots = || Box::new(FileSlots::open(folder.path()).unwrap());
    let bytes = build(&model(FEATURES, 8));
    server.world.put(bytes.clone());
    let agent = start(&server, slots());
    let offer = server.world.offer(&bytes, 64);
    assert_eq!(
        outcome(&server, offer.clone()).await.0,
        InstallOutcome::Installed
    );
    agent.stop().await.unwrap();
    let agent = start(&server, slots());
    assert_eq!(active(&agent), Some(Digest::of(&bytes)));
    let hellos = |memory: &fake::Memory| (memory.hellos.len() == 2).then(|| memory.hellos.clone());
    let hellos = server.world.wait("the second hello", hellos).await;
    let digests: Vec<&str> = hellos
        .iter()
        .map(|hello| hello.model_digest.as_str())
        .collect();
    assert_eq!(digests, ["", offer.model_digest.as_str()]);
    assert_eq!(agent.view.identity(), &identity("d-1"));
}

#[tokio::test]
async fn a_download_of_a_build_that_never_ends_does_not_keep_the_device_from_training() {
    let (server, agent, first) = with_build().await;
    let bytes = build(&model(FEATURES, 12));
    let digest = server.world.put(bytes.clone());
    server
        .world
        .with(|memory| memory.stall_downloads.insert(digest.clone()));
    let offer = Order::BuildOffer(server.world.offer(&bytes, 64));
    server.world.order("d-1", offer).await;
    server
        .world
        .wait("the download of the build", |memory| {
            let asked = memory.downloads.iter().any(|(asked, _)| *asked == digest);
            asked.then_some(())
        })
        .await;
    let trained = model(FEATURES, 8);
    let plan = fake::setting::plan(&trained);
    let version = server.world.put(trained.to_bytes().unwrap());
    server
        .world
        .with(|memory| memory.runs.insert("run-1".to_owned(), plan.clone()));
    let order = fake::world::assignment("run-1", 1, &plan, &version);
    server.world.order("d-1", order).await;
    server.world.counted("run-1", 1, "d-1").await;
    assert_eq!(active(&agent), Some(first), "the old build runs meanwhile");
}
