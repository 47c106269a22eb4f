//! `tributary run`: training runs.

mod line;
mod show;
mod start;
mod state;
mod watch;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::StopRunRequest;

use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Output;
use crate::pages;
use crate::view::{RunSummary, RunView};

const START: &str = "\
Examples:
  tributary run start experiments/recipes/quickstart.toml
  tributary run start recipe.toml --format json       prints {\"run\": ID}
  generate-recipe | tributary run start -

The worst case of the run, its drift windows, calibrations and playbook runs is
reserved under the caps of the devices that it asks; a recipe's privacy.epsilon
lowers those caps for good (`tributary privacy cap`).";

const LS: &str = "\
Examples:
  tributary run ls
  tributary run ls --limit 5 --format json";

const SHOW: &str = "\
Examples:
  tributary run show RUN
  tributary run show RUN --format json";

const WATCH: &str = "\
Examples:
  tributary run watch RUN
  tributary run watch RUN --format json               one event per line

It goes on when the coordinator restarts. The exit code tells how the run ended:
0 completed, 1 failed, 5 stopped, 141 standard output was closed (`| head`)
before the end.";

const STOP: &str = "\
Examples:
  tributary run stop RUN

The open round is aborted and nothing of it is released; published rounds stay.";

/// Verbs of `run`.
#[derive(Debug, Subcommand)]
pub enum RunVerb {
    /// Start a run from a recipe
    #[command(after_help = START)]
    Start {
        /// The recipe, a TOML file; `-` reads standard input
        #[arg(value_name = "RECIPE")]
        recipe: PathBuf,
        /// Why a recipe without privacy may ask devices that are under a cap; kept with the ledger
        #[arg(
            long,
            value_name = "REASON",
            default_value = "",
            hide_default_value = true
        )]
        allow_no_privacy: String,
    },
    /// List runs, newest first
    #[command(after_help = LS)]
    Ls {
        /// List at most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show a run with its rounds
    #[command(after_help = SHOW)]
    Show {
        /// The run
        #[arg(value_name = "RUN")]
        run: String,
        /// Latest rounds shown; JSON always has all
        #[arg(long, value_name = "N", default_value_t = 12)]
        rounds: usize,
    },
    /// Follow a run until it ends
    #[command(after_help = WATCH)]
    Watch {
        /// The run
        #[arg(value_name = "RUN")]
        run: String,
        /// Seconds to wait for a coordinator that went away
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        patience: u64,
    },
    /// Stop a run
    #[command(after_help = STOP)]
    Stop {
        /// The run
        #[arg(value_name = "RUN")]
        run: String,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: RunVerb, global: &Global, output: Output) -> Result<Exit> {
    let coordinator = Coordinator::at(&global.coordinator)?;
    match verb {
        RunVerb::Start {
            recipe,
            allow_no_privacy,
        } => start::start(&coordinator, &recipe, allow_no_privacy, output).await,
        RunVerb::Ls { limit } => list(&coordinator, limit, output).await,
        RunVerb::Show { run, rounds } => {
            let view = get(&coordinator, &run).await?;
            output.answer(&view, |view, colours| show::page(view, rounds, colours))?;
            Ok(Exit::Done)
        }
        RunVerb::Watch { run, patience } => {
            watch::watch(
                &coordinator,
                &run,
                std::time::Duration::from_secs(patience),
                output,
            )
            .await
        }
        RunVerb::Stop { run } => stop(&coordinator, run, output).await,
    }
}

async fn list(coordinator: &Coordinator, limit: u32, output: Output) -> Result<Exit> {
    let (runs, halted) = pages::runs(coordinator, limit)
        .await
        .map_err(|status| coordinator.failure(&status))?;
    let remark = runs.remark();
    let runs = runs.entries.into_iter().map(RunSummary::from);
    let runs: Vec<RunSummary> = runs.collect();
    let json = serde_json::json!({ "runs": runs, "halted": halted });
    output.answer(&json, |_, colours| {
        colours.with_remark(show::list(&runs, &halted, colours), remark.as_deref())
    })?;
    Ok(Exit::Done)
}

async fn stop(coordinator: &Coordinator, run_id: String, output: Output) -> Result<Exit> {
    let answer = coordinator
        .control()
        .stop_run(StopRunRequest { run_id })
        .await;
    let run = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner()
        .run;
    output.answer(&RunSummary::from(run.unwrap_or_default()), line::one_line)?;
    Ok(Exit::Done)
}

async fn get(coordinator: &Coordinator, run_id: &str) -> Result<RunView> {
    let answer = pages::run(coordinator, run_id).await;
    Ok(answer
        .map_err(|status| coordinator.failure(&status))?
        .into())
}
