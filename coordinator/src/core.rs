//! What all parts of a coordinator share: the stores, the fleet, the ledger, the registry. It knows no run
//! and no monitor: they know it, and follow its events.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tributary_model::Digest;
use tributary_proto::v1::{WatchResponse, watch_response};

use crate::CoordinatorError;
use crate::clock::SharedClock;
use crate::epoch::{Epoch, GuardedStore, Halt, HaltRecord, Witness};
use crate::failpoint::SharedFailpoint;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::object::Objects;
use crate::quarantine::Quarantine;
use crate::random::random_bytes;
use crate::registry::Registry;
use crate::telemetry::Telemetry;
use tributary_store::blob::{BlobError, BlobStore};
use tributary_store::{Batch, EmbeddedStore, EngineKind, Expect, Store, StoreError, Table};

/// Events that a slow watcher may fall behind before it loses some.
const WATCH_BACKLOG: usize = 4_096;
/// Damaged objects that may be found before the runs hear of the first.
const DAMAGE_BACKLOG: usize = 1_024;

/// An object that was found damaged, or that is gone although a record names it.
#[derive(Debug, Clone)]
pub struct Damage {
    /// Its digest.
    pub digest: Digest,
    /// What was found.
    pub error: BlobError,
}

/// The shared parts of one coordinator.
pub struct Core {
    /// Durable metadata, behind the halt.
    pub store: Arc<dyn Store>,
    /// The same without it, for the note that the coordinator is halted.
    pub(crate) unguarded: Arc<dyn Store>,
    /// Whether anything may be assigned, charged or released.
    pub halt: Arc<Halt>,
    /// What proves later what was ordered and counted.
    pub epoch: Epoch,
    /// Models and builds: what anyone may download.
    pub blobs: BlobStore,
    /// Partial sums, snapshots and optimiser states: never served.
    pub vault: BlobStore,
    /// The time.
    pub clock: SharedClock,
    /// Devices.
    pub fleet: Fleet,
    /// Privacy accounts.
    pub ledger: Ledger,
    /// Models and builds.
    pub registry: Registry,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// Signs builds.
    pub build_key: SigningKey,
    /// Threads that sum large updates.
    pub sum_threads: NonZeroUsize,
    /// What is known of blobs that are given out.
    pub(crate) objects: Objects,
    /// What is set aside as damaged.
    pub quarantine: Arc<Quarantine>,
    /// Where a test can make the coordinator fail.
    pub failpoint: SharedFailpoint,
    /// Cancelled once the coordinator stops: streams end, nothing new begins.
    pub stopping: CancellationToken,
    /// Updates that are being counted; a stopping coordinator waits for them for a moment.
    pub counting: TaskTracker,
    /// Bytes of updates that may be in memory at once.
    upload_bytes: AtomicUsize,
    /// How long a stream may take to say hello, in milliseconds.
    hello_ms: AtomicU64,
    damages: broadcast::Sender<Damage>,
    watchers: broadcast::Sender<WatchResponse>,
}

impl Core {
    /// Opens a data folder. `engine` is what its metadata must be held by, `None` for what is there.
    ///
    /// # Errors
    /// When it can't be read, is damaged or rolled back, is another version's or engine's, or is in
    /// use. Nothing was changed then.
    pub async fn open(
        folder: &Path,
        engine: Option<EngineKind>,
        clock: SharedClock,
        sum_threads: NonZeroUsize,
        failpoint: SharedFailpoint,
    ) -> Result<Arc<Self>, CoordinatorError> {
        let meta = folder.join("meta");
        must_have_metadata(folder)?;
        let store: Arc<dyn Store> = Arc::new(EmbeddedStore::open(meta, engine)?);
        let blobs = BlobStore::open(folder.join("blobs"))?;
        let vault = BlobStore::open(folder.join("vault"))?;
        Self::with_stores(store, blobs, vault, clock, sum_threads, failpoint).await
    }

    /// Opens given stores.
    ///
    /// # Errors
    /// When their records can't be read.
    pub async fn with_stores(
        store: Arc<dyn Store>,
        blobs: BlobStore,
        vault: BlobStore,
        clock: SharedClock,
        sum_threads: NonZeroUsize,
        failpoint: SharedFailpoint,
    ) -> Result<Arc<Self>, CoordinatorError> {
        let (build_key, new) = build_key(&*store).await?;
        crate::service_time::resume(&*store, &*clock).await?;
        let now_ms = clock.now_ms();
        let epoch = Epoch::open(&*store, build_key.as_bytes(), new, now_ms).await?;
        let halt = Halt::open(&*store)?;
        let telemetry = Arc::<Telemetry>::default();
        let quarantine = telemetry.health.set_aside().clone();
        if let Some(reason) = halt.reason() {
            tracing::error!("{reason}");
            telemetry.set_halted(reason);
        }
        let unguarded = store;
        let store: Arc<dyn Store> = Arc::new(GuardedStore::new(unguarded.clone(), halt.clone()));
        let limits = Limits::default();
        Ok(Arc::new(Self {
            unguarded,
            halt,
            epoch,
            fleet: Fleet::open(store.clone(), &quarantine)?,
            ledger: Ledger::open(store.clone())?,
            registry: Registry::new(store.clone(), blobs.clone()),
            telemetry,
            build_key,
            sum_threads,
            objects: Objects::default(),
            quarantine,
            failpoint,
            stopping: CancellationToken::new(),
            counting: TaskTracker::new(),
            upload_bytes: AtomicUsize::new(limits.upload_bytes),
            hello_ms: AtomicU64::new(limits.hello.as_millis() as u64),
            damages: broadcast::channel(DAMAGE_BACKLOG).0,
            watchers: broadcast::channel(WATCH_BACKLOG).0,
            store,
            blobs,
            vault,
            clock,
        }))
    }

    /// Takes over what strangers may take up; before anything is served.
    pub fn set_limits(&self, limits: &Limits) {
        self.upload_bytes
            .store(limits.upload_bytes, Ordering::Relaxed);
        let hello_ms = u64::try_from(limits.hello.as_millis()).unwrap_or(u64::MAX);
        self.hello_ms.store(hello_ms, Ordering::Relaxed);
        self.fleet.set_limits(limits);
    }

    /// Bytes of updates that may be in memory at once.
    pub fn upload_bytes(&self) -> usize {
        self.upload_bytes.load(Ordering::Relaxed)
    }

    /// How long a stream may take to say hello.
    pub fn hello(&self) -> Duration {
        Duration::from_millis(self.hello_ms.load(Ordering::Relaxed))
    }

    /// Halts because of what a witness proves.
    pub async fn halt_for(&self, witness: &Witness) {
        let proof = HaltRecord::new(witness, self.clock.now_ms());
        let sentence = proof.sentence();
        self.telemetry.set_halted(sentence.clone());
        match self.halt.halt(&*self.unguarded, proof).await {
            Ok(true) => tracing::error!("{sentence}"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "{sentence}; that can't be noted"),
        }
    }

    /// Tells who follows that an object is damaged.
    pub(crate) fn damaged(&self, digest: Digest, error: &BlobError) {
        let error = error.clone();
        // nobody may be following
        let _ = self.damages.send(Damage { digest, error });
    }

    /// Follows what is found damaged from now on.
    pub fn damages(&self) -> broadcast::Receiver<Damage> {
        self.damages.subscribe()
    }

    /// Tells the watchers.
    pub fn tell(&self, event: watch_response::Event) {
        // no watcher is no error
        let _ = self.watchers.send(WatchResponse {
            unix_ms: self.clock.now_ms(),
            event: Some(event),
        });
    }

    /// Follows events from now on.
    pub fn watch(&self) -> broadcast::Receiver<WatchResponse> {
        self.watchers.subscribe()
    }
}

/// Refuses to start afresh beside blobs: without the records that name them the first sweep would
/// remove them all.
///
/// # Errors
/// [`StoreError::Gone`], or when a folder can't be read.
pub fn must_have_metadata(data: &Path) -> Result<(), CoordinatorError> {
    let meta = data.join("meta");
    match EmbeddedStore::exists(&meta) {
        // what is damaged is there: opening it says how it can be mended
        Ok(true) | Err(StoreError::Corrupt { .. }) => return Ok(()),
        Ok(false) => {}
        Err(error) => return Err(error.into()),
    }
    for folder in [data.join("blobs"), data.join("vault")] {
        if BlobStore::is_used(&folder)? {
            let gone = StoreError::Gone {
                folder: meta,
                beside: folder,
            };
            return Err(gone.into());
        }
    }
    Ok(())
}

/// The key that signs builds, made at the first start; and whether that was now.
async fn build_key(store: &dyn Store) -> Result<(SigningKey, bool), CoordinatorError> {
    const KEY: &str = "build-signing-key";
    if let Some(record) = store.get(Table::Meta, KEY.as_bytes())? {
        let secret: [u8; 32] = record.json()?;
        return Ok((SigningKey::from_bytes(&secret), false));
    }
    let secret = random_bytes()?;
    let mut batch = Batch::new();
    batch.put_json(Table::Meta, KEY, &secret, Expect::Absent)?;
    store.commit(batch).await?;
    Ok((SigningKey::from_bytes(&secret), true))
}
