//! The statements of accounts, regions and the worst device.
//!
//! What they need is copied under the lock; epsilons, which take longer, are worked out after it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use tributary_aggregator::{Rho, epsilon_cks20};
use tributary_proto::RegionId;
use tributary_proto::v1::{PrivacyAccount, PrivacySpend, RegionAccount, RegionSpend};

use super::Ledger;
use super::books::{AccountBook, AccountKey, Books};
use super::charge::ChargeKind;
use super::claim::{Claim, epsilons};

/// Devices of one region in one account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) devices: u64,
    /// Most that one spent here.
    pub(super) worst: u64,
    /// Most that one spent over everything.
    pub(super) total: u64,
}

/// An account without its devices.
pub(super) struct Summary {
    pub(super) key: AccountKey,
    pub(super) charges: u64,
    pub(super) worst: u64,
    cap: u64,
    claim: Claim,
    pub(super) rows: Vec<(RegionId, Row)>,
}

impl Ledger {
    /// The accounts of runs and monitors, oldest first; of one run and its monitor with `only`. Each
    /// is stated at the delta of its run.
    pub fn accounts(
        &self,
        only: Option<&str>,
        delta_of_run: impl Fn(&str) -> f64,
    ) -> Vec<PrivacyAccount> {
        let summaries = summaries(&self.lock(), only);
        let mut epsilons = Epsilons::default();
        let wire = |summary: Summary| {
            let delta = delta_of_run(run_of(&summary.key));
            summary.wire(delta, &mut epsilons)
        };
        summaries.into_iter().map(wire).collect()
    }

    /// The device that spent most: its spend and its region.
    pub fn worst(&self, delta: f64) -> (PrivacySpend, String) {
        let (worst, region, claim) = {
            let books = self.lock();
            let spent = books.regions.iter();
            let spent = spent.filter_map(|at| Some((at.worst()?, Reverse(&at.region))));
            // of several, the region that sorts first
            let (worst, region) = match spent.max() {
                Some((worst, Reverse(region))) => (worst, region.to_string()),
                None => (0, String::new()),
            };
            (worst, region, claim(&books))
        };
        (claim.spend(worst, delta), region)
    }

    /// The device of each region that spent most.
    pub fn worst_by_region(&self, delta: f64) -> Vec<RegionSpend> {
        let (worst, claim) = {
            let books = self.lock();
            let spent = books.regions.iter();
            let spent = spent.filter_map(|at| Some((at.region.clone(), at.worst()?)));
            (spent.collect::<BTreeMap<RegionId, u64>>(), claim(&books))
        };
        let wire = |(region, pico): (RegionId, u64)| RegionSpend {
            region: region.to_string(),
            spend: Some(claim.spend(pico, delta)),
        };
        worst.into_iter().map(wire).collect()
    }
}

impl Summary {
    fn wire(self, delta: f64, epsilons: &mut Epsilons) -> PrivacyAccount {
        let most = self.rows.iter().map(|(_, row)| row.total).max();
        let most = most.unwrap_or(0).max(self.worst);
        let (claim, cap) = (self.claim, self.cap);
        let mut remains = |spent: u64| match cap {
            0 => (0.0, 0.0),
            cap => (
                Rho::from_pico(cap.saturating_sub(spent)).as_f64(),
                (epsilons.plain(cap, delta) - epsilons.plain(spent, delta)).max(0.0),
            ),
        };
        let (remaining_rho, remaining_epsilon) = remains(most);
        let left: Vec<(f64, f64)> = self
            .rows
            .iter()
            .map(|(_, row)| remains(row.total))
            .collect();
        let region = |((region, row), left): ((RegionId, Row), (f64, f64))| RegionAccount {
            region: region.to_string(),
            devices: row.devices,
            spend: Some(claim.spend_of(row.worst, delta, epsilons.both(row.worst, delta))),
            remaining_rho: left.0,
            remaining_epsilon: left.1,
        };
        let regions = self.rows.into_iter().zip(left).map(region).collect();
        PrivacyAccount {
            id: self.key.0,
            kind: self.key.1.name().to_owned(),
            charges: self.charges,
            spend: Some(claim.spend_of(self.worst, delta, epsilons.both(self.worst, delta))),
            budget_rho: Rho::from_pico(cap).as_f64(),
            remaining_rho,
            regions,
            budget_epsilon: if cap == 0 {
                0.0
            } else {
                epsilons.plain(cap, delta)
            },
            remaining_epsilon,
        }
    }
}

/// Conversions that were made already: most devices have spent the same.
#[derive(Default)]
struct Epsilons {
    both: HashMap<(u64, u64), (f64, f64)>,
    plain: HashMap<(u64, u64), f64>,
}

impl Epsilons {
    fn both(&mut self, pico_rho: u64, delta: f64) -> (f64, f64) {
        let key = (pico_rho, delta.to_bits());
        *self
            .both
            .entry(key)
            .or_insert_with(|| epsilons(pico_rho, delta))
    }

    /// Without the check against another conversion, for what is only a distance to a cap.
    fn plain(&mut self, pico_rho: u64, delta: f64) -> f64 {
        let key = (pico_rho, delta.to_bits());
        let convert = || match pico_rho {
            0 => 0.0,
            pico => epsilon_cks20(Rho::from_pico(pico), delta).unwrap_or(f64::INFINITY),
        };
        *self.plain.entry(key).or_insert_with(convert)
    }
}

/// The accounts that `only` asks for, oldest first.
pub(super) fn summaries(books: &Books, only: Option<&str>) -> Vec<Summary> {
    let mine = |book: &AccountBook| only.is_none_or(|run| belongs(&book.key.0, run));
    let rows = rows(books, mine);
    let chosen = books
        .accounts
        .iter()
        .zip(rows)
        .filter(|(book, _)| mine(book));
    let mut chosen: Vec<_> = chosen.collect();
    chosen.sort_by(|(a, _), (b, _)| (a.first_ms, &a.key).cmp(&(b.first_ms, &b.key)));
    let summary = |(book, rows): (&AccountBook, Vec<Row>)| {
        let regions = books.regions.iter().map(|at| at.region.clone());
        let here = regions.zip(rows).filter(|(_, row)| row.devices > 0);
        let mut rows: Vec<(RegionId, Row)> = here.collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Summary {
            key: book.key.clone(),
            charges: book.charges,
            worst: book.worst,
            cap: book.cap,
            claim: book.claim.clone(),
            rows,
        }
    };
    chosen.into_iter().map(summary).collect()
}

/// One row for each region, of each account that is `chosen`.
fn rows(books: &Books, chosen: impl Fn(&AccountBook) -> bool) -> Vec<Vec<Row>> {
    let empty = |book: &AccountBook| match chosen(book) {
        true => vec![Row::default(); books.regions.len()],
        false => Vec::new(),
    };
    let mut rows: Vec<Vec<Row>> = books.accounts.iter().map(empty).collect();
    for device in books.devices.values() {
        for (account, spent) in &device.spends {
            let account = *account as usize;
            let row = rows
                .get_mut(account)
                .and_then(|of| of.get_mut(device.region as usize));
            if let Some(row) = row {
                row.devices += 1;
                row.worst = row
                    .worst
                    .max(spent.saturating_add(books.accounts[account].before));
                row.total = row.total.max(device.total);
            }
        }
    }
    rows
}

/// What may be said about all accounts together.
fn claim(books: &Books) -> Claim {
    let mut all = Claim::default();
    for book in &books.accounts {
        all.join(&book.claim);
    }
    all
}

/// True when an account is a run's own or that of its monitor.
fn belongs(account: &str, run: &str) -> bool {
    account == run || account == crate::monitor::id_of(run)
}

/// The run of an account.
fn run_of((account, kind): &AccountKey) -> &str {
    match kind {
        ChargeKind::Training | ChargeKind::Restore => account,
        ChargeKind::Drift | ChargeKind::Calibration => crate::monitor::run_of(account),
    }
}
