//! Every robust rule against a slow version that follows its definition word by word, and the
//! properties that make it robust.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use proptest::prelude::*;
use tributary_aggregator::{PreAggregator, RobustError, RobustRule, RobustSpec};

mod naive;

const RULES: [RobustRule; 10] = [
    RobustRule::Median {},
    RobustRule::TrimmedMean {},
    RobustRule::Krum {},
    RobustRule::MultiKrum {},
    RobustRule::Bulyan {},
    RobustRule::GeometricMedian {
        nu: 0.1,
        iterations: 8,
    },
    RobustRule::CenteredClipping {
        tau: 1.0,
        iterations: 3,
    },
    RobustRule::NormBounding {
        median: true,
        bound: None,
    },
    RobustRule::FlTrust {},
    RobustRule::Mean {},
];

const STAGES: [&[PreAggregator]; 4] = [
    &[],
    &[PreAggregator::Arc],
    &[PreAggregator::Nnm],
    &[PreAggregator::Arc, PreAggregator::Nnm],
];

fn pipelines(byzantine: u32) -> impl Iterator<Item = RobustSpec> {
    STAGES.into_iter().flat_map(move |pre| {
        RULES.into_iter().map(move |rule| RobustSpec {
            byzantine,
            pre: pre.to_vec(),
            rule,
        })
    })
}

/// Mixtures often are equal, or equally far apart, so that rounding decides what is chosen among
/// them; any choice is as good.
fn chooses_among_mixtures(spec: &RobustSpec) -> bool {
    use RobustRule::{Bulyan, Krum, MultiKrum};
    spec.pre.contains(&PreAggregator::Nnm)
        && matches!(spec.rule, Krum {} | MultiKrum {} | Bulyan {})
}

/// `count` vectors around a common one, reproducible, without ties.
fn vectors(count: usize, dimension: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let common: Vec<f32> = (0..dimension).map(|_| next()).collect();
    (0..count)
        .map(|_| common.iter().map(|value| value + 0.7 * next()).collect())
        .collect()
}

fn run(spec: &RobustSpec, vectors: &[Vec<f32>], extra: &[f32]) -> Vec<f32> {
    spec.aggregate(vectors, Some(extra), Some(extra), 7)
        .unwrap()
}

fn assert_near(spec: &RobustSpec, found: &[f32], expected: &[f64], tolerance: f64) {
    let scale = naive::norm(expected).max(1e-30);
    let gap: Vec<f64> = found
        .iter()
        .zip(expected)
        .map(|(&a, b)| f64::from(a) - b)
        .collect();
    let off = naive::norm(&gap) / scale;
    assert!(off <= tolerance, "{spec}: off by {off}");
}

#[test]
fn every_pipeline_agrees_with_its_definition() {
    for (count, dimension, byzantine) in [(11, 1, 2), (12, 5, 2), (15, 700, 3), (9, 257, 1)] {
        for seed in 1..4 {
            let mut vectors = vectors(count, dimension, seed);
            for value in &mut vectors[1] {
                *value *= -20.0;
            }
            let extra = vectors[0].clone();
            for spec in pipelines(byzantine).filter(|spec| !chooses_among_mixtures(spec)) {
                let expected = naive::aggregate(&spec, &vectors, &extra);
                assert_near(&spec, &run(&spec, &vectors, &extra), &expected, 2e-5);
            }
        }
    }
}

#[test]
fn two_bad_of_eleven_at_the_end_of_the_range_leave_the_result_among_the_honest() {
    for huge in [1e30f32, -1e30, f32::MAX] {
        let mut vectors = vectors(11, 300, 5);
        vectors[3] = vec![huge; 300];
        vectors[8] = vec![if huge > 0.0 { -huge } else { huge }; 300];
        let honest: Vec<Vec<f32>> = (0..11)
            .filter(|i| ![3, 8].contains(i))
            .map(|i| vectors[i].clone())
            .collect();
        let extra = honest[0].clone();
        for spec in pipelines(2) {
            let mixed_alone = spec.pre == [PreAggregator::Nnm];
            if spec.check(11).is_err() || mixed_alone {
                continue;
            }
            let result = run(&spec, &vectors, &extra);
            // rules that drop or choose stay inside the honest box; those that shorten or weigh
            // stay within the diameter of the honest ball
            let radius = naive::norm(&honest[0].iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let wide: Vec<f64> = result.iter().map(|&x| f64::from(x)).collect();
            assert!(naive::norm(&wide) < 2.0 * radius, "{spec} with {huge}");
            let boxed = matches!(
                spec.rule,
                RobustRule::Median {}
                    | RobustRule::TrimmedMean {}
                    | RobustRule::Krum {}
                    | RobustRule::MultiKrum {}
                    | RobustRule::Bulyan {}
            );
            if boxed && spec.pre.is_empty() {
                for (column, value) in result.iter().enumerate() {
                    let values = || honest.iter().map(|v| v[column]);
                    let low = values().fold(f32::INFINITY, f32::min);
                    let high = values().fold(f32::NEG_INFINITY, f32::max);
                    assert!((low..=high).contains(value), "{spec} with {huge}");
                }
            }
        }
    }
}

#[test]
fn one_bad_device_moves_the_plain_mean_anywhere() {
    let mut vectors = vectors(11, 30, 5);
    vectors[0] = vec![1e30; 30];
    let mean = RobustSpec {
        byzantine: 0,
        pre: Vec::new(),
        rule: RobustRule::Mean {},
    };
    assert!(run(&mean, &vectors, &[1.0; 30])[0] > 1e28);
}

#[test]
fn the_aggregate_of_identical_vectors_is_that_vector() {
    let one = vectors(1, 400, 9).remove(0);
    let vectors = vec![one.clone(); 11];
    for spec in pipelines(2) {
        if matches!(spec.rule, RobustRule::CenteredClipping { .. }) {
            continue; // it only moves by tau per step
        }
        let wide: Vec<f64> = one.iter().map(|&x| f64::from(x)).collect();
        assert_near(&spec, &run(&spec, &vectors, &one), &wide, 1e-6);
    }
}

#[test]
fn zero_vectors_are_aggregated_to_zero() {
    let vectors = vec![vec![0.0; 10]; 11];
    for spec in pipelines(2) {
        let result = spec.aggregate(&vectors, Some(&[1.0; 10]), None, 1).unwrap();
        assert_eq!(result, [0.0; 10], "{spec}");
    }
}

#[test]
fn one_honest_device_among_zeros_and_one_bad_is_no_accident() {
    let mut vectors = vec![vec![0.0; 10]; 11];
    vectors[4] = vec![f32::MAX; 10];
    vectors[5] = vec![1e-30; 10];
    for spec in pipelines(2).filter(|spec| spec.check(11).is_ok()) {
        if matches!(spec.rule, RobustRule::FlTrust {}) {
            continue; // it trusts the bad one, which points where the reference does
        }
        let result = spec.aggregate(&vectors, Some(&[1.0; 10]), None, 1).unwrap();
        assert!(
            result.iter().all(|value| value.abs() < 1.0),
            "{spec} {result:?}"
        );
    }
}

#[test]
fn bad_vectors_are_refused_by_position() {
    for spec in pipelines(2) {
        let mut vectors = vectors(11, 40, 3);
        vectors[6][17] = f32::NAN;
        let error = spec
            .aggregate(&vectors, Some(&[1.0; 40]), None, 1)
            .unwrap_err();
        let expected = RobustError::NotFinite {
            what: "vector",
            index: 6,
            position: 17,
        };
        assert_eq!(error, expected);
        vectors[6].truncate(17);
        let error = spec
            .aggregate(&vectors, Some(&[1.0; 40]), None, 1)
            .unwrap_err();
        assert!(matches!(
            error,
            RobustError::LengthMismatch {
                index: 6,
                actual: 17,
                ..
            }
        ));
    }
    let spec = RobustSpec::against(0);
    assert_eq!(spec.aggregate(&[], None, None, 1), Err(RobustError::Empty));
    assert_eq!(
        spec.aggregate(&[vec![]], None, None, 1),
        Err(RobustError::Empty)
    );
}

#[test]
fn extra_vectors_are_checked_too() {
    let vectors = vectors(5, 4, 3);
    let trust = RobustSpec {
        byzantine: 1,
        pre: Vec::new(),
        rule: RobustRule::FlTrust {},
    };
    let with = |reference| trust.aggregate(&vectors, reference, None, 1);
    assert_eq!(with(None), Err(RobustError::NoReference));
    assert_eq!(with(Some(&[0.0; 4])), Ok(vec![0.0; 4]), "no trust, no step");
    assert!(matches!(
        with(Some(&[1.0; 3])),
        Err(RobustError::LengthMismatch { .. })
    ));
    assert!(matches!(
        with(Some(&[f32::NAN; 4])),
        Err(RobustError::NotFinite { .. })
    ));
}

#[test]
fn too_many_bad_devices_are_refused_when_aggregating_too() {
    let vectors = vectors(10, 4, 3);
    let spec = RobustSpec {
        byzantine: 2,
        pre: Vec::new(),
        rule: RobustRule::Bulyan {},
    };
    let refused = spec.aggregate(&vectors, None, None, 1);
    assert!(matches!(
        refused,
        Err(RobustError::TooManyByzantine { vectors: 10, .. })
    ));
}

#[test]
fn bucketing_is_the_rule_on_the_means_of_the_groups() {
    let vectors = vectors(12, 50, 3);
    let mean_of_buckets = RobustSpec {
        byzantine: 1,
        pre: vec![PreAggregator::Bucketing { size: 3 }],
        rule: RobustRule::Mean {},
    };
    let mean = RobustSpec {
        pre: Vec::new(),
        ..mean_of_buckets.clone()
    };
    let plain: Vec<f64> = run(&mean, &vectors, &vectors[0])
        .iter()
        .map(|&x| f64::from(x))
        .collect();
    assert_near(
        &mean_of_buckets,
        &run(&mean_of_buckets, &vectors, &vectors[0]),
        &plain,
        1e-6,
    );
    let median = |seed| {
        let spec = RobustSpec {
            rule: RobustRule::Median {},
            ..mean_of_buckets.clone()
        };
        spec.aggregate(&vectors, None, None, seed).unwrap()
    };
    assert_eq!(median(1), median(1));
    assert!((2..6).any(|seed| median(seed) != median(1)));
}

#[test]
fn the_price_in_memory_grows_with_the_vectors_and_their_pairs() {
    let spec = RobustSpec::against(20);
    let bytes = spec.memory_bytes(100, 100_000);
    assert!((40_000_000..43_000_000).contains(&bytes), "{bytes}");
    assert_eq!(spec.memory_bytes(100, usize::MAX), u64::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_order_of_the_devices_does_not_matter(seed in 1u64..1 << 40, turn in 1usize..11) {
        let vectors = vectors(11, 60, seed);
        let mut turned = vectors.clone();
        turned.rotate_left(turn);
        turned.swap(0, 5);
        for spec in pipelines(2).filter(|spec| !chooses_among_mixtures(spec)) {
            let first = run(&spec, &vectors, &vectors[0]);
            let wide: Vec<f64> = first.iter().map(|&x| f64::from(x)).collect();
            assert_near(&spec, &run(&spec, &turned, &vectors[0]), &wide, 2e-5);
        }
    }

    #[test]
    fn rules_without_an_origin_follow_a_shift(seed in 1u64..1 << 40, shift in -2.0f32..2.0) {
        let vectors = vectors(11, 60, seed);
        let moved: Vec<Vec<f32>> =
            vectors.iter().map(|v| v.iter().map(|x| x + shift).collect()).collect();
        for spec in pipelines(2) {
            let origin = matches!(spec.rule, RobustRule::FlTrust {} | RobustRule::NormBounding { .. })
                || spec.pre.contains(&PreAggregator::Arc);
            if origin || chooses_among_mixtures(&spec) {
                continue;
            }
            let result = run(&spec, &vectors, &vectors[0]);
            let expected: Vec<f64> =
                result.iter().map(|&x| f64::from(x) + f64::from(shift)).collect();
            assert_near(&spec, &run(&spec, &moved, &moved[0]), &expected, 2e-5);
        }
    }

    #[test]
    fn any_floats_give_a_finite_result_or_a_typed_error(
        bits in prop::collection::vec(prop::collection::vec(any::<u32>(), 5), 1..14),
        byzantine in 0u32..5,
        seed in any::<u64>(),
    ) {
        let vectors: Vec<Vec<f32>> =
            bits.iter().map(|row| row.iter().map(|&b| f32::from_bits(b)).collect()).collect();
        let finite: Vec<Vec<f32>> = vectors
            .iter()
            .map(|row| row.iter().map(|x| if x.is_finite() { *x } else { 0.0 }).collect())
            .collect();
        for vectors in [&vectors, &finite] {
            for spec in pipelines(byzantine) {
                if let Ok(result) = spec.aggregate(vectors, Some(&[1.0; 5]), None, seed) {
                    prop_assert!(result.iter().all(|value| value.is_finite()));
                }
            }
        }
    }
}
