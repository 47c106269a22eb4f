use std::slice::from_ref;

use tributary_privacy::LocalNoise;
use tributary_proto::v1;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_proto::v1::{Assignment, ParticipationLimit};

use super::*;
use crate::training::plan::LocalPlan;

const PARAMETERS: usize = 10;

/// Local noise of one clip on ten values, fedavg, int8.
fn noised() -> TrainingPlan {
    TrainingPlan {
        task: "watch".to_owned(),
        epochs: 1,
        batch_size: 4,
        learning_rate: 0.1,
        clip: 0.5,
        codec: "int8".to_owned(),
        parameters: PARAMETERS as u64,
        local_noise_multiplier: 1.0,
        wire_clip: LocalNoise::new(0.5, PARAMETERS, 1.0).unwrap().wire_clip(),
        ..TrainingPlan::default()
    }
}

fn with_algorithm(kind: AlgorithmKind) -> TrainingPlan {
    TrainingPlan {
        algorithm: Some(v1::LocalAlgorithm { kind: Some(kind) }),
        ..noised()
    }
}

fn read(plan: TrainingPlan) -> Result<LocalPlan, TrainingError> {
    LocalPlan::read(&Assignment {
        run_id: "run-1".to_owned(),
        round: 1,
        plan: Some(plan),
        model_digest: "a".to_owned(),
        auxiliary_digests: vec!["a".to_owned(), "b".to_owned()],
        ..Assignment::default()
    })
}

fn field<T: std::fmt::Debug>(outcome: Result<T, TrainingError>) -> &'static str {
    match outcome {
        Err(TrainingError::Plan { field, .. }) => field,
        other => panic!("expected a plan error, got {other:?}"),
    }
}

#[test]
fn a_plan_without_privacy_fields_has_no_noise_and_no_limits() {
    let plan = TrainingPlan {
        local_noise_multiplier: 0.0,
        wire_clip: 0.0,
        ..noised()
    };
    let privacy = read(plan.clone()).unwrap().privacy;
    assert_eq!(privacy.wire_clip, 0.5);
    assert!(!privacy.is_noised() && !privacy.limits.is_limited());
    assert_eq!(privacy.noise(0.5, PARAMETERS).unwrap(), None);
    // the clip itself may be named
    let named = TrainingPlan {
        wire_clip: 0.5,
        ..plan.clone()
    };
    assert_eq!(read(named).unwrap().privacy.wire_clip, 0.5);
    for wrong in [0.4, 0.6, -1.0, f32::NAN] {
        let other = TrainingPlan {
            wire_clip: wrong,
            ..plan.clone()
        };
        assert_eq!(field(read(other)), "wire_clip");
    }
}

#[test]
fn a_noise_multiplier_out_of_range_is_named() {
    for multiplier in [-1.0, f64::NAN, f64::INFINITY] {
        let plan = TrainingPlan {
            local_noise_multiplier: multiplier,
            ..noised()
        };
        assert_eq!(field(read(plan)), "local_noise_multiplier");
    }
    for multiplier in [1e-9, 1e9] {
        let plan = TrainingPlan {
            local_noise_multiplier: multiplier,
            ..noised()
        };
        let noise = read(plan).unwrap().privacy.noise(0.5, PARAMETERS);
        assert_eq!(field(noise), "local_noise_multiplier");
    }
}

#[test]
fn a_wire_clip_more_than_a_hundredth_off_is_refused() {
    let needed = noised().wire_clip;
    let with = |wire_clip| {
        let plan = TrainingPlan {
            wire_clip,
            ..noised()
        };
        read(plan).unwrap().privacy.noise(0.5, PARAMETERS)
    };
    for near in [needed, needed * 0.991, needed * 1.009] {
        assert!(with(near).unwrap().is_some(), "{near}");
    }
    for far in [0.0, 0.5, needed * 0.989, needed * 1.011, f32::NAN] {
        assert_eq!(field(with(far)), "wire_clip", "{far}");
    }
    // the payload has another length than the plan was made for
    let plan = read(noised()).unwrap();
    assert_eq!(field(plan.privacy.noise(0.5, 8)), "wire_clip");
}

#[test]
fn whatever_would_leave_without_noise_is_refused_by_field() {
    let cases = [
        (
            with_algorithm(AlgorithmKind::Scaffold(v1::Scaffold {})),
            "algorithm",
        ),
        (
            with_algorithm(AlgorithmKind::Feddyn(v1::FedDyn { alpha: 1.0 })),
            "algorithm",
        ),
        (
            with_algorithm(AlgorithmKind::Fednova(v1::FedNova {})),
            "algorithm",
        ),
        (
            with_algorithm(AlgorithmKind::Qfedavg(v1::QFedAvg { q: 1.0 })),
            "algorithm",
        ),
        (
            TrainingPlan {
                codec: "topk:0.1+zstd".to_owned(),
                ..noised()
            },
            "codec",
        ),
        (
            TrainingPlan {
                momentum: 0.5,
                ..noised()
            },
            "momentum",
        ),
        (
            TrainingPlan {
                examples_cap: 8,
                ..noised()
            },
            "examples_cap",
        ),
        (
            TrainingPlan {
                report_within_clip: true,
                ..noised()
            },
            "report_within_clip",
        ),
        (
            TrainingPlan {
                personalisation: Some(v1::Personalisation {
                    kind: Some(PersonalKind::Ifca(v1::Ifca {})),
                }),
                ..noised()
            },
            "personalisation",
        ),
    ];
    for (plan, expected) in cases {
        let text = read(plan.clone()).unwrap_err().to_string();
        assert!(text.contains("local noise"), "{text}");
        assert_eq!(field(read(plan)), expected);
    }
    let fedprox = AlgorithmKind::Fedprox(v1::FedProx { mu: 0.1 });
    assert!(read(with_algorithm(fedprox)).is_ok());
}

#[test]
fn a_seed_goes_with_local_noise_in_simulations_alone() {
    let privacy = read(noised()).unwrap().privacy;
    assert_eq!(field(privacy.check_seed(&[1], false)), "simulation_seed");
    assert!(privacy.check_seed(&[], false).is_ok());
    assert!(privacy.check_seed(&[1], true).is_ok());
}

#[test]
fn limits_are_read_and_need_a_run_that_a_record_can_name() {
    let limited = TrainingPlan {
        participation: Some(ParticipationLimit {
            max_participations: 6,
            min_separation: 100,
            min_interval_ms: 5,
        }),
        local_noise_multiplier: 0.0,
        wire_clip: 0.0,
        ..noised()
    };
    let limits = read(limited.clone()).unwrap().privacy.limits;
    let expected = Limits {
        max_participations: 6,
        min_separation: 100,
        min_interval_ms: 5,
    };
    assert_eq!(limits, expected);
    let named = |run_id: &str, plan: &TrainingPlan| {
        LocalPlan::read(&Assignment {
            run_id: run_id.to_owned(),
            plan: Some(plan.clone()),
            ..Assignment::default()
        })
    };
    for plan in [limited, noised()] {
        for run_id in ["", "a/b", &"a".repeat(65)] {
            assert_eq!(field(named(run_id, &plan)), "participation");
        }
    }
}

#[test]
fn noise_from_a_seed_depends_on_run_round_attempt_and_device() {
    let draw = |seed: &[u8], run, round, attempt, device| {
        let mut source = noise_source(seed, run, round, attempt, device).unwrap();
        source.with_stream(|rng| rng.next_u64())
    };
    let first = draw(b"s", "r", 1, 2, "d");
    assert_eq!(first, draw(b"s", "r", 1, 2, "d"));
    let others = [
        draw(b"t", "r", 1, 2, "d"),
        draw(b"s", "q", 1, 2, "d"),
        draw(b"s", "r", 2, 1, "d"),
        draw(b"s", "r", 1, 1, "d"),
        draw(b"s", "r", 1, 2, "e"),
        draw(b"", "r", 1, 2, "d"),
        draw(b"", "r", 1, 2, "d"),
    ];
    let all: std::collections::BTreeSet<u64> =
        others.iter().chain(from_ref(&first)).copied().collect();
    assert_eq!(all.len(), 8);
}
