//! One device: a session that comes back after every break, and the work it is given.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tonic::Status;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{BuildOffer, DeviceEvent, Hello};

use crate::conduct::Conduct;
use crate::data::LocalData;
use crate::environment::Environment;
use crate::identity::{Identity, IdentityError};
use crate::install::{ActiveBuild, Installer};
use crate::memory::DeviceMemory;
use crate::outbox::Queue;
use crate::participation::Participations;
use crate::personal::SeenRuns;
use crate::randomness;
use crate::record::{ParticipationRecord, RecordError};
use crate::shape::SessionShape;
use crate::slots::{SlotError, SlotStore};
use crate::ticket_record::TicketRecord;

/// Most directives that wait; a coordinator that sends more loses the newest.
const INBOX_LIMIT: usize = 64;
/// Most build offers that wait.
const OFFERS_LIMIT: usize = 8;
/// Most events that wait for a session.
const OUTBOX_LIMIT: usize = 64;

/// How a device keeps in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionMode {
    /// Holds a stream.
    #[default]
    Stream,
    /// Polls within the window that the coordinator names.
    Poll,
}

/// What one device is made of.
pub struct AgentOptions {
    /// Who it is.
    pub identity: Identity,
    /// Its examples.
    pub data: Arc<dyn LocalData>,
    /// Where its builds live.
    pub slots: Box<dyn SlotStore>,
    /// What it keeps from round to round.
    pub memory: Arc<dyn DeviceMemory>,
    /// Where it counts its participations in runs that limit them.
    pub record: Arc<dyn ParticipationRecord>,
    /// Where it keeps what it has answered.
    pub tickets: Arc<dyn TicketRecord>,
    /// Whether it is simulated. Such a device follows a seeded plan to the letter: the pause between
    /// participations is void, for virtual time does not pass, and its own noise comes from the seed.
    /// A real one keeps the pause, and refuses noise that the coordinator could predict.
    pub simulated: bool,
    /// How it behaves; [`crate::Obedient`] on a real device.
    pub conduct: Arc<dyn Conduct>,
    /// Stream or polling.
    pub mode: SessionMode,
    /// Seed of waits and jitter; from the operating system when `None`.
    pub jitter_seed: Option<[u8; 32]>,
    /// Which of the shared connections to use; agents are spread by this number.
    pub number: u64,
}

/// Why an agent can't start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The coordinator will never take this device as it is.
    #[error("enrolment refused ({code:?}): {message}; check device id, token, region and profile")]
    EnrolmentRefused {
        /// The status code.
        code: tonic::Code,
        /// The coordinator's words.
        message: String,
    },
    /// The slots can't be read.
    #[error(transparent)]
    Slots(#[from] SlotError),
    /// No randomness, or no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A device's agent.
pub struct Agent {
    core: Arc<Core>,
    mode: SessionMode,
}

/// State that the session and the work of one agent share.
pub(crate) struct Core {
    pub(crate) identity: Identity,
    pub(crate) data: Arc<dyn LocalData>,
    pub(crate) conduct: Arc<dyn Conduct>,
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

impl Agent {
    /// Makes an agent; checks its active build and reverts to the other slot when it is damaged.
    pub fn new(options: AgentOptions, environment: Arc<Environment>) -> Result<Self, AgentError> {
        let rng = match options.jitter_seed {
            Some(seed) => ChaCha20Rng::from_seed(seed),
            None => randomness::from_os()?,
        };
        let hardware = options.identity.profile.clone();
        let (library, tally) = (&environment.library, &environment.tally);
        let installer = Installer::open(options.slots, hardware, library, tally)?;
        let core = Core {
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
        };
        Ok(Self {
            core: Arc::new(core),
            mode: options.mode,
        })
    }

    /// A view of the agent's slots that stays valid while it runs.
    pub fn watch(&self) -> AgentView {
        AgentView {
            core: Arc::clone(&self.core),
        }
    }

    /// Runs until `stop` becomes true (or its sender is dropped), or the coordinator refuses the
    /// device for good.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), AgentError> {
        let core = &self.core;
        let mut sessions = pin!(core.sessions(self.mode));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            ended = &mut sessions => return ended,
            () = core.work() => {}
        }
        core.outbox.close();
        timeout(core.environment.timing.farewell, sessions)
            .await
            .unwrap_or(Ok(()))
    }
}

/// Looks at a running agent from outside.
#[derive(Clone)]
pub struct AgentView {
    core: Arc<Core>,
}

impl AgentView {
    /// The device.
    pub fn identity(&self) -> &Identity {
        &self.core.identity
    }

    /// The build that runs now.
    pub fn active_build(&self) -> Option<ActiveBuild> {
        self.core.installer.active()
    }

    /// The parameters that the device would use itself in a personalised run, in the order of the
    /// model's layout. `shared` replaces the shared parameters of the version that it trained from
    /// last. FedPer and FedRep: the shared ones with the personal layers put in; Ditto: the personal
    /// model; APFL: alpha v + (1 - alpha) w; IFCA: the model of the chosen cluster. `None` before
    /// the device has trained in the run since it started, for a run without personalisation, or
    /// when `shared` has another length. May read the memory's files. For the device's owner and for
    /// experiments: these values are as private as the data.
    pub fn personal_model(&self, run_id: &str, shared: Option<&[f32]>) -> Option<Vec<f32>> {
        let seen = self.core.seen.find(run_id)?;
        seen.parameters(&self.core.recall(run_id), shared)
    }

    /// The cluster that the device chose last in an IFCA run, an index into the assignment's models;
    /// `None` as for [`AgentView::personal_model`], 0 for other methods.
    pub fn cluster(&self, run_id: &str) -> Option<u32> {
        Some(self.core.seen.find(run_id)?.cluster)
    }

    /// How often the device took part in a run that limits it, by its own record; none for other
    /// runs. May read the record's files.
    ///
    /// # Errors
    /// When the record can't be read.
    pub fn participations(&self, run_id: &str) -> Result<Participations, RecordError> {
        self.core.record.load(run_id)
    }

    /// Goes back to the build that ran before.
    pub fn revert(&self) -> Result<(), SlotError> {
        let environment = &self.core.environment;
        self.core
            .installer
            .revert(&environment.library, &environment.tally)
    }
}

impl Core {
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

    pub(crate) fn rng(&self) -> MutexGuard<'_, ChaCha20Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.shape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(step);
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

    /// Counts a failed call and says whether the channel should be suspected.
    pub(crate) fn note_failure(&self, status: &Status, leased: &crate::connections::Leased) {
        self.environment.tally.transport(status.code());
        let suspect = matches!(
            status.code(),
            tonic::Code::Unavailable
                | tonic::Code::Unknown
                | tonic::Code::Internal
                | tonic::Code::Cancelled
                | tonic::Code::DeadlineExceeded
        );
        if suspect {
            self.environment.connections.failed(leased);
        }
    }
}

#[cfg(test)]
#[path = "moment_tests.rs"]
mod moment_tests;
