//! The calculators against values computed with independent tools, and what they refuse.
#![allow(clippy::unwrap_used)] // clippy.toml covers test functions, not what they call

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    plan: PlanFlags,
}

fn flags(words: &str) -> PlanFlags {
    let words = std::iter::once("plan").chain(words.split_whitespace());
    Flags::try_parse_from(words).unwrap().plan
}

/// The epsilon or the noise by this accountant.
fn by(plan: &PlanView, name: &str) -> (f64, f64) {
    let line = plan
        .accountants
        .iter()
        .find(|line| line.accountant.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} is missing in {plan:?}"));
    (line.epsilon.unwrap(), line.noise_multiplier.unwrap())
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance * expected
}

#[test]
fn one_release_has_the_epsilons_of_the_reference_tools_and_the_least_that_is_proven_comes_first() {
    let plan = epsilon(&flags("--rounds 1 --delta 1e-6"), 1.0).unwrap();
    let expected = [
        ("zCDP, exact Gaussian", 4.886_55),
        ("zCDP, CKS20", 5.221_53),
        ("zCDP, Bun-Steinke", 5.756_52),
    ];
    for (name, value) in expected {
        assert!(near(by(&plan, name).0, value, 1e-5), "{name}: {plan:?}");
    }
    assert!(
        near(by(&plan, "privacy loss").0, 4.886_55, 1e-3),
        "{plan:?}"
    );
    let epsilons = |is_curve: bool| -> Vec<f64> {
        let lines = plan.accountants.iter();
        let lines = lines.filter(|line| line.is_curve == is_curve);
        lines.map(|line| line.epsilon.unwrap()).collect()
    };
    let (proven, curves) = (epsilons(false), epsilons(true));
    assert!(proven.is_sorted() && curves.is_sorted(), "{plan:?}");
    assert_eq!(plan.epsilon, Some(proven[0]));
    assert!(curves[0] < proven[0], "a curve is never quoted");
    assert_eq!(plan.adjacency, "zero-out-one-device");
    assert!(!plan.claims_sampling && plan.caveat.contains("no sampling is claimed"));
}

#[test]
fn sampling_is_claimed_aloud_and_shown_beside_what_holds_without_it() {
    let words = "--rounds 10000 --delta 1e-5 --sampling poisson --rate 0.01";
    let plan = epsilon(&flags(words), 1.1).unwrap();
    assert!(near(by(&plan, "RDP").0, 5.632_0, 1e-4), "{plan:?}");
    assert!(near(by(&plan, "privacy loss").0, 5.192_6, 1e-3), "{plan:?}");
    // rho = 10000 / (2 1.1^2) is no privacy at all
    assert!(by(&plan, "zCDP").0 > 4_000.0, "{plan:?}");
    assert!(plan.claims_sampling && plan.caveat.contains("secret coins"));
    let page = text(&plan, Palette::PLAIN);
    for word in [
        "epsilon 5.19 at delta 1e-5",
        "add or remove one device",
        "rate 0.01",
        "claimed",
    ] {
        assert!(page.contains(word), "{word}: {page}");
    }
}

#[test]
fn samples_of_fixed_size_compare_replaced_devices_and_measure_noise_in_clips() {
    let words = "--rounds 1 --delta 1e-6 --sampling fixed --sample 50 --population 50";
    let all = epsilon(&flags(words), 2.0).unwrap();
    assert_eq!(all.adjacency, "replace-one-device");
    // everybody in every round: noise 2 over a sensitivity of 2 clips
    assert!(near(by(&all, "zCDP").0, 4.886_55, 1e-5), "{all:?}");
    let words = "--rounds 100 --delta 1e-6 --sampling fixed --sample 10 --population 10000";
    let few = epsilon(&flags(words), 4.0).unwrap();
    assert!(few.claims_sampling && few.epsilon.unwrap() < by(&few, "zCDP").0 / 5.0);
}

#[test]
fn limits_on_devices_bound_what_a_run_costs_and_correlated_noise_costs_its_sensitivity() {
    let of = |words: &str, noise| epsilon(&flags(words), noise).unwrap().epsilon.unwrap();
    let limited = "--rounds 100 --delta 1e-6 --separation 30";
    // rounds 1, 31, 61 and 91
    assert_eq!(of(limited, 2.0), of("--rounds 4 --delta 1e-6", 2.0));
    let two = format!("{limited} --participations 2");
    assert_eq!(of(&two, 2.0), of("--rounds 2 --delta 1e-6", 2.0));
    // a tree over 2048 rounds has a height of 12
    let tree = of(
        "--rounds 2048 --delta 1e-6 --mechanism tree --participations 1",
        6.0,
    );
    assert!(
        near(tree, of("--rounds 12 --delta 1e-6", 6.0), 1e-9),
        "{tree}"
    );
    // the reference BLT for one participation in 2048 rounds has a sensitivity of 1.865
    let blt = of(
        "--rounds 2048 --delta 1e-6 --mechanism blt --participations 1",
        1.865,
    );
    assert!(near(blt, of("--rounds 1 --delta 1e-6", 1.0), 0.1), "{blt}");
}

#[test]
fn the_noise_that_is_advised_keeps_within_epsilon_and_little_less_does_not() {
    let words = [
        "--rounds 100 --delta 1e-6 --sampling poisson --rate 0.1",
        "--rounds 100 --delta 1e-6 --participations 4 --separation 25 --mechanism blt",
        "--rounds 20 --delta 1e-6 --sampling fixed --sample 10 --population 1000",
    ];
    for words in words {
        let (flags, wanted) = (flags(words), 2.0);
        let plan = noise(&flags, wanted).unwrap();
        for line in &plan.accountants {
            let advised = line.noise_multiplier.unwrap();
            let name = line.accountant;
            assert!(line.epsilon.unwrap() <= wanted, "{line:?}");
            assert!(by(&epsilon(&flags, advised).unwrap(), name).0 <= wanted);
            let less = epsilon(&flags, advised * 0.999).unwrap();
            assert!(
                by(&less, name).0 > wanted,
                "{name} needs less than {advised} for {words}"
            );
        }
    }
    let plan = noise(&flags(words[0]), 2.0).unwrap();
    assert!(near(by(&plan, "RDP").1, 2.670, 2e-3), "{plan:?}");
    assert!(near(by(&plan, "privacy loss").1, 2.498, 2e-3), "{plan:?}");
}

#[test]
fn flags_that_are_no_plan_are_refused_by_name_with_the_exit_code_of_a_wrong_command_line() {
    let cases = [
        (
            "--sampling poisson",
            "--rate is missing: --sampling poisson needs it",
        ),
        ("--sampling fixed --sample 3", "--population is missing"),
        (
            "--sampling fixed --sample 9 --population 8",
            "--sample is 9, more than",
        ),
        (
            "--rate 0.1",
            "--rate has no meaning without --sampling poisson",
        ),
        (
            "--population 8",
            "--population has no meaning without --sampling fixed",
        ),
        (
            "--sampling poisson --rate 0.1 --mechanism blt",
            "--sampling has no meaning with",
        ),
        (
            "--sampling poisson --rate 0.1 --separation 2",
            "--separation has no meaning with",
        ),
        (
            "--separation 11",
            "--separation: participation: separation is 11",
        ),
    ];
    for (words, sentence) in cases {
        let flags = flags(&format!("--rounds 10 --delta 1e-6 {words}"));
        let refused = epsilon(&flags, 1.0).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.sentence.contains(sentence), "{words}: {refused}");
    }
    let bad = [
        ("--delta", "0"),
        ("--delta", "1"),
        ("--delta", "NaN"),
        ("--rounds", "0"),
        ("--rate", "0"),
        ("--rate", "1.01"),
        ("--sample", "0"),
        ("--participations", "0"),
        ("--separation", "0"),
    ];
    for (flag, value) in bad {
        let words = ["plan", "--rounds", "10", "--delta", "1e-6"];
        let words = words
            .into_iter()
            .filter(|word| *word != flag)
            .chain([flag, value]);
        let mut seen: Vec<&str> = words.collect();
        // the value of a flag that was taken out
        if flag == "--delta" || flag == "--rounds" {
            seen.retain(|word| *word != if flag == "--delta" { "1e-6" } else { "10" });
        }
        let refused = Flags::try_parse_from(seen).unwrap_err().to_string();
        assert!(
            refused.contains(flag) && refused.contains(value),
            "{refused}"
        );
    }
    for bad in ["0", "-1", "inf", "NaN", "x"] {
        assert!(super::super::plan::positive(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_epsilon_that_no_noise_reaches_is_said_to_be_out_of_reach() {
    // epsilon 0 at delta needs noise of about 0.4 / delta, which is beyond what is looked at here
    let plan = noise(&flags("--rounds 1 --delta 1e-15"), 1e-9).unwrap();
    assert_eq!(
        (plan.epsilon, plan.noise_multiplier),
        (None, None),
        "{plan:?}"
    );
    assert!(text(&plan, Palette::PLAIN).starts_with("no accountant can state"));
    assert_eq!(exit(&plan), Exit::Failed, "no result is no success");
    let too_little = epsilon(&flags("--rounds 1 --delta 1e-6"), 1e-300).unwrap();
    assert_eq!(
        (too_little.epsilon, exit(&too_little)),
        (None, Exit::Failed)
    );
    let some = epsilon(&flags("--rounds 1 --delta 1e-6"), 1.0).unwrap();
    assert_eq!(exit(&some), Exit::Done);
}
