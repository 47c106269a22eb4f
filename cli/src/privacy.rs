//! `tributary privacy`: what was spent and what remains.

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::GetPrivacyRequest;

use crate::arguments::Global;
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count, decimal, printable};
use crate::view::{AccountView, PrivacyView, Spend};

const AFTER: &str = "\
Examples:
  tributary privacy show
  tributary privacy show --run RUN --format json

Spend is that of the device that spent most: no device has lost more than this.";

/// Verbs of `privacy`.
#[derive(Debug, Subcommand)]
pub enum PrivacyVerb {
    /// Show the ledger
    #[command(after_help = AFTER)]
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
    output.answer(&PrivacyView::from(ledger), text)?;
    Ok(Exit::Done)
}

/// A spend as a sentence with all of its conditions.
pub fn statement(spend: &Spend, colours: Palette) -> String {
    if spend.not_private {
        return colours.paint(Tone::Bad, "NOT PRIVATE: the noise was seeded");
    }
    if spend.rho == 0.0 {
        return colours.paint(Tone::Dim, "nothing spent");
    }
    format!(
        "epsilon {} at delta {:e} ({}, {}; rho {})",
        colours.paint(Tone::Accent, &decimal(spend.epsilon)),
        spend.delta,
        printable(&spend.adjacency.replace('-', " ")),
        printable(&spend.mechanism.replace('-', " ")),
        decimal(spend.rho),
    )
}

fn text(ledger: &PrivacyView, colours: Palette) -> String {
    let mut lines = Vec::new();
    if let Some(worst) = &ledger.worst_device {
        let region = printable(&worst.region);
        lines.push(format!(
            "worst device (in {region}): {}\n",
            statement(&worst.spend, colours)
        ));
    }
    if !ledger.regions.is_empty() {
        let mut table = Table::new(&[
            ("region", Align::Left),
            ("epsilon", Align::Right),
            ("delta", Align::Right),
            ("rho", Align::Right),
        ]);
        for region in &ledger.regions {
            table.row(vec![
                region.region.as_str().into(),
                epsilon(&region.spend),
                format!("{:e}", region.spend.delta).into(),
                decimal(region.spend.rho).into(),
            ]);
        }
        lines.push(format!("{}\n", table.render(colours, "")));
    }
    lines.push(accounts(&ledger.accounts, colours));
    lines.join("\n")
}

fn accounts(accounts: &[AccountView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("account", Align::Left),
        ("kind", Align::Left),
        ("charges", Align::Right),
        ("epsilon", Align::Right),
        ("rho", Align::Right),
        ("cap", Align::Right),
        ("remains", Align::Right),
    ]);
    for account in accounts {
        let capped = |rho: Option<f64>| rho.map_or("-".to_owned(), decimal);
        let tone = match (account.budget_rho, account.remaining_rho) {
            (Some(cap), Some(rest)) if rest < cap * 0.1 => Tone::Warn,
            _ => Tone::Good,
        };
        table.row(vec![
            Cell::toned(Tone::Strong, &account.id),
            account.kind.as_str().into(),
            count(account.charges).into(),
            epsilon(&account.spend),
            decimal(account.spend.rho).into(),
            capped(account.budget_rho).into(),
            Cell::toned(tone, capped(account.remaining_rho)),
        ]);
    }
    table.render(colours, "nothing was charged yet")
}

fn epsilon(spend: &Spend) -> Cell {
    match spend.not_private {
        true => Cell::toned(Tone::Bad, "NOT PRIVATE"),
        false => decimal(spend.epsilon).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epsilon_is_never_shown_without_its_conditions() {
        let spend = Spend {
            epsilon: 7.31,
            delta: 1e-5,
            rho: 0.62,
            adjacency: "add-or-remove-one-device".into(),
            mechanism: "discrete-gaussian".into(),
            ..Spend::default()
        };
        assert_eq!(
            statement(&spend, Palette::PLAIN),
            "epsilon 7.31 at delta 1e-5 (add or remove one device, discrete gaussian; rho 0.6200)"
        );
        let seeded = Spend {
            not_private: true,
            ..spend
        };
        assert!(statement(&seeded, Palette::PLAIN).starts_with("NOT PRIVATE"));
    }
}
