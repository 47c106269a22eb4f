//! `tributary store`: looks after the metadata of a data folder while no coordinator uses it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::json;
use tributary_coordinator::CoordinatorError;
use tributary_coordinator::check::{BlobReport, DataReport, check_data, must_have_metadata};
use tributary_coordinator::clock::SystemClock;
use tributary_store::{EngineKind, Migration, Repair, StoreError, migrate, repair};

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The verbs of `store`.
#[derive(Debug, Subcommand)]
pub enum StoreVerb {
    /// Read everything in a data folder and say what is damaged or missing; changes nothing
    #[command(after_help = "\
Examples:
  tributary store check --data tributary-data
  tributary store check --data tributary-data --format json

Exit code 1 when anything is wrong. Stop the coordinator first.")]
    Check(Folder),
    /// Save what is left of damaged metadata, after keeping a copy of all of it
    #[command(after_help = "\
Examples:
  tributary store repair --data tributary-data

The folder as it was stays beside it as meta.before-repair-1. When anything was
lost the ledger can't be trusted any more (exit code 1): run `tributary restore
--data DIR` before you serve it.")]
    Repair(Folder),
    /// Move the metadata from one storage engine to the other
    #[command(after_help = "\
Examples:
  tributary store migrate --data tributary-data --to redb

The old database stays until the new one is proven. One that was cut short is
run again.")]
    Migrate(Migrate),
}

/// A data folder.
#[derive(Debug, Args)]
pub struct Folder {
    /// Data folder, as in `serve`
    #[arg(
        long,
        value_name = "DIR",
        env = "TRIBUTARY__SERVE__DATA",
        hide_env = true
    )]
    data: PathBuf,
}

/// Flags of `store migrate`.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    folder: Folder,
    /// The engine that is to hold the metadata: sled or redb
    #[arg(long, value_name = "ENGINE")]
    to: EngineKind,
}

/// Runs a verb.
pub async fn dispatch(verb: StoreVerb, output: Output) -> Result<Exit> {
    match verb {
        StoreVerb::Check(folder) => check(&folder.data, output).await,
        StoreVerb::Repair(folder) => {
            let meta = existing(&folder.data)?;
            let done = blocking(move || repair(&meta)).await?;
            say_repaired(&done, &folder.data, output)
        }
        StoreVerb::Migrate(Migrate { folder, to }) => {
            let meta = existing(&folder.data)?;
            let done = blocking(move || migrate(&meta, to)).await?;
            say_migrated(&done, output)
        }
    }
}

/// The folder of the metadata, which must be there.
fn existing(data: &Path) -> Result<PathBuf> {
    must_have_metadata(data).map_err(|error| failure(&error))?;
    let meta = data.join("meta");
    if meta.is_dir() {
        return Ok(meta);
    }
    let sentence = format!(
        "--data {}: it has no folder `meta`, so it is no data folder: name the one that \
         `tributary serve` was given",
        data.display()
    );
    Err(Failure::new(Exit::Usage, sentence).into())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.context("the store's thread crashed")?;
    Ok(done.map_err(|error| failure(&error.into()))?)
}

fn failure(error: &CoordinatorError) -> Failure {
    Failure {
        exit: Exit::Failed,
        sentence: error.to_string(),
        code: Some(error.code().to_owned()),
    }
}

async fn check(data: &Path, output: Output) -> Result<Exit> {
    existing(data)?;
    let report = check_data(data, Arc::new(SystemClock::default()))
        .await
        .map_err(|error| failure(&error))?;
    output.answer(&report, |report, _| describe(report, data))?;
    Ok(if report.sound {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn describe(report: &DataReport, data: &Path) -> String {
    let store = &report.store;
    let engine = store.engine.map_or("unknown", EngineKind::name);
    let records: u64 = store.records.values().sum();
    let mut lines = vec![format!(
        "metadata  {engine}, format {}, {records} records, commit {} of {} acknowledged",
        store.format,
        number(store.commit),
        number(store.acknowledged),
    )];
    lines.extend(
        store
            .problems
            .iter()
            .map(|problem| format!("  ! {problem}")),
    );
    for damaged in &store.damaged {
        lines.push(format!("  ! damaged: {} {}", damaged.table, damaged.key));
    }
    for (run, reason) in &report.runs {
        lines.push(format!("  ! run {run}: {reason}"));
    }
    let cut_off = report.unfinished_restore.iter();
    lines.extend(cut_off.map(|sentence| format!("  ! {sentence}")));
    for (name, blobs) in [("blobs", &report.blobs), ("vault", &report.vault)] {
        lines.extend(describe_blobs(name, blobs));
    }
    if report.sound {
        lines.push("all is well".to_owned());
    } else {
        lines.push(format!("not sound: {}", remedies(report, data).join("; ")));
    }
    lines.join("\n")
}

/// What mends what was found.
fn remedies(report: &DataReport, data: &Path) -> Vec<String> {
    let data = data.display();
    if report.unfinished_restore.is_some() {
        return vec![format!("run `tributary restore --data {data}` again")];
    }
    let mut remedies = vec![format!(
        "put a backup back and run `tributary restore --data {data}`"
    )];
    if report.store.is_damaged() {
        remedies.push(format!(
            "or save what is left of the metadata with `tributary store repair --data {data}`"
        ));
    }
    for run in &report.set_aside {
        remedies.push(format!(
            "or serve it as it is and end run {run} for good with `tributary run stop {run}`"
        ));
    }
    for run in &report.over_unread {
        remedies.push(format!(
            "or serve it as it is: run {run} is over and its model versions are kept, only its rounds can't \
             be shown any more"
        ));
    }
    if !(report.store.is_damaged() || report.blobs.is_sound()) {
        remedies.push(
            "or serve it as it is: models without a file are not given out, all else works"
                .to_owned(),
        );
    }
    remedies
}

fn describe_blobs(name: &str, blobs: &BlobReport) -> Vec<String> {
    let mut lines = vec![format!(
        "{name:<9} {} named, {} not named by any record",
        blobs.named, blobs.unnamed
    )];
    for (wrong, list) in [("missing", &blobs.missing), ("damaged", &blobs.damaged)] {
        let entries = list.iter();
        lines.extend(entries.map(|(digest, what)| format!("  ! {wrong}: {digest} ({what})")));
    }
    lines
}

fn number(number: Option<u64>) -> String {
    number.map_or("unknown".to_owned(), |number| number.to_string())
}

fn say_repaired(done: &Repair, data: &Path, output: Output) -> Result<Exit> {
    let ledger_trusted = done.lost.is_empty();
    let body = json!({
        "kept": done.kept,
        "engine": done.engine,
        "records": done.records,
        "damaged": done.damaged,
        "lost": done.lost,
        "ledger_trusted": ledger_trusted,
    });
    output.answer(&body, |_, _| {
        let Some(kept) = &done.kept else {
            return "nothing is wrong with the metadata; nothing was changed (`tributary store check` looks \
                    at runs and models, too)"
                .to_owned();
        };
        let mut lines = vec![format!(
            "repaired: {} records, held by {}; the folder as it was is kept at {}",
            done.records,
            done.engine,
            kept.display()
        )];
        lines.extend(done.lost.iter().map(|lost| format!("  lost: {lost}")));
        for damaged in &done.damaged {
            lines.push(format!("  left out: {} {}", damaged.table, damaged.key));
        }
        lines.push(match ledger_trusted {
            true => "nothing is missing".to_owned(),
            false => format!(
                "the ledger can't be trusted any more: run `tributary restore --data {}` before \
                 you serve it",
                data.display()
            ),
        });
        lines.join("\n")
    })?;
    Ok(if ledger_trusted {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn say_migrated(done: &Migration, output: Output) -> Result<Exit> {
    output.answer(done, |done, _| match done.from == done.to {
        true => format!("{} records are held by {} already", done.records, done.to),
        false => format!(
            "{} records moved from {} to {}; every one was read back",
            done.records, done.from, done.to
        ),
    })?;
    Ok(Exit::Done)
}
