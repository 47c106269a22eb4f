//! Builds that are offered: fetched, checked, installed, and what came of it told.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{BuildOffer, InstallOutcome, InstallReport};

use crate::agent::core::Core;
use crate::install::installer::Refusal;
use crate::training::compute::Scratch;
use crate::transport::download::FetchError;

/// Longest that a build is fetched for.
const BUILD_DEADLINE: Duration = Duration::from_secs(3600);

impl Core {
    /// Takes up an offer, and reports the outcome.
    pub(crate) async fn build_offer(self: &Arc<Self>, offer: BuildOffer) {
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
            .link()
            .fetch(digest, limit, Instant::now() + BUILD_DEADLINE)
            .await;
        let bytes = bytes.map_err(|error| Refusal {
            outcome: match error {
                FetchError::WrongDigest { .. } => InstallOutcome::BadDigest,
                FetchError::TooLarge { .. } => InstallOutcome::DoesNotFit,
                _ => InstallOutcome::DownloadFailed,
            },
            message: error.to_string(),
        })?;
        let core = Arc::clone(self);
        let adopt = move |bench: &mut Scratch| {
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
