//! Offers that are out, and who runs what.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1::{BuildOffer, Directive, InstallOutcome, InstallReport, directive};

use crate::core::Core;

/// Outcomes of one offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Devices that run the build.
    pub installed: u64,
    /// Devices that refused it.
    pub failed: u64,
}

struct Offer {
    offer: BuildOffer,
    waiting: HashSet<DeviceId>,
    tally: Tally,
}

/// The offers of one monitor.
#[derive(Default)]
pub struct Installs {
    offers: Mutex<HashMap<String, Offer>>,
    answered: Notify,
}

impl Installs {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an offer.
    pub fn offer(&self, core: &Core, offer: BuildOffer, devices: &[DeviceId]) {
        let waiting = devices.iter().cloned().collect();
        let directive = directive_of(&offer);
        let key = offer.build_digest.clone();
        self.lock().insert(
            key,
            Offer {
                offer,
                waiting,
                tally: Tally::default(),
            },
        );
        for device in devices {
            core.fleet.send(device, directive.clone());
        }
    }

    /// Sends offers again to a device that came back without having answered.
    pub fn offer_again(&self, core: &Core, device: &DeviceId) {
        for offer in self.lock().values() {
            if offer.waiting.contains(device) {
                core.fleet.send(device, directive_of(&offer.offer));
            }
        }
    }

    /// Takes an outcome; the first one of a device counts.
    pub fn report(&self, device: &DeviceId, report: &InstallReport) {
        let mut offers = self.lock();
        let Some(offer) = offers.get_mut(&report.build_digest) else {
            return;
        };
        if !offer.waiting.remove(device) {
            return;
        }
        if report.outcome() == InstallOutcome::Installed {
            offer.tally.installed += 1;
        } else {
            offer.tally.failed += 1;
        }
        if offer.waiting.is_empty() {
            self.answered.notify_waiters();
        }
    }

    /// Waits for all outcomes of an offer or the deadline.
    pub async fn wait(&self, build: &Digest, deadline: Duration) -> Tally {
        let key = build.to_string();
        // the deadline ends the wait; what has come until then counts
        let _ = tokio::time::timeout(deadline, self.all_answered(&key)).await;
        self.lock()
            .get(&key)
            .map_or(Tally::default(), |offer| offer.tally)
    }

    async fn all_answered(&self, key: &str) {
        loop {
            let answered = self.answered.notified();
            let waits = self
                .lock()
                .get(key)
                .is_some_and(|offer| !offer.waiting.is_empty());
            if !waits {
                return;
            }
            answered.await;
        }
    }
}

fn directive_of(offer: &BuildOffer) -> Directive {
    Directive {
        directive: Some(directive::Directive::BuildOffer(offer.clone())),
    }
}
