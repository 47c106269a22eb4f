//! A device always keeps one working model.

#[path = "../../../device/tests/fake/mod.rs"]
mod fake;

use fake::FakeServer;
use fake::setting::{Running, hardware, model, start_with};
use tributary_device::{FileSlots, SessionMode};
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

async fn offered(server: &FakeServer, offer: BuildOffer) -> InstallOutcome {
    server.world.order("d-1", Order::BuildOffer(offer)).await;
    match server.world.event("d-1").await {
        Event::InstallReport(report) => report.outcome(),
        other => panic!("expected an install report, got {other:?}"),
    }
}

fn works_with(agent: &Running, digest: Digest) {
    let active = agent.view.active_build().expect("the device has a model");
    assert_eq!(active.build.digest, digest);
    active
        .build
        .model
        .verify_self_test(&mut Default::default())
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_8_a_device_keeps_a_working_model() {
    let server = FakeServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let slots = || Box::new(FileSlots::open(folder.path()).unwrap());
    let first = build(&model(FEATURES, 8));
    server.world.put(first.clone());
    let agent = start_with(&server, "d-1", FEATURES, SessionMode::Stream, slots());
    let good = server.world.offer(&first, 64);
    assert_eq!(offered(&server, good).await, InstallOutcome::Installed);
    let working = Digest::of(&first);

    let second = build(&model(FEATURES, 12));
    server.world.put(second.clone());
    let fine = server.world.offer(&second, 64);
    // signature
    let unsigned = BuildOffer {
        signature: vec![0; 64].into(),
        ..fine.clone()
    };
    assert_eq!(
        offered(&server, unsigned).await,
        InstallOutcome::BadSignature
    );
    works_with(&agent, working);
    // digest: the bytes are damaged on their way
    server.world.with(|memory| memory.damage_downloads = true);
    assert_eq!(
        offered(&server, fine.clone()).await,
        InstallOutcome::BadDigest
    );
    server.world.with(|memory| memory.damage_downloads = false);
    works_with(&agent, working);
    // fit
    let large = BuildOffer {
        size: hardware().flash_slot_bytes + 1,
        ..fine.clone()
    };
    assert_eq!(offered(&server, large).await, InstallOutcome::DoesNotFit);
    works_with(&agent, working);
    // self-test: bytes that are signed and whole, and no build
    let noise = vec![7; 400];
    server.world.put(noise.clone());
    let broken = server.world.offer(&noise, 64);
    assert_eq!(
        offered(&server, broken).await,
        InstallOutcome::SelfTestFailed
    );
    works_with(&agent, working);
    // what passes everything is taken
    assert_eq!(offered(&server, fine).await, InstallOutcome::Installed);
    works_with(&agent, Digest::of(&second));
    agent.stop().await.unwrap();

    // the slot rots while the device is off: it reverts by itself to the build before
    let mut damaged = 0;
    for (path, bytes) in crate::harness::coordinator::files_below(folder.path()) {
        if bytes == second {
            let mut rotten = bytes;
            let middle = rotten.len() / 2;
            rotten[middle] ^= 0xff;
            std::fs::write(&path, rotten).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1, "the build was not found in its slot");
    let agent = start_with(&server, "d-1", FEATURES, SessionMode::Stream, slots());
    works_with(&agent, working);
}
