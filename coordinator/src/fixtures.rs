//! What the unit tests of this crate start from: a small valid recipe and a coordinator in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tributary_model::Digest;
use tributary_proto::{DeviceId, RegionId};

use crate::clock::ManualClock;
use crate::coordinator::Coordinator;
use crate::core::Core;
use crate::engine::RunState;
use crate::epoch::{Gate, GuardedStore};
use crate::failpoint::{NoFailpoint, SharedFailpoint};
use tributary_recipe::RunSpec;
use tributary_store::blob::BlobStore;
use tributary_store::{MemoryStore, Store, StoreError};

/// A valid recipe with every section.
pub const RECIPE: &str = include_str!("../../recipe/tests/tiny.toml");

/// The recipe, checked.
pub fn spec() -> RunSpec {
    RunSpec::from_toml(RECIPE).unwrap()
}

/// The recipe without privacy, which needs no noise.
pub fn plain_spec() -> RunSpec {
    let mut spec = spec();
    spec.privacy.mode = tributary_recipe::PrivacyMode::None;
    spec.privacy.noise_multiplier = 0.0;
    spec.privacy.epsilon = None;
    if let Some(playbook) = &mut spec.playbook {
        playbook.privacy = spec.privacy.clone();
    }
    spec
}

/// A run of `spec` at its first round.
pub fn state(spec: RunSpec) -> RunState {
    RunState::new(
        "tiny-1".parse().unwrap(),
        spec,
        [7; 32],
        Digest::of(b"first"),
        1,
    )
}

/// A device's id.
pub fn device(number: usize) -> DeviceId {
    format!("device-{number}").parse().unwrap()
}

/// A region's id.
pub fn region(name: &str) -> RegionId {
    name.parse().unwrap()
}

/// A coordinator with its runs and monitors on a given store, with new blobs.
pub async fn coordinator_on(store: Arc<dyn Store>) -> Arc<Coordinator> {
    Coordinator::new(core_on(store).await)
}

/// The same with places where it fails.
pub async fn coordinator_failing(
    store: Arc<dyn Store>,
    failpoint: SharedFailpoint,
) -> Arc<Coordinator> {
    Coordinator::new(core_failing(store, failpoint).await)
}

/// What the parts of a coordinator share, in memory.
pub async fn core() -> Arc<Core> {
    core_on(Arc::new(MemoryStore::new())).await
}

/// The same on a given store, with new blobs.
pub async fn core_on(store: Arc<dyn Store>) -> Arc<Core> {
    core_failing(store, Arc::new(NoFailpoint)).await
}

/// The same with places where it fails.
pub async fn core_failing(store: Arc<dyn Store>, failpoint: SharedFailpoint) -> Arc<Core> {
    opened(store, BlobStore::in_memory(), failpoint).await
}

/// A coordinator on given stores.
pub async fn core_with(store: Arc<dyn Store>, blobs: BlobStore) -> Arc<Core> {
    opened(store, blobs, Arc::new(NoFailpoint)).await
}

async fn opened(store: Arc<dyn Store>, blobs: BlobStore, failpoint: SharedFailpoint) -> Arc<Core> {
    let (clock, vault) = (Arc::new(ManualClock::default()), BlobStore::in_memory());
    let one = std::num::NonZeroUsize::MIN;
    let core = Core::with_stores(store, blobs, vault, clock, one, failpoint).await;
    core.unwrap()
}

/// Lets commits of a store fail while it is told to; counts them.
#[derive(Default)]
pub struct Flaky {
    fails: AtomicBool,
    /// True while there is no room.
    pub is_full: AtomicBool,
    /// Commits that were asked for while it failed.
    pub refused: AtomicU32,
}

impl Flaky {
    /// A store in memory that works, and what makes it fail.
    pub fn store() -> (Arc<dyn Store>, Arc<Self>) {
        let flaky = Arc::new(Self::default());
        let store = GuardedStore::new(Arc::new(MemoryStore::new()), flaky.clone());
        (Arc::new(store), flaky)
    }

    /// Lets commits fail or succeed from now on.
    pub fn set_fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }
}

impl Gate for Flaky {
    fn check(&self) -> Result<(), StoreError> {
        if self.is_full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let during = "a commit of a test";
            return Err(StoreError::Full { during });
        }
        if !self.fails.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        let reason = "a test lets it fail".to_owned();
        Err(StoreError::Unavailable { reason })
    }
}
