use tributary_proto::v1;
use tributary_proto::v1::local_algorithm::Kind as AlgorithmKind;
use tributary_proto::v1::personalisation::Kind as PersonalKind;
use tributary_recipe::PrivacyMode;

use super::*;

fn plan() -> TrainingPlan {
    TrainingPlan {
        task: "watch".to_owned(),
        epochs: 2,
        batch_size: 4,
        learning_rate: 0.1,
        clip: 1.0,
        codec: "f32".to_owned(),
        parameters: 10,
        ..TrainingPlan::default()
    }
}

fn assignment(plan: TrainingPlan) -> Assignment {
    Assignment {
        run_id: "r".to_owned(),
        round: 1,
        plan: Some(plan),
        model_digest: "a".to_owned(),
        ..Assignment::default()
    }
}

fn with_algorithm(kind: AlgorithmKind) -> TrainingPlan {
    TrainingPlan {
        algorithm: Some(v1::LocalAlgorithm { kind: Some(kind) }),
        ..plan()
    }
}

fn personal(kind: PersonalKind, plan: TrainingPlan) -> TrainingPlan {
    TrainingPlan {
        personalisation: Some(v1::Personalisation { kind: Some(kind) }),
        ..plan
    }
}

fn field(assignment: &Assignment) -> &'static str {
    match LocalPlan::read(assignment) {
        Err(TrainingError::Plan { field, .. }) => field,
        other => panic!("expected a plan error, got {other:?}"),
    }
}

#[test]
fn a_plain_plan_is_plain_federated_averaging() {
    let read = LocalPlan::read(&assignment(plan())).unwrap();
    assert_eq!(read.algorithm, LocalAlgorithm::FedAvg);
    assert_eq!((read.personalisation.clone(), read.share(5)), (None, None));
    assert_eq!(read.steps(9), 6);
}

#[test]
fn fields_out_of_range_are_named() {
    let nan = f32::NAN;
    let fedprox = |mu| with_algorithm(AlgorithmKind::Fedprox(v1::FedProx { mu }));
    let feddyn = |alpha| with_algorithm(AlgorithmKind::Feddyn(v1::FedDyn { alpha }));
    let qfedavg = |q| with_algorithm(AlgorithmKind::Qfedavg(v1::QFedAvg { q }));
    let cases = [
        (
            TrainingPlan {
                epochs: 0,
                ..plan()
            },
            "epochs",
        ),
        (
            TrainingPlan {
                batch_size: 0,
                ..plan()
            },
            "batch_size",
        ),
        (
            TrainingPlan {
                clip: nan,
                ..plan()
            },
            "clip",
        ),
        (
            TrainingPlan {
                parameters: u64::MAX,
                ..plan()
            },
            "parameters",
        ),
        (
            TrainingPlan {
                momentum: 1.0,
                ..plan()
            },
            "momentum",
        ),
        (
            TrainingPlan {
                momentum: nan,
                ..plan()
            },
            "momentum",
        ),
        (
            TrainingPlan {
                momentum: -0.1,
                ..plan()
            },
            "momentum",
        ),
        (fedprox(0.0), "algorithm.mu"),
        (fedprox(nan), "algorithm.mu"),
        (feddyn(-1.0), "algorithm.alpha"),
        (qfedavg(-0.5), "algorithm.q"),
        (qfedavg(f32::INFINITY), "algorithm.q"),
    ];
    for (plan, expected) in cases {
        assert_eq!(field(&assignment(plan)), expected);
    }
    assert_eq!(field(&Assignment::default()), "plan");
}

#[test]
fn an_algorithm_or_a_personalisation_that_is_not_known_is_refused() {
    let unknown = TrainingPlan {
        algorithm: Some(v1::LocalAlgorithm { kind: None }),
        ..plan()
    };
    assert_eq!(field(&assignment(unknown)), "algorithm");
    let unknown = TrainingPlan {
        personalisation: Some(v1::Personalisation { kind: None }),
        ..plan()
    };
    assert_eq!(field(&assignment(unknown)), "personalisation");
}

#[test]
fn combinations_without_a_meaning_are_refused_by_field() {
    let layers = || v1::PersonalLayers {
        layers: vec!["2.".to_owned()],
        head_epochs: 1,
    };
    let ditto = || {
        PersonalKind::Ditto(v1::Ditto {
            lambda: 1.0,
            epochs: 1,
        })
    };
    let scaffold = || with_algorithm(AlgorithmKind::Scaffold(v1::Scaffold {}));
    let fednova = || with_algorithm(AlgorithmKind::Fednova(v1::FedNova {}));
    let qfedavg = || with_algorithm(AlgorithmKind::Qfedavg(v1::QFedAvg { q: 1.0 }));
    let feddyn = || with_algorithm(AlgorithmKind::Feddyn(v1::FedDyn { alpha: 1.0 }));
    let momentum = |plan| TrainingPlan {
        momentum: 0.9,
        ..plan
    };
    let cases = [
        (
            personal(PersonalKind::Fedper(layers()), scaffold()),
            "personalisation",
        ),
        (
            personal(PersonalKind::Fedrep(layers()), feddyn()),
            "personalisation",
        ),
        (personal(ditto(), fednova()), "personalisation"),
        (personal(ditto(), qfedavg()), "personalisation"),
        (momentum(scaffold()), "momentum"),
        (momentum(feddyn()), "momentum"),
        (
            TrainingPlan {
                examples_cap: 8,
                ..qfedavg()
            },
            "examples_cap",
        ),
    ];
    for (plan, expected) in cases {
        assert_eq!(field(&assignment(plan)), expected);
    }
    let fedprox = with_algorithm(AlgorithmKind::Fedprox(v1::FedProx { mu: 0.1 }));
    for good in [
        personal(ditto(), fedprox),
        personal(ditto(), feddyn()),
        momentum(plan()),
    ] {
        assert!(LocalPlan::read(&assignment(good)).is_ok());
    }
}

#[test]
fn clusters_are_the_listed_models_and_the_first_is_the_assigned_one() {
    let plan = personal(PersonalKind::Ifca(v1::Ifca {}), plan());
    let with = |digests: &[&str], plan: &TrainingPlan| Assignment {
        auxiliary_digests: digests.iter().map(|&digest| digest.to_owned()).collect(),
        ..assignment(plan.clone())
    };
    let read = LocalPlan::read(&with(&["a", "b", "c"], &plan)).unwrap();
    assert_eq!(
        read.personalisation,
        Some(Personalisation::Ifca { clusters: 3 })
    );
    for wrong in [&["a"][..], &["b", "a"], &["a"; 17], &[]] {
        assert_eq!(field(&with(wrong, &plan)), "auxiliary_digests");
    }
    let momentum = TrainingPlan {
        momentum: 0.5,
        ..plan
    };
    assert_eq!(field(&with(&["a", "b"], &momentum)), "momentum");
    let scaffold = with_algorithm(AlgorithmKind::Scaffold(v1::Scaffold {}));
    assert!(LocalPlan::read(&with(&["c"], &scaffold)).is_ok());
    assert_eq!(field(&with(&["c", "d"], &scaffold)), "auxiliary_digests");
}

fn capped(cap: u64, plan: TrainingPlan) -> TrainingPlan {
    TrainingPlan {
        examples_cap: cap,
        ..plan
    }
}

fn share(cap: u64, examples: usize) -> (f32, u64) {
    let plan = LocalPlan::read(&assignment(capped(cap, plan()))).unwrap();
    plan.share(examples).unwrap()
}

#[test]
fn a_share_is_the_number_of_examples_up_to_the_cap() {
    assert_eq!(share(8, 2), (0.25, 1 << 18));
    assert_eq!(share(8, 8), (1.0, 1 << 20));
    assert_eq!(share(8, 99), (1.0, 1 << 20));
    // 2^20 / 3 = 349,525.33 and 2^20 / 10,000 = 104.86
    assert_eq!(share(3, 1).1, 349_525);
    assert_eq!(share(10_000, 1).1, 105);
}

#[test]
fn a_share_multiplies_by_exactly_the_weight_that_is_announced() {
    for cap in [1, 3, 7, 48, 999, 9_973, 10_000] {
        for examples in [1, 2, 5, 33, 997, 12_345] {
            let (share, weight) = share(cap, examples);
            // both sides are whole numbers below 2^24
            assert_eq!(share * 1_048_576.0, weight as f32, "{examples} of {cap}");
        }
    }
}

#[test]
fn a_cap_on_examples_is_at_most_ten_thousand() {
    assert!(LocalPlan::read(&assignment(capped(10_000, plan()))).is_ok());
    for cap in [10_001, u64::MAX] {
        assert_eq!(field(&assignment(capped(cap, plan()))), "examples_cap");
    }
}

#[test]
fn a_cap_on_examples_does_not_go_with_state_that_sums_to_the_servers() {
    let scaffold = with_algorithm(AlgorithmKind::Scaffold(v1::Scaffold {}));
    let feddyn = with_algorithm(AlgorithmKind::Feddyn(v1::FedDyn { alpha: 1.0 }));
    for plan in [scaffold, feddyn] {
        assert_eq!(field(&assignment(capped(8, plan))), "examples_cap");
    }
    let fednova = with_algorithm(AlgorithmKind::Fednova(v1::FedNova {}));
    assert!(LocalPlan::read(&assignment(capped(8, fednova))).is_ok());
}

#[test]
fn top_k_does_not_go_with_clusters() {
    let clustered = |codec: &str| Assignment {
        auxiliary_digests: vec!["a".to_owned(), "b".to_owned()],
        ..assignment(TrainingPlan {
            codec: codec.to_owned(),
            ..personal(PersonalKind::Ifca(v1::Ifca {}), plan())
        })
    };
    for codec in ["topk:0.1", "topk:0.1+zstd"] {
        assert_eq!(field(&clustered(codec)), "codec");
        let error = LocalPlan::read(&clustered(codec)).unwrap_err().to_string();
        assert!(error.contains("personalisation ifca"), "{error}");
    }
    assert!(LocalPlan::read(&clustered("int8")).is_ok());
}

#[test]
fn steps_count_personal_passes_and_stop_at_the_limit() {
    let ditto = PersonalKind::Ditto(v1::Ditto {
        lambda: 1.0,
        epochs: 3,
    });
    let steps = |plan| LocalPlan::read(&assignment(plan)).unwrap().steps(8);
    assert_eq!(steps(personal(ditto.clone(), plan())), 4 + 6);
    let limited = TrainingPlan {
        max_steps: 3,
        ..personal(ditto, plan())
    };
    assert_eq!(steps(limited), 3 + 3);
}

/// Plans of every algorithm and personalisation, with and without momentum, top-k, a cap, an answer window
/// and the device's own noise, each with its mode.
fn every_method() -> Vec<(PrivacyMode, TrainingPlan)> {
    let layers = || v1::PersonalLayers {
        layers: vec!["2.".to_owned()],
        head_epochs: 1,
    };
    let algorithms = [
        None,
        Some(AlgorithmKind::Fedprox(v1::FedProx { mu: 0.1 })),
        Some(AlgorithmKind::Scaffold(v1::Scaffold {})),
        Some(AlgorithmKind::Feddyn(v1::FedDyn { alpha: 1.0 })),
        Some(AlgorithmKind::Fednova(v1::FedNova {})),
        Some(AlgorithmKind::Qfedavg(v1::QFedAvg { q: 1.0 })),
    ];
    let (lambda, epochs, alpha, adaptive) = (1.0, 1, 0.5, false);
    let personal = [
        None,
        Some(PersonalKind::Fedper(layers())),
        Some(PersonalKind::Fedrep(layers())),
        Some(PersonalKind::Ditto(v1::Ditto { lambda, epochs })),
        Some(PersonalKind::Apfl(v1::Apfl { alpha, adaptive })),
        Some(PersonalKind::Ifca(v1::Ifca {})),
    ];
    let mut plans = Vec::new();
    for bits in 0..8u32 {
        for mode in [PrivacyMode::None, PrivacyMode::Dp, PrivacyMode::Local] {
            for algorithm in &algorithms {
                for personal in &personal {
                    let message = |kind| v1::LocalAlgorithm { kind: Some(kind) };
                    let personalisation = |kind| v1::Personalisation { kind: Some(kind) };
                    let is_private = mode != PrivacyMode::None;
                    plans.push((
                        mode,
                        TrainingPlan {
                            algorithm: algorithm.map(message),
                            personalisation: personal.clone().map(personalisation),
                            momentum: if bits & 1 > 0 { 0.9 } else { 0.0 },
                            codec: if bits & 2 > 0 {
                                "topk-fixed:0.1"
                            } else {
                                "int8"
                            }
                            .to_owned(),
                            examples_cap: if bits & 4 > 0 { 8 } else { 0 },
                            answer_window: is_private.then_some(v1::AnswerWindow {
                                from_ms: 1,
                                until_ms: 2,
                            }),
                            local_noise_multiplier: f64::from(u8::from(mode == PrivacyMode::Local)),
                            ..plan()
                        },
                    ));
                }
            }
        }
    }
    plans
}

#[test]
fn a_device_refuses_exactly_what_excludes_each_other_by_the_table_that_recipes_use() {
    let (mut refused, mut followed) = (0, 0);
    for (mode, plan) in every_method() {
        let is_ifca = matches!(
            plan.personalisation
                .as_ref()
                .and_then(|personal| personal.kind.as_ref()),
            Some(PersonalKind::Ifca(_))
        );
        let digests: &[&str] = if is_ifca { &["a", "b"] } else { &[] };
        let order = Assignment {
            auxiliary_digests: digests.iter().map(|&digest| digest.to_owned()).collect(),
            ..assignment(plan.clone())
        };
        let algorithm = algorithm(plan.algorithm.as_ref()).unwrap();
        let personal = personalisation(plan.personalisation.as_ref(), &order).unwrap();
        let options = LocalOptions {
            algorithm,
            personalisation: personal.as_ref(),
            momentum: plan.momentum,
            sparse: plan.codec.starts_with("topk"),
            capped: plan.examples_cap > 0,
        };
        let conflicts: Vec<_> = options.conflicts(mode).collect();
        let read = LocalPlan::read(&order);
        assert_eq!(
            read.is_ok(),
            conflicts.is_empty(),
            "{plan:?}: {read:?}, {conflicts:?}"
        );
        *(if read.is_ok() {
            &mut followed
        } else {
            &mut refused
        }) += 1;
    }
    assert!(refused > 100 && followed > 50, "{refused}, {followed}");
}
