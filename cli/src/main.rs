//! The `tributary` command: serves a coordinator, simulates devices, and is the client of both.
//!
//! It promises one thing on standard output, the answer, as tables for people or as JSON for
//! scripts; progress and logs go to standard error. It composes the other rooms and holds no logic
//! of its own.
//!
//! | module | holds |
//! |---|---|
//! | [`arguments`] | the command line: verbs, flags, help |
//! | [`demo`], [`experiment`], [`attacks`] | verbs that play a story of their own, with [`progress`] |
//! | [`serve`], [`device`] | verbs that run until they are stopped |
//! | [`restore`] | the verb for a data folder that was put back from a copy |
//! | [`run`], [`model`], [`fleet`], [`drift`], [`monitor`], [`privacy`] | verbs that ask a coordinator |
//! | [`store`] | verbs for a data folder that no coordinator uses |
//! | [`client`], [`pages`] | connecting, turning refusals into sentences; long answers page by page |
//! | [`exit`], [`logs`], [`signals`] | exit codes; logs on standard error; what asks for an end |
//! | [`bounded`] | files that somebody names, within a number of bytes |
//! | [`output`] | tables, colours, numbers, JSON |
//! | [`view`] | the fields that `--format json` prints, fixed for scripts |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod attacks;
mod audit;
mod bounded;
mod client;
mod demo;
mod device;
mod drift;
mod exit;
mod experiment;
mod fleet;
mod logs;
mod model;
mod monitor;
mod output;
mod pages;
mod privacy;
mod progress;
mod restore;
mod run;
mod serve;
mod signals;
mod store;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use arguments::{Arguments, Command};
use exit::Exit;
use output::Output;
use tributary_experiments::runner::remove_leftovers;

/// How long tasks that are still at work are waited for at the end.
const LAST_TASKS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let output = Output::new(arguments.global.format);
    match start(arguments, output) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error, output),
    }
}

fn start(arguments: Arguments, output: Output) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("starting threads")?;
    let exit = runtime.block_on(dispatch(arguments, output));
    // work that was interrupted must not keep the process, nor write into a folder that is gone
    runtime.shutdown_timeout(LAST_TASKS);
    remove_leftovers();
    logs::flush();
    exit
}

async fn dispatch(arguments: Arguments, output: Output) -> Result<Exit> {
    let Arguments { global, command } = arguments;
    if !matches!(command, Command::Serve(_)) {
        logs::start(logs::LogFormat::Text, "warn");
    }
    match command {
        Command::Demo(demo) => Box::pin(demo::play(demo, output)).await,
        Command::Experiment { verb } => Box::pin(experiment::dispatch(verb, output)).await,
        Command::Serve(serve) => serve::serve(serve, output).await,
        Command::Restore(restore) => restore::restore(restore, output).await,
        Command::Device(device) => device::dispatch(device, &global, output).await,
        Command::Run { verb } => run::dispatch(verb, &global, output).await,
        Command::Model { verb } => model::dispatch(verb, &global, output).await,
        Command::Fleet { verb } => fleet::dispatch(verb, &global, output).await,
        Command::Drift { verb } => drift::dispatch(verb, &global, output).await,
        Command::Store { verb } => store::dispatch(verb, output).await,
        Command::Monitor { verb } => monitor::dispatch(verb, &global, output).await,
        Command::Privacy { verb } => privacy::dispatch(verb, &global, output).await,
    }
}
