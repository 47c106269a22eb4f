//! The attack laboratory of `tributary experiment run`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use serde::Serialize;
use tributary_experiments::attacks::{AttackRecipe, run_attacks, write_attacks};
use tributary_experiments::runner::{Progress as _, RunnerError};
use tributary_report::attacks::{AttackOutcome, PipelineOutcome, SettingOutcome};

use crate::exit::{Exit, unfinished};
use crate::output::{Align, Cell, Output, Palette, Table, Tone};
use crate::progress::ProgressReporter;

/// Below this accuracy a cell is painted as broken.
const BROKEN: f64 = 0.6;

/// What is printed: the outcome and where its files are.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    outcome: AttackOutcome,
    report: Option<PathBuf>,
}

/// Runs the laboratory and prints its tables.
pub async fn play(recipe: AttackRecipe, out: Option<PathBuf>, output: Output) -> Result<Exit> {
    let narrator = Arc::new(ProgressReporter::new(output));
    let threads = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let told = Arc::clone(&narrator);
    let running = tokio::task::spawn_blocking(move || run_attacks(&recipe, threads, &*told));
    let interrupt = narrator.interrupt();
    let ran = tokio::select! {
        ran = running => ran,
        () = interrupt.wait() => return Err(unfinished("the laboratory")(RunnerError::Interrupted)),
    };
    narrator.finish();
    let outcome = ran.context("the laboratory stopped")?;
    let outcome = outcome.context("the laboratory did not reach its end")?;
    let written = out
        .map(|folder| write_attacks(&outcome, &folder))
        .transpose()?;
    let report = written.map(|written| written.page);
    output.answer(&Answer { outcome, report }, text)?;
    Ok(Exit::Done)
}

fn text(answer: &Answer, colours: Palette) -> String {
    let outcome = &answer.outcome;
    let mut text = colours.paint(Tone::Strong, &outcome.title);
    for setting in &outcome.settings {
        let name = colours.paint(Tone::Strong, &setting.name());
        text = format!("{text}\n\n{name}\n\n{}", table(setting, colours));
    }
    let notes = "Accuracy in per cent; after a slash what the backdoor reached. * refused at run \
                 creation; the plain mean only as a robust rule, for it is the default mode.";
    text = format!("{text}\n\n{notes}\n{}\n", outcome.method);
    match &answer.report {
        Some(page) => {
            let page = colours.paint(Tone::Accent, &page.display().to_string());
            format!("{text}\nreport  {page}")
        }
        None => text,
    }
}

fn table(setting: &SettingOutcome, colours: Palette) -> String {
    let mut columns = vec![
        ("pipeline", Align::Left),
        ("worst", Align::Right),
        ("by", Align::Left),
    ];
    columns.extend(
        setting
            .attacks
            .iter()
            .map(|attack| (attack.as_str(), Align::Right)),
    );
    let mut table = Table::new(&columns);
    for pipeline in &setting.pipelines {
        table.row(row(pipeline, setting.attacks.len()));
    }
    table.render(colours, "no pipelines")
}

fn row(pipeline: &PipelineOutcome, attacks: usize) -> Vec<Cell> {
    let mark = if pipeline.refusal.is_empty() {
        ""
    } else {
        " *"
    };
    let mut cells = vec![Cell::toned(
        Tone::Strong,
        format!("{}{mark}", pipeline.name),
    )];
    match &pipeline.worst {
        Some(worst) => {
            cells.push(Cell::toned(tone(worst.accuracy), share(worst.accuracy)));
            cells.push(worst.attack.as_str().into());
        }
        None => cells.extend(["-".into(), "".into()]),
    }
    for cell in &pipeline.cells {
        let text = match cell.backdoor {
            Some(reached) => format!("{}/{}", share(cell.accuracy), share(reached)),
            None => share(cell.accuracy),
        };
        cells.push(Cell::toned(tone(cell.accuracy), text));
    }
    // a rule that can't be applied has no cells
    cells.resize(3 + attacks, "-".into());
    cells
}

fn tone(accuracy: f64) -> Tone {
    if accuracy < BROKEN {
        Tone::Bad
    } else {
        Tone::Good
    }
}

fn share(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
