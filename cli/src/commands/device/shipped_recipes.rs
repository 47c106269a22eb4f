//! The recipes of the repository and the devices that this command simulates fit together.

use clap::Parser;
use tributary_recipe::{PrivacySpec, RunSpec, TrainingSpec};

use super::flags::DeviceArguments;
use crate::arguments::Arguments;
use crate::commands::Command;

const README: &str = include_str!("../../../../README.md");

/// Recipes that `run start` takes, by file name.
fn live_recipes() -> Vec<(String, RunSpec)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/recipes");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let live = files.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        let spec = RunSpec::from_toml(&std::fs::read_to_string(&path).unwrap()).ok()?;
        Some((name, spec))
    });
    live.collect()
}

/// The devices that the README starts.
fn fleets() -> Vec<DeviceArguments> {
    let lines = README.lines().filter_map(|line| line.strip_prefix("$ "));
    let lines = lines.filter(|line| line.starts_with("tributary device "));
    let parsed = lines.map(|line| Arguments::try_parse_from(line.split_whitespace()).unwrap());
    let fleet = parsed.filter_map(|arguments| match arguments.command {
        Command::Device(command) => command.simulated,
        _ => None,
    });
    fleet.collect()
}

#[test]
fn simulated_devices_train_every_shipped_recipe_in_half_the_time_that_it_leaves() {
    let fits =
        |name: &str, fleet: &DeviceArguments, training: &TrainingSpec, privacy: &PrivacySpec| {
            let Some([from_ms, _]) = privacy.answer_window_ms else {
                return;
            };
            let batches = fleet.examples.div_ceil(training.batch_size);
            let steps = u64::from(batches * training.epochs);
            let takes_ms = steps * fleet.step_ms;
            assert!(
                takes_ms * 2 <= from_ms,
                "{name}: {steps} steps take {takes_ms} ms; the answer window begins at {from_ms} ms"
            );
        };
    let (recipes, fleets) = (live_recipes(), fleets());
    for name in [
        "quickstart",
        "demo",
        "adaptive-clip",
        "dp-ftrl",
        "dp-tree",
        "local-noise",
    ] {
        let file = format!("{name}.toml");
        assert!(recipes.iter().any(|(known, _)| *known == file), "{file}");
    }
    assert!(!fleets.is_empty());
    for (name, spec) in &recipes {
        for fleet in &fleets {
            fits(name, fleet, &spec.training, &spec.privacy);
            if let Some(playbook) = &spec.playbook {
                fits(name, fleet, &playbook.training, &playbook.privacy);
            }
        }
    }
}
