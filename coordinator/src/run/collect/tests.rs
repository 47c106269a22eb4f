//! Open partials, sealing and recovery of sums.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use tributary_aggregator::{Codec, FixedPoint, RobustSpec};
use tributary_model::ModelSpec;

use super::super::payload::{PayloadLayout, UNIT};
use std::num::NonZeroUsize;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::failpoint::NoFailpoint;
use crate::fixtures::{core, device, plain_spec};
use crate::run::receipt::{Counted, Refusal};

/// One input, two classes.
const DIMENSION: usize = 4;

fn adding(threads: usize) -> Adding {
    Adding {
        run: run("run-1"),
        threads: NonZeroUsize::new(threads).unwrap(),
        failpoint: Arc::new(NoFailpoint),
    }
}

fn format(robust: Option<RobustSpec>) -> Arc<Format> {
    let graph = ModelSpec::perceptron("tiny", 1, &[], 2).graph().unwrap();
    Arc::new(Format {
        codec: Codec::F32,
        fixed: FixedPoint::new(1.0, DIMENSION).unwrap(),
        payload: PayloadLayout::new(&plain_spec().training, &graph),
        robust,
        staleness_cap: 0,
        is_private: false,
    })
}

fn collection(regions: usize) -> RoundSums {
    RoundSums::new(format(None), regions)
}

async fn recover(
    core: &Core,
    regions: usize,
    segments: &[Segment],
) -> Result<RoundSums, CoordinatorError> {
    RoundSums::recover(core, &run("run-1"), format(None), regions, segments).await
}

fn bytes(value: f32) -> Bytes {
    let mut noise = ChaCha20Rng::from_seed([1; 32]);
    Codec::F32.encode(&[value; DIMENSION], &mut noise).into()
}

type Receipt = oneshot::Receiver<Result<Counted, Refusal>>;

fn arrival(region: usize, number: usize, bytes: Bytes) -> (AdmittedUpdate, Receipt) {
    let digest = Digest::of(&bytes);
    let (receipt, answer) = oneshot::channel();
    let arrival = AdmittedUpdate {
        device: device(number),
        region,
        cluster: 0,
        bytes,
        weight: UNIT,
        work: 0,
        share: 1.0,
        permit: None,
        receipt: ReceiptSender::new(digest, receipt),
    };
    (arrival, answer)
}

async fn add(collection: &mut RoundSums, region: usize, number: usize, value: f32) -> Receipt {
    let (arrival, answer) = arrival(region, number, bytes(value));
    collection.add(vec![arrival], &adding(1)).await.unwrap();
    answer
}

/// The sum of all regions.
fn total(collection: &RoundSums) -> Partial {
    let mut total = Partial::new(DIMENSION);
    let Sealed::Sums(sums) = &*collection.total() else {
        panic!("a round of sums")
    };
    for sum in sums {
        total.merge(sum).unwrap();
    }
    total
}

fn run(name: &str) -> RunId {
    name.parse().unwrap()
}

/// Writes and records what is open; the segments.
async fn seal(collection: &mut RoundSums, core: &Core) -> Vec<Segment> {
    let sealings = collection.write(core, &run("run-1")).await.unwrap();
    let record = |sealing: Sealing| {
        collection.sealed(&sealing).unwrap();
        sealing.segment
    };
    sealings.into_iter().map(record).collect()
}

#[tokio::test]
async fn other_uploads_of_a_device_wait_for_the_first_and_only_its_bytes_get_a_receipt() {
    let core = core().await;
    let mut collection = self::collection(1);
    let mut first = add(&mut collection, 0, 1, 0.1).await;
    let counted = Digest::of(&bytes(0.1));
    let (receipt, mut second) = oneshot::channel();
    let same = ReceiptSender::new(counted, receipt);
    assert!(collection.join(&device(1), same).is_ok());
    let (receipt, mut third) = oneshot::channel();
    let other = ReceiptSender::new(Digest::of(&bytes(0.2)), receipt);
    assert!(collection.join(&device(1), other).is_ok());
    let (receipt, _stranger) = oneshot::channel();
    let stranger = ReceiptSender::new(counted, receipt);
    assert!(collection.join(&device(2), stranger).is_err());
    assert_eq!(
        (collection.pending(), collection.is_pending(&device(1))),
        (1, true)
    );
    let sealings = collection.write(&core, &run("run-1")).await.unwrap();
    assert_eq!(sealings.len(), 1);
    assert_eq!(sealings[0].segment.contributors, [device(1)]);
    assert_eq!(sealings[0].digests, [counted]);
    assert!(matches!(&sealings[0].content, Content::Sum(sum) if sum.count() == 1));
    assert!(
        first.try_recv().is_err(),
        "no receipt before the record is durable"
    );
    let told = Counted {
        segment_id: "s".to_owned(),
        digest: counted,
        ticket: Default::default(),
    };
    for sealing in sealings {
        for waiting in sealing.receipts.into_iter().flatten() {
            waiting.counted(told.clone());
        }
    }
    assert_eq!(first.try_recv().unwrap(), Ok(told.clone()));
    assert_eq!(second.try_recv().unwrap(), Ok(told.clone()));
    let refused = third.try_recv().unwrap().unwrap_err();
    assert_eq!(refused, Refusal::Counted(Box::new(told)));
    assert!(!collection.is_pending(&device(1)));
}

#[tokio::test]
async fn what_was_written_but_not_recorded_is_sealed_with_what_came_meanwhile() {
    let core = core().await;
    let mut collection = self::collection(2);
    let mut first = add(&mut collection, 0, 1, 0.1).await;
    let mut second = add(&mut collection, 1, 2, 0.2).await;
    let sealings = collection.write(&core, &run("run-1")).await.unwrap();
    collection.put_back(sealings).unwrap();
    assert!(collection.is_pending(&device(1)) && collection.is_pending(&device(2)));
    let (receipt, mut again) = oneshot::channel();
    let same = ReceiptSender::new(Digest::of(&bytes(0.2)), receipt);
    assert!(collection.join(&device(2), same).is_ok());
    let mut third = add(&mut collection, 0, 3, 0.3).await;
    assert_eq!(collection.pending(), 3);

    let mut expected = self::collection(2);
    for (region, number, value) in [(0, 1, 0.1), (1, 2, 0.2), (0, 3, 0.3)] {
        drop(add(&mut expected, region, number, value).await);
    }
    seal(&mut expected, &core).await;
    let sealings = collection.write(&core, &run("run-1")).await.unwrap();
    let contributors: Vec<_> = sealings
        .iter()
        .map(|sealing| sealing.segment.contributors.clone())
        .collect();
    assert_eq!(contributors, [vec![device(1), device(3)], vec![device(2)]]);
    for sealing in sealings {
        collection.sealed(&sealing).unwrap();
        for (digest, waiting) in sealing.digests.into_iter().zip(sealing.receipts) {
            for waiting in waiting {
                waiting.counted(Counted {
                    segment_id: "s".to_owned(),
                    digest,
                    ticket: Default::default(),
                });
            }
        }
    }
    assert_eq!(total(&collection).to_bytes(), total(&expected).to_bytes());
    for receipt in [&mut first, &mut second, &mut again, &mut third] {
        assert!(receipt.try_recv().is_ok_and(|counted| counted.is_ok()));
    }
    assert_eq!(collection.pending(), 0);
}

#[tokio::test]
async fn one_bad_update_among_several_is_told_so_and_changes_nothing() {
    let mut collection = self::collection(1);
    let (good, mut first) = arrival(0, 1, bytes(0.1));
    let (short, mut second) = arrival(0, 2, bytes(0.1).slice(1..));
    let (huge, mut third) = arrival(0, 3, bytes(9.0));
    let (last, mut fourth) = arrival(0, 4, bytes(0.2));
    collection
        .add(vec![good, short, huge, last], &adding(1))
        .await
        .unwrap();
    assert_eq!(collection.pending(), 2);
    assert!(first.try_recv().is_err() && fourth.try_recv().is_err());
    for refused in [&mut second, &mut third] {
        assert!(matches!(refused.try_recv(), Ok(Err(Refusal::Update(_)))));
    }
    let core = core().await;
    seal(&mut collection, &core).await;
    let mut expected = self::collection(1);
    let _one = add(&mut expected, 0, 1, 0.1).await;
    let _two = add(&mut expected, 0, 4, 0.2).await;
    seal(&mut expected, &core).await;
    assert_eq!(total(&collection), total(&expected));
}

#[tokio::test]
async fn large_updates_sum_to_the_same_bits_on_any_number_of_threads() {
    const LARGE: usize = 100_000;
    let format = || {
        Arc::new(Format {
            fixed: FixedPoint::new(1.0, LARGE).unwrap(),
            ..(*self::format(None)).clone()
        })
    };
    let update = |number: usize| {
        let values = (0..LARGE).map(|index| (index * number % 97) as f32 * 1e-5);
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        Bytes::from(bytes)
    };
    let mut sums = Vec::new();
    for threads in [1, 3] {
        let mut collection = RoundSums::new(format(), 1);
        // nine, so that one is summed alone, and one of them with a value that is refused
        let mut bad = update(5).to_vec();
        bad[399_996..].copy_from_slice(&f32::NAN.to_le_bytes());
        let updates = (1..9).map(update).chain([bad.into()]);
        let (arrivals, receipts): (Vec<_>, Vec<_>) = updates
            .zip(1..)
            .map(|(bytes, number)| arrival(0, number, bytes))
            .unzip();
        let refused = collection.add(arrivals, &adding(threads)).await.unwrap();
        assert_eq!(refused, [device(9)]);
        assert_eq!(collection.pending(), 8);
        drop(receipts);
        let core = core().await;
        seal(&mut collection, &core).await;
        let Sealed::Sums(sealed) = &*collection.total() else {
            panic!("a round of sums")
        };
        sums.push(sealed[0].clone());
    }
    assert_eq!(sums[0].count(), 8);
    assert_eq!(sums[0], sums[1]);
}

#[tokio::test]
async fn a_robust_round_keeps_each_update_under_its_devices_name() {
    let core = core().await;
    let format = format(Some(RobustSpec::against(0)));
    let mut collection = RoundSums::new(format.clone(), 2);
    // two devices that send the same bytes, in two regions
    for (region, number) in [(0, 2), (1, 1)] {
        let _receipt = add(&mut collection, region, number, 0.25).await;
    }
    let segments = seal(&mut collection, &core).await;
    assert_eq!(segments.len(), 2);
    assert_ne!(segments[0].digest, segments[1].digest);
    let id = run("run-1");
    let recovered = RoundSums::recover(&core, &id, format, 2, &segments).await;
    for collection in [collection, recovered.unwrap()] {
        let Sealed::Updates(updates) = &*collection.total() else {
            panic!("a round of updates")
        };
        let read = read_updates(&core, &id, &self::format(None), updates).await;
        let values = vec![0.25; DIMENSION];
        assert_eq!(
            read.unwrap(),
            [(device(1), values.clone()), (device(2), values)]
        );
    }
}

#[tokio::test]
async fn segments_are_kept_by_region_and_empty_regions_write_nothing() {
    let core = core().await;
    let mut collection = self::collection(3);
    let _first = add(&mut collection, 2, 1, 0.1).await;
    let _second = add(&mut collection, 2, 2, 0.1).await;
    let segments = seal(&mut collection, &core).await;
    assert_eq!(segments.len(), 1);
    assert_eq!((segments[0].region, segments[0].bytes_up), (2, 32));
    assert!(seal(&mut collection, &core).await.is_empty());
    assert_eq!(total(&collection).count(), 2);
}

#[tokio::test]
async fn invariant_2_what_was_recorded_is_recovered_and_what_was_not_is_gone() {
    let core = core().await;
    let mut collection = self::collection(2);
    let _first = add(&mut collection, 0, 1, 0.1).await;
    let mut segments = seal(&mut collection, &core).await;
    let _second = add(&mut collection, 1, 2, 0.2).await;
    segments.extend(seal(&mut collection, &core).await);
    let _unsealed = add(&mut collection, 1, 3, 0.3).await;
    let recovered = recover(&core, 2, &segments).await.unwrap();
    assert_eq!(total(&recovered), total(&collection));
    assert_eq!(total(&recovered).count(), 2);
    assert_eq!(recovered.pending(), 0);
    core.vault.delete(&segments[0].digest).await.unwrap();
    let lost = recover(&core, 2, &segments).await;
    assert!(lost.is_err(), "a lost sum is an error, never a smaller sum");
}

#[tokio::test]
async fn two_runs_with_equal_sums_do_not_share_a_blob() {
    let core = core().await;
    let mut digests = Vec::new();
    for name in ["run-1", "run-2"] {
        let mut collection = self::collection(1);
        let _receipt = add(&mut collection, 0, 1, 0.1).await;
        let sealings = collection.write(&core, &run(name)).await.unwrap();
        digests.push(sealings[0].segment.digest);
    }
    core.vault.delete(&digests[0]).await.unwrap();
    let bytes = core.vault.get(&digests[1]).await.unwrap();
    Partial::from_bytes(salt::without(&run("run-2"), &bytes, true)).unwrap();
    assert!(Partial::from_bytes(salt::without(&run("run-3"), &bytes, true)).is_err());
}

#[tokio::test]
async fn the_name_of_a_sum_or_an_update_confirms_no_guess_of_it() {
    let core = core().await;
    let id = run("run-1");
    for robust in [None, Some(RobustSpec::against(0))] {
        let is_sum = robust.is_none();
        let mut collection = RoundSums::new(format(robust), 1);
        let mut names = Vec::new();
        for number in [1, 2] {
            let _receipt = add(&mut collection, 0, number, 0.0).await;
            names.push(seal(&mut collection, &core).await[0].digest);
        }
        assert_ne!(names[0], names[1], "two that are equal show it");
        let guess = match is_sum {
            true => {
                let mut one = self::collection(1);
                let _receipt = add(&mut one, 0, 1, 0.0).await;
                seal(&mut one, &core).await;
                total(&one).to_bytes()
            }
            false => [&bytes(0.0)[..], device(1).as_str().as_bytes()].concat(),
        };
        for guess in [guess.clone(), owned_by(&id, guess)] {
            assert!(!names.contains(&Digest::of(&guess)));
        }
    }
}

#[tokio::test]
async fn a_full_record_asks_to_be_sealed() {
    let mut collection = self::collection(2);
    for number in 0..CONTRIBUTORS_PER_SEGMENT {
        assert!(!collection.is_full());
        drop(add(&mut collection, 1, number, 0.01).await);
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
            let fixed = FixedPoint::new(1.0, DIMENSION).unwrap();
            for (_, value) in &values {
                expected.add_encoded(&fixed, Codec::F32, &bytes(*value)).unwrap();
            }
            let mut collection = self::collection(3);
            let mut segments = Vec::new();
            for index in order.into_iter().filter(|&index| index < values.len()) {
                let (region, value) = values[index];
                drop(add(&mut collection, region, index, value).await);
                if cuts[index] {
                    segments.extend(seal(&mut collection, &core).await);
                    collection = recover(&core, 3, &segments).await.unwrap();
                }
            }
            seal(&mut collection, &core).await;
            assert_eq!(total(&collection), expected);
        });
    }
}
