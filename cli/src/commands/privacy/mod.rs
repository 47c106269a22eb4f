//! `tributary privacy`: what was spent and what remains, and calculators for plans.
//!
//! - `show`: the ledger; `terms`: caps, reservations and decisions
//! - `calculator`: epsilon of a plan, and noise for an epsilon; offline
//! - `plan`: the flags that describe one; `accountants`: those that apply to it

mod accountants;
mod calculator;
mod plan;
mod show;
mod terms;

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::SetPrivacyCapRequest;

use self::plan::{PlanFlags, epsilon_flag, multiplier_flag, probability};
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Output, Tone, printable};
use crate::pages;
use crate::view::{CapsView, PrivacyView};

const AFTER_SHOW: &str = "\
Examples:
  tributary privacy show
  tributary privacy show --run RUN --format json

Spend is that of the device that spent most: no device has lost more than this.
Regions are disjoint, so a region has lost what its worst device has. What
remains counts what a device spent elsewhere too.";

const AFTER_CAP: &str = "\
Examples:
  tributary privacy cap --epsilon 8 --delta 1e-6
  tributary privacy cap --epsilon 4 --delta 1e-6 --region eu
  tributary privacy cap --epsilon 10 --delta 1e-6 \\
    --raise --reason 'consent of 2027-02'

A cap binds every run, drift window, calibration and playbook, whether its
recipe names an epsilon or not, and devices that enrol or move later. A recipe's
own privacy.epsilon lowers the cap of the regions that it asks, for good. Only
--raise raises a cap; that and its reason are shown by `tributary privacy show`.";

const AFTER_EPSILON: &str = "\
Examples:
  tributary privacy epsilon --noise-multiplier 4 --rounds 200 --delta 1e-6
  tributary privacy epsilon --noise-multiplier 7 --rounds 2048 --delta 1e-10 \\
    --mechanism blt --participations 5 --separation 400
  tributary privacy epsilon --noise-multiplier 1.1 --rounds 10000 --delta 1e-5 \\
    --sampling poisson --rate 0.01

Needs no coordinator. The clip is that of one update; a run's own charges are
higher by what rounding to integers adds. Sampling is to be claimed only where
the coordinator really draws the devices.";
const AFTER_NOISE: &str = "\
Examples:
  tributary privacy noise --epsilon 2 --rounds 200 --delta 1e-6 \\
    --participations 4 --separation 50
  tributary privacy noise --epsilon 1 --rounds 2048 --delta 1e-10 \\
    --mechanism blt --participations 5 --separation 400
  tributary privacy noise --epsilon 2 --rounds 100 --delta 1e-6 \\
    --sampling fixed --sample 100 --population 10000

Needs no coordinator. The noise is rounded up, so the epsilon that it is printed
with is proven.";

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
    /// Cap what any device may lose over everything
    #[command(after_help = AFTER_CAP)]
    Cap {
        /// The most that a device may lose
        #[arg(long, value_name = "E", value_parser = epsilon_flag)]
        epsilon: f64,
        /// The delta of that epsilon, well below one over the number of devices
        #[arg(long, value_name = "D", value_parser = probability)]
        delta: f64,
        /// Only devices of this region
        #[arg(
            long,
            value_name = "REGION",
            default_value = "",
            hide_default_value = true
        )]
        region: String,
        /// Raise the cap that holds; without --region, in all regions
        #[arg(long, requires = "reason")]
        raise: bool,
        /// Why it is raised; kept with the ledger
        #[arg(
            long,
            value_name = "TEXT",
            requires = "raise",
            default_value = "",
            hide_default_value = true
        )]
        reason: String,
    },
    /// Calculate the epsilon of a plan
    #[command(after_help = AFTER_EPSILON)]
    Epsilon {
        /// Standard deviation of the noise over the clip; of the seeds under correlated noise
        #[arg(long, value_name = "Z", value_parser = multiplier_flag)]
        noise_multiplier: f64,
        /// The plan.
        #[command(flatten)]
        plan: PlanFlags,
    },
    /// Calculate the least noise that keeps a plan within an epsilon
    #[command(after_help = AFTER_NOISE)]
    Noise {
        /// What must not be passed
        #[arg(long, value_name = "E", value_parser = epsilon_flag)]
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
        PrivacyVerb::Cap {
            epsilon,
            delta,
            region,
            raise,
            reason,
        } => {
            let request = SetPrivacyCapRequest {
                region,
                epsilon,
                delta,
                raise,
                reason,
            };
            return cap(request, global, output).await;
        }
        PrivacyVerb::Epsilon {
            noise_multiplier,
            plan,
        } => {
            let answer = calculator::epsilon(&plan, noise_multiplier)?;
            output.answer(&answer, calculator::text)?;
            return Ok(calculator::exit(&answer));
        }
        PrivacyVerb::Noise { epsilon, plan } => {
            let answer = calculator::noise(&plan, epsilon)?;
            output.answer(&answer, calculator::text)?;
            return Ok(calculator::exit(&answer));
        }
    };
    let coordinator = Coordinator::at(&global.coordinator)?;
    let ledger = pages::privacy(&coordinator, &run)
        .await
        .map_err(|status| coordinator.failure(&status))?;
    output.answer(&PrivacyView::from(ledger), show::text)?;
    Ok(Exit::Done)
}

async fn cap(request: SetPrivacyCapRequest, global: &Global, output: Output) -> Result<Exit> {
    let coordinator = Coordinator::at(&global.coordinator)?;
    let region = request.region.clone();
    let answer = coordinator.control().set_privacy_cap(request).await;
    let caps = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner();
    let mut view = CapsView::from(caps);
    view.warnings.extend(of_nobody(&coordinator, &region).await);
    output.answer(&view, |view, colours| {
        let warnings = view.warnings.iter();
        let warnings = warnings.map(|text| format!("\n{}", colours.paint(Tone::Warn, text)));
        let warnings: String = warnings.collect();
        format!("{}{warnings}", terms::caps(&view.caps, colours))
    })?;
    Ok(Exit::Done)
}

/// Says that a cap binds nobody yet: its region may be misspelt.
async fn of_nobody(coordinator: &Coordinator, region: &str) -> Vec<String> {
    // the cap is set, whatever becomes of this question
    let Ok(fleet) = pages::fleet(coordinator).await else {
        return Vec::new();
    };
    let mut regions: Vec<&str> = fleet.groups.iter().map(|group| &*group.region).collect();
    regions.dedup();
    if region.is_empty() || regions.contains(&region) {
        return Vec::new();
    }
    let known = match regions.is_empty() {
        true => "none".to_owned(),
        false => regions.join(", "),
    };
    vec![printable(&format!(
        "no device is enrolled in region {region:?} yet (regions with devices: {known}); the cap binds those \
         that enrol there"
    ))]
}
