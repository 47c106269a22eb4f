//! What an account costs: the privacy of a run of ten thousand sampled steps, from scratch.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tributary_privacy::accountant::{
    AccountingError, LossDistribution, PoissonGaussian, RdpCurve, default_orders,
};

const STEPS: u64 = 10_000;
const DELTA: f64 = 1e-5;

fn by_loss_distribution(q: f64, z: f64) -> Result<f64, AccountingError> {
    let step = PoissonGaussian::new(q, z)?;
    Ok(LossDistribution::new(&step)?.epsilon(STEPS, DELTA)?.epsilon)
}

fn by_rdp(q: f64, z: f64) -> Result<f64, AccountingError> {
    let step = PoissonGaussian::new(q, z)?;
    let curve = RdpCurve::poisson_gaussian(&step, STEPS, &default_orders())?;
    Ok(curve.epsilon(DELTA)?.epsilon)
}

fn accountant(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("accountant");
    group.sample_size(20);
    group.bench_function("pld/q=.01,T=10k", |bencher| {
        bencher.iter(|| by_loss_distribution(black_box(0.01), black_box(1.1)));
    });
    group.bench_function("rdp/q=.01,T=10k", |bencher| {
        bencher.iter(|| by_rdp(black_box(0.01), black_box(1.1)));
    });
    group.finish();
}

criterion_group!(benches, accountant);
criterion_main!(benches);
