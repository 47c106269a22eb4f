//! `tributary model`: model versions and their files.

mod export;
mod lookup;
mod prune;
mod show;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::ImportModelRequest;

use crate::bounded;
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::Output;
use crate::pages;
use crate::view::ModelView;

/// Largest file that is sent.
const IMPORT_LIMIT: u64 = 256 * 1024 * 1024;

const LS: &str = "\
Examples:
  tributary model ls
  tributary model ls --limit 100 --format json";

const SHOW: &str = "\
Examples:
  tributary model show 3fa1c9
  tributary model show 3fa1c9 --format json";

const EXPORT: &str = "\
Examples:
  tributary model export 3fa1c9 --out model.safetensors

A model version is a safetensors file with its architecture in the metadata. The
whole digest of a build exports the build. The file appears under its name only
when its SHA-256 is right; a pipe, a device or what a link names is written to
instead.";

const IMPORT: &str = "\
Examples:
  tributary model import model.safetensors

The file must carry its architecture, as exported ones do. The version's digest
is printed.";

const PRUNE: &str = "\
Examples:
  tributary model prune --keep 10
  tributary model prune --keep 10 --yes
  tributary model prune --keep 3 --run digits-1 --yes --format json

It says what would go, and deletes with --yes only. Kept are each run's newest
rounds, versions that are pinned, that a running run goes on from or of which a
build is installed, and all imported ones. `tributary serve --keep N` does the
same after each round.";

const PIN: &str = "\
Examples:
  tributary model pin 3fa1c9
  tributary model pin 3fa1c9 --off";

/// Verbs of `model`.
#[derive(Debug, Subcommand)]
pub enum ModelVerb {
    /// List model versions, newest first
    #[command(after_help = LS)]
    Ls {
        /// List at most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show a model version and its builds
    #[command(after_help = SHOW)]
    Show {
        /// The version's digest, or its first 6 or more digits
        #[arg(value_name = "DIGEST")]
        digest: String,
    },
    /// Write a model version or a build to a file
    #[command(after_help = EXPORT)]
    Export {
        /// The digest, or a model's first 6 or more digits
        #[arg(value_name = "DIGEST")]
        digest: String,
        /// The file to write; replaced when it is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Register a model version from a file
    #[command(after_help = IMPORT)]
    Import {
        /// A safetensors file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Delete the versions of old rounds, with their bytes
    #[command(after_help = PRUNE)]
    Prune {
        /// Rounds of each run that are kept, the newest
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep: u32,
        /// Only versions of this run
        #[arg(
            long,
            value_name = "RUN",
            default_value = "",
            hide_default_value = true
        )]
        run: String,
        /// Delete them; otherwise they are listed only
        #[arg(long)]
        yes: bool,
    },
    /// Keep a version whatever its age
    #[command(after_help = PIN)]
    Pin {
        /// The version's digest, or its first 6 or more digits
        #[arg(value_name = "DIGEST")]
        digest: String,
        /// Keep it no longer
        #[arg(long)]
        off: bool,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: ModelVerb, global: &Global, output: Output) -> Result<Exit> {
    let coordinator = Coordinator::at(&global.coordinator)?;
    match verb {
        ModelVerb::Ls { limit } => list(&coordinator, limit, output).await?,
        ModelVerb::Show { digest } => {
            output.answer(&lookup::get(&coordinator, &digest).await?, show::page)?;
        }
        ModelVerb::Export { digest, out } => {
            export::export(&coordinator, &digest, &out, output).await?;
        }
        ModelVerb::Import { file } => import(&coordinator, &file, output).await?,
        ModelVerb::Prune { keep, run, yes } => {
            prune::prune(&coordinator, keep, &run, yes, output).await?;
        }
        ModelVerb::Pin { digest, off } => {
            prune::pin(&coordinator, &digest, !off, output).await?;
        }
    }
    Ok(Exit::Done)
}

async fn list(coordinator: &Coordinator, limit: u32, output: Output) -> Result<()> {
    let models = pages::models(coordinator, limit)
        .await
        .map_err(|status| coordinator.failure(&status))?;
    let remark = models.remark();
    let models = models.entries.into_iter().map(ModelView::from);
    let models: Vec<ModelView> = models.collect();
    let body = serde_json::json!({ "models": models });
    output.answer(&body, |_, colours| {
        colours.with_remark(show::list(&models, colours), remark.as_deref())
    })
}

async fn import(coordinator: &Coordinator, file: &Path, output: Output) -> Result<()> {
    let bytes = bounded::read("model", file, IMPORT_LIMIT)?;
    let answer = coordinator
        .control()
        .import_model(ImportModelRequest {
            safetensors: bytes.into(),
        })
        .await;
    let model = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner()
        .model;
    let model = ModelView::from(model.unwrap_or_default());
    output.answer(&model, show::imported)
}
