//! `privacy show`: the worst device, regions, and accounts by region.

use super::statement::{epsilon_cell, statement};
use crate::output::{Align, Cell, Palette, Table, Tone, count, decimal, printable};
use crate::view::{AccountView, PrivacyView, RegionSpendView, Spend};

/// An empty ledger.
const NOTHING: &str = "nothing was charged yet";
/// Less than this share of a cap left is worth a look.
const LITTLE: f64 = 0.1;
/// The name of all regions of an account together.
const ALL: &str = "all";

/// The ledger for people.
pub fn text(ledger: &PrivacyView, colours: Palette) -> String {
    if ledger.worst_device.is_none() && ledger.accounts.is_empty() {
        return colours.paint(Tone::Dim, NOTHING);
    }
    let mut parts = Vec::new();
    if let Some(worst) = &ledger.worst_device {
        let region = match worst.region.as_str() {
            "" => String::new(),
            region => format!(" (in {})", printable(region)),
        };
        let statement = statement(&worst.spend, colours);
        parts.push(format!("worst device{region}: {statement}"));
    }
    if !ledger.regions.is_empty() {
        parts.push(regions(&ledger.regions, colours));
    }
    parts.push(accounts(&ledger.accounts, colours));
    let conditions = conditions(&ledger.accounts);
    if !conditions.is_empty() {
        let lines = conditions.iter().map(|line| colours.paint(Tone::Dim, line));
        parts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    parts.join("\n\n")
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

/// What an account or one region of it has spent of its cap.
struct Line<'a> {
    spend: &'a Spend,
    epsilon_left: Option<f64>,
    rho_left: Option<f64>,
    cap: Option<f64>,
}

impl Line<'_> {
    /// Epsilon, what is left of it, rho, what is left of it.
    fn cells(&self) -> [Cell; 4] {
        let tone = match (self.cap, self.rho_left) {
            (Some(cap), Some(left)) if left < cap * LITTLE => Tone::Warn,
            _ => Tone::Good,
        };
        let left = |number: Option<f64>| match number {
            Some(number) => Cell::toned(tone, decimal(number)),
            None => Cell::toned(Tone::Dim, "-"),
        };
        [
            epsilon_cell(self.spend),
            left(self.epsilon_left),
            decimal(self.spend.rho).into(),
            left(self.rho_left),
        ]
    }
}

fn accounts(accounts: &[AccountView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("account", Align::Left),
        ("kind", Align::Left),
        ("charges", Align::Right),
        ("region", Align::Left),
        ("devices", Align::Right),
        ("epsilon", Align::Right),
        ("remains", Align::Right),
        ("rho", Align::Right),
        ("remains", Align::Right),
    ]);
    for account in accounts {
        let devices: u64 = account.regions.iter().map(|at| at.devices).sum();
        let (region, known) = match account.regions.as_slice() {
            [] => ("-", "-".to_owned()),
            [only] => (only.region.as_str(), count(devices)),
            _ => (ALL, count(devices)),
        };
        let whole = Line {
            spend: &account.spend,
            epsilon_left: account.remaining_epsilon,
            rho_left: account.remaining_rho,
            cap: account.budget_rho,
        };
        let mut row = vec![
            Cell::toned(Tone::Strong, &account.id),
            account.kind.as_str().into(),
            count(account.charges).into(),
            region.into(),
            known.into(),
        ];
        row.extend(whole.cells());
        table.row(row);
        if account.regions.len() < 2 {
            continue;
        }
        for at in &account.regions {
            let part = Line {
                spend: &at.spend,
                epsilon_left: at.remaining_epsilon,
                rho_left: at.remaining_rho,
                cap: account.budget_rho,
            };
            let mut row: Vec<Cell> = vec!["".into(), "".into(), "".into()];
            row.extend([at.region.as_str().into(), count(at.devices).into()]);
            row.extend(part.cells());
            table.row(row);
        }
    }
    table.render(colours, NOTHING)
}

/// What the epsilons of the accounts mean: a line for those that mean the same.
fn conditions(accounts: &[AccountView]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for account in accounts {
        let spend = &account.spend;
        let meaning = match spend.is_not_private() {
            true => spend.mechanism.clone(),
            false => format!(
                "epsilon at delta {:e}, {}; {}",
                spend.delta, spend.adjacency, spend.mechanism
            ),
        };
        let name = match account.kind.as_str() {
            // a monitor has accounts of two kinds
            "calibration" => format!("{} {}", account.id, account.kind),
            _ => account.id.clone(),
        };
        match groups.iter_mut().find(|(known, _)| *known == meaning) {
            Some((_, names)) => names.push(name),
            None => groups.push((meaning, vec![name])),
        }
    }
    if let [(meaning, _)] = groups.as_slice() {
        return vec![printable(meaning)];
    }
    let line = |(meaning, names): (String, Vec<String>)| {
        printable(&format!("{}: {meaning}", names.join(", ")))
    };
    groups.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

    use super::super::epsilon;
    use super::*;

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
