//! `tributary privacy`: what was spent and what remains, and calculators for plans.
//!
//! - `show`: the ledger
//! - `statement`: one spend as a sentence or a cell
//! - `calculator`: epsilon of a plan, and noise for an epsilon; offline
//! - `plan`: the flags that describe one; `accountants`: those that apply to it

mod accountants;
mod calculator;
mod plan;
mod show;
mod statement;

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::GetPrivacyRequest;

use self::plan::{PlanFlags, positive};
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

const AFTER_EPSILON: &str = "\
Examples:
  tributary privacy epsilon --noise-multiplier 4 --rounds 200 --delta 1e-6
  tributary privacy epsilon --noise-multiplier 7 --rounds 2048 --delta 1e-10 --mechanism blt \
--participations 5 --separation 400
  tributary privacy epsilon --noise-multiplier 1.1 --rounds 10000 --delta 1e-5 --sampling poisson \
--rate 0.01

Needs no coordinator. The clip is that of one update; a run's own charges are higher by what rounding
to integers adds. Sampling is to be claimed only where the coordinator really draws the devices.";
const AFTER_NOISE: &str = "\
Examples:
  tributary privacy noise --epsilon 2 --rounds 200 --delta 1e-6 --participations 4 --separation 50
  tributary privacy noise --epsilon 1 --rounds 2048 --delta 1e-10 --mechanism blt \
--participations 5 --separation 400
  tributary privacy noise --epsilon 2 --rounds 100 --delta 1e-6 --sampling fixed --sample 100 \
--population 10000

Needs no coordinator. The noise is rounded up, so the epsilon that it is printed with is proven.";

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
    /// Calculate the epsilon of a plan
    #[command(after_help = AFTER_EPSILON)]
    Epsilon {
        /// Standard deviation of the noise over the clip; of the seeds under correlated noise
        #[arg(long, value_name = "Z", value_parser = positive)]
        noise_multiplier: f64,
        /// The plan.
        #[command(flatten)]
        plan: PlanFlags,
    },
    /// Calculate the least noise that keeps a plan within an epsilon
    #[command(after_help = AFTER_NOISE)]
    Noise {
        /// What must not be passed
        #[arg(long, value_name = "E", value_parser = positive)]
        epsilon: f64,
        /// The plan.
        #[command(flatten)]
        plan: PlanFlags,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: PrivacyVerb, global: &Global, output: Output) -> Result<Exit> {
    let run = match verb {
        PrivacyVerb::Show { run } => run,
        PrivacyVerb::Epsilon {
            noise_multiplier,
            plan,
        } => {
            let answer = calculator::epsilon(&plan, noise_multiplier)?;
            output.answer(&answer, calculator::text)?;
            return Ok(Exit::Done);
        }
        PrivacyVerb::Noise { epsilon, plan } => {
            let answer = calculator::noise(&plan, epsilon)?;
            output.answer(&answer, calculator::text)?;
            return Ok(Exit::Done);
        }
    };
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
