//! The `tributary` command: serves a coordinator, simulates devices, and is the client of both.
//!
//! It promises one thing on standard output, the answer, as tables for people or as JSON for
//! scripts; progress and logs go to standard error. It composes the other crates and holds no logic
//! of its own.
//!
//! | module | holds |
//! |---|---|
//! | [`arguments`], [`global`] | the command line, its help; flags that hold for every verb |
//! | [`commands`] | the verbs: one file or folder each |
//! | [`client`], [`pages`] | connecting, turning refusals into sentences; long answers page by page |
//! | [`exit`], [`logs`], [`signals`] | exit codes; logs on standard error; what asks for an end |
//! | [`bounded`] | files that somebody names, within a number of bytes |
//! | [`progress`], [`folder`] | how a long story goes on; folders that reports are written into |
//! | [`output`] | tables, colours, numbers, JSON |
//! | [`text`] | sentences and cells that several verbs print |
//! | [`view`] | the fields that `--format json` prints, fixed for scripts |
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod arguments;
mod bounded;
mod client;
mod commands;
mod exit;
mod folder;
mod global;
mod logs;
mod output;
mod pages;
mod progress;
mod signals;
mod text;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use arguments::Arguments;
use commands::Command;
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
    commands::dispatch(command, &global, output).await
}
