//! `tributary experiment`: recipes with several variants, attacks on robust rules, and their reports.

mod attacks;
mod audit;
mod outcome;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use tributary_experiments::attacks::AttackRecipe;
use tributary_experiments::audit::AuditRecipe;
use tributary_experiments::runner::{BUILT_IN, ExperimentRecipe, built_in, run_experiment};

use crate::bounded::{self, MOST_TEXT};
use crate::exit::{Exit, unfinished};
use crate::folder::must_be_writable;
use crate::output::Output;
use crate::progress::ProgressReporter;

const RUN: &str = "\
Examples:
  tributary experiment run digits-non-iid --out report
  tributary experiment run recipe.toml --out report --format json
  tributary experiment run attack-laboratory
  tributary experiment run privacy-audit --out audit-report

Compiled in: attack-laboratory, digits-codecs, digits-iid-dirichlet,
digits-non-iid, digits-personal, digits-privacy, digits-robust, privacy-audit,
watch-by-user.

Each variant gets a coordinator and a fleet of its own in this process, over
real gRPC. The folder gets report.html, report.json, report.svg and CSV files.

attack-laboratory (or a recipe with kind = \"attack_laboratory\") tries robust
rules against lying devices. It trains in this process without a network; the
folder is optional and gets report.html, report.json and attacks.csv.

privacy-audit (or a recipe with kind = \"privacy_audit\") measures the noise, the
sensitivity and the epsilon of real releases, and exits with 1 when a verdict
fails. The folder is optional.";

/// Verbs of `experiment`.
#[derive(Debug, Subcommand)]
pub enum ExperimentVerb {
    /// Run a recipe and write its report
    #[command(after_help = RUN)]
    Run {
        /// A TOML file, or the name of a recipe that is compiled in
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Folder of the report; made when it is not there; --report is the same
        #[arg(long, alias = "report", value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: ExperimentVerb, output: Output) -> Result<Exit> {
    let ExperimentVerb::Run { recipe, out } = verb;
    let name = recipe.display();
    let text = read(&recipe)?;
    let check_out = || match &out {
        Some(folder) => must_be_writable("--out", folder),
        None => Ok(()),
    };
    if AttackRecipe::is_meant_by(&text) {
        let recipe = AttackRecipe::from_toml(&text).with_context(|| format!("recipe {name}"))?;
        check_out()?;
        return attacks::play(recipe, out, output).await;
    }
    if AuditRecipe::is_meant_by(&text) {
        let recipe = AuditRecipe::from_toml(&text).with_context(|| format!("recipe {name}"))?;
        check_out()?;
        return audit::play(&recipe, out, output).await;
    }
    let recipe = ExperimentRecipe::from_toml(&text)
        .with_context(|| format!("recipe {name}{}", recipe_of_a_run(&text)))?;
    check_out()?;
    let out = out.context("--out is missing: name the folder of the report")?;
    let narrator = ProgressReporter::new(output);
    let ran = run_experiment(&recipe, &out, &narrator).await;
    narrator.finish();
    let outcome = ran.map_err(unfinished("the experiment"))?;
    output.answer(&outcome, outcome::text)?;
    Ok(if outcome.interrupted {
        Exit::Incomplete
    } else {
        Exit::Done
    })
}

/// What to say before the complaint about a recipe that is meant for another command; empty for any other.
fn recipe_of_a_run(text: &str) -> &'static str {
    let table = text.parse::<toml::Table>().unwrap_or_default();
    // an experiment has its run in a section of that name
    match table.contains_key("rounds") && !table.contains_key("run") {
        true => " is the recipe of a run: start it with `tributary run start`",
        false => "",
    }
}

/// The recipe's text; a file of that name comes before the one that is compiled in.
fn read(path: &Path) -> Result<String> {
    let known = path.to_str().and_then(built_in);
    if let Some(text) = known.filter(|_| !path.exists()) {
        return Ok(text.to_owned());
    }
    let text = bounded::read_text("recipe", path, MOST_TEXT);
    text.with_context(|| {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        format!(
            "recipe {}: it can't be read; name a TOML file or one of {}",
            path.display(),
            names.join(", ")
        )
    })
}
