//! Open partials, sealing and recovery of sums.

use proptest::prelude::*;
use tributary_aggregator::{Codec, FixedPoint};

use super::*;
use crate::fixtures::{core, device};

const DIMENSION: usize = 3;

fn contribution(value: f32) -> Contribution {
    let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
    fixed
        .contribution(Codec::F32, &Codec::F32.encode(&[value; DIMENSION]))
        .unwrap()
}

type Receipt = oneshot::Receiver<Result<Counted, Reject>>;

fn add(collection: &mut Collection, region: usize, number: usize, value: f32) -> Receipt {
    let (receipt, answer) = oneshot::channel();
    let added = collection.add(region, device(number), &contribution(value), 12, receipt);
    assert!(added.is_ok());
    answer
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

/// Writes and records what is open; the segments.
async fn seal(collection: &mut Collection, core: &Core) -> Vec<Segment> {
    let sealings = collection.write(core, &run("run-1")).await.unwrap();
    let record = |sealing: Sealing| {
        collection
            .sealed(sealing.segment.region, &sealing.partial)
            .unwrap();
        sealing.segment
    };
    sealings.into_iter().map(record).collect()
}

#[tokio::test]
async fn a_repeated_upload_waits_for_the_receipt_of_the_first_and_is_not_added() {
    let core = core().await;
    let mut collection = Collection::new(1, DIMENSION);
    let mut first = add(&mut collection, 0, 1, 0.1);
    let (receipt, mut second) = oneshot::channel();
    assert!(collection.join(&device(1), receipt).is_ok());
    let (receipt, _stranger) = oneshot::channel();
    assert!(collection.join(&device(2), receipt).is_err());
    assert_eq!(
        (collection.pending(), collection.is_pending(&device(1))),
        (1, true)
    );
    let sealings = collection.write(&core, &run("run-1")).await.unwrap();
    assert_eq!(sealings.len(), 1);
    assert_eq!(sealings[0].segment.contributors, [device(1)]);
    assert_eq!(sealings[0].partial.count(), 1);
    assert!(
        first.try_recv().is_err(),
        "no receipt before the record is durable"
    );
    for sealing in sealings {
        for receipt in sealing.receipts {
            receipt
                .send(Ok(Counted {
                    segment_id: "s".to_owned(),
                }))
                .unwrap();
        }
    }
    assert_eq!(first.try_recv().unwrap(), second.try_recv().unwrap());
    assert!(!collection.is_pending(&device(1)));
}

#[tokio::test]
async fn a_contribution_of_another_length_changes_nothing() {
    let mut collection = Collection::new(1, DIMENSION + 1);
    let (receipt, _answer) = oneshot::channel();
    assert!(
        collection
            .add(0, device(1), &contribution(0.1), 12, receipt)
            .is_err()
    );
    assert_eq!(collection.pending(), 0);
    assert!(!collection.is_pending(&device(1)));
}

#[tokio::test]
async fn segments_are_kept_by_region_and_empty_regions_write_nothing() {
    let core = core().await;
    let mut collection = Collection::new(3, DIMENSION);
    let _first = add(&mut collection, 2, 1, 0.1);
    let _second = add(&mut collection, 2, 2, 0.1);
    let segments = seal(&mut collection, &core).await;
    assert_eq!(segments.len(), 1);
    assert_eq!((segments[0].region, segments[0].bytes_up), (2, 24));
    assert!(seal(&mut collection, &core).await.is_empty());
    assert_eq!(collection.total().unwrap().count(), 2);
}

#[tokio::test]
async fn invariant_2_what_was_recorded_is_recovered_and_what_was_not_is_gone() {
    let core = core().await;
    let mut collection = Collection::new(2, DIMENSION);
    let _first = add(&mut collection, 0, 1, 0.1);
    let mut segments = seal(&mut collection, &core).await;
    let _second = add(&mut collection, 1, 2, 0.2);
    segments.extend(seal(&mut collection, &core).await);
    let _unsealed = add(&mut collection, 1, 3, 0.3);
    let recovered = Collection::recover(&core, &run("run-1"), 2, DIMENSION, &segments)
        .await
        .unwrap();
    assert_eq!(recovered.total().unwrap(), collection.total().unwrap());
    assert_eq!(recovered.total().unwrap().count(), 2);
    assert_eq!(recovered.pending(), 0);
    core.vault.delete(&segments[0].digest).await.unwrap();
    let lost = Collection::recover(&core, &run("run-1"), 2, DIMENSION, &segments).await;
    assert!(lost.is_err(), "a lost sum is an error, never a smaller sum");
}

#[tokio::test]
async fn two_runs_with_equal_sums_do_not_share_a_blob() {
    let core = core().await;
    let mut digests = Vec::new();
    for name in ["run-1", "run-2"] {
        let mut collection = Collection::new(1, DIMENSION);
        let _receipt = add(&mut collection, 0, 1, 0.1);
        let sealings = collection.write(&core, &run(name)).await.unwrap();
        digests.push(sealings[0].segment.digest);
    }
    core.vault.delete(&digests[0]).await.unwrap();
    let bytes = core.vault.get(&digests[1]).await.unwrap();
    Partial::from_bytes(without_owner(&run("run-2"), &bytes)).unwrap();
    assert!(Partial::from_bytes(without_owner(&run("run-3"), &bytes)).is_err());
}

#[tokio::test]
async fn a_full_record_asks_to_be_sealed() {
    let mut collection = Collection::new(2, DIMENSION);
    for number in 0..DEVICES_PER_EVENT {
        assert!(!collection.is_full());
        drop(add(&mut collection, 1, number, 0.01));
    }
    assert!(collection.is_full());
}

#[test]
fn a_receipt_names_its_segment_only_to_who_holds_the_key() {
    let digest = Digest::of(b"sum");
    assert_eq!(segment_id(&[1; 32], &digest), segment_id(&[1; 32], &digest));
    assert_ne!(segment_id(&[1; 32], &digest), segment_id(&[2; 32], &digest));
    assert!(!segment_id(&[1; 32], &digest).contains(&digest.to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn invariant_4_any_order_split_and_restart_gives_the_same_sum(
        values in prop::collection::vec((0usize..3, -0.5f32..0.5), 1..20),
        cuts in prop::collection::vec(any::<bool>(), 20),
        order in Just((0usize..20).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        prop_assume!(values.iter().all(|(_, value)| value.abs() > 1e-3));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let core = core().await;
            let mut expected = Partial::new(DIMENSION);
            for (_, value) in &values {
                expected.add(&contribution(*value)).unwrap();
            }
            let mut collection = Collection::new(3, DIMENSION);
            let mut segments = Vec::new();
            for index in order.into_iter().filter(|&index| index < values.len()) {
                let (region, value) = values[index];
                drop(add(&mut collection, region, index, value));
                if cuts[index] {
                    segments.extend(seal(&mut collection, &core).await);
                    let id = run("run-1");
                    let again = Collection::recover(&core, &id, 3, DIMENSION, &segments).await;
                    collection = again.unwrap();
                }
            }
            seal(&mut collection, &core).await;
            assert_eq!(collection.total().unwrap(), expected);
        });
    }
}
