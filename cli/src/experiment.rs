//! `tributary experiment`: recipes with several variants, attacks on robust rules, and their reports.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use tributary_experiments::attacks::AttackRecipe;
use tributary_experiments::audit::AuditRecipe;
use tributary_experiments::report::prepare_folder;
use tributary_experiments::runner::{
    BUILT_IN, ExperimentOutcome, ExperimentRecipe, RunnerError, built_in, run_experiment,
};

use crate::bounded::{self, MOST_TEXT};
use crate::exit::{Exit, Failure};
use crate::output::{
    Align, Cell, Output, Palette, Table, Tone, bytes, count, decimal, percent, printable,
    short_digest,
};
use crate::privacy::words;
use crate::progress::Narrator;
use crate::{attacks, audit};

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
    let narrator = Narrator::new(output);
    let ran = run_experiment(&recipe, &out, &narrator).await;
    narrator.finish();
    let outcome = ran.map_err(unfinished("the experiment"))?;
    output.answer(&outcome, table)?;
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

/// Refuses a folder in which no report could be written, before the work and not after it.
pub fn must_be_writable(flag: &str, folder: &Path) -> Result<()> {
    prepare_folder(folder)
        .with_context(|| format!("{flag} {}: it can't be written", folder.display()))
}

/// What to say of work that did not reach its end; being asked to end is no failure.
pub fn unfinished(what: &'static str) -> impl Fn(RunnerError) -> anyhow::Error {
    move |error| match error {
        RunnerError::Interrupted => Failure::new(Exit::Incomplete, error.to_string()).into(),
        error => anyhow::Error::from(error).context(format!("{what} did not reach its end")),
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

/// What the epsilons mean: a line for the variants that mean the same.
fn conditions(outcome: &ExperimentOutcome) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for variant in outcome.variants.iter().filter(|v| v.epsilon.is_finite()) {
        let meaning = format!(
            "epsilon at delta {:e}, {}; {}",
            variant.delta,
            words(&variant.adjacency),
            variant.mechanism
        );
        match groups.iter_mut().find(|(known, _)| *known == meaning) {
            Some((_, names)) => names.push(&variant.name),
            None => groups.push((meaning, vec![&variant.name])),
        }
    }
    let line = |(meaning, names): (String, Vec<&str>)| {
        printable(&format!("{}: {meaning}", names.join(", ")))
    };
    groups.into_iter().map(line).collect()
}

fn table(outcome: &ExperimentOutcome, colours: Palette) -> String {
    let seeds = outcome.variants.iter().map(|v| v.trained_by_seed.len());
    let has_seeds = seeds.max().is_some_and(|most| most > 1);
    let has_personal = outcome.variants.iter().any(|v| v.local_personal.is_some());
    let has_regions = outcome.variants.iter().any(|v| v.regions.len() > 1);
    let has_epsilon = outcome.variants.iter().any(|v| v.epsilon.is_finite());
    let mut columns = vec![
        ("variant", Align::Left),
        ("rounds", Align::Right),
        ("contributions", Align::Right),
        ("bytes up", Align::Right),
        ("initial", Align::Right),
        ("trained", Align::Right),
    ];
    let optional = [
        (has_seeds, "deviation"),
        (has_personal, "shared on own data"),
        (has_personal, "personal on own data"),
        (has_regions, "worst region"),
        (has_epsilon, "epsilon"),
        (true, "seconds"),
    ];
    let shown = optional.iter().filter(|(is_shown, _)| *is_shown);
    columns.extend(shown.map(|(_, name)| (*name, Align::Right)));
    columns.push(("model", Align::Left));
    let mut table =
        Table::new(&columns).spare(&["model", "seconds", "rounds", "bytes up", "contributions"]);
    for variant in &outcome.variants {
        let worst = variant.regions.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let mut row = vec![
            Cell::toned(Tone::Strong, &variant.name),
            count(variant.rounds).into(),
            count(variant.contributions).into(),
            bytes(variant.bytes_up).into(),
            percent(variant.initial).into(),
            Cell::toned(Tone::Good, percent(variant.trained)),
        ];
        if has_seeds {
            row.push(percent(variant.trained_deviation).into());
        }
        if has_personal {
            row.push(percent(variant.local_shared).into());
            let personal = variant.local_personal.map_or("-".to_owned(), percent);
            row.push(personal.into());
        }
        let worst = worst.map_or("-".to_owned(), |(name, share)| {
            format!("{name} {}", percent(*share))
        });
        if has_regions {
            row.push(worst.into());
        }
        if has_epsilon {
            row.push(decimal(variant.epsilon).into());
        }
        row.push(format!("{:.1}", variant.wall_s).into());
        row.push(short_digest(&variant.model_digest).into());
        table.row(row);
    }
    let seeded = "\nseeded: nothing here is private\n";
    let mut note = if outcome.not_private {
        colours.paint(Tone::Warn, seeded)
    } else {
        String::new()
    };
    if outcome.interrupted {
        let incomplete = "\ninterrupted: variants, seeds or rounds are missing\n";
        note.push_str(&colours.paint(Tone::Bad, incomplete));
    }
    for line in conditions(outcome) {
        note.push_str(&format!("\n{}", colours.paint(Tone::Dim, &line)));
    }
    format!(
        "{}\n\n{}\n{note}\nreport  {}",
        colours.paint(Tone::Strong, &outcome.title),
        table.render(colours, "no variants"),
        colours.paint(Tone::Accent, &outcome.report.display().to_string()),
    )
}
