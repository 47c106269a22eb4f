//! The registry: model versions and builds. Bytes are blobs, written before the record names them.
//!
//! - `records`: what is kept of versions and builds
//! - `builds`: reading and writing those of builds, and deleting a version with them

mod builds;
mod records;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tributary_model::{Digest, Marks, ModelFile};
use tributary_proto::v1::Model;

pub use self::records::{BuildRecord, ModelRecord};
use crate::CoordinatorError;
use crate::quarantine::Quarantine;
use tributary_store::blob::BlobStore;
use tributary_store::{Batch, Expect, Row, Store, StoreError, Table};

/// Parameters from which on a model is read and written beside the threads that answer calls.
const LARGE: usize = 256 * 1024;
const REMEDY: &str = "see `tributary model ls`; 6 characters at least";

/// Models and builds of one coordinator.
pub struct Registry {
    store: Arc<dyn Store>,
    blobs: BlobStore,
}

impl Registry {
    /// A registry over a store and its blobs.
    pub fn new(store: Arc<dyn Store>, blobs: BlobStore) -> Self {
        Self { store, blobs }
    }

    /// Writes a model file and adds its record to `batch`; returns its digest.
    ///
    /// # Errors
    /// When the file can't be made or written.
    pub async fn add_model(
        &self,
        file: &ModelFile,
        marks: Marks,
        describe: impl FnOnce(Digest, u64) -> ModelRecord,
        batch: &mut Batch,
    ) -> Result<Digest, CoordinatorError> {
        let digest = self.put_model(file, marks).await?;
        self.record(&describe(digest, file.weights.len() as u64), batch)?;
        Ok(digest)
    }

    /// Writes a model file without a record, its marks inside; returns its digest.
    ///
    /// # Errors
    /// When the file can't be made or written.
    pub async fn put_model(
        &self,
        file: &ModelFile,
        marks: Marks,
    ) -> Result<Digest, CoordinatorError> {
        let bytes = if file.weights.len() < LARGE {
            file.to_marked_bytes(marks)?
        } else {
            let file = file.clone();
            let written = tokio::task::spawn_blocking(move || file.to_marked_bytes(marks)).await;
            written.map_err(|error| CoordinatorError::of_task("writing a model file", &error))??
        };
        Ok(self.blobs.put(bytes).await?)
    }

    /// Adds the record of a version whose file is written to `batch`. A mark that it had stays.
    ///
    /// # Errors
    /// When the record is too large, or the store can't be read.
    pub fn record(&self, record: &ModelRecord, batch: &mut Batch) -> Result<(), CoordinatorError> {
        let known = self.model(&record.digest)?;
        let known = known.map_or(Marks::default(), |known| known.marks);
        let record = ModelRecord {
            marks: record.marks.and(known),
            ..record.clone()
        };
        let key = record.digest.to_string();
        batch.put_json(Table::Models, key, &record, Expect::Any)?;
        Ok(())
    }

    /// The marks of a version; none of one that is not known.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn marks(&self, digest: &Digest) -> Result<Marks, CoordinatorError> {
        Ok(self
            .model(digest)?
            .map_or(Marks::default(), |known| known.marks))
    }

    /// Registers a file from outside.
    ///
    /// # Errors
    /// When it is no model file, or can't be written.
    pub async fn import(&self, bytes: Bytes, now_ms: u64) -> Result<ModelRecord, CoordinatorError> {
        let read = tokio::task::spawn_blocking(move || {
            let file = ModelFile::from_bytes(&bytes)?;
            let marks = ModelFile::marks_of(&bytes)?;
            drop(bytes);
            let canonical = file.to_marked_bytes(marks)?;
            let parameters = file.weights.len() as u64;
            Ok::<_, CoordinatorError>((file.spec.name, parameters, marks, canonical))
        });
        let (name, parameters, marks, canonical) = read
            .await
            .map_err(|error| CoordinatorError::of_task("reading a model file", &error))??;
        let digest = self.blobs.put(canonical).await?;
        if let Some(known) = self.model(&digest)? {
            return Ok(known);
        }
        let record = ModelRecord {
            digest,
            name,
            parent: None,
            run_id: String::new(),
            round: 0,
            parameters,
            created_ms: now_ms,
            regions: Vec::new(),
            marks,
            pinned: false,
        };
        let mut batch = Batch::new();
        self.record(&record, &mut batch)?;
        self.store.commit(batch).await?;
        Ok(record)
    }

    /// The record of a version.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn model(&self, digest: &Digest) -> Result<Option<ModelRecord>, CoordinatorError> {
        let record = self
            .store
            .get(Table::Models, digest.to_string().as_bytes())?;
        Ok(record.map(|record| record.json()).transpose()?)
    }

    /// A version by its digest or a unique beginning of it.
    ///
    /// # Errors
    /// When none or several match.
    pub fn find(&self, prefix: &str) -> Result<ModelRecord, CoordinatorError> {
        let unknown = || CoordinatorError::unknown("model", prefix, REMEDY);
        if prefix.len() < 6 || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let rows = self
            .store
            .scan(Table::Models, prefix.to_lowercase().as_bytes(), None, 2)?;
        match rows.as_slice() {
            [(_, record)] => Ok(record.json()?),
            _ => Err(unknown()),
        }
    }

    /// The newest versions.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn models(&self, limit: usize) -> Result<Vec<ModelRecord>, CoordinatorError> {
        let mut models = Vec::new();
        for row in self.store.records(Table::Models, b"") {
            // a damaged record was named when the coordinator started
            models.extend(row?.1.json::<ModelRecord>());
        }
        models.sort_by_key(|model| std::cmp::Reverse((model.created_ms, model.round)));
        models.truncate(limit);
        Ok(models)
    }

    /// The file of a version.
    ///
    /// # Errors
    /// When it is not known or damaged.
    pub async fn file(&self, digest: &Digest) -> Result<ModelFile, CoordinatorError> {
        let bytes: Bytes = self.blobs.get(digest).await?;
        if bytes.len() < LARGE * size_of::<f32>() {
            return Ok(ModelFile::from_bytes(&bytes)?);
        }
        let read = tokio::task::spawn_blocking(move || ModelFile::from_bytes(&bytes)).await;
        Ok(read.map_err(|error| CoordinatorError::of_task("reading a model file", &error))??)
    }

    /// Registered versions and builds whose file is not there, and how many are registered.
    ///
    /// # Errors
    /// When a store as a whole can't be read.
    pub async fn missing(&self) -> Result<(Vec<Digest>, usize), CoordinatorError> {
        let stored: HashSet<Digest> = self.blobs.digests().await?.into_iter().collect();
        let mut registered = HashSet::new();
        for row in self.store.records(Table::Models, b"") {
            // damaged records are named elsewhere
            registered.extend(row?.1.json::<ModelRecord>().map(|record| record.digest));
        }
        for row in self.store.records(Table::Builds, b"") {
            registered.extend(row?.1.json::<BuildRecord>().map(|record| record.digest));
        }
        let missing = registered.difference(&stored).copied().collect();
        Ok((missing, registered.len()))
    }

    /// Deletes the blobs that neither a record nor `others` names: versions and builds that were
    /// never published. Damaged records are set aside; while anything is, nothing is deleted.
    ///
    /// # Errors
    /// When a store as a whole can't be read or written.
    pub async fn sweep(
        &self,
        others: impl Iterator<Item = Digest>,
        quarantine: &Quarantine,
    ) -> Result<(), CoordinatorError> {
        let mut named: HashSet<Digest> = others.collect();
        let mut note =
            |kind: &'static str, row: Row, digest: Result<Digest, StoreError>| match digest {
                Ok(digest) => drop(named.insert(digest)),
                Err(error) => {
                    let name = String::from_utf8_lossy(&row.0).into_owned();
                    quarantine.add(kind, &name, &error.into());
                }
            };
        for row in self.store.records(Table::Models, b"") {
            let row = row?;
            let digest = row.1.json::<ModelRecord>().map(|record| record.digest);
            note("model", row, digest);
        }
        for row in self.store.records(Table::Builds, b"") {
            let row = row?;
            let digest = row.1.json::<BuildRecord>().map(|record| record.digest);
            note("build", row, digest);
        }
        if !quarantine.is_empty() {
            tracing::warn!("blobs without a record are kept: damaged records may have named them");
            return Ok(());
        }
        let removed = self.blobs.keep_only(&named).await?;
        tracing::debug!(removed, "swept models and builds");
        Ok(())
    }

    /// Keeps a version for good, or no longer; its record.
    ///
    /// # Errors
    /// When none or several match, or the store refuses.
    pub async fn pin(&self, prefix: &str, pinned: bool) -> Result<ModelRecord, CoordinatorError> {
        let found = self.find(prefix)?;
        let key = found.digest.to_string();
        let Some(known) = self.store.get(Table::Models, key.as_bytes())? else {
            return Err(CoordinatorError::unknown("model", prefix, REMEDY));
        };
        let record = ModelRecord {
            pinned,
            ..known.json()?
        };
        let mut batch = Batch::new();
        // one that is pruned at this moment must not come back without its file
        batch.put_json(Table::Models, key, &record, Expect::Version(known.version))?;
        self.store.commit(batch).await?;
        Ok(record)
    }
}

impl From<ModelRecord> for Model {
    fn from(record: ModelRecord) -> Self {
        Self {
            digest: record.digest.to_string(),
            name: record.name,
            parent: record
                .parent
                .map_or(String::new(), |parent| parent.to_string()),
            run_id: record.run_id,
            round: record.round,
            parameters: record.parameters,
            created_unix_ms: record.created_ms,
            regions: record.regions,
            marks: record.marks.names(),
            pinned: record.pinned,
        }
    }
}
