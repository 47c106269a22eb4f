//! The ledger as operators read it.

use std::collections::HashMap;

use tributary_proto::v1::{GetPrivacyRequest, GetPrivacyResponse, PrivacyAccount};

use super::{pages, terms};
use crate::error::CoordinatorError;
use crate::run::Runs;

/// Delta of statements that belong to no run.
const DELTA: f64 = 1e-5;
/// Decisions about caps that are shown.
const DECISIONS: usize = 1_000;

/// A page of the ledger. Goes through the books of all devices and reads the short records of the runs
/// on the page: call it where blocking is allowed.
///
/// # Errors
/// When the run is not known, or the token is of another list.
pub(super) async fn show(
    runs: &Runs,
    request: &GetPrivacyRequest,
) -> Result<GetPrivacyResponse, CoordinatorError> {
    let only = Some(request.run_id.as_str()).filter(|only| !only.is_empty());
    if let Some(only) = only {
        runs.catalogue.must_know(&only.parse()?)?;
    }
    let deltas = runs.catalogue.deltas().into_iter();
    let deltas: HashMap<String, f64> = deltas
        .map(|(run, delta)| (run.to_string(), delta))
        .collect();
    let delta_of = |run: &str| deltas.get(run).copied().unwrap_or(DELTA);
    let delta = only.map_or(DELTA, delta_of);
    let ledger = &runs.core.ledger;
    let size = pages::size(request.page_size, pages::DEFAULT);
    let name = |account: &PrivacyAccount| format!("{}/{}", account.id, account.kind);
    let accounts = ledger.accounts(only, delta_of);
    let (mut accounts, next_page_token) = pages::after(accounts, &request.page_token, size, name)?;
    for account in &mut accounts {
        account.marks = marks(runs, &account.id).await;
    }
    let (worst_device, worst_region) = ledger.worst(delta);
    let held = ledger.reservations().into_iter();
    let held = held.filter(|held| only.is_none_or(|only| held.id == only));
    let decisions = ledger.decisions(DECISIONS).into_iter();
    Ok(GetPrivacyResponse {
        accounts,
        worst_device: Some(worst_device),
        worst_region,
        regions: ledger.worst_by_region(delta),
        caps: ledger.caps().into_iter().map(terms::cap).collect(),
        reservations: held.map(terms::reservation).collect(),
        decisions: decisions.map(terms::decision).collect(),
        next_page_token,
    })
}

/// The marks of the run of an account, which may be its monitor's; none of one that can't be read.
async fn marks(runs: &Runs, account: &str) -> Vec<String> {
    for name in [account, crate::names::run_of(account)] {
        let Ok(run) = name.parse() else { continue };
        if let Ok(marks) = runs.run_marks(&run).await {
            return marks;
        }
    }
    Vec::new()
}
