//! `tributary experiment`: recipes with several variants, and their reports.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use tributary_experiments::runner::{ExperimentOutcome, ExperimentRecipe, run_experiment};

use crate::exit::Exit;
use crate::output::short_digest;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count, decimal, percent};
use crate::progress::Narrator;

const RUN: &str = "\
Examples:
  tributary experiment run experiments/recipes/digits-iid-dirichlet.toml --out digits-report
  tributary experiment run recipe.toml --out report --format json

Each variant gets a coordinator and a fleet of its own in this process, over real gRPC. The folder
gets report.html, report.json, report.svg and CSV files.";

/// Verbs of `experiment`.
#[derive(Debug, Subcommand)]
pub enum ExperimentVerb {
    /// Run a recipe and write its report
    #[command(after_help = RUN)]
    Run {
        /// The recipe, a TOML file
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Folder of the report; made when it is not there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: ExperimentVerb, output: Output) -> Result<Exit> {
    let ExperimentVerb::Run { recipe, out } = verb;
    let recipe = read(&recipe)?;
    let narrator = Narrator::new(output);
    let ran = run_experiment(&recipe, &out, &narrator).await;
    narrator.finish();
    output.answer(&ran.context("the experiment did not reach its end")?, text)?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<ExperimentRecipe> {
    let name = path.display();
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("recipe {name}: it can't be read"))?;
    ExperimentRecipe::from_toml(&text).with_context(|| format!("recipe {name}"))
}

fn text(outcome: &ExperimentOutcome, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("variant", Align::Left),
        ("rounds", Align::Right),
        ("contributions", Align::Right),
        ("initial", Align::Right),
        ("trained", Align::Right),
        ("worst region", Align::Right),
        ("epsilon", Align::Right),
        ("seconds", Align::Right),
        ("model", Align::Left),
    ]);
    for variant in &outcome.variants {
        let worst = variant.regions.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        table.row(vec![
            Cell::toned(Tone::Strong, &variant.name),
            count(variant.rounds).into(),
            count(variant.contributions).into(),
            percent(variant.initial).into(),
            Cell::toned(Tone::Good, percent(variant.trained)),
            worst
                .map_or("-".to_owned(), |(name, share)| {
                    format!("{name} {}", percent(*share))
                })
                .into(),
            decimal(variant.epsilon).into(),
            format!("{:.1}", variant.wall_s).into(),
            short_digest(&variant.model_digest).into(),
        ]);
    }
    let seeded = "\nseeded: nothing here is private\n";
    let note = if outcome.not_private {
        colours.paint(Tone::Warn, seeded)
    } else {
        String::new()
    };
    format!(
        "{}\n\n{}\n{note}\nreport  {}",
        colours.paint(Tone::Strong, &outcome.title),
        table.render(colours, "no variants"),
        colours.paint(Tone::Accent, &outcome.report.display().to_string()),
    )
}
