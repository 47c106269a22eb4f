//! What a robust aggregation of 100 vectors of 100,000 values costs, rule by rule, on one thread.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tributary_aggregator::{PreAggregator, RobustRule, RobustSpec};

const VECTORS: usize = 100;
const PARAMETERS: usize = 100_000;
const BYZANTINE: u32 = 20;

/// A common direction with noise of about its length, different for each vector.
fn vectors() -> Vec<Vec<f32>> {
    let noise =
        |seed: usize| ((seed.wrapping_mul(2_654_435_761) >> 7) % 2003) as f32 / 1001.0 - 1.0;
    (0..VECTORS)
        .map(|row| {
            (0..PARAMETERS)
                .map(|at| noise(at) + noise(row * 7_368_787 + at * 31))
                .collect()
        })
        .collect()
}

fn robust(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("robust");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    let vectors = vectors();
    let bare = |rule| RobustSpec {
        byzantine: BYZANTINE,
        pre: Vec::new(),
        rule,
    };
    let clipping = RobustRule::CenteredClipping {
        tau: 100.0,
        iterations: 3,
    };
    let bounding = RobustRule::NormBounding {
        median: true,
        bound: None,
    };
    let mut cases: Vec<(String, RobustSpec)> = [
        RobustRule::default(),
        RobustRule::Median {},
        RobustRule::TrimmedMean {},
        RobustRule::Krum {},
        RobustRule::MultiKrum {},
        RobustRule::Bulyan {},
        clipping,
        bounding,
        RobustRule::FlTrust {},
        RobustRule::Mean {},
    ]
    .into_iter()
    .map(|rule| (rule.name().to_owned(), bare(rule)))
    .collect();
    cases.push((
        "arc+nnm+geometric_median".into(),
        RobustSpec::against(BYZANTINE),
    ));
    let mixed = |rule| RobustSpec {
        rule,
        ..RobustSpec::against(BYZANTINE)
    };
    cases.push((
        "arc+nnm+trimmed_mean".into(),
        mixed(RobustRule::TrimmedMean {}),
    ));
    let bucketing = PreAggregator::Bucketing { size: 2 };
    let bucketed = RobustSpec {
        pre: vec![bucketing],
        ..RobustSpec::against(BYZANTINE)
    };
    cases.push(("bucketing+geometric_median".into(), bucketed));
    for (name, spec) in cases {
        group.bench_function(format!("{name}/n=100,d=100k"), |bencher| {
            bencher.iter(|| {
                let reference = Some(vectors[0].as_slice());
                spec.aggregate(black_box(&vectors), reference, None, 1)
                    .is_ok()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, robust);
criterion_main!(benches);
