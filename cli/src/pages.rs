//! Reading long answers: page by page, until the last or until there are enough.

use tonic::Status;
use tributary_proto::v1::{
    GetFleetRequest, GetFleetResponse, GetPrivacyRequest, GetPrivacyResponse, GetRunRequest,
    GetRunResponse, ListModelsRequest, ListRunsRequest, Model, Run,
};

use crate::client::Coordinator;
use crate::output::count;

/// Most entries of a page of a list.
const MOST: u32 = 10_000;

/// A run with all its rounds, oldest first.
pub async fn run(coordinator: &Coordinator, run_id: &str) -> Result<GetRunResponse, Status> {
    let request = |page_token| GetRunRequest {
        run_id: run_id.to_owned(),
        page_token,
        ..GetRunRequest::default()
    };
    let mut control = coordinator.control();
    let mut whole = control.get_run(request(String::new())).await?.into_inner();
    while !whole.next_page_token.is_empty() {
        let token = std::mem::take(&mut whole.next_page_token);
        let older = control.get_run(request(token)).await?.into_inner();
        whole.rounds.splice(0..0, older.rounds);
        whole.next_page_token = older.next_page_token;
    }
    Ok(whole)
}

/// Entries of a list, newest first.
#[derive(Debug)]
pub struct Newest<T> {
    /// The newest, at most as many as were wanted.
    pub entries: Vec<T>,
    /// How many older ones there are.
    pub older: usize,
}

impl<T> Newest<T> {
    fn of(mut entries: Vec<T>, limit: u32) -> Self {
        let older = entries.len().saturating_sub(limit as usize);
        entries.truncate(limit as usize);
        Self { entries, older }
    }

    /// Says how many are not shown, and how to see them; none when all are.
    pub fn remark(&self) -> Option<String> {
        let all = self.entries.len() + self.older;
        (self.older > 0).then(|| {
            let (older, all) = (count(self.older as u64), count(all as u64));
            format!("{older} of {all} are not shown, the older ones: raise --limit to see more")
        })
    }
}

/// The newest runs, at most `limit`, and why the coordinator is halted; empty when it is not.
pub async fn runs(coordinator: &Coordinator, limit: u32) -> Result<(Newest<Run>, String), Status> {
    let (mut runs, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRunsRequest {
            limit: left(limit, runs.len()),
            page_token,
        };
        let page = coordinator.control().list_runs(request).await?.into_inner();
        runs.extend(page.runs);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok((Newest::of(runs, limit), page.halted));
        }
    }
}

/// The newest model versions, at most `limit`.
pub async fn models(coordinator: &Coordinator, limit: u32) -> Result<Newest<Model>, Status> {
    let (mut models, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListModelsRequest {
            limit: left(limit, models.len()),
            page_token,
        };
        let answer = coordinator.control().list_models(request).await?;
        let page = answer.into_inner();
        models.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(Newest::of(models, limit));
        }
    }
}

/// The whole fleet.
pub async fn fleet(coordinator: &Coordinator) -> Result<GetFleetResponse, Status> {
    let mut whole = GetFleetResponse::default();
    loop {
        let request = GetFleetRequest {
            page_token: std::mem::take(&mut whole.next_page_token),
            ..GetFleetRequest::default()
        };
        let page = coordinator.control().get_fleet(request).await?.into_inner();
        whole.groups.extend(page.groups);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

/// The ledger with all its accounts, or those of one run.
pub async fn privacy(
    coordinator: &Coordinator,
    run_id: &str,
) -> Result<GetPrivacyResponse, Status> {
    let request = |page_token| GetPrivacyRequest {
        run_id: run_id.to_owned(),
        page_token,
        ..GetPrivacyRequest::default()
    };
    let mut control = coordinator.control();
    let first = control.get_privacy(request(String::new())).await?;
    let mut whole = first.into_inner();
    while !whole.next_page_token.is_empty() {
        let token = std::mem::take(&mut whole.next_page_token);
        let page = control.get_privacy(request(token)).await?.into_inner();
        whole.accounts.extend(page.accounts);
        whole.next_page_token = page.next_page_token;
    }
    Ok(whole)
}

/// Entries to ask for: those that are still wanted, then as many as come at a time, to be counted.
fn left(limit: u32, have: usize) -> u32 {
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    match limit.saturating_sub(have) {
        0 => MOST,
        wanted => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_ends_before_the_last_says_how_many_are_missing_and_which_flag_shows_them() {
        let cut = Newest::of((0..45).collect(), 20);
        assert_eq!((cut.entries.len(), cut.older), (20, 25));
        let remark = cut.remark().unwrap();
        assert!(
            remark.contains("25 of 45") && remark.contains("--limit"),
            "{remark}"
        );
        assert_eq!(Newest::of(vec![1, 2], 2).remark(), None);
    }

    #[test]
    fn pages_are_of_what_is_wanted_and_then_as_long_as_they_can_be() {
        assert_eq!((left(20, 0), left(20, 15), left(20, 20)), (20, 5, MOST));
    }
}
