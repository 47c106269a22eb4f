//! How long model versions are kept.
//!
//! A run makes a version each round. What is kept of it: the versions of its newest rounds, those
//! that somebody pinned, those of which a build is installed somewhere, those that a running run goes
//! on from, and what it made itself lately. Imported versions are kept.
//!
//! A version goes record first, blob last: a crash in between leaves a blob that no record names,
//! which the next start removes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tributary_model::Digest;
use tributary_proto::v1::{RunState, watch_response};

use crate::CoordinatorError;
use crate::registry::ModelRecord;
use crate::run::Runs;

/// Versions that go at a time; a caller comes back for more.
pub const AT_A_TIME: usize = 1_000;

/// What goes, or went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The versions, oldest first; at most [`AT_A_TIME`].
    pub models: Vec<ModelRecord>,
    /// How many there are in all.
    pub all: usize,
    /// Bytes of their files and builds, of those in `models`.
    pub bytes: u64,
}

/// Which versions are to go, and with `delete` deletes them: of each run, or of one, all but those of
/// the newest `keep` rounds and what is still needed.
///
/// # Errors
/// When a store can't be read or written. What went before stays gone.
pub async fn prune(
    runs: &Runs,
    keep: usize,
    only: Option<&str>,
    delete: bool,
) -> Result<Pruned, CoordinatorError> {
    // a run that is being started may be about to go on from one of them
    let core = &runs.core;
    let _turn = runs.starting.lock().await;
    let models = core.registry.models(usize::MAX)?;
    let needed = needed(runs, &models)?;
    let mut going: Vec<ModelRecord> = surplus(models, keep, only)
        .into_iter()
        .filter(|model| !needed.contains(&model.digest))
        .collect();
    let all = going.len();
    going.truncate(AT_A_TIME);
    let mut pruned = Pruned {
        all,
        ..Pruned::default()
    };
    for model in going {
        pruned.bytes += if delete {
            let bytes = core.registry.remove(&model).await?;
            core.forget(&model.digest);
            bytes
        } else {
            core.registry.stored_bytes(&model).await?
        };
        pruned.models.push(model);
    }
    if delete && !pruned.models.is_empty() {
        let (versions, bytes) = (pruned.models.len(), pruned.bytes);
        tracing::info!(versions, bytes, "pruned model versions");
    }
    Ok(pruned)
}

/// Prunes all runs now, and each run after each of its rounds, until `stop`.
pub async fn keep(runs: Arc<Runs>, keep: NonZeroU32, stop: CancellationToken) {
    let mut events = runs.core.watch();
    let mut due: Option<String> = Some(String::new());
    loop {
        if let Some(run) = due.take() {
            let only = (!run.is_empty()).then_some(run.as_str());
            if let Err(error) = prune_all(&runs, keep, only).await {
                tracing::error!(run, %error, "old model versions can't be pruned");
            }
        }
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.recv() => event,
        };
        due = match event {
            Ok(event) => match event.event {
                Some(watch_response::Event::Round(changed)) => Some(changed.run_id),
                _ => None,
            },
            // some rounds were missed: all runs are looked at
            Err(RecvError::Lagged(_)) => Some(String::new()),
            Err(RecvError::Closed) => return,
        };
    }
}

async fn prune_all(
    runs: &Runs,
    keep: NonZeroU32,
    only: Option<&str>,
) -> Result<(), CoordinatorError> {
    loop {
        let pruned = prune(runs, keep.get() as usize, only, true).await?;
        if pruned.all == pruned.models.len() {
            return Ok(());
        }
    }
}

/// Of each run, the versions before its newest `keep` rounds, oldest first.
fn surplus(models: Vec<ModelRecord>, keep: usize, only: Option<&str>) -> Vec<ModelRecord> {
    let mut by_run: BTreeMap<String, Vec<ModelRecord>> = BTreeMap::new();
    for model in models {
        let wanted = only.is_none_or(|only| only == model.run_id);
        if wanted && !model.run_id.is_empty() {
            by_run.entry(model.run_id.clone()).or_default().push(model);
        }
    }
    let mut surplus = Vec::new();
    for models in by_run.into_values() {
        let rounds: BTreeSet<u32> = models.iter().map(|model| model.round).collect();
        // the newest round is always kept
        let last = rounds.len().min(keep.max(1)).saturating_sub(1);
        let oldest_kept = rounds.iter().rev().nth(last).copied();
        let goes = |model: &ModelRecord| oldest_kept.is_some_and(|kept| model.round < kept);
        surplus.extend(models.into_iter().filter(goes));
    }
    surplus.sort_by_key(|model| (model.created_ms, model.round, model.digest));
    surplus
}

/// Versions that must stay whatever their age.
fn needed(runs: &Runs, models: &[ModelRecord]) -> Result<HashSet<Digest>, CoordinatorError> {
    let mut needed: HashSet<Digest> = HashSet::new();
    for run in runs.live() {
        let view = run.view();
        needed.extend(view.versions());
        let view = view.run;
        if view.state() != RunState::Running {
            continue;
        }
        // devices may still work on rounds that are a little late
        let late = run.format.staleness_cap.saturating_add(2);
        let lately = |model: &&ModelRecord| {
            model.run_id == view.run_id && model.round.saturating_add(late) >= view.round
        };
        for model in models.iter().filter(lately) {
            needed.insert(model.digest);
            needed.extend(model.parent);
        }
    }
    needed.extend(runs.core.registry.installed(&runs.core.quarantine)?);
    let pinned = models.iter().filter(|model| model.pinned);
    needed.extend(pinned.map(|model| model.digest));
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Core;
    use crate::fixtures::core;
    use crate::registry::BuildRecord;
    use tributary_store::key::Key;
    use tributary_store::{Batch, Expect, Table};

    async fn version(core: &Core, run: &str, round: u32, pinned: bool) -> Digest {
        let bytes = format!("{run} {round}").into_bytes();
        let digest = core.blobs.put(bytes).await.unwrap();
        let record = ModelRecord {
            digest,
            name: "m".to_owned(),
            parent: None,
            run_id: run.to_owned(),
            round,
            parameters: 1,
            created_ms: u64::from(round),
            regions: Vec::new(),
            pinned,
            marks: tributary_model::Marks::default(),
        };
        let mut batch = Batch::new();
        core.registry.record(&record, &mut batch).unwrap();
        core.store.commit(batch).await.unwrap();
        digest
    }

    fn build(model: Digest, digest: Digest, installed_on: u64) -> BuildRecord {
        BuildRecord {
            digest,
            model,
            region: "eu".to_owned(),
            profile: "p".to_owned(),
            format: "f".to_owned(),
            variant: "full".to_owned(),
            bytes: 1,
            arena_bytes: 1,
            decision: String::new(),
            offered_to: 3,
            installed_on,
            failed_on: 0,
            marks: tributary_model::Marks::default(),
        }
    }

    #[tokio::test]
    async fn a_damaged_build_record_keeps_its_own_version_and_stops_no_other_pruning() {
        let core = core().await;
        let runs = Runs::new(core.clone()).0;
        let mut versions = Vec::new();
        for round in 1..=5 {
            versions.push(version(&core, "a-1", round, false).await);
        }
        let shared = core.blobs.put(b"shared".to_vec()).await.unwrap();
        for version in &versions[..2] {
            let built = build(*version, shared, 0);
            core.registry.put_build(&built).await.unwrap();
        }
        let prefix = Key::new().text(&versions[0].to_string()).into_bytes();
        let [(key, _)] = &core.store.scan(Table::Builds, &prefix, None, 2).unwrap()[..] else {
            panic!("one build");
        };
        let mut batch = Batch::new();
        let damaged = b"{ not a build".to_vec();
        batch.put(Table::Builds, key.clone(), damaged, Expect::Any);
        core.store.commit(batch).await.unwrap();
        for _ in 0..2 {
            // twice: what is left must not stand in the way of the next pruning
            prune(&runs, 1, None, true).await.unwrap();
        }
        let left = core.registry.models(usize::MAX).unwrap();
        let left: Vec<Digest> = left.iter().map(|model| model.digest).collect();
        assert_eq!(
            left,
            [versions[4], versions[0]],
            "the newest, and the one in doubt"
        );
        assert!(
            core.blobs.exists(&shared).await.unwrap(),
            "the damaged record may name it"
        );
        let page = core.quarantine.page();
        assert!(page.starts_with("quarantined build "), "{page}");
        assert_eq!(page.lines().count(), 1, "{page}");
    }

    #[tokio::test]
    async fn old_versions_go_with_their_bytes_and_what_is_needed_stays() {
        let core = core().await;
        let runs = Runs::new(core.clone()).0;
        let mut old = Vec::new();
        for round in 1..=6 {
            old.push(version(&core, "a-1", round, round == 2).await);
        }
        let other = version(&core, "b-1", 1, false).await;
        let imported = version(&core, "", 0, false).await;
        // a build that runs somewhere, and one that nobody took
        let running = core.blobs.put(b"running".to_vec()).await.unwrap();
        let idle = core.blobs.put(b"idle".to_vec()).await.unwrap();
        core.registry
            .put_build(&build(old[0], running, 1))
            .await
            .unwrap();
        core.registry
            .put_build(&build(old[2], idle, 0))
            .await
            .unwrap();

        let goes = prune(&runs, 2, None, false).await.unwrap();
        let digests: Vec<Digest> = goes.models.iter().map(|model| model.digest).collect();
        assert_eq!(
            digests,
            [old[2], old[3]],
            "not the installed, the pinned, the newest two"
        );
        assert_eq!(goes.bytes, 2 * "a-1 3".len() as u64 + "idle".len() as u64);
        assert!(
            core.blobs.exists(&old[2]).await.unwrap(),
            "asking deletes nothing"
        );

        let gone = prune(&runs, 2, None, true).await.unwrap();
        assert_eq!(gone.models.len(), 2);
        for digest in [old[2], old[3], idle] {
            assert!(!core.blobs.exists(&digest).await.unwrap());
        }
        assert!(core.registry.builds(&old[2]).unwrap().is_empty());
        for digest in [old[0], old[1], old[4], old[5], other, imported, running] {
            assert!(core.blobs.exists(&digest).await.unwrap());
        }
        let left = core.registry.models(usize::MAX).unwrap();
        assert_eq!(left.len(), 6);
        assert_eq!(
            prune(&runs, 2, None, true).await.unwrap(),
            Pruned::default()
        );
        let only = prune(&runs, 1, Some("b-1"), true).await.unwrap();
        assert!(only.models.is_empty(), "the newest of a run stays");
    }
}
