//! State that the session and the work of one agent share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::time::Instant;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{BuildOffer, DeviceEvent, Hello};

use crate::agent::environment::Environment;
use crate::agent::options::{AgentError, AgentOptions};
use crate::agent::queue::Queue;
use crate::install::installer::Installer;
use crate::state::identity::Identity;
use crate::state::memory::{DeviceMemory, RunState};
use crate::state::randomness;
use crate::state::record::ParticipationRecord;
use crate::state::ticket_record::TicketRecord;
use crate::training::data::LocalData;
use crate::training::hooks::TrainingHooks;
use crate::training::personal::SeenRuns;
use crate::transport::link::Link;
use crate::transport::shape::SessionShape;

/// Most directives that wait; a coordinator that sends more loses the newest.
const INBOX_LIMIT: usize = 64;
/// Most build offers that wait.
const OFFERS_LIMIT: usize = 8;
/// Most events that wait for a session.
const OUTBOX_LIMIT: usize = 64;

/// State that the session and the work of one agent share.
pub(crate) struct Core {
    pub(crate) identity: Identity,
    pub(crate) data: Arc<dyn LocalData>,
    pub(crate) conduct: Arc<dyn TrainingHooks>,
    pub(crate) environment: Arc<Environment>,
    pub(crate) number: u64,
    pub(crate) installer: Installer,
    pub(crate) memory: Arc<dyn DeviceMemory>,
    pub(crate) record: Arc<dyn ParticipationRecord>,
    pub(crate) tickets: Arc<dyn TicketRecord>,
    pub(crate) simulated: bool,
    /// Held by work that looks at the data.
    pub(crate) looking: Arc<tokio::sync::Mutex<()>>,
    /// What personalised runs were last trained from.
    pub(crate) seen: SeenRuns,
    /// Events for the coordinator.
    pub(crate) outbox: Queue<DeviceEvent>,
    /// Orders from the coordinator, with the time they came.
    pub(crate) inbox: Queue<(Order, Instant)>,
    /// Builds to fetch and install, beside the other orders: a slow download holds up no training.
    pub(crate) offers: Queue<BuildOffer>,
    rng: Mutex<ChaCha20Rng>,
    shape: Mutex<SessionShape>,
}

impl Core {
    /// Checks the active build and reverts to the other slot when it is damaged.
    ///
    /// # Errors
    /// When the slots can't be read, or there is no randomness.
    pub(crate) fn open(
        options: AgentOptions,
        environment: Arc<Environment>,
    ) -> Result<Self, AgentError> {
        let rng = match options.jitter_seed {
            Some(seed) => ChaCha20Rng::from_seed(seed),
            None => randomness::from_os()?,
        };
        let hardware = options.identity.profile.clone();
        let (library, tally) = (&environment.library, &environment.tally);
        let installer = Installer::open(options.slots, hardware, library, tally)?;
        Ok(Self {
            identity: options.identity,
            data: options.data,
            conduct: options.conduct,
            environment,
            number: options.number,
            installer,
            memory: options.memory,
            record: options.record,
            tickets: options.tickets,
            simulated: options.simulated,
            looking: Arc::default(),
            seen: SeenRuns::default(),
            outbox: Queue::new(OUTBOX_LIMIT),
            inbox: Queue::new(INBOX_LIMIT),
            offers: Queue::new(OFFERS_LIMIT),
            rng: Mutex::new(rng),
            shape: Mutex::default(),
        })
    }

    /// The device's way to its coordinator.
    pub(crate) fn link(&self) -> Link<'_> {
        Link {
            identity: &self.identity,
            number: self.number,
            connections: &self.environment.connections,
            timing: self.environment.timing,
            tally: &self.environment.tally,
            shape: &self.shape,
            rng: &self.rng,
        }
    }

    /// Whether time is virtual under a plan with this seed: then an answer can be made again to the bit.
    pub(crate) fn is_virtual(&self, seed: &[u8]) -> bool {
        self.simulated && !seed.is_empty()
    }

    /// What a session begins with: who the device is, what it runs, and its newest tickets.
    pub(crate) fn hello(&self) -> Hello {
        let model_digest = self
            .installer
            .active()
            .map(|active| active.model_digest.to_string())
            .unwrap_or_default();
        Hello {
            credentials: Some(self.identity.credentials()),
            model_digest,
            tickets: self.shown_tickets(),
        }
    }

    /// Randomness for waits, jitter and moments.
    pub(crate) fn rng(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.link().rng()
    }

    /// Tells the coordinator; events that don't fit are counted and lost.
    pub(crate) fn tell(&self, event: Event) {
        if self
            .outbox
            .push(DeviceEvent { event: Some(event) })
            .is_err()
        {
            self.environment.tally.count("dropped", "outbox_full");
        }
    }

    /// Takes an order from the coordinator.
    pub(crate) fn take_order(&self, order: Order) {
        let taken = match order {
            Order::BuildOffer(offer) => self.offers.push(offer).is_ok(),
            order => self.inbox.push((order, Instant::now())).is_ok(),
        };
        if !taken {
            self.environment.tally.count("dropped", "inbox_full");
        }
    }

    /// Adds a step to the session's shape.
    pub(crate) fn step(&self, step: char) {
        self.link().step(step);
    }

    /// Records the session's shape; called when an order is done with and when a session ends.
    pub(crate) fn finish_shape(&self) {
        let mut shape = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        if shape.is_worth_recording() {
            let finished = shape.finish();
            drop(shape);
            tracing::debug!(
                device = self.identity.hashed_id(),
                shape = finished,
                "session shape"
            );
            self.environment.tally.shape(finished);
        }
    }

    /// What is kept of a run; nothing when it can't be read, which is counted.
    pub(crate) fn recall(&self, run_id: &str) -> RunState {
        self.memory.load(run_id).unwrap_or_else(|error| {
            tracing::warn!(device = self.identity.hashed_id(), %error, "state of a run is lost");
            self.environment.tally.count("memory", error.reason());
            RunState::default()
        })
    }

    /// Keeps `changes`; a failure is counted and the old state stays.
    pub(crate) fn remember(&self, run_id: &str, changes: RunState) {
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.memory.merge(run_id, changes) {
            tracing::warn!(device = self.identity.hashed_id(), %error, "state of a run not kept");
            self.environment.tally.count("memory", error.reason());
        }
    }
}
