//! Choosing a BLT, and one round of correlated noise for a million parameters.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tributary_privacy::ftrl::{Blt, CorrelatedNoise, Participation, Strategy};
use tributary_privacy::{DiscreteGaussian, NoiseSource};

const PARAMETERS: usize = 1_000_000;

fn limits() -> Participation {
    Participation {
        rounds: 2048,
        most: 5,
        separation: 400,
    }
}

fn blt() -> Blt {
    match Blt::optimise(&limits()) {
        Ok(blt) => blt,
        Err(error) => unreachable!("valid limits: {error}"),
    }
}

fn optimise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accountant");
    group.sample_size(10);
    group.bench_function("blt_optimise/n=2048", |bencher| {
        bencher.iter(|| black_box(blt()));
    });
    group.finish();
}

/// `add_next` is the whole round: seeds, correlation and sum, at noise multiplier 7. `seeds` is the
/// same number of seeds alone, and `seeds_fine` on the finer grid that a BLT draws them on; the rest
/// is the price of the correlation.
fn rounds(criterion: &mut Criterion) {
    let blt = blt();
    let sigma = blt.squared_sensitivity(&limits()).sqrt() * 7.0 * f64::from(1u32 << 20);
    let (Ok(seeds), Ok(fine)) = (
        DiscreteGaussian::new(sigma as u64),
        DiscreteGaussian::new((sigma as u64) << 8),
    ) else {
        unreachable!("valid scales")
    };
    let mut group = criterion.benchmark_group("ftrl");
    group.throughput(Throughput::Elements(PARAMETERS as u64));
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    let mut sums = vec![0i64; PARAMETERS];
    let mut source = NoiseSource::seeded([1; 32]);
    for (name, strategy) in [
        ("add_next/1M", Strategy::Blt(blt)),
        ("add_next_tree/1M", Strategy::Tree),
    ] {
        let Ok(mut state) = CorrelatedNoise::new(strategy, PARAMETERS) else {
            unreachable!("valid dimension")
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if let Err(error) = state.add_next(&mut sums, &seeds, &mut source) {
                    unreachable!("valid round: {error}");
                }
            });
        });
    }
    for (name, noise) in [("seeds/1M", &seeds), ("seeds_fine/1M", &fine)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| noise.add_noise(&mut sums, &mut source));
        });
    }
    group.finish();
}

criterion_group!(benches, optimise, rounds);
criterion_main!(benches);
