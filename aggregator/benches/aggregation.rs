//! Summing updates, against a plain float sum.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_aggregator::{Codec, EncodedContribution, FixedPoint, Partial, clip_l2};

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
/// is one update decoded, checked and added from its bytes; `f32x8` adds eight that wait together.
fn accumulate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accumulate");
    group.throughput(Throughput::Elements(PARAMETERS as u64));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(6));
    let first = update(0);
    let mut sum = vec![0.0f32; PARAMETERS];
    group.bench_function("axpy/10M", |bencher| {
        bencher.iter(|| {
            let weight = black_box(0.5f32);
            for (sum, value) in sum.iter_mut().zip(black_box(&first)) {
                *sum += weight * value;
            }
            black_box(&sum);
        });
    });
    let Ok(grid) = FixedPoint::new(1.0, PARAMETERS) else {
        unreachable!("valid grid")
    };
    let mut rounding = ChaCha20Rng::seed_from_u64(1);
    let mut encode = |codec: Codec, values: &[f32]| {
        let Ok(bytes) = codec.encode_clipped(values, 1.0, &mut rounding) else {
            unreachable!("finite values")
        };
        bytes
    };
    for codec in [
        Codec::F32,
        Codec::F16,
        Codec::BF16,
        Codec::INT8,
        Codec::INT4,
    ] {
        let bytes = encode(codec, &first);
        let mut partial = Partial::new(PARAMETERS);
        group.bench_function(format!("{codec}/10M"), |bencher| {
            bencher.iter(|| partial.add_encoded(&grid, codec, black_box(&bytes)).is_ok());
        });
    }
    let waiting: Vec<Vec<u8>> = (0..8)
        .map(|seed| encode(Codec::F32, &update(seed)))
        .collect();
    let mut partial = Partial::new(PARAMETERS);
    group.bench_function("f32x8/10M", |bencher| {
        bencher.iter(|| {
            let updates: Vec<EncodedContribution<'_>> = black_box(&waiting)
                .iter()
                .map(|bytes| EncodedContribution::new(bytes))
                .collect();
            partial.add_many(&grid, Codec::F32, &updates)
        });
    });
    group.finish();
}

criterion_group!(benches, accumulate);
criterion_main!(benches);
