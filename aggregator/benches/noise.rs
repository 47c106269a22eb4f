//! Noise on a million values, on one thread: time per core.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_privacy::{DiscreteGaussian, DiscreteLaplace, GaussianTable, NoiseSource};

const VALUES: usize = 1_000_000;

/// The scale of a model sum with noise multiplier 1.
const SCALE: u64 = 1 << 20;

/// The exact samplers, and the Gaussian by its table.
fn noise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("noise");
    group.throughput(Throughput::Elements(VALUES as u64));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    let mut source = NoiseSource::seeded([1; 32]);
    let mut values = vec![0i64; VALUES];
    let (Ok(gaussian), Ok(laplace)) = (DiscreteGaussian::new(SCALE), DiscreteLaplace::new(SCALE))
    else {
        unreachable!("valid scale")
    };
    group.bench_function("discrete_gaussian/1M", |bencher| {
        bencher.iter(|| gaussian.add_noise_on_this_thread(black_box(&mut values), &mut source));
    });
    // the table is made anew each time, as for a release
    group.bench_function("discrete_gaussian_table/1M", |bencher| {
        bencher.iter(|| {
            if let Ok(table) = GaussianTable::new(black_box(&gaussian)) {
                table.add_noise_on_this_thread(black_box(&mut values), &mut source);
            }
        });
    });
    group.bench_function("discrete_laplace/1M", |bencher| {
        bencher.iter(|| laplace.add_noise_on_this_thread(black_box(&mut values), &mut source));
    });
    group.finish();
}

criterion_group!(benches, noise);
criterion_main!(benches);
