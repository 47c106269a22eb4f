//! The records of builds. One that is damaged may say anything: its version counts as needed, and no
//! bytes go that it may name.

use std::collections::HashSet;

use tributary_model::Digest;
use tributary_proto::v1::Build;

use super::{BuildRecord, ModelRecord, Registry};
use crate::CoordinatorError;
use crate::quarantine::Quarantine;
use tributary_store::blob::BlobError;
use tributary_store::key::{Key, KeyReader};
use tributary_store::{Batch, Expect, Table};

impl Registry {
    /// Keeps a build's record.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn put_build(&self, build: &BuildRecord) -> Result<(), CoordinatorError> {
        let key = Key::new()
            .text(&build.model.to_string())
            .text(&build.region);
        let mut batch = Batch::new();
        batch.put_json(
            Table::Builds,
            key.text(&build.profile).into_bytes(),
            build,
            Expect::Any,
        )?;
        self.store.commit(batch).await?;
        Ok(())
    }

    /// Versions of which a build runs somewhere, or may: a damaged record is set aside.
    ///
    /// # Errors
    /// When the store as a whole can't be read.
    pub fn installed(&self, quarantine: &Quarantine) -> Result<HashSet<Digest>, CoordinatorError> {
        let mut installed = HashSet::new();
        for row in self.store.records(Table::Builds, b"") {
            let (key, record) = row?;
            match record.json::<BuildRecord>() {
                Ok(build) if build.installed_on > 0 => drop(installed.insert(build.model)),
                Ok(_) => {}
                Err(error) => {
                    quarantine.add("build", &String::from_utf8_lossy(&key), &error.into());
                    let model = KeyReader::new(&key).text();
                    installed.extend(model.and_then(|model| model.parse::<Digest>().ok()));
                }
            }
        }
        Ok(installed)
    }

    /// Bytes of a version's file and builds.
    ///
    /// # Errors
    /// When a store can't be read.
    pub async fn stored_bytes(&self, model: &ModelRecord) -> Result<u64, CoordinatorError> {
        let builds = self.builds(&model.digest)?;
        let digests = builds.iter().map(|build| build.digest);
        let mut bytes = 0;
        for digest in digests.chain([model.digest]) {
            bytes += match self.blobs.size(&digest).await {
                Ok(size) => size,
                Err(BlobError::NotFound { .. }) => 0,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(bytes)
    }

    /// Deletes a version with its builds, the records first; the bytes that are free then.
    ///
    /// # Errors
    /// When a store refuses. A record that is gone stays gone; its bytes go at the next start.
    pub async fn remove(&self, model: &ModelRecord) -> Result<u64, CoordinatorError> {
        let bytes = self.stored_bytes(model).await?;
        let mut batch = Batch::new();
        batch.delete(Table::Models, model.digest.to_string(), Expect::Any);
        let prefix = Key::new().text(&model.digest.to_string()).into_bytes();
        let mut digests = HashSet::new();
        for row in self.store.records(Table::Builds, &prefix) {
            let (key, record) = row?;
            digests.insert(record.json::<BuildRecord>()?.digest);
            batch.delete(Table::Builds, key, Expect::Any);
        }
        self.store.commit(batch).await?;
        if !digests.is_empty() {
            self.keep_named(&mut digests)?;
        }
        digests.insert(model.digest);
        for digest in digests {
            self.blobs.delete(&digest).await?;
        }
        Ok(bytes)
    }

    /// Takes those builds off the list that a record still names, as two versions may have the same; all
    /// of them while a record can't be read.
    fn keep_named(&self, digests: &mut HashSet<Digest>) -> Result<(), CoordinatorError> {
        for row in self.store.records(Table::Builds, b"") {
            match row?.1.json::<BuildRecord>() {
                Ok(build) => drop(digests.remove(&build.digest)),
                Err(_) => digests.clear(),
            }
        }
        Ok(())
    }

    /// The builds of a version whose records can be read; the others are named on `/readyz`.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn builds(&self, model: &Digest) -> Result<Vec<BuildRecord>, CoordinatorError> {
        let prefix = Key::new().text(&model.to_string()).into_bytes();
        let mut builds = Vec::new();
        for row in self.store.records(Table::Builds, &prefix) {
            builds.extend(row?.1.json::<BuildRecord>());
        }
        Ok(builds)
    }
}

impl From<BuildRecord> for Build {
    fn from(record: BuildRecord) -> Self {
        Self {
            digest: record.digest.to_string(),
            model_digest: record.model.to_string(),
            region: record.region,
            profile: record.profile,
            format: record.format,
            bytes: record.bytes,
            arena_bytes: record.arena_bytes,
            installed_on: record.installed_on,
            failed_on: record.failed_on,
            decision: record.decision,
            offered_to: record.offered_to,
            variant: record.variant,
            marks: record.marks.names(),
        }
    }
}
