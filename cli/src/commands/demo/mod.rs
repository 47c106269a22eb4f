//! `tributary demo`: the whole promise on real recordings, in one process.

mod summary;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tributary_experiments::demo::{self, DemoConfig, DemoOutcome};
use tributary_experiments::output::OutputFile;
use tributary_report::picture::{TerminalOptions, terminal};

use crate::exit::{Exit, unfinished};
use crate::folder::must_be_writable;
use crate::output::{Output, Palette};
use crate::progress::ProgressReporter;

const AFTER: &str = "\
Examples:
  tributary demo
  tributary demo --format json > demo.json
  tributary demo --seed 7 --report seeded-report

4,000 simulated wearables in three regions train a model under device-level
differential privacy, over real gRPC with the store on disk. Then the people in
one region wear the watch on the other arm: the monitor notices, the region
retrains within the remaining budget, and its devices install int8 builds that
fit them. All numbers are measured in this run on held-out windows. It takes
about a minute on two cores.";

/// Flags of `demo`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct DemoArguments {
    /// Repeat the demo to the bit; the noise can then be predicted: NOT PRIVATE
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 63))]
    seed: Option<u64>,
    /// Simulated wearables, 2,000 to 20,000
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = devices)]
    devices: u32,
    /// Folder of the report; --out is the same
    #[arg(
        long,
        alias = "out",
        value_name = "DIR",
        default_value = "tributary-report"
    )]
    report: PathBuf,
    /// Also draw this terminal's summary and the report's plots as SVG into a folder
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// A number of wearables that the demo meets its targets with.
fn devices(text: &str) -> Result<u32, String> {
    let devices = text.parse().map_err(|_| "is no whole number".to_owned())?;
    let config = DemoConfig {
        devices,
        ..DemoConfig::default()
    };
    config.check().map_err(|error| error.to_string())?;
    Ok(devices)
}

/// Plays the demo and prints what it measured.
pub async fn play(arguments: DemoArguments, output: Output) -> Result<Exit> {
    let config = DemoConfig {
        devices: arguments.devices,
        seed: arguments.seed,
        report: arguments.report,
    };
    must_be_writable("--report", &config.report)?;
    if let Some(folder) = &arguments.pictures {
        must_be_writable("--pictures", folder)?;
    }
    let narrator = ProgressReporter::new(output);
    let played = demo::run(config, &narrator).await;
    narrator.finish();
    let outcome = played.map_err(unfinished("the demo"))?;
    if let Some(folder) = &arguments.pictures {
        draw(&outcome, folder)?;
    }
    output.answer(&outcome, summary::text)?;
    Ok(Exit::Done)
}

/// Writes `demo-terminal.svg` and `demo-report.svg`.
fn draw(outcome: &DemoOutcome, folder: &Path) -> Result<()> {
    let context = || format!("--pictures {}: it can't be written", folder.display());
    let title = "cargo run --release -- demo".to_owned();
    let window = TerminalOptions {
        title,
        ..TerminalOptions::default()
    };
    let picture = terminal(&summary::text(outcome, Palette::COLOURED), &window);
    let write = |name: &str, bytes: &[u8]| OutputFile::write(&folder.join(name), bytes);
    write("demo-terminal.svg", picture.as_bytes()).with_context(context)?;
    let plots = std::fs::read(&outcome.picture).with_context(context)?;
    write("demo-report.svg", &plots).with_context(context)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::devices;

    #[test]
    fn a_fleet_that_is_too_small_is_refused_with_the_smallest_that_does_and_the_reason() {
        assert_eq!(devices("2000"), Ok(2_000));
        for text in ["700", "1999", "20001"] {
            let refusal = devices(text).unwrap_err();
            for word in [text, "2000 to 20000", "noise"] {
                assert!(refusal.contains(word), "{word}: {refusal}");
            }
        }
        assert!(devices("many").unwrap_err().contains("number"));
    }
}
