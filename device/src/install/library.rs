//! Parsed models and builds by digest. Many agents of one process share each; it goes when the
//! last of them lets go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use tributary_model::bundle::BundleError;
use tributary_model::quant::Int8Model;
use tributary_model::{Digest, Graph, ModelError, ModelFile};

/// A model version, ready to use.
#[derive(Debug)]
pub struct LoadedModel {
    /// Digest of its file.
    pub digest: Digest,
    /// Its checked architecture.
    pub graph: Graph,
    /// Its weights in the order of the graph's layout.
    pub weights: Vec<f32>,
    /// Digest of the architecture, by which engines are shared.
    pub(crate) architecture: Digest,
}

/// A build, ready to use.
#[derive(Debug)]
pub struct LoadedBuild {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
    /// The integer model.
    pub model: Int8Model,
}

/// Models and builds that are in use.
#[derive(Debug, Default)]
pub struct ModelLibrary {
    models: WeakCache<LoadedModel>,
    builds: WeakCache<LoadedBuild>,
}

impl ModelLibrary {
    /// The model in `bytes`, whose digest was verified to be `digest`.
    pub(crate) fn model(
        &self,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<Arc<LoadedModel>, ModelError> {
        self.models.get_or_load(digest, || {
            let file = ModelFile::from_bytes(bytes)?;
            let graph = file.spec.graph()?;
            let architecture = file.spec.digest()?;
            Ok(LoadedModel {
                digest,
                graph,
                weights: file.weights,
                architecture,
            })
        })
    }

    /// The build in `bytes`, whose digest was verified to be `digest`.
    pub(crate) fn build(
        &self,
        digest: Digest,
        bytes: &Bytes,
    ) -> Result<Arc<LoadedBuild>, BundleError> {
        self.builds.get_or_load(digest, || {
            let model = Int8Model::from_bytes(bytes)?;
            Ok(LoadedBuild {
                digest,
                bytes: bytes.clone(),
                model,
            })
        })
    }

    /// How many models and builds are in use.
    pub fn counts(&self) -> (usize, usize) {
        (self.models.count(), self.builds.count())
    }
}

#[derive(Debug)]
struct WeakCache<T>(Mutex<HashMap<Digest, Weak<T>>>);

impl<T> Default for WeakCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> WeakCache<T> {
    fn get_or_load<E>(
        &self,
        digest: Digest,
        load: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        // Held while loading: the others that need the same one wait instead of loading it again.
        let mut items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(item) = items.get(&digest).and_then(Weak::upgrade) {
            return Ok(item);
        }
        let item = Arc::new(load()?);
        items.retain(|_, item| item.strong_count() > 0);
        items.insert(digest, Arc::downgrade(&item));
        Ok(item)
    }

    fn count(&self) -> usize {
        let items = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        items
            .values()
            .filter(|item| item.strong_count() > 0)
            .count()
    }
}
