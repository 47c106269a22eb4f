//! Updates that come in: who is admitted, and what is added to the sums.

use tokio::time::Instant;
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{DropReason, Lease, Reject};
use crate::epoch::Place;
use crate::run::collect::{Adding, AdmittedUpdate};
use crate::run::payload::UNIT;
use crate::run::receipt::Refusal;
use crate::run::{ClipAnswer, Command, Contribute, Counted};

/// What the engine says of an update that it wants.
pub(super) struct Admitted {
    /// Index of the device's region.
    region: usize,
    /// What its staleness leaves of it: 1 / sqrt(1 + s) (Nguyen et al. 2022, FedBuff).
    share: f32,
    /// The versions that it may have trained from.
    pub(super) models: Vec<Digest>,
}

impl Actor {
    /// Handles commands in their order; updates that follow each other are added together.
    pub(super) async fn handle_all(
        &mut self,
        commands: impl Iterator<Item = Command>,
    ) -> Result<(), CoordinatorError> {
        let mut outcome = Ok(());
        let mut updates = Vec::new();
        for command in commands {
            match command {
                // the stores do not take it now: nothing is summed that could not be sealed; where they
                // only lack room it is, and waits for its receipt
                Command::Contribute(update) if self.refuses_updates() => {
                    update.reply.answer(Err(Reject::Interrupted.into()));
                }
                Command::Contribute(update) => updates.push(update),
                other => {
                    let added = self.add(std::mem::take(&mut updates)).await;
                    outcome = self.first_of(outcome, added);
                    let settled = self.settle().await;
                    outcome = self.first_of(outcome, settled);
                    let handled = self.handle(other).await;
                    outcome = self.first_of(outcome, handled);
                    let settled = self.settle().await;
                    outcome = self.first_of(outcome, settled);
                }
            }
        }
        let added = self.add(updates).await;
        self.first_of(outcome, added)
    }

    fn refuses_updates(&self) -> bool {
        !self.lacks_space && self.backoff.waits(Instant::now())
    }

    /// Whether an update with this digest would be counted now, with `ahead` others before it.
    pub(super) fn admit(
        &self,
        device: &DeviceId,
        (round, digest): (u32, Option<Digest>),
        ahead: usize,
    ) -> Result<Admitted, Refusal> {
        if self.core.halt.is_halted() {
            return Err(Reject::Halted.into());
        }
        let is_pending = self.collection.is_pending(device);
        // one that waits to be sealed has its place already
        let others = self.collection.pending() + ahead - usize::from(is_pending);
        // the place that is kept for FLTrust's device is its own while it waits to be sealed
        let trusted = self.state.spec.aggregation.trusted.as_ref();
        let waits = |other: &&DeviceId| *other != device && self.collection.is_pending(other);
        let others = others - usize::from(trusted.filter(waits).is_some());
        let now_ms = self.core.clock.service_ms();
        let region = self.state.admit(device, round, others, now_ms);
        let region = region.map_err(|reject| self.refusal(device, digest, reject))?;
        let staleness = self.state.staleness(round);
        Ok(Admitted {
            region,
            share: (1.0 / (1.0 + f64::from(staleness)).sqrt()) as f32,
            models: self.state.models_of(round, region).to_vec(),
        })
    }

    /// Adds updates to the open sums, and seals them when it is time.
    pub(super) async fn add(&mut self, updates: Vec<Contribute>) -> Result<(), CoordinatorError> {
        if updates.is_empty() {
            return Ok(());
        }
        let mut arrivals: Vec<AdmittedUpdate> = Vec::with_capacity(updates.len());
        for update in updates {
            if arrivals.iter().any(|ahead| ahead.device == update.device) {
                // sent twice: the second waits for the receipt of the first, once that is in
                self.sum(std::mem::take(&mut arrivals)).await?;
            }
            let trusted = self.state.spec.aggregation.trusted.as_ref();
            let kept = |arrival: &&AdmittedUpdate| trusted == Some(&arrival.device);
            let ahead = arrivals.len() - arrivals.iter().filter(kept).count();
            arrivals.extend(self.arrival(update, ahead));
        }
        self.sum(arrivals).await?;
        if self.collection.pending() > 0 {
            self.open_since.get_or_insert_with(Instant::now);
        }
        if self.must_seal() {
            self.collect().await
        } else {
            Ok(())
        }
    }

    async fn sum(&mut self, arrivals: Vec<AdmittedUpdate>) -> Result<(), CoordinatorError> {
        let adding = Adding {
            run: self.state.id.clone(),
            threads: self.core.sum_threads,
            failpoint: self.core.failpoint.clone(),
        };
        let refused = match self.collection.add(arrivals, &adding).await {
            Ok(refused) => refused,
            Err(crash) => {
                self.suspects = crash.devices;
                return Err(crash.error);
            }
        };
        if self.state.spec.is_seeded() {
            // a seeded round closes when all have answered, and this was their answer: the same
            // training would only give the same bytes
            let refused = refused.into_iter();
            self.abandoned
                .extend(refused.map(|device| (device, DropReason::Refused)));
        }
        Ok(())
    }

    /// An update that is wanted; none when its sender was answered already.
    fn arrival(&mut self, update: Contribute, ahead: usize) -> Option<AdmittedUpdate> {
        let Contribute {
            device,
            round,
            header,
            bytes,
            permit,
            reply,
        } = update;
        let weighed = self
            .format
            .payload
            .weigh(header.weight, header.work, header.cluster)
            .and_then(|weighed| self.count_within(weighed, header.clip))
            .map_err(Refusal::Header);
        let admitted = self.admit(&device, (round, Some(reply.digest)), ahead);
        let (admitted, (weight, work)) = match admitted.and_then(|ok| Ok((ok, weighed?))) {
            Ok(wanted) => wanted,
            Err(refusal) => {
                reply.answer(Err(refusal));
                return None;
            }
        };
        let receipt = self.collection.join(&device, reply).err()?;
        Some(AdmittedUpdate {
            device,
            region: admitted.region,
            cluster: header.cluster as usize,
            bytes,
            weight,
            work,
            share: admitted.share,
            permit,
            receipt,
        })
    }

    /// A refusal as it is told: a duplicate with what was counted. After a restart that is known only
    /// when it is what was `sent`.
    fn refusal(&self, device: &DeviceId, sent: Option<Digest>, reject: Reject) -> Refusal {
        let lease = self.state.round.leases.get(device);
        let is_counted = |sent: &Digest| self.state.was_counted(device, sent) == Some(true);
        let known = self.collection.counted(device);
        let counted = lease.zip(known.or_else(|| sent.filter(is_counted)));
        match (reject, counted) {
            (Reject::Duplicate, Some((lease, digest))) => Refusal::Counted(Box::new(Counted {
                segment_id: String::new(),
                digest,
                ticket: self.receipt(device, lease, digest),
            })),
            (reject, _) => Refusal::Engine(reject),
        }
    }

    /// The proof that an update was counted.
    pub(super) fn receipt(&self, device: &DeviceId, lease: &Lease, digest: Digest) -> v1::Ticket {
        let place = Place::of_round(lease.round, lease.attempt);
        let epoch = &self.core.epoch;
        let asked = (place, self.state.lineage.of(place));
        epoch.receipt(device, self.state.id.as_str(), asked, digest)
    }

    /// Under an adaptive clip the second total counts the updates within the clip, and a device with
    /// nothing to measure as half of one: in the sum of the votes, which is twice this less the number of
    /// contributions, it is then 0. No algorithm that goes with noise has another use for the total.
    fn count_within(
        &self,
        weighed: (u64, u64),
        answer: ClipAnswer,
    ) -> Result<(u64, u64), &'static str> {
        let asked = self.state.spec.privacy.moves_clip(self.state.round.number);
        match (asked, answer) {
            (true, ClipAnswer::Within) => Ok((weighed.0, UNIT)),
            (true, ClipAnswer::Above) => Ok((weighed.0, 0)),
            (true, ClipAnswer::Nothing) => Ok((weighed.0, UNIT / 2)),
            // an answer that nobody asked for is not read where it may tell of the data
            (false, _) if self.format.is_private => Ok(weighed),
            (false, ClipAnswer::Above) => Ok(weighed),
            (false, _) => {
                Err("the clip report is set, but the plan does not ask for it: leave it out")
            }
        }
    }

    /// Why the round can't be released when FLTrust's device is not in it.
    pub(super) fn misses_trusted(&self) -> Option<String> {
        let trusted = self.state.spec.aggregation.trusted.as_ref()?;
        let is_in = self
            .state
            .round
            .contributors()
            .any(|device| device == trusted);
        (!is_in).then(|| {
            format!(
                "aggregation.trusted: device {trusted} did not contribute, and fltrust compares \
                 all others with it"
            )
        })
    }
}
