//! Reading long answers: page by page, until the last or until there are enough.

use tonic::Status;
use tributary_proto::v1::{
    GetFleetRequest, GetFleetResponse, GetPrivacyRequest, GetPrivacyResponse, GetRunRequest,
    GetRunResponse, ListModelsRequest, ListRunsRequest, Model, Run,
};

use crate::client::Coordinator;

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

/// The newest runs, at most `limit`, and why the coordinator is halted; empty when it is not.
pub async fn runs(coordinator: &Coordinator, limit: u32) -> Result<(Vec<Run>, String), Status> {
    let (mut runs, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRunsRequest {
            limit: left(limit, runs.len()),
            page_token,
        };
        let page = coordinator.control().list_runs(request).await?.into_inner();
        runs.extend(page.runs);
        page_token = page.next_page_token;
        if page_token.is_empty() || runs.len() >= limit as usize {
            runs.truncate(limit as usize);
            return Ok((runs, page.halted));
        }
    }
}

/// The newest model versions, at most `limit`.
pub async fn models(coordinator: &Coordinator, limit: u32) -> Result<Vec<Model>, Status> {
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
        if page_token.is_empty() || models.len() >= limit as usize {
            models.truncate(limit as usize);
            return Ok(models);
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

/// Entries that are still wanted; never 0, which would ask for the default.
fn left(limit: u32, have: usize) -> u32 {
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    limit.saturating_sub(have).max(1)
}
