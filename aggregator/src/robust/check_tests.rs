//! What is refused, why, and what is named instead.

use super::*;

fn spec(byzantine: u32, pre: &[PreAggregator], rule: RobustRule) -> RobustSpec {
    RobustSpec {
        byzantine,
        pre: pre.to_vec(),
        rule,
    }
}

/// The text of the refusal.
fn refusal(spec: &RobustSpec, vectors: usize) -> String {
    spec.check(vectors).unwrap_err().to_string()
}

#[test]
fn each_rule_is_accepted_at_its_limit_and_refused_one_below() {
    for (rule, byzantine, fewest) in [
        (RobustRule::Median {}, 4, 9),
        (RobustRule::TrimmedMean {}, 1, 3),
        (RobustRule::default(), 4, 9),
        (RobustRule::Krum {}, 4, 11),
        (RobustRule::MultiKrum {}, 1, 5),
        (RobustRule::Bulyan {}, 4, 19),
        (RobustRule::FlTrust {}, 4, 5),
    ] {
        let spec = spec(byzantine, &[], rule);
        assert_eq!(spec.check(fewest), Ok(()), "{rule:?}");
        let error = spec.check(fewest - 1).unwrap_err();
        assert!(
            matches!(error, RobustError::TooManyByzantine { .. }),
            "{error}"
        );
    }
}

#[test]
fn refusals_name_the_nearest_valid_choice() {
    let bulyan = spec(6, &[], RobustRule::Bulyan {});
    assert_eq!(
        refusal(&bulyan, 20),
        "bulyan can't bear 6 bad of 20 vectors: it needs n >= 4f + 3; \
         use byzantine = 4, or let at least 27 devices contribute"
    );
    let one = RobustSpec::against(1);
    assert!(refusal(&one, 1).ends_with("let at least 3 devices contribute"));
    assert_eq!(one.check(0), Err(RobustError::Empty));
    assert!(refusal(&RobustSpec::against(0), 1).contains("two devices to compare"));
    let huge = RobustSpec::against(u32::MAX);
    assert!(refusal(&huge, 20).contains("use byzantine = 9"));
}

#[test]
fn buckets_must_leave_more_than_two_per_bad_device() {
    // 20 devices in buckets of 3: 7 buckets, of which 3 bad ones can be borne, not 4
    let bucketing = [PreAggregator::Bucketing { size: 3 }];
    assert_eq!(spec(3, &bucketing, RobustRule::Median {}).check(20), Ok(()));
    let refused = refusal(&spec(4, &bucketing, RobustRule::Median {}), 20);
    assert!(refused.ends_with("use buckets of at most 2"), "{refused}");
    let refused = refusal(&spec(6, &bucketing, RobustRule::Median {}), 20);
    assert!(refused.ends_with("leave bucketing out"), "{refused}");
    let single = [PreAggregator::Bucketing { size: 1 }];
    assert!(refusal(&spec(1, &single, RobustRule::Median {}), 20).contains("at least 2"));
}

#[test]
fn mixing_alone_is_refused_from_thirty_per_cent_on() {
    let nnm = [PreAggregator::Nnm];
    assert_eq!(spec(5, &nnm, RobustRule::default()).check(20), Ok(()));
    let refused = refusal(&spec(6, &nnm, RobustRule::default()), 20);
    assert!(refused.contains("[\"arc\", \"nnm\"]"), "{refused}");
    assert_eq!(RobustSpec::against(6).check(20), Ok(()));
}

#[test]
fn the_mean_bears_nobody_and_stages_have_an_order() {
    let mean = |byzantine| spec(byzantine, &[], RobustRule::Mean {});
    assert_eq!(mean(0).check(20), Ok(()));
    assert!(refusal(&mean(1), 20).contains("geometric_median"));
    let turned = [PreAggregator::Nnm, PreAggregator::Arc];
    assert!(refusal(&spec(1, &turned, RobustRule::Median {}), 20).contains("last"));
    let twice = [PreAggregator::Arc, PreAggregator::Arc];
    assert!(refusal(&spec(1, &twice, RobustRule::Median {}), 20).contains("twice"));
}

#[test]
fn constants_out_of_range_are_refused_by_name() {
    for (rule, field) in [
        (
            RobustRule::GeometricMedian {
                nu: 0.0,
                iterations: 8,
            },
            "rule.nu",
        ),
        (
            RobustRule::GeometricMedian {
                nu: f64::NAN,
                iterations: 8,
            },
            "rule.nu",
        ),
        (
            RobustRule::GeometricMedian {
                nu: 0.1,
                iterations: 0,
            },
            "rule.iterations",
        ),
        (
            RobustRule::CenteredClipping {
                tau: -1.0,
                iterations: 1,
            },
            "rule.tau",
        ),
        (
            RobustRule::CenteredClipping {
                tau: 1.0,
                iterations: 1001,
            },
            "rule.iterations",
        ),
        (
            RobustRule::NormBounding {
                median: true,
                bound: Some(f64::INFINITY),
            },
            "rule.bound",
        ),
        (
            RobustRule::NormBounding {
                median: false,
                bound: None,
            },
            "rule.median",
        ),
    ] {
        let refused = refusal(&spec(1, &[], rule), 20);
        assert!(refused.starts_with(field), "{refused}");
    }
}
