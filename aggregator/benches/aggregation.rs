//! Summing updates, against a plain float sum.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_aggregator::{Codec, EncodedContribution, FixedPoint, Partial};
use tributary_privacy::clip_l2;

const PARAMETERS: usize = 10_000_000;

/// A clipped update of [`PARAMETERS`] values that depend on `seed`.
fn update(seed: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..PARAMETERS)
        .map(|index| ((index * 7919 + seed * 613) % 2003) as f32 / 1001.0 - 1.0)
        .collect();
    if let Err(error) = clip_l2(&mut values, 1.0) {
        unreachable!("finite values: {error}");
    }
    values
}

/// `axpy` is the unchecked float sum y += a x that an exact sum is measured against; a codec's name
/// is one update decoded, checked and added from its bytes; `f32x8` and `int8x8` add eight that wait
/// together, and `read_x8` does no more than look at the bytes of eight `f32` updates.
fn accumulate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accumulate");
    group.throughput(Throughput::Elements(PARAMETERS as u64));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(6));
    let values: Vec<Vec<f32>> = (0..8).map(update).collect();
    let mut sum = vec![0.0f32; PARAMETERS];
    group.bench_function("axpy/10M", |bencher| {
        bencher.iter(|| {
            let weight = black_box(0.5f32);
            for (sum, value) in sum.iter_mut().zip(black_box(&values[0])) {
                *sum += weight * value;
            }
            black_box(&sum);
        });
    });
    drop(sum);
    let Ok(grid) = FixedPoint::new(1.0, PARAMETERS) else {
        unreachable!("valid grid")
    };
    for (codec, eight) in [
        (Codec::F32, true),
        (Codec::INT8, true),
        (Codec::F16, false),
        (Codec::BF16, false),
        (Codec::INT4, false),
    ] {
        let updates = encode(codec, &values);
        let mut partial = Partial::new(PARAMETERS);
        group.bench_function(format!("{codec}/10M"), |bencher| {
            bencher.iter(|| {
                let bytes = black_box(&updates[0]);
                partial.add_encoded(&grid, codec, bytes).is_ok()
            });
        });
        if !eight {
            continue;
        }
        group.bench_function(format!("{codec}x8/10M"), |bencher| {
            bencher.iter(|| {
                let waiting: Vec<EncodedContribution<'_>> = black_box(&updates)
                    .iter()
                    .map(|bytes| EncodedContribution::new(bytes))
                    .collect();
                partial.add_many(&grid, codec, &waiting)
            });
        });
        if codec == Codec::F32 {
            group.bench_function("read_x8/10M", |bencher| {
                bencher.iter(|| black_box(&updates).iter().map(|update| read(update)).max());
            });
        }
    }
    group.finish();
}

/// The updates as `codec` writes them.
fn encode(codec: Codec, values: &[Vec<f32>]) -> Vec<Vec<u8>> {
    let mut rounding = ChaCha20Rng::seed_from_u64(1);
    let mut encode = |values: &Vec<f32>| {
        let Ok(bytes) = codec.encode_clipped(values, 1.0, &mut rounding) else {
            unreachable!("finite values")
        };
        bytes
    };
    values.iter().map(&mut encode).collect()
}

/// All of `bytes` combined in the cheapest way that needs each of them.
fn read(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks().0.iter();
    words.fold(0, |all, &word| all ^ u64::from_le_bytes(word))
}

criterion_group!(benches, accumulate);
criterion_main!(benches);
