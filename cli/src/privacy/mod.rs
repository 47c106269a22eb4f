//! `tributary privacy`: what was spent and what remains, and calculators for plans.
//!
//! - `show`: the ledger
//! - `statement`: one spend as a sentence or a cell

mod show;
mod statement;

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::GetPrivacyRequest;

pub use self::statement::{epsilon, epsilon_cell, statement};
use crate::arguments::Global;
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::output::Output;
use crate::view::PrivacyView;

const AFTER_SHOW: &str = "\
Examples:
  tributary privacy show
  tributary privacy show --run RUN --format json

Spend is that of the device that spent most: no device has lost more than this. Regions are disjoint,
so a region has lost what its worst device has. What remains counts what a device spent elsewhere too.";

/// Verbs of `privacy`.
#[derive(Debug, Subcommand)]
pub enum PrivacyVerb {
    /// Show the ledger
    #[command(after_help = AFTER_SHOW)]
    Show {
        /// Only this run
        #[arg(
            long,
            value_name = "RUN",
            default_value = "",
            hide_default_value = true
        )]
        run: String,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: PrivacyVerb, global: &Global, output: Output) -> Result<Exit> {
    let PrivacyVerb::Show { run } = verb;
    let coordinator = Coordinator::at(&global.coordinator)?;
    let answer = coordinator
        .control()
        .get_privacy(GetPrivacyRequest { run_id: run })
        .await;
    let ledger = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner();
    output.answer(&PrivacyView::from(ledger), show::text)?;
    Ok(Exit::Done)
}
