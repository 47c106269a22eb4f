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
pub struct InstallCounts {
    /// Devices that run the build.
    pub installed: u64,
    /// Devices that refused it.
    pub failed: u64,
}

/// What tells offers apart: a build may fit several profiles and regions, each with devices of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OfferKey {
    /// The build.
    pub build: Digest,
    /// The region it is offered in.
    pub region: String,
    /// The profile it was built for.
    pub profile: String,
}

struct Offer {
    offer: BuildOffer,
    waiting: HashSet<DeviceId>,
    tally: InstallCounts,
}

/// The offers of one monitor.
#[derive(Default)]
pub struct Installs {
    offers: Mutex<HashMap<OfferKey, Offer>>,
    answered: Notify,
}

impl Installs {
    fn lock(&self) -> MutexGuard<'_, HashMap<OfferKey, Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends an offer.
    pub fn offer(&self, core: &Core, key: OfferKey, offer: BuildOffer, devices: &[DeviceId]) {
        let waiting = devices.iter().cloned().collect();
        let directive = directive_of(&offer);
        self.lock().insert(
            key,
            Offer {
                offer,
                waiting,
                tally: InstallCounts::default(),
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
        let offered = offers.values_mut().find(|offer| {
            offer.offer.build_digest == report.build_digest && offer.waiting.contains(device)
        });
        let Some(offer) = offered else {
            return;
        };
        offer.waiting.remove(device);
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
    pub async fn wait(&self, key: &OfferKey, deadline: Duration) -> InstallCounts {
        // the deadline ends the wait; what has come until then counts
        let _ = tokio::time::timeout(deadline, self.all_answered(key)).await;
        self.lock()
            .get(key)
            .map_or(InstallCounts::default(), |offer| offer.tally)
    }

    async fn all_answered(&self, key: &OfferKey) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{core, device};

    fn key(profile: &str) -> OfferKey {
        OfferKey {
            build: Digest::of(b"build"),
            region: "eu".to_owned(),
            profile: profile.to_owned(),
        }
    }

    #[tokio::test]
    async fn installs_of_one_build_are_counted_under_the_profile_of_each_device() {
        let core = core().await;
        let installs = Installs::default();
        let offer = BuildOffer {
            build_digest: Digest::of(b"build").to_string(),
            ..BuildOffer::default()
        };
        installs.offer(&core, key("small"), offer.clone(), &[device(1)]);
        installs.offer(&core, key("large"), offer.clone(), &[device(2), device(3)]);
        let report = |outcome: InstallOutcome| InstallReport {
            build_digest: offer.build_digest.clone(),
            outcome: outcome.into(),
            message: String::new(),
        };
        installs.report(&device(2), &report(InstallOutcome::Installed));
        installs.report(&device(2), &report(InstallOutcome::Installed));
        installs.report(&device(1), &report(InstallOutcome::Installed));
        installs.report(&device(3), &report(InstallOutcome::DoesNotFit));
        let none = Duration::ZERO;
        let small = installs.wait(&key("small"), none).await;
        let large = installs.wait(&key("large"), none).await;
        assert_eq!((small.installed, small.failed), (1, 0));
        assert_eq!((large.installed, large.failed), (1, 1));
    }
}
