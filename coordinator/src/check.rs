//! Looks at a whole data folder without changing it: the metadata, and every blob that a record
//! names.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tributary_model::Digest;

use crate::CoordinatorError;
use crate::clock::SharedClock;
use crate::core::Core;
pub use crate::core::must_have_metadata;
use crate::failpoint::NoFailpoint;
use crate::quarantine::Cause;
use crate::registry::{BuildRecord, ModelRecord};
use crate::run::{named_blobs, stored_runs};
use tributary_store::blob::{BlobError, BlobStore};
use tributary_store::{Store, StoreReport, Table, inspect};

/// What a look at a data folder found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DataReport {
    /// The metadata.
    pub store: StoreReport,
    /// Models and builds.
    pub blobs: BlobReport,
    /// Partial sums, snapshots and optimiser states.
    pub vault: BlobReport,
    /// Runs that can't be read back, with the reason.
    pub runs: BTreeMap<String, String>,
    /// Runs that are set aside when the folder is served: `run stop` ends them.
    pub set_aside: BTreeSet<String>,
    /// Runs that are over and whose rounds can't be read any more: `run show` has what lists say of them.
    pub over_unread: BTreeSet<String>,
    /// That a restore was cut off, and what finishes it.
    pub unfinished_restore: Option<String>,
    /// Whether all is well.
    pub sound: bool,
}

/// What a look at a store of blobs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BlobReport {
    /// Blobs that records name.
    pub named: usize,
    /// Blobs that no record names; the next start removes them.
    pub unnamed: usize,
    /// Digests that a record names without a blob, with what names them.
    pub missing: BTreeMap<String, String>,
    /// Digests whose bytes have another digest, with what names them.
    pub damaged: BTreeMap<String, String>,
}

impl BlobReport {
    fn is_wrong(&self, digest: &str) -> bool {
        self.missing.contains_key(digest) || self.damaged.contains_key(digest)
    }

    /// True when nothing is missing or damaged.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }
}

/// Digests, each with what names it.
type Named = BTreeMap<Digest, String>;

/// Reads everything in a data folder and says what is wrong. Nothing is changed.
///
/// # Errors
/// When the folder is in use, is no data folder, or can't be read. Damage is no error.
pub async fn check_data(data: &Path, clock: SharedClock) -> Result<DataReport, CoordinatorError> {
    must_have_metadata(data)?;
    let meta = data.join("meta");
    let looked = tokio::task::spawn_blocking(move || inspect(&meta)).await;
    let (store, inspected) = looked.map_err(|_| CoordinatorError::Crashed("the check"))??;
    let mut report = DataReport {
        store,
        ..DataReport::default()
    };
    let is_readable = inspected.is_some();
    if let Some(inspected) = inspected {
        let store: Arc<dyn Store> = Arc::new(inspected);
        let blobs = BlobStore::look(data.join("blobs"))?;
        let vault = BlobStore::look(data.join("vault"))?;
        // what it may write goes to the view and is forgotten
        let failpoint = Arc::new(NoFailpoint);
        let one = NonZeroUsize::MIN;
        match Core::with_stores(store, blobs, vault, clock, one, failpoint).await {
            Ok(core) => {
                report.unfinished_restore = core.halt.unfinished_restore();
                check_blobs(&core, &mut report).await?;
                // closing a database waits for its threads
                let _ = tokio::task::spawn_blocking(move || drop(core)).await;
            }
            Err(error) => report.store.problems.push(error.to_string()),
        }
    }
    report.sound = !report.store.is_damaged()
        && is_readable
        && report.runs.is_empty()
        && report.unfinished_restore.is_none()
        && report.blobs.is_sound()
        && report.vault.is_sound();
    Ok(report)
}

async fn check_blobs(core: &Core, report: &mut DataReport) -> Result<(), CoordinatorError> {
    let (mut public, mut private) = (registered(&*core.store)?, Named::new());
    let mut needed = Vec::new();
    for id in stored_runs(core)? {
        match named_blobs(core, &id).await {
            Ok(named) => {
                let of_run =
                    |(digest, what): (Digest, &str)| (digest, format!("{what} of run {id}"));
                if named.goes_on {
                    let all = named.vault.iter().chain(&named.blobs);
                    needed.extend(all.map(|(digest, _)| (digest.to_string(), id.to_string())));
                }
                private.extend(named.vault.into_iter().map(of_run));
                public.extend(named.blobs.into_iter().map(of_run));
            }
            Err(error) => {
                let cause = Cause::from(&error).sentence;
                report.runs.insert(id.to_string(), cause);
                // one that is over is served from its short record
                let is_over = core.shows_without_rounds(&id);
                let list = match is_over {
                    true => &mut report.over_unread,
                    false => &mut report.set_aside,
                };
                list.insert(id.to_string());
            }
        }
    }
    report.blobs = verify(&core.blobs, &public).await?;
    report.vault = verify(&core.vault, &private).await?;
    for (digest, run) in needed {
        if report.blobs.is_wrong(&digest) || report.vault.is_wrong(&digest) {
            report.set_aside.insert(run);
        }
    }
    Ok(())
}

fn registered(store: &dyn Store) -> Result<Named, CoordinatorError> {
    let mut named = Named::new();
    for row in store.records(Table::Models, b"") {
        let model: ModelRecord = row?.1.json()?;
        let what = match model.run_id.as_str() {
            "" => format!("imported version of {}", model.name),
            run => format!("version of round {} of run {run}", model.round),
        };
        named.insert(model.digest, what);
    }
    for row in store.records(Table::Builds, b"") {
        let build: BuildRecord = row?.1.json()?;
        named.insert(build.digest, format!("build for profile {}", build.profile));
    }
    Ok(named)
}

/// Reads every blob that is named.
async fn verify(blobs: &BlobStore, named: &Named) -> Result<BlobReport, CoordinatorError> {
    let mut report = BlobReport {
        named: named.len(),
        ..BlobReport::default()
    };
    for (digest, what) in named {
        let wrong = match blobs.get(digest).await {
            Ok(_) => continue,
            Err(BlobError::NotFound { .. }) => &mut report.missing,
            Err(BlobError::Corrupt { .. } | BlobError::TooLarge { .. }) => &mut report.damaged,
            Err(error) => return Err(error.into()),
        };
        wrong.insert(digest.to_string(), what.clone());
    }
    let stored = blobs.digests().await?;
    report.unnamed = stored
        .iter()
        .filter(|digest| !named.contains_key(digest))
        .count();
    Ok(report)
}
