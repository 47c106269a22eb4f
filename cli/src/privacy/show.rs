//! `tributary privacy`: what was spent and what remains.

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::GetPrivacyRequest;

use crate::arguments::Global;
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count, decimal, printable};
use crate::view::{AccountView, PrivacyView, RegionSpendView, Spend};

const AFTER: &str = "\
Examples:
  tributary privacy show
  tributary privacy show --run RUN --format json

Spend is that of the device that spent most: no device has lost more than this.";

/// An empty ledger.
const NOTHING: &str = "nothing was charged yet";
/// In place of an epsilon that would promise something.
const NOT_PRIVATE: &str = "not private";

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
    if spend.has_no_noise() {
        return colours.paint(Tone::Bad, "no noise: NOT PRIVATE");
    }
    if spend.not_private {
        return colours.paint(Tone::Bad, "NOT PRIVATE: the noise was seeded");
    }
    if spend.is_nothing() {
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

/// The epsilon of a spend for a column or a line that has no room for its conditions; `-` where the
/// coordinator states nothing, as for an open round.
pub fn epsilon(spend: &Spend) -> String {
    if spend.is_not_private() {
        NOT_PRIVATE.to_owned()
    } else if spend.mechanism.is_empty() {
        "-".to_owned()
    } else {
        decimal(spend.epsilon)
    }
}

/// The same as a cell of a table.
pub fn epsilon_cell(spend: &Spend) -> Cell {
    match spend.is_not_private() {
        true => Cell::toned(Tone::Bad, NOT_PRIVATE),
        false => epsilon(spend).into(),
    }
}

fn text(ledger: &PrivacyView, colours: Palette) -> String {
    if ledger.worst_device.is_none() && ledger.accounts.is_empty() {
        return colours.paint(Tone::Dim, NOTHING);
    }
    let mut lines = Vec::new();
    if let Some(worst) = &ledger.worst_device {
        let region = match worst.region.as_str() {
            "" => String::new(),
            region => format!(" (in {})", printable(region)),
        };
        let statement = statement(&worst.spend, colours);
        lines.push(format!("worst device{region}: {statement}\n"));
    }
    if !ledger.regions.is_empty() {
        lines.push(format!("{}\n", regions(&ledger.regions, colours)));
    }
    lines.push(accounts(&ledger.accounts, colours));
    lines.join("\n")
}

fn regions(regions: &[RegionSpendView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("region", Align::Left),
        ("epsilon", Align::Right),
        ("delta", Align::Right),
        ("rho", Align::Right),
    ]);
    for region in regions {
        table.row(vec![
            region.region.as_str().into(),
            epsilon_cell(&region.spend),
            format!("{:e}", region.spend.delta).into(),
            decimal(region.spend.rho).into(),
        ]);
    }
    table.render(colours, NOTHING)
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
            epsilon_cell(&account.spend),
            decimal(account.spend.rho).into(),
            capped(account.budget_rho).into(),
            Cell::toned(tone, capped(account.remaining_rho)),
        ]);
    }
    table.render(colours, NOTHING)
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

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

    fn shown(spend: v1::PrivacySpend, accounts: Vec<v1::PrivacyAccount>) -> String {
        let answer = v1::GetPrivacyResponse {
            worst_device: Some(spend),
            accounts,
            ..Default::default()
        };
        text(&answer.into(), Palette::PLAIN)
    }

    #[test]
    fn an_empty_ledger_says_so_and_names_no_device() {
        let nothing = v1::PrivacySpend {
            delta: 1e-5,
            mechanism: "discrete Gaussian, zCDP composition, no amplification".into(),
            ..Default::default()
        };
        assert_eq!(shown(nothing, vec![]), "nothing was charged yet");
    }

    #[test]
    fn without_noise_no_number_is_shown_in_place_of_an_epsilon() {
        let unnoised = v1::PrivacySpend {
            epsilon: f64::INFINITY,
            mechanism: "no noise: NOT PRIVATE".into(),
            not_private: true,
            ..Default::default()
        };
        let account = v1::PrivacyAccount {
            id: "run-1".into(),
            kind: "training".into(),
            charges: 3,
            spend: Some(unnoised.clone()),
            ..Default::default()
        };
        let page = shown(unnoised.clone(), vec![account]);
        assert!(
            page.starts_with("worst device: no noise: NOT PRIVATE\n"),
            "{page}"
        );
        assert!(
            page.contains("not private") && !page.contains("inf"),
            "{page}"
        );
        // also from a coordinator that says so by the mechanism alone
        let by_name = Spend {
            not_private: false,
            ..Some(unnoised).into()
        };
        assert_eq!(statement(&by_name, Palette::PLAIN), "no noise: NOT PRIVATE");
        assert_eq!(epsilon(&by_name), "not private");
        assert_eq!(epsilon(&Spend::default()), "-");
    }
}
