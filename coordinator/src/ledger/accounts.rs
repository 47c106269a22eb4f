//! The statements of accounts, regions and the worst device.
//!
//! What they need is copied under the lock; epsilons, which take longer, are worked out after it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use tributary_privacy::{Rho, epsilon_cks20};
use tributary_proto::RegionId;
use tributary_proto::v1::{PrivacyAccount, PrivacySpend, RegionAccount, RegionSpend};

use super::Ledger;
use super::charge::{AccountKey, ChargeKind};
use super::guarantee::{Guarantee, epsilons};
use super::state::{AccountState, LedgerState, RegionState};

/// Devices of one region in one account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    pub(super) devices: u64,
    /// Most that one spent here.
    pub(super) worst: u64,
    /// Most that one spent over everything.
    pub(super) total: u64,
    /// Cap and spend over everything of the one that has least left; none without a cap.
    tightest: Option<(u64, u64)>,
}

impl Row {
    fn left(&self) -> Option<u64> {
        self.tightest.map(|(cap, spent)| cap.saturating_sub(spent))
    }
}

/// An account without its devices.
pub(super) struct Summary {
    pub(super) key: AccountKey,
    pub(super) charges: u64,
    pub(super) worst: u64,
    claim: Guarantee,
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

    /// The device that spent most: its spend and its region. Where noise was missing or known more was
    /// lost than any amount says.
    pub fn worst(&self, delta: f64) -> (PrivacySpend, String) {
        let worst = {
            let regions = by_region(&self.lock()).into_iter();
            // of several, the region that sorts first
            regions.max_by_key(|(region, (worst, claim))| {
                (!claim.is_private(), *worst, Reverse(region.clone()))
            })
        };
        let (region, (worst, claim)) = match worst {
            Some((region, spent)) => (region.to_string(), spent),
            None => (String::new(), (0, Guarantee::default())),
        };
        (claim.spend(worst, delta), region)
    }

    /// The device of each region that spent most, with what may be said about the region's own devices.
    pub fn worst_by_region(&self, delta: f64) -> Vec<RegionSpend> {
        let regions = by_region(&self.lock());
        let wire = |(region, (pico, claim)): (RegionId, (u64, Guarantee))| RegionSpend {
            region: region.to_string(),
            spend: Some(claim.spend(pico, delta)),
        };
        regions.into_iter().map(wire).collect()
    }
}

impl Summary {
    fn wire(self, delta: f64, epsilons: &mut Epsilons) -> PrivacyAccount {
        let claim = self.claim;
        let mut remains = |tightest: Option<(u64, u64)>| match tightest {
            None => (0.0, 0.0),
            Some((cap, spent)) => (
                Rho::from_pico(cap.saturating_sub(spent)).as_f64(),
                (epsilons.plain(cap, delta) - epsilons.plain(spent, delta)).max(0.0),
            ),
        };
        let rows = self.rows.iter().map(|(_, row)| row);
        let capped = rows.filter(|row| row.tightest.is_some());
        let tightest = capped.min_by_key(|row| row.left());
        let tightest = tightest.and_then(|row| row.tightest);
        let cap = tightest.map_or(0, |(cap, _)| cap);
        let (remaining_rho, remaining_epsilon) = remains(tightest);
        let left: Vec<(f64, f64)> = self
            .rows
            .iter()
            .map(|(_, row)| remains(row.tightest))
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
            // the run knows them
            marks: Vec::new(),
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
pub(super) fn summaries(books: &LedgerState, only: Option<&str>) -> Vec<Summary> {
    let mine = |book: &AccountState| only.is_none_or(|run| belongs(&book.key.0, run));
    let rows = rows(books, mine);
    let chosen = books
        .accounts
        .iter()
        .zip(rows)
        .filter(|(book, _)| mine(book));
    let mut chosen: Vec<_> = chosen.collect();
    chosen.sort_by(|(a, _), (b, _)| (a.first_ms, &a.key).cmp(&(b.first_ms, &b.key)));
    let summary = |(book, rows): (&AccountState, Vec<Row>)| {
        let regions = books.regions.iter().map(|at| at.region.clone());
        let here = regions.zip(rows).filter(|(_, row)| row.devices > 0);
        let mut rows: Vec<(RegionId, Row)> = here.collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        Summary {
            key: book.key.clone(),
            charges: book.charges,
            worst: book.worst,
            claim: book.claim.clone(),
            rows,
        }
    };
    chosen.into_iter().map(summary).collect()
}

/// One row for each region, of each account that is `chosen`.
fn rows(books: &LedgerState, chosen: impl Fn(&AccountState) -> bool) -> Vec<Vec<Row>> {
    let empty = |book: &AccountState| match chosen(book) {
        true => vec![Row::default(); books.regions.len()],
        false => Vec::new(),
    };
    let mut rows: Vec<Vec<Row>> = books.accounts.iter().map(empty).collect();
    for device in books.devices.values() {
        let region = books.region_of(device);
        let cap = region.and_then(|region| books.cap_of(Some(device), region));
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
                let left = cap.map(|cap| cap.saturating_sub(device.total));
                if left.is_some() && (row.tightest.is_none() || left < row.left()) {
                    row.tightest = cap.map(|cap| (cap, device.total));
                }
            }
        }
    }
    rows
}

/// Of each region that has devices, the most that one spent over everything, and what may be said about
/// all accounts in which one of them was charged.
fn by_region(books: &LedgerState) -> BTreeMap<RegionId, (u64, Guarantee)> {
    let rows = rows(books, |_| true);
    let region = |(place, at): (usize, &RegionState)| {
        let mut claim = Guarantee::default();
        for (book, rows) in books.accounts.iter().zip(&rows) {
            let is_here = rows.get(place).is_some_and(|row| row.devices > 0);
            // whose devices an older entry charged is not known: it may be those of any region
            if is_here || book.is_without_spends {
                claim.join(&book.claim);
            }
        }
        Some((at.region.clone(), (at.worst()?, claim)))
    };
    books
        .regions
        .iter()
        .enumerate()
        .filter_map(region)
        .collect()
}

/// True when an account is a run's own or that of its monitor.
fn belongs(account: &str, run: &str) -> bool {
    account == run || account == crate::names::monitor_of(run)
}

/// The run of an account.
fn run_of((account, kind): &AccountKey) -> &str {
    run_behind(account, *kind)
}

/// The run whose account this is, or whose monitor's.
pub(super) fn run_behind(account: &str, kind: ChargeKind) -> &str {
    match kind {
        ChargeKind::Training | ChargeKind::Restore => account,
        ChargeKind::Drift | ChargeKind::Calibration => crate::names::run_of(account),
    }
}
