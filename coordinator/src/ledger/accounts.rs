//! The statements of accounts, regions and the worst device.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tributary_aggregator::Rho;
use tributary_proto::RegionId;
use tributary_proto::v1::{PrivacyAccount, PrivacySpend, RegionSpend};

use super::Ledger;
use super::books::{AccountBook, Books};
use super::claim::Claim;

impl Ledger {
    /// The accounts of runs and monitors, oldest first; of one run and its monitor with `only`.
    pub fn accounts(&self, only: Option<&str>, delta: f64) -> Vec<PrivacyAccount> {
        let books = self.lock();
        let mine = |book: &&AccountBook| only.is_none_or(|run| belongs(&book.key.0, run));
        let mut chosen: Vec<&AccountBook> = books.accounts.iter().filter(mine).collect();
        chosen.sort_by(|a, b| (a.first_ms, &a.key).cmp(&(b.first_ms, &b.key)));
        let wire = |book: &AccountBook| PrivacyAccount {
            id: book.key.0.clone(),
            kind: book.key.1.name().to_owned(),
            charges: book.charges,
            spend: Some(book.claim.spend(book.worst, delta)),
            budget_rho: Rho::from_pico(book.cap).as_f64(),
            remaining_rho: Rho::from_pico(book.cap.saturating_sub(book.worst)).as_f64(),
        };
        chosen.into_iter().map(wire).collect()
    }

    /// The device that spent most: its spend and its region.
    pub fn worst(&self, delta: f64) -> (PrivacySpend, String) {
        let books = self.lock();
        let spent = books.regions.iter();
        let spent = spent.filter_map(|at| Some((at.worst()?, Reverse(&at.region))));
        // of several, the region that sorts first
        let (worst, region) = match spent.max() {
            Some((worst, Reverse(region))) => (worst, region.to_string()),
            None => (0, String::new()),
        };
        (claim(&books).spend(worst, delta), region)
    }

    /// The device of each region that spent most.
    pub fn worst_by_region(&self, delta: f64) -> Vec<RegionSpend> {
        let books = self.lock();
        let claim = claim(&books);
        let spent = books.regions.iter();
        let spent = spent.filter_map(|at| Some((&at.region, at.worst()?)));
        let worst: BTreeMap<&RegionId, u64> = spent.collect();
        let wire = |(region, pico): (&RegionId, u64)| RegionSpend {
            region: region.to_string(),
            spend: Some(claim.spend(pico, delta)),
        };
        worst.into_iter().map(wire).collect()
    }
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
