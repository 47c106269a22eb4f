//! Every refusal of a recipe names the key and the remedy.

use proptest::prelude::*;

use super::*;
/// A valid recipe with every section.
const RECIPE: &str = include_str!("../tests/tiny.toml");

/// The recipe, checked.
fn spec() -> RunSpec {
    RunSpec::from_toml(RECIPE).unwrap()
}

/// The message for the recipe with `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    let text = RECIPE.replacen(from, to, 1);
    assert_ne!(text, RECIPE, "{from:?} is not in the recipe");
    match RunSpec::from_toml(&text) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{to:?} was accepted"),
    }
}

/// Each change of the recipe is refused with a message that holds all the words.
fn all_refused(changes: &[(&str, &str, &[&str])]) {
    for (from, to, words) in changes {
        let message = refusal(from, to);
        for word in *words {
            assert!(
                message.contains(word),
                "{to:?} gave {message:?}, which lacks {word:?}"
            );
        }
    }
}

#[test]
fn the_recipe_is_accepted_and_survives_json_and_toml() {
    let spec = spec();
    let json = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<RunSpec>(&json).unwrap(), spec);
    let toml = toml::to_string(&spec).unwrap();
    assert_eq!(RunSpec::from_toml(&toml).unwrap(), spec);
    assert!(!spec.is_seeded());
}

#[test]
fn absent_keys_take_their_documented_defaults() {
    let text = RECIPE
        .replace("minimum = 2\n", "")
        .replace("population = 12\n", "");
    let rounds = RunSpec::from_toml(&text).unwrap().rounds;
    assert_eq!(
        (rounds.minimum(), rounds.population(), rounds.to_select()),
        (2, 4, 6)
    );
    assert_eq!(
        (rounds.min_separation, rounds.selection_timeout_ms),
        (1, 600_000)
    );
    assert_eq!(spec().privacy.delta, 1e-5);
    assert_eq!(spec().training.codec, "f32");
}

#[test]
fn unknown_keys_are_refused_by_name_in_every_section() {
    all_refused(&[
        ("task =", "tusk = 1\ntask =", &["tusk", "unknown field"]),
        (
            "input = [4]",
            "input = [4]\nimput = 1",
            &["imput", "unknown field"],
        ),
        (
            "units = 3 }",
            "units = 3, unit = 1 }",
            &["unit", "unknown field"],
        ),
        (
            "count = 3",
            "count = 3\ncuont = 1",
            &["cuont", "unknown field"],
        ),
        (
            "epochs = 1",
            "epochs = 1\nepoch = 1",
            &["epoch", "unknown field"],
        ),
        (
            "clip = 1.0",
            "clip = 1.0\nclap = 1",
            &["clap", "unknown field"],
        ),
        (
            "interval_ms",
            "interval = 1\ninterval_ms",
            &["interval", "unknown field"],
        ),
        (
            "{ source = \"prediction\" }",
            "{ source = \"prediction\", x = 1 }",
            &["`x`"],
        ),
        (
            "[builds]",
            "[builds]\nwidht = 1",
            &["widht", "unknown field"],
        ),
        (
            "[playbook.rounds]",
            "[playbook]\nx = 1\n[playbook.rounds]",
            &["`x`"],
        ),
    ]);
}

#[test]
fn wrong_types_are_refused_with_the_place() {
    all_refused(&[
        (
            "count = 3",
            "count = \"three\"",
            &["count = \"three\"", "invalid type"],
        ),
        ("count = 3", "count = -3", &["count", "invalid value"]),
        ("clip = 1.0", "clip = true", &["clip", "invalid type"]),
        (
            "regions = [\"eu\", \"us\"]",
            "regions = \"eu\"",
            &["regions", "invalid type"],
        ),
        ("[\"eu\", \"us\"]", "[\"e u\"]", &["region", "is not an id"]),
        ("input = [4]", "input = 4", &["model", "invalid type"]),
        (
            "mode = \"dp\"",
            "mode = \"pd\"",
            &["mode", "unknown variant"],
        ),
        ("name = \"tiny\"", "name = ", &["name"]),
    ]);
}

#[test]
fn a_missing_section_is_refused_by_name() {
    let start = RECIPE.find("[training]").unwrap();
    let end = RECIPE.find("[privacy]").unwrap();
    let text = format!("{}{}", &RECIPE[..start], &RECIPE[end..]);
    let message = RunSpec::from_toml(&text).unwrap_err().to_string();
    assert!(message.contains("missing field `training`"), "{message}");
}

#[test]
fn numbers_that_are_not_numbers_or_out_of_range_are_refused() {
    for bad in ["nan", "inf", "-inf", "-1.0", "1e300"] {
        let numbers = [
            ("over_selection = 1.5", "over_selection"),
            ("clip = 1.0", "privacy.clip"),
            (
                "noise_multiplier = 2.0\nepsilon",
                "privacy.noise_multiplier",
            ),
            ("epsilon = 8.0", "privacy.epsilon"),
            ("learning_rate = 0.1", "training.learning_rate"),
            ("\nnoise_votes = 2.0", "drift.noise_votes"),
            (
                "calibration_noise_votes = 2.0",
                "builds.calibration_noise_votes",
            ),
        ];
        for (from, field) in numbers {
            let key = from.trim().split(' ').next().unwrap();
            let rest = if from.ends_with("\nepsilon") {
                "\nepsilon"
            } else {
                ""
            };
            let message = refusal(from, &format!("\n{key} = {bad}{rest}"));
            assert!(
                message.contains(field) && message.contains(": use "),
                "{message}"
            );
        }
        let message = refusal("epsilon = 8.0", &format!("epsilon = 8.0\ndelta = {bad}"));
        assert!(message.contains("privacy.delta"), "{message}");
    }
}

#[test]
fn values_that_make_no_sense_are_refused_with_the_remedy() {
    all_refused(&[
        ("name = \"tiny\"", "name = \"\"", &["name", "use 1 to 40"]),
        (
            "name = \"tiny\"",
            "name = \"a b\"",
            &["name", "use 1 to 40"],
        ),
        (
            "task = \"watch\"",
            "task = \"\"",
            &["task", "name the data"],
        ),
        (
            "task = \"watch\"",
            "task = \"wat\\u0000ch\"",
            &["task", "control characters"],
        ),
        ("[\"eu\", \"us\"]", "[]", &["regions", "name 1 to 1000"]),
        (
            "[\"eu\", \"us\"]",
            "[\"eu\", \"eu\"]",
            &["regions", "twice", "name each once"],
        ),
        ("units = 3", "units = 0", &["model"]),
        ("count = 3", "count = 0", &["rounds.count", "use 1 to"]),
        ("cohort = 4", "cohort = 0", &["rounds.cohort", "use 1 to"]),
        (
            "cohort = 4",
            "cohort = 12001",
            &["rounds.cohort", "use 1 to 12000"],
        ),
        (
            "minimum = 2",
            "minimum = 0",
            &["rounds.minimum", "use 1 to the cohort"],
        ),
        (
            "minimum = 2",
            "minimum = 5",
            &["rounds.minimum", "use 1 to the cohort"],
        ),
        (
            "over_selection = 1.5",
            "over_selection = 0.9",
            &["rounds.over_selection", "1 to 4"],
        ),
        (
            "deadline_ms = 1000",
            "deadline_ms = 1",
            &["rounds.deadline_ms", "use 100"],
        ),
        (
            "max_participations = 2",
            "max_participations = 0",
            &["max_participations", "least 1"],
        ),
        (
            "population = 12",
            "min_separation = 0",
            &["rounds.min_separation", "use 1"],
        ),
        ("epochs = 1", "epochs = 0", &["training.epochs", "use 1"]),
        (
            "batch_size = 8",
            "batch_size = 70000",
            &["training.batch_size", "65536"],
        ),
        (
            "batch_size = 8",
            "batch_size = 8\ncodec = \"zip\"",
            &["training.codec", "topk:SHARE"],
        ),
        (
            "\"dp\"",
            "\"none\"",
            &["privacy.noise_multiplier", "privacy.mode to dp"],
        ),
    ]);
}

#[test]
fn a_goal_larger_than_the_population_is_refused() {
    let message = refusal("population = 12", "population = 3");
    assert!(
        message.contains("rounds.cohort is 4, larger than the population of 3"),
        "{message}"
    );
    assert!(message.contains("raise rounds.population"), "{message}");
}

#[test]
fn participations_that_can_not_last_the_planned_rounds_are_refused() {
    let message = refusal("count = 3", "count = 100");
    assert!(
        message.contains("rounds.max_participations allows 24 contributions"),
        "{message}"
    );
    assert!(message.contains("want at least 200"), "{message}");
    let separated = "min_separation = 2\npopulation = 4";
    let text = RECIPE
        .replace("population = 12", separated)
        .replace("minimum = 2", "minimum = 4");
    let message = RunSpec::from_toml(&text).unwrap_err().to_string();
    assert!(
        message.contains("allows 8") && message.contains("least 12"),
        "{message}"
    );
}

#[test]
fn a_seeded_round_that_one_commit_could_not_charge_is_refused() {
    let mut seeded = spec();
    seeded.seed = Some(1);
    (seeded.rounds.cohort, seeded.rounds.population) = (12_000, None);
    let message = seeded.check().unwrap_err().to_string();
    assert!(
        message.contains("rounds.over_selection makes a seeded round count 18000"),
        "{message}"
    );
    seeded.seed = None;
    seeded.check().unwrap();
}

#[test]
fn a_server_optimiser_with_bad_numbers_is_refused() {
    let server = "[server.optimiser]\nkind = \"fedavg\"\nlearning_rate = -1.0\n[privacy]";
    let message = refusal("[privacy]", server);
    assert!(message.contains("optimiser"), "{message}");
}

#[test]
fn a_model_version_must_be_a_digest() {
    let model = RECIPE.find("[model]").unwrap()..RECIPE.find("[rounds]").unwrap();
    let with = |version: &str| {
        let model_section = format!("[model]\nversion = \"{version}\"\n");
        RunSpec::from_toml(&RECIPE.replace(&RECIPE[model.clone()], &model_section))
    };
    // whole, or as `tributary model ls` prints it
    for good in [&*"a0".repeat(32), "a0b1c2d3e4f5"] {
        assert!(matches!(with(good).unwrap().model, ModelSource::Version(_)));
    }
    for bad in ["", "a0", &"g0".repeat(32), &"a0".repeat(33)] {
        let message = with(bad).unwrap_err().to_string();
        assert!(
            message.contains("model.version") && message.contains("no digest: use the 64 hex"),
            "{message}"
        );
    }
}

#[test]
fn a_monitor_that_could_not_work_is_refused() {
    all_refused(&[
        (
            "\nnoise_votes = 2.0",
            "\nnoise_votes = 0.0",
            &["drift.noise_votes", "0.5"],
        ),
        (
            "\nnoise_votes",
            "\nwarm_up = 0\nnoise_votes",
            &["drift.warm_up", "use 1"],
        ),
        (
            "\nnoise_votes",
            "\nminimum_devices = 0\nnoise_votes",
            &["drift.minimum_devices"],
        ),
        (
            "\nnoise_votes",
            "\ndeadline_ms = 5\nnoise_votes",
            &["drift.deadline_ms"],
        ),
        (
            "[0.5, 0.9]",
            "[0.9, 0.5]",
            &["drift.quantities.edges", "rising"],
        ),
        (
            "[0.5, 0.9]",
            "[0.5, 0.5]",
            &["drift.quantities.edges", "rising"],
        ),
        (
            "[0.5, 0.9]",
            "[0.5, nan]",
            &["drift.quantities.edges", "finite"],
        ),
        ("[0.5, 0.9]", "[]", &["drift.quantities.edges", "missing"]),
        (
            "\"confidence\"",
            "\"feature:x\"",
            &["drift.quantities.source", "feature:N"],
        ),
        (
            "\"confidence\"",
            "\"weather\"",
            &["drift.quantities.source", "feature:N"],
        ),
        (
            "\"confidence\"",
            "\"prediction\"",
            &["drift.quantities.source", "twice"],
        ),
    ]);
    let mut none = spec();
    none.drift.as_mut().unwrap().quantities.clear();
    let message = none.check().unwrap_err().to_string();
    assert!(
        message.contains("drift.quantities names 0: name 1 to 64"),
        "{message}"
    );
    let interval = "\nmean_windows_between_false_alarms = 3\nnoise_votes";
    assert!(refusal("\nnoise_votes", interval).contains("mean_windows_between_false_alarms"));
}

#[test]
fn a_playbook_needs_a_monitor_and_the_same_privacy() {
    let mut deaf = spec();
    deaf.drift = None;
    let message = deaf.check().unwrap_err().to_string();
    assert!(message.contains("playbook has no monitor"), "{message}");
    assert!(
        message.contains("add a [drift] section or remove [playbook]"),
        "{message}"
    );
    let mut leaky = spec();
    let plain = &mut leaky.playbook.as_mut().unwrap().privacy;
    plain.mode = PrivacyMode::None;
    plain.noise_multiplier = 0.0;
    plain.epsilon = None;
    let message = leaky.check().unwrap_err().to_string();
    assert!(
        message.contains("playbook.privacy.mode differs"),
        "{message}"
    );
}

#[test]
fn mistakes_inside_the_playbook_are_named_with_their_path() {
    all_refused(&[
        ("count = 1\n", "count = 0\n", &["playbook.rounds.count"]),
        (
            "cohort = 2",
            "cohort = 2\nminimum = 3",
            &["playbook.rounds.minimum"],
        ),
    ]);
}

#[test]
fn invariant_5_calibration_without_noise_is_refused_while_privacy_is_on() {
    let zero = "calibration_noise_votes = 0.0";
    let message = refusal("calibration_noise_votes = 2.0", zero);
    assert!(
        message.contains("builds.calibration_noise_votes is 0: use 0.5"),
        "{message}"
    );
}

#[test]
fn widths_of_builds_must_fall_within_0_and_1() {
    for bad in [
        "[]",
        "[0.5, 1.0]",
        "[1.0, 1.0]",
        "[2.0]",
        "[1.0, 0.0]",
        "[nan]",
    ] {
        let message = refusal("[builds]", &format!("[builds]\nwidths = {bad}"));
        assert!(
            message.contains("builds.widths") && message.contains("widest first"),
            "{message}"
        );
    }
}

#[test]
fn a_recipe_without_end_is_refused_before_it_is_parsed() {
    let message = RunSpec::from_toml(&"#".repeat(300_000)).unwrap_err();
    assert!(
        matches!(message, SpecError::TooLong { bytes: 300_000, .. }),
        "{message}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,300}", at in 0usize..RECIPE.len()) {
        let _ = RunSpec::from_toml(&text);
        let mut damaged = RECIPE.to_owned();
        damaged.replace_range(at..=at, "\u{1F980}");
        prop_assert!(!text.is_empty() || RunSpec::from_toml(&text).is_err());
        let _ = RunSpec::from_toml(&damaged);
    }
}

#[test]
fn a_feature_that_the_input_does_not_have_is_refused_with_those_that_it_has() {
    let with = |place: u32| {
        let quantities = format!("{{ source = \"feature:{place}\", edges = [0.5] }}");
        RunSpec::from_toml(&RECIPE.replace("{ source = \"prediction\" }", &quantities))
    };
    with(3).unwrap();
    let message = with(4).unwrap_err().to_string();
    assert!(message.contains("drift.quantities.source"), "{message}");
    assert!(
        message.contains("4 values: use feature:0 to feature:3"),
        "{message}"
    );
}

#[test]
fn a_loss_is_refused_for_what_it_is_and_not_for_its_edges() {
    let quantities = "{ source = \"loss\" }";
    let text = RECIPE.replace("{ source = \"prediction\" }", quantities);
    let message = RunSpec::from_toml(&text).unwrap_err().to_string();
    assert!(
        message.contains("drift.quantities.source is \"loss\""),
        "{message}"
    );
    assert!(
        message.contains("no labels") && !message.contains("edges"),
        "{message}"
    );
}

#[test]
fn the_recipe_of_an_experiment_is_sent_to_the_command_that_runs_it() {
    for text in [
        "title = \"t\"\n[[variant]]\nname = \"a\"",
        "kind = \"attack_laboratory\"\ntitle = \"t\"",
        "kind = \"privacy_audit\"\ntitle = \"t\"",
    ] {
        let message = RunSpec::from_toml(text).unwrap_err().to_string();
        assert!(message.contains("tributary experiment run"), "{message}");
    }
    let message = RunSpec::from_toml("colour = 1").unwrap_err().to_string();
    assert!(!message.contains("experiment"), "{message}");
}
