//! What the agent does with its orders, one at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tributary_model::Digest;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::{BuildOffer, InstallOutcome, InstallReport};

use crate::agent::Core;
use crate::assignment::{Abandoned, Memory, failed};
use crate::compute::Workbench;
use crate::data::{Examples, Purpose};
use crate::in_time::Look;
use crate::install::Refusal;
use crate::library::LoadedModel;

/// Models that a device keeps: the one it trains from and the one it is monitored with.
const MODELS_KEPT: usize = 2;
/// Bytes of a model file beside its weights.
pub(crate) const FILE_OVERHEAD: u64 = 1 << 20;
/// Longest lease or deadline that is believed.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Where time is virtual an answer is worked for so many leases, as long as a coordinator waits for it.
const SEEDED_PATIENCE: u32 = 10;
/// And no less than this beyond the first.
const SEEDED_LEAST: Duration = Duration::from_secs(60);
/// Longest that a build is fetched for.
const BUILD_DEADLINE: Duration = Duration::from_secs(3600);

impl Core {
    /// Works off orders, and beside them offers, until both queues are closed.
    pub(crate) async fn work(self: &Arc<Self>) {
        let offers = async {
            while let Some(offer) = self.offers.next().await {
                Box::pin(self.build_offer(offer)).await;
            }
        };
        tokio::join!(self.orders(), offers);
    }

    async fn orders(self: &Arc<Self>) {
        let mut memory = Memory::default();
        while let Some((order, received)) = self.inbox.next().await {
            // boxed: what an order needs is freed before the long wait for the next
            Box::pin(self.obey(order, received, &mut memory)).await;
        }
    }

    async fn obey(self: &Arc<Self>, order: Order, received: Instant, memory: &mut Memory) {
        match order {
            Order::Assignment(assignment) => {
                self.assignment(assignment, received, memory).await;
            }
            Order::SummaryRequest(request) => self.summary(request, received, memory).await,
            Order::BuildOffer(offer) => self.build_offer(offer).await,
            // sorted out where they arrive
            Order::ModelPublished(_) | Order::Reject(_) => {}
        }
    }

    /// Reads the data; `look` is held until its thread has come back, also when nobody waits for it any more.
    pub(crate) async fn examples(
        self: &Arc<Self>,
        task: &str,
        purpose: Purpose,
        look: Look,
    ) -> Result<Examples, &'static str> {
        let core = Arc::clone(self);
        let asked = task.to_owned();
        let read = self
            .environment
            .compute
            .run(move |_| {
                let _held = look;
                core.read(&asked, &purpose)
            })
            .await;
        read.map_err(|_| "crashed")?
    }

    /// Reads the data, on a thread of the pool.
    pub(crate) fn read(&self, task: &str, purpose: &Purpose) -> Result<Examples, &'static str> {
        match self.data.examples(task, purpose) {
            Ok(examples) if examples.is_empty() => Err("no_examples"),
            Ok(examples) => Ok(examples),
            Err(error) => {
                tracing::debug!(device = self.identity.hashed_id(), %error, "no data");
                Err("no_data")
            }
        }
    }

    /// A model by digest: kept, or fetched.
    pub(crate) async fn model(
        &self,
        digest: &str,
        limit: u64,
        deadline: Instant,
        memory: &mut Memory,
    ) -> Result<Arc<LoadedModel>, Abandoned> {
        let digest: Digest = digest.parse().map_err(|_| failed("bad_digest"))?;
        if let Some(position) = memory
            .models
            .iter()
            .position(|model| model.digest == digest)
            && let Some(model) = memory.models.remove(position)
        {
            memory.models.push_back(Arc::clone(&model));
            return Ok(model);
        }
        let fetched = self.fetch(digest, limit, deadline).await;
        let bytes = fetched.map_err(|error| Abandoned {
            reason: "network",
            ..failed(error.reason())
        })?;
        let environment = Arc::clone(&self.environment);
        let load = move |_: &mut Workbench| environment.library.model(digest, &bytes);
        let loaded = self
            .environment
            .compute
            .run(load)
            .await
            .map_err(|_| failed("crashed"))?;
        let model = loaded.map_err(|error| {
            tracing::warn!(device = self.identity.hashed_id(), %error, "model can't be read");
            failed("model")
        })?;
        memory.models.push_back(Arc::clone(&model));
        while memory.models.len() > MODELS_KEPT {
            memory.models.pop_front();
        }
        Ok(model)
    }

    async fn build_offer(self: &Arc<Self>, offer: BuildOffer) {
        let build_digest = offer.build_digest.clone();
        let (outcome, message) = match self.install(offer).await {
            Ok(()) => (InstallOutcome::Installed, String::new()),
            Err(refusal) => (refusal.outcome, refusal.message),
        };
        let installed = outcome == InstallOutcome::Installed;
        self.step(if installed { 'i' } else { 'x' });
        let name = outcome.as_str_name();
        self.environment
            .tally
            .count("install", name.trim_start_matches("INSTALL_OUTCOME_"));
        if !installed {
            tracing::debug!(device = self.identity.hashed_id(), message, "build refused");
        }
        let report = InstallReport {
            build_digest,
            outcome: outcome.into(),
            message,
        };
        self.tell(Event::InstallReport(report));
        self.finish_shape();
    }

    async fn install(self: &Arc<Self>, offer: BuildOffer) -> Result<(), Refusal> {
        let digest = self.installer.check_offer(&offer)?;
        if self
            .installer
            .active()
            .is_some_and(|active| active.build.digest == digest)
        {
            return Ok(());
        }
        let limit = self.identity.profile.flash_slot_bytes;
        let bytes = self
            .fetch(digest, limit, Instant::now() + BUILD_DEADLINE)
            .await;
        let bytes = bytes.map_err(|error| Refusal {
            outcome: match error {
                crate::download::FetchError::WrongDigest { .. } => InstallOutcome::BadDigest,
                crate::download::FetchError::TooLarge { .. } => InstallOutcome::DoesNotFit,
                _ => InstallOutcome::DownloadFailed,
            },
            message: error.to_string(),
        })?;
        let core = Arc::clone(self);
        let adopt = move |bench: &mut Workbench| {
            let library = &core.environment.library;
            core.installer
                .adopt(&offer, digest, bytes, library, &mut bench.arena)
        };
        self.environment
            .compute
            .run(adopt)
            .await
            .unwrap_or_else(|crashed| {
                let message = crashed.to_string();
                Err(Refusal {
                    outcome: InstallOutcome::SelfTestFailed,
                    message,
                })
            })
    }
}

/// The time that an order leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    /// When the coordinator's word ends.
    pub(crate) ends: Instant,
    /// Until when an answer is worked for. Later than the end where time is virtual: that the machine which
    /// simulates a device is busy is no reason for other bits.
    pub(crate) until: Instant,
}

impl Lease {
    fn new(received: Instant, milliseconds: u64, is_virtual: bool) -> Self {
        let lasts = Duration::from_millis(milliseconds).min(LONGEST_LEASE);
        let more = match is_virtual {
            true => (lasts * (SEEDED_PATIENCE - 1)).max(SEEDED_LEAST),
            false => Duration::ZERO,
        };
        let ends = received + lasts;
        Self {
            ends,
            until: ends + more,
        }
    }

    /// What is left of the coordinator's word.
    pub(crate) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }
}

impl Core {
    /// The lease of an order that came at `received`, of a plan with this seed.
    pub(crate) fn lease(&self, received: Instant, milliseconds: u64, seed: &[u8]) -> Lease {
        Lease::new(received, milliseconds, self.is_virtual(seed))
    }
}
