//! `privacy show`: the worst device, regions, and accounts by region.

use super::terms;
use crate::output::{Align, Cell, Palette, Table, Tone, count, decimal, printable};
use crate::text::spend::{conditions, epsilon_cell, statement};
use crate::view::{AccountView, PrivacyView, RegionSpendView, Spend};

/// An empty ledger.
const NOTHING: &str = "nothing was charged yet";
/// Less than this share of a cap left is worth a look.
const LITTLE: f64 = 0.1;
/// The name of all regions of an account together.
const ALL: &str = "all";

/// The ledger for people.
pub fn text(ledger: &PrivacyView, colours: Palette) -> String {
    let mut parts = Vec::new();
    if ledger.worst_device.is_none() && ledger.accounts.is_empty() {
        parts.push(colours.paint(Tone::Dim, NOTHING));
        parts.extend(terms(ledger, colours));
        return parts.join("\n\n");
    }
    if let Some(worst) = &ledger.worst_device {
        let region = match worst.region.as_str() {
            "" => String::new(),
            region => format!(" (in {})", printable(region)),
        };
        let statement = statement(&worst.spend, colours);
        parts.push(format!("worst device{region}: {statement}"));
    }
    if !ledger.regions.is_empty() {
        let spends = ledger.regions.iter();
        let spends = spends.map(|at| (at.region.clone(), &at.spend));
        parts.push(regions(&ledger.regions, colours));
        parts.extend(meaning(conditions(spends), colours));
    }
    parts.push(accounts(&ledger.accounts, colours));
    parts.extend(meaning(conditions(named(&ledger.accounts)), colours));
    parts.extend(marked(&ledger.accounts, colours));
    parts.extend(terms(ledger, colours));
    parts.join("\n\n")
}

/// Runs whose models tell more than their own epsilon says.
fn marked(accounts: &[AccountView], colours: Palette) -> Option<String> {
    let marked = accounts.iter().filter(|account| !account.marks.is_empty());
    let line = |account: &AccountView| {
        let line = format!("{} is marked {}", account.id, account.marks.join(", "));
        colours.paint(Tone::Bad, &printable(&line))
    };
    let mut lines: Vec<String> = marked.map(line).collect();
    lines.dedup();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Caps, reservations and decisions, as far as there are any.
fn terms(ledger: &PrivacyView, colours: Palette) -> Vec<String> {
    let mut parts = Vec::new();
    if !ledger.caps.is_empty() {
        parts.push(terms::caps(&ledger.caps, colours));
    }
    if !ledger.reservations.is_empty() {
        parts.push(terms::reservations(&ledger.reservations, colours));
    }
    if !ledger.decisions.is_empty() {
        parts.push(terms::decisions(&ledger.decisions, colours));
    }
    parts
}

fn meaning(conditions: Vec<String>, colours: Palette) -> Option<String> {
    let lines = conditions.iter().map(|line| colours.paint(Tone::Dim, line));
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
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
    ])
    .spare(&["kind", "charges"]);
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

/// The accounts' names and spends.
fn named(accounts: &[AccountView]) -> impl Iterator<Item = (String, &Spend)> {
    accounts.iter().map(|account| {
        let name = match account.kind.as_str() {
            // a monitor has accounts of two kinds
            "calibration" => format!("{} {}", account.id, account.kind),
            _ => account.id.clone(),
        };
        (name, &account.spend)
    })
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

    use super::*;
    use crate::text::spend::epsilon;

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

    fn spend(epsilon: f64, rho: f64) -> v1::PrivacySpend {
        v1::PrivacySpend {
            epsilon,
            delta: 1e-5,
            rho,
            adjacency: "zero-out-one-device".into(),
            mechanism: "discrete Gaussian, zCDP composition, no amplification".into(),
            ..Default::default()
        }
    }

    fn account(id: &str, kind: &str) -> v1::PrivacyAccount {
        let region = |region: &str, devices, spent, remaining: (f64, f64)| v1::RegionAccount {
            region: region.into(),
            devices,
            spend: Some(spent),
            remaining_rho: remaining.0,
            remaining_epsilon: remaining.1,
        };
        v1::PrivacyAccount {
            id: id.into(),
            kind: kind.into(),
            charges: 12,
            spend: Some(spend(4.2, 0.5)),
            budget_rho: 1.0,
            remaining_rho: 0.05,
            regions: vec![
                region("eu", 1_200, spend(3.1, 0.25), (0.75, 4.9)),
                region("us", 34, spend(4.2, 0.5), (0.05, 0.3)),
            ],
            budget_epsilon: 8.0,
            remaining_epsilon: 0.3,
            marks: vec![],
        }
    }

    #[test]
    fn an_account_is_followed_by_its_regions_and_every_epsilon_by_what_it_means() {
        let mut monitor = account("walk-1-drift", "drift");
        monitor.regions.truncate(1);
        monitor.budget_rho = 0.0;
        let page = shown(
            spend(4.2, 0.5),
            vec![account("walk-1", "training"), monitor],
        );
        let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
        let expected = [
            "account       kind      charges  region  devices  epsilon  remains     rho  remains",
            "walk-1        training       12  all       1,234     4.20   0.3000  0.5000   0.0500",
            "                                 eu        1,200     3.10     4.90  0.2500   0.7500",
            "                                 us           34     4.20   0.3000  0.5000   0.0500",
            "walk-1-drift  drift          12  eu        1,200     4.20        -  0.5000        -",
        ];
        for line in expected {
            assert!(lines.contains(&line), "{line}\n{page}");
        }
        assert_eq!(
            lines.last(),
            Some(
                &"epsilon at delta 1e-5, zero out one device; discrete Gaussian, zCDP \
                  composition, no amplification"
            )
        );
    }

    #[test]
    fn accounts_that_mean_different_things_are_named_with_their_meaning() {
        let mut local = account("walk-2", "training");
        local.spend = Some(v1::PrivacySpend {
            adjacency: "replace-one-device".into(),
            mechanism: "local discrete Gaussian".into(),
            ..spend(4.2, 0.5)
        });
        let others = vec![
            account("walk-1", "training"),
            account("walk-1-drift", "drift"),
        ];
        let page = shown(spend(4.2, 0.5), [others, vec![local]].concat());
        let meanings = [
            "walk-1, walk-1-drift: epsilon at delta 1e-5, zero out one device; discrete",
            "walk-2: epsilon at delta 1e-5, replace one device; local discrete Gaussian",
        ];
        for meaning in meanings {
            assert!(page.contains(meaning), "{meaning}\n{page}");
        }
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
