//! What all parts of a coordinator share: the stores, the fleet, the ledger, the registry, the runs.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tributary_proto::v1::{WatchResponse, watch_response};
use tributary_proto::{MonitorId, RunId};

use crate::CoordinatorError;
use crate::clock::SharedClock;
use crate::epoch::{Epoch, GuardedStore, Halt, PastRuns};
use crate::failpoint::SharedFailpoint;
use crate::fleet::Fleet;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::monitor::MonitorHandle;
use crate::object::Objects;
use crate::quarantine::Quarantine;
use crate::random::random_bytes;
use crate::registry::Registry;
use crate::run::{Catalogue, Controls, RunHandle};
use crate::telemetry::Telemetry;
use tributary_store::blob::BlobStore;
use tributary_store::{Batch, EmbeddedStore, EngineKind, Expect, Store, StoreError, Table};

/// Events that a slow watcher may fall behind before it loses some.
const WATCH_BACKLOG: usize = 4_096;

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
    /// Runs that are over, as far as devices show tickets of them.
    pub(crate) past_runs: PastRuns,
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
    /// The server's control variates.
    pub controls: Controls,
    /// Counters.
    pub telemetry: Arc<Telemetry>,
    /// Signs builds.
    pub build_key: SigningKey,
    /// Threads that sum large updates.
    pub sum_threads: NonZeroUsize,
    /// The runs.
    pub catalogue: Catalogue,
    /// What is known of blobs that are given out.
    pub(crate) objects: Objects,
    /// What is set aside as damaged.
    pub quarantine: Arc<Quarantine>,
    /// Where a test can make the coordinator fail.
    pub failpoint: SharedFailpoint,
    /// Held while a run is started, so that ids and idempotency keys are taken one after the other.
    pub starting: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled once the coordinator stops: streams end, nothing new begins.
    pub stopping: CancellationToken,
    /// Updates that are being counted; a stopping coordinator waits for them for a moment.
    pub counting: TaskTracker,
    /// Bytes of updates that may be in memory at once.
    upload_bytes: AtomicUsize,
    /// How long a stream may take to say hello, in milliseconds.
    hello_ms: AtomicU64,
    monitors: Mutex<BTreeMap<MonitorId, MonitorHandle>>,
    watchers: broadcast::Sender<WatchResponse>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            past_runs: PastRuns::default(),
            fleet: Fleet::open(store.clone(), &quarantine)?,
            ledger: Ledger::open(store.clone())?,
            registry: Registry::new(store.clone(), blobs.clone()),
            controls: Controls::default(),
            telemetry,
            build_key,
            sum_threads,
            starting: Arc::default(),
            catalogue: Catalogue::default(),
            objects: Objects::default(),
            quarantine,
            failpoint,
            stopping: CancellationToken::new(),
            counting: TaskTracker::new(),
            upload_bytes: AtomicUsize::new(limits.upload_bytes),
            hello_ms: AtomicU64::new(limits.hello.as_millis() as u64),
            monitors: Mutex::default(),
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

    /// The runs that go on, by id.
    pub fn runs(&self) -> Vec<RunHandle> {
        self.catalogue.live()
    }

    /// One run that goes on.
    ///
    /// # Errors
    /// When it is over, set aside, or not known.
    pub fn run(&self, id: &RunId) -> Result<RunHandle, CoordinatorError> {
        self.catalogue.handle(id)
    }

    /// The monitors.
    pub fn monitors(&self) -> Vec<MonitorHandle> {
        lock(&self.monitors).values().cloned().collect()
    }

    /// One monitor.
    pub fn monitor(&self, id: &MonitorId) -> Option<MonitorHandle> {
        lock(&self.monitors).get(id).cloned()
    }

    /// Adds a monitor unless it is there; true when it was added.
    pub fn add_monitor(&self, id: MonitorId, handle: MonitorHandle) -> bool {
        use std::collections::btree_map::Entry;
        match lock(&self.monitors).entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(handle);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Forgets a monitor that has ended; its record stays on disk.
    pub fn remove_monitor(&self, id: &MonitorId) {
        lock(&self.monitors).remove(id);
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
