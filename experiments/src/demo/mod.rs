//! The main job, end to end: train, drift, detect, retrain, build, install.
//!
//! Promise: nothing is staged but the devices' data and absences. The coordinator is a real one with
//! sled on disk, the wearables are real agents that speak gRPC over a few HTTP/2 connections, and the
//! operator starts the run and reads everything through the public services. Every accuracy is
//! measured in this run on windows that share no sample with training.
//!
//! - [`run`]: plays it and writes the report.
//! - [`DemoConfig`]: what can be chosen; [`DemoOutcome`]: what was measured.
//! - `cast`: the devices and the held-out windows; `act`: the course of events; `write_up`: the report.

mod act;
mod cast;
mod config;
mod outcome;
mod write_up;

#[cfg(test)]
mod tests;

pub use config::DemoConfig;
pub use outcome::DemoOutcome;

use tokio::time::Instant;
use tributary_device_sim::{DriftInjection, FleetStats};
use tributary_recipe::RunSpec;
use tributary_report::experiment::{Report, WireBytes};

use self::act::Story;
use self::config::{DRIFTING, INJECTED_WINDOW};
use crate::output::write_all;
use crate::runner::{Laboratory, Progress, RunnerError, peak_resident_bytes, recipe_text};

/// Why the demo does not reach its end.
pub type DemoError = RunnerError;

/// Plays the demo and writes the report.
///
/// # Errors
/// [`DemoError`] when the fleet or the coordinator don't start, a run ends early, the drift is
/// missed, or the report can't be written.
pub async fn run(config: DemoConfig, progress: &dyn Progress) -> Result<DemoOutcome, DemoError> {
    let spec = config.run_spec()?;
    Box::pin(play_recipe(config, spec, progress)).await
}

/// Plays the demo with a recipe of its own.
async fn play_recipe(
    config: DemoConfig,
    spec: RunSpec,
    progress: &dyn Progress,
) -> Result<DemoOutcome, DemoError> {
    let started = Instant::now();
    let recipe = recipe_text(&spec)?;
    progress.stage("loading the watch set");
    let judges = cast::judges()?;
    let devices = cast::wearables(&config, &spec.task)?;

    let mut laboratory = Laboratory::open(devices, config.seed, progress).await?;
    // armed now: windows decide by their number, so the change of arm does not depend on timing
    let region = cast::region_id(DRIFTING)?;
    laboratory.fleet.inject(DriftInjection {
        region,
        from_window: INJECTED_WINDOW,
    });
    let operator = &mut laboratory.operator;
    let interrupt = progress.interrupt();
    let played = tokio::select! {
        played = act::play(operator, recipe, &judges, spec.is_seeded(), progress) => played,
        () = interrupt.wait() => Err(DemoError::Interrupted),
    };
    progress.stage("closing");
    let stats = laboratory.close().await;
    let story = played?;

    progress.stage("writing the report");
    let mut report = write_up::write_up(&config, &story, spec.privacy.epsilon);
    measure(&mut report, &stats, started);
    report.summary.report = config.report.join("report.html").display().to_string();
    let written = write_all(&report, &config.report)?;
    Ok(outcome(&config, &story, report, written.picture))
}

/// Fills in what only the whole process knows.
fn measure(report: &mut Report, stats: &FleetStats, started: Instant) {
    let summary = &mut report.summary;
    summary.wire_bytes = WireBytes {
        down: stats.tally.bytes_down,
        up: stats.tally.bytes_up,
    };
    summary.wall_s = Some(started.elapsed().as_secs_f64());
    summary.peak_rss_bytes = peak_resident_bytes();
}

fn outcome(
    config: &DemoConfig,
    story: &Story,
    report: Report,
    picture: std::path::PathBuf,
) -> DemoOutcome {
    let worst = story.privacy.worst_device.as_ref();
    DemoOutcome {
        remarks: remarks(&report),
        summary: report.summary,
        not_private: config.seed.is_some(),
        seed: config.seed,
        epsilon_gaussian: worst.and_then(|spend| spend.epsilon_gaussian),
        trained_digest: story.training.run.model_digest.clone(),
        picture,
    }
}

/// What falls short of the targets, with its numbers.
fn remarks(report: &Report) -> Vec<String> {
    let summary = &report.summary;
    let accuracy = &summary.accuracy;
    let mut remarks = Vec::new();
    let mut expect = |holds: bool, name: &str, value: f64, target: &str| {
        if !holds {
            remarks.push(format!("{name} is {value:.3}, the target is {target}"));
        }
    };
    let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let [trained, drifted] = [accuracy.trained, accuracy.drifted].map(of);
    let [recovered, int8] = [accuracy.recovered, accuracy.recovered_int8].map(of);
    expect(
        trained >= 0.85,
        "accuracy of the trained model",
        trained,
        "at least 0.85",
    );
    expect(
        drifted <= 0.45,
        "accuracy after the drift",
        drifted,
        "at most 0.45",
    );
    expect(
        recovered >= 0.75,
        "accuracy of the regional model",
        recovered,
        "at least 0.75",
    );
    let gap = (int8 - recovered).abs();
    expect(
        gap <= 0.01,
        "what the int8 build loses or gains",
        gap,
        "at most 0.01",
    );
    let epsilon = summary.privacy.epsilon;
    expect(epsilon <= 8.0, "epsilon", epsilon, "at most 8");
    remarks
}
