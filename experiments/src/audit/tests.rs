//! The audit as a whole, small; and every verdict with wrong numbers.

use super::*;
use crate::runner::Silent;

/// 508 parameters and few rounds.
fn small() -> AuditRecipe {
    let mut recipe = AuditRecipe::from_toml(PRIVACY_AUDIT).unwrap();
    recipe.model = ModelRecipe {
        features: 16,
        hidden: 24,
        classes: 4,
    };
    (recipe.noise.devices, recipe.noise.rounds) = (3, 4);
    (recipe.sensitivity.devices, recipe.sensitivity.rounds) = (3, 1);
    // by the theorem a right build fails in one of 20 runs at the most; with guesses this coarse on
    // noise this large about 1 in 10^6 do
    recipe.canary.canaries = 100;
    (recipe.canary.noise_multiplier, recipe.canary.shrink) = (3.0, 20.0);
    recipe.canary.guesses = vec![0.5, 1.0];
    recipe.adaptive = recipe.adaptive.map(|adaptive| AdaptiveRecipe {
        devices: 12,
        rounds: 12,
        starts: vec![0.3],
        learning_rate: 0.6,
        frozen_rounds: 1,
        ..adaptive
    });
    recipe
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_passes_its_audit() {
    let outcome = run_audit(&small(), &Silent).await.unwrap();
    assert!(outcome.passed, "{outcome:#?}");
    let folder = tempfile::tempdir().unwrap();
    let written = write_audit(&outcome, folder.path()).unwrap();
    let json = std::fs::read_to_string(&written.json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["noise"][0]["mechanism"], "independent");
    assert_eq!(json["canaries"]["runs"][0]["must_be_refuted"], false);
    let lines = |index: usize| {
        let text = std::fs::read_to_string(&written.csv[index]).unwrap();
        (
            text.lines().next().unwrap().to_owned(),
            text.lines().count(),
        )
    };
    let header = "part,subject,check,measured,expected,p_value,passed";
    assert_eq!(lines(0).0, header);
    // five mechanisms and four rounds; three attacks on 100 canaries; 12 and 13 rounds
    assert_eq!([lines(1).1, lines(2).1, lines(3).1], [21, 301, 26]);
    let page = std::fs::read_to_string(&written.page).unwrap();
    assert!(page.contains("field\u{2019}s default") && !page.contains("NaN"));
}

mod verdicts {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng as _;
    use tributary_report::audit::NoiseOutcome;

    use super::super::grid::unit;
    use super::super::law::RoundLaw;
    use super::super::noise::{Measured, judge};
    use super::super::sensitivity;
    use super::super::statistics::normal_quantile;

    const ROUNDS: usize = 4;
    const PARAMETERS: usize = 20_000;
    const FALSE_ALARM: f64 = 1e-6;

    /// Standard normal values by round and coordinate; the seed is fixed.
    fn seeds() -> Vec<Vec<f64>> {
        let mut rng = ChaCha20Rng::seed_from_u64(11);
        let mut value = || normal_quantile(unit(&mut rng).clamp(1e-16, 1.0 - 1e-16));
        let mut round = || (0..PARAMETERS).map(|_| value()).collect();
        (0..ROUNDS).map(|_| round()).collect()
    }

    fn measured(law: RoundLaw, noise: Vec<Vec<f64>>) -> Measured {
        Measured {
            mechanism: "by hand".to_owned(),
            law_in_words: String::new(),
            devices: 1,
            parameters: PARAMETERS,
            law,
            noise,
            rounding: 1e-6,
            charged: 1.0,
            due: 1.0,
        }
    }

    fn independent(change: impl Fn(&mut Vec<Vec<f64>>)) -> NoiseOutcome {
        let mut noise = seeds();
        change(&mut noise);
        let law = RoundLaw::independent(ROUNDS).unwrap();
        judge(&measured(law, noise), FALSE_ALARM)
    }

    fn failed(outcome: &NoiseOutcome) -> Vec<&str> {
        assert!(!outcome.passed);
        let wrong = outcome.checks.iter().filter(|check| !check.passed);
        wrong.map(|check| check.name.as_str()).collect()
    }

    #[test]
    fn noise_of_the_right_law_passes() {
        let outcome = independent(|_| {});
        assert!(outcome.passed, "{:?}", outcome.checks);
        // 80,000 values: sqrt(1 / 160,000) times 5.5 deviations
        assert!((0.01..0.02).contains(&outcome.noticed_share));
        let share: f64 = outcome
            .histogram
            .iter()
            .map(|bin| bin.density * (bin.to - bin.from))
            .sum();
        assert!((share - 1.0).abs() < 1e-9);
    }

    #[test]
    fn noise_a_few_per_cent_too_small_fails() {
        let outcome = independent(|noise| {
            noise.iter_mut().flatten().for_each(|value| *value *= 0.97);
        });
        assert!(failed(&outcome).contains(&"variance, all rounds"));
    }

    #[test]
    fn one_round_with_too_little_noise_fails() {
        let outcome = independent(|noise| {
            noise[2].iter_mut().for_each(|value| *value *= 0.95);
        });
        assert!(failed(&outcome).contains(&"variance, worst round"));
    }

    #[test]
    fn noise_that_is_used_twice_fails() {
        let outcome = independent(|noise| noise[3] = noise[1].clone());
        assert!(failed(&outcome).contains(&"correlation of rounds, worst pair"));
    }

    #[test]
    fn noise_that_repeats_within_a_round_fails() {
        let outcome = independent(|noise| {
            for round in noise {
                for index in (7..PARAMETERS).step_by(2) {
                    round[index] = round[index - 7];
                }
            }
        });
        assert!(failed(&outcome).contains(&"correlation of coordinates, worst of 16 lags"));
    }

    #[test]
    fn noise_of_another_law_with_the_right_variance_fails() {
        let outcome = independent(|noise| {
            // Laplace of variance 1
            for value in noise.iter_mut().flatten() {
                let level = super::super::statistics::normal_cdf(*value);
                let tail = (2.0 * level.min(1.0 - level)).max(1e-300);
                *value = value.signum() * -tail.ln() / 2f64.sqrt();
            }
        });
        let failed = failed(&outcome);
        assert!(failed.contains(&"Anderson-Darling distance"), "{failed:?}");
        assert!(
            failed.contains(&"chi-square on 64 equal bins"),
            "{failed:?}"
        );
    }

    #[test]
    fn a_bias_and_values_that_are_no_numbers_fail() {
        let outcome = independent(|noise| {
            noise.iter_mut().flatten().for_each(|value| *value += 0.05);
        });
        assert!(failed(&outcome).contains(&"mean of the noise"));
        let outcome = independent(|noise| noise[0][0] = f64::NAN);
        assert!(failed(&outcome).len() >= 4);
    }

    #[test]
    fn correlated_noise_passes_its_own_law_and_no_other() {
        let inverse = [1.0, -0.4, -0.15, -0.08];
        let seeds = seeds();
        let emitted: Vec<Vec<f64>> = (0..ROUNDS)
            .map(|round| {
                let value = |coordinate: usize| {
                    let terms = (0..=round).map(|j| inverse[round - j] * seeds[j][coordinate]);
                    terms.sum()
                };
                (0..PARAMETERS).map(value).collect()
            })
            .collect();
        let law = RoundLaw::toeplitz(&inverse).unwrap();
        let outcome = judge(&measured(law, emitted.clone()), FALSE_ALARM);
        assert!(outcome.passed, "{:?}", outcome.checks);
        let other = RoundLaw::toeplitz(&[1.0, -0.35, -0.15, -0.08]).unwrap();
        assert!(!judge(&measured(other, emitted.clone()), FALSE_ALARM).passed);
        let tree = RoundLaw::tree(ROUNDS).unwrap();
        assert!(!judge(&measured(tree, emitted), FALSE_ALARM).passed);
    }

    #[test]
    fn a_charge_below_the_due_and_coarse_weights_fail() {
        let law = || RoundLaw::independent(ROUNDS).unwrap();
        let mut cheap = measured(law(), seeds());
        cheap.charged = 0.99;
        let outcome = judge(&cheap, FALSE_ALARM);
        assert_eq!(failed(&outcome), ["charge of the ledger, in rho"]);
        let mut coarse = measured(law(), seeds());
        coarse.rounding = 0.1;
        let outcome = judge(&coarse, FALSE_ALARM);
        assert_eq!(failed(&outcome), ["rounding of weights, in sigma"]);
    }

    fn comparison<'a>() -> sensitivity::Measured<'a> {
        sensitivity::Measured {
            name: "a device",
            changes: true,
            expected: "",
            counted: 2,
            rounds: 2,
            distance: 1.0,
            bound: 1.0001,
            rounding: 1e-6,
        }
    }

    #[test]
    fn a_device_that_changes_more_than_the_bound_fails() {
        assert!(comparison().judge().passed);
        for wrong in [
            sensitivity::Measured {
                distance: 1.0002,
                ..comparison()
            },
            sensitivity::Measured {
                distance: f64::NAN,
                ..comparison()
            },
            // honest, and yet refused
            sensitivity::Measured {
                counted: 1,
                ..comparison()
            },
            sensitivity::Measured {
                rounds: 0,
                counted: 0,
                ..comparison()
            },
        ] {
            assert!(!wrong.judge().passed);
        }
    }

    #[test]
    fn what_may_change_nothing_is_counted_and_changes_nothing() {
        let zeros = || sensitivity::Measured {
            changes: false,
            distance: 0.0,
            ..comparison()
        };
        assert!(zeros().judge().passed);
        let refused = sensitivity::Measured {
            counted: 1,
            ..zeros()
        };
        assert!(
            !refused.judge().passed,
            "who is counted would tell of the data"
        );
        let moved = sensitivity::Measured {
            distance: 1e-9,
            ..zeros()
        };
        assert!(!moved.judge().passed);
    }
}

#[test]
fn recipes_that_make_no_sense_are_refused_by_name() {
    let cases = [
        ("clip = 0.5 ", "clip = 0.3 ", "clip"),
        ("false_alarm = 1e-6", "false_alarm = 0.5", "false_alarm"),
        ("delta = 1e-5", "delta = 0.0", "delta"),
        ("canaries = 200", "canaries = 2", "canary.canaries"),
        ("shrink = 10.0", "shrink = 1.0", "canary.shrink"),
        (
            "guesses = [0.125, 0.25, 0.5, 1.0]",
            "guesses = []",
            "canary.guesses",
        ),
        ("hidden = 320", "hidden = 0", "model.hidden"),
        ("seed = ", "sed = ", "recipe"),
    ];
    for (right, wrong, field) in cases {
        assert!(PRIVACY_AUDIT.contains(right), "{right}");
        let refused = AuditRecipe::from_toml(&PRIVACY_AUDIT.replace(right, wrong));
        let text = refused.unwrap_err().to_string();
        assert!(text.starts_with(field), "{text}");
    }
    assert!(AuditRecipe::is_meant_by(PRIVACY_AUDIT));
    assert!(!AuditRecipe::is_meant_by("kind = \"attack_laboratory\""));
}
