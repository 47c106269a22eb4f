//! What a device pays to encode an update and a receiver to decode it.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tributary_aggregator::Codec;

const PARAMETERS: usize = 1_000_000;

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(PARAMETERS as u64));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    let mut noise = ChaCha20Rng::seed_from_u64(1);
    let update: Vec<f32> = (0..PARAMETERS)
        .map(|_| noise.next_u32() as f32 / u32::MAX as f32 - 0.5)
        .collect();
    let mut decoded = vec![0.0f32; PARAMETERS];
    for name in [
        "f16",
        "int8",
        "int4",
        "topk:0.01",
        "drive",
        "eden:4",
        "int4+zstd",
    ] {
        let Ok(codec) = name.parse::<Codec>() else {
            unreachable!("{name} is a codec")
        };
        group.bench_function(format!("encode/{name}/1M"), |bencher| {
            bencher.iter(|| codec.encode(black_box(&update), &mut noise));
        });
        let bytes = codec.encode(&update, &mut noise);
        group.bench_function(format!("decode/{name}/1M"), |bencher| {
            bencher.iter(|| codec.decode_into(black_box(&bytes), &mut decoded).is_ok());
        });
    }
    // what a device calls: with the norm of the decoded vector kept within the clip
    group.bench_function("encode_clipped/int8/1M", |bencher| {
        bencher.iter(|| Codec::INT8.encode_clipped(black_box(&update), 1.0, &mut noise));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
