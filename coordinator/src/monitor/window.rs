//! One window: who is asked, whether the answers suffice, noise and charge, verdict.

use std::time::Duration;

use tributary_drift::{Histogram, Quantity, Verdict, WindowReport};
use tributary_model::Marks;
use tributary_privacy::Mechanism;
use tributary_proto::v1::watch_response;

use super::actor::{Actor, Asked};
use super::charging::{mechanism, patience, payers};
use super::history;
use super::mitigation::plan;
use super::poll::{Question, request};
use super::record::{Shortage, WindowRecord};
use crate::CoordinatorError;
use crate::epoch::Place;
use crate::ledger::{Charge, ChargeKind, DeviceCharge};
use crate::random::seeded_bytes;
use crate::votes::Votes;
use tributary_recipe::DriftSpec;
use tributary_store::Batch;

impl Actor {
    /// Asks, sums, charges, judges, and starts playbooks. Regions that can't be judged are not asked:
    /// too few devices are within reach, or can pay, for what the reference and the noise need.
    pub(super) async fn window(&mut self) -> Result<Asked, CoordinatorError> {
        let at_work = !self.core().halt.is_halted();
        let Some(drift) = self.drift.clone().filter(|_| at_work) else {
            return Ok(Asked::Nobody);
        };
        // devices answer only what is newer: a window that was given up, by a failure or a restart, has
        // no second try under its number
        let judged = self.record.regions.iter();
        let judged = judged.filter_map(|region| region.monitor.last_window());
        let header = &self.record.header;
        let newest = judged.max().unwrap_or(0).max(header.asked_window);
        let window = header.next_window.max(newest + 1);
        let (mut active, mut groups) = (Vec::new(), Vec::new());
        for index in 0..self.record.regions.len() {
            if self.has_windows_left(index)
                && !self.record.is_mitigating(index)
                && let Some(question) = self.question(index, window, &drift)?
            {
                active.push(index);
                groups.push(question);
            }
        }
        self.handle.show(&self.record);
        if groups.is_empty() {
            return Ok(Asked::Nobody);
        }
        // durable before anybody is asked, so that no copy of the folder asks it as a new one
        let incarnation = self.core().epoch.incarnation();
        let header = &mut self.record.header;
        header.asked_window = window;
        header.lineage.note(Place::of_window(window), incarnation);
        let mut batch = Batch::new();
        self.record.put_header(&mut batch)?;
        self.handle.commit(&batch).await?;
        let patience = patience(&self.record.header.spec, drift.deadline_ms);
        let handle = self.handle.clone();
        let votes = tokio::select! {
            votes = handle.polls.ask(handle.core(), window, groups, patience) => votes,
            () = handle.stop.cancelled() => return Ok(Asked::Stopped),
        };
        for (index, votes) in active.into_iter().zip(votes) {
            match self.judge(index, window, votes, &drift).await {
                // a cap came between: nothing of this region is released, and others are judged
                Err(CoordinatorError::Budget(reason)) => {
                    let region = &self.record.header.spec.regions[index];
                    tracing::warn!(monitor = %self.handle.id, %region, reason, "window is given up");
                }
                judged => judged?,
            }
        }
        self.record.header.next_window = window + 1;
        self.record.header.windows += 1;
        let mut batch = Batch::new();
        self.record.put_header(&mut batch)?;
        let (id, regions) = (&self.record.header.id, self.record.regions.len());
        history::push_out(id, window, regions, &mut batch);
        self.handle.commit(&batch).await?;
        self.handle.show(&self.record);
        Ok(Asked::Some)
    }

    fn quantities(&self, index: usize) -> Vec<Quantity> {
        let streams = self.record.regions[index].monitor.streams();
        streams
            .iter()
            .map(|stream| stream.quantity().clone())
            .collect()
    }

    /// What a region is asked; nothing when its answers could not be judged, which is noted.
    fn question(
        &mut self,
        index: usize,
        window: u64,
        drift: &DriftSpec,
    ) -> Result<Option<Question>, CoordinatorError> {
        let quantities = self.quantities(index);
        let pico_rho = self.noise.pico_rho(quantities.len())?;
        let monitor = &self.record.regions[index].monitor;
        let needed = monitor.devices_needed(self.noise.variance(), &mut self.calibrator);
        let spec = &self.record.header.spec;
        let region = &spec.regions[index];
        let payers = payers(
            self.core(),
            (spec, self.record.header.run_id.as_str()),
            region,
            (self.handle.id.as_str(), ChargeKind::Drift),
            pico_rho,
        );
        let shortage = Shortage {
            reachable: payers.reachable,
            payers: payers.devices.len() as u64,
            needed,
        };
        let suffices = needed.is_some_and(|needed| shortage.payers >= needed);
        let deadline = Duration::from_millis(drift.deadline_ms);
        let model = self.record.regions[index].model.to_string();
        let seed = spec.seed.map(|seed| seeded_bytes(seed, &[b"device"]));
        let id = self.handle.id.as_str();
        let mut request = request(id, window, &spec.task, model, &quantities, deadline, seed);
        let privacy = &spec.privacy;
        request.answer_window = privacy.vote_window(drift.noise_votes, drift.deadline_ms);
        let region = &mut self.record.regions[index];
        region.devices_needed = needed.unwrap_or(0);
        region.shortage = (!suffices).then_some(shortage);
        Ok(suffices.then_some(Question {
            request,
            devices: payers.devices,
        }))
    }

    /// The noised histograms of a region's votes in a window.
    fn noised(
        &self,
        index: usize,
        window: u64,
        quantities: &[Quantity],
        votes: Votes,
    ) -> Result<Vec<Histogram>, CoordinatorError> {
        let region = &self.record.header.spec.regions[index];
        let id = self.handle.id.as_str().as_bytes();
        let number = window.to_be_bytes();
        let purpose: [&[u8]; 4] = [b"window", id, &number, region.as_str().as_bytes()];
        self.noise.release(quantities, votes, &purpose)
    }

    /// Noises and charges one region's votes, and takes them into its statistics. Too few answers are
    /// neither noised nor charged: their number is public, and nothing of them is released.
    async fn judge(
        &mut self,
        index: usize,
        window: u64,
        votes: Votes,
        drift: &DriftSpec,
    ) -> Result<(), CoordinatorError> {
        let before = self.record.regions[index].clone();
        let quantities = self.quantities(index);
        let region = self.record.header.spec.regions[index].clone();
        let answered = votes.voters.len() as u64;
        let needed = before.devices_needed;
        let (histograms, payers, pico_rho) = if answered < needed {
            (Vec::new(), Vec::new(), 0)
        } else {
            let payers = votes.voters.clone();
            let histograms = self.noised(index, window, &quantities, votes)?;
            (histograms, payers, self.noise.pico_rho(quantities.len())?)
        };
        let (mechanism, marks) = self.protection(index)?;
        let record = &mut self.record.regions[index];
        record.asked += 1;
        record.shortage = payers.is_empty().then_some(Shortage {
            reachable: answered,
            payers: answered,
            needed: Some(needed),
        });
        let report =
            record
                .monitor
                .observe_answers(window, answered, &histograms, &mut self.calibrator)?;
        let playbook = self.react(index, &report, drift)?;
        let record = WindowRecord {
            report,
            playbook,
            pico_rho,
            voters: answered,
            mechanism,
            marks,
        };
        let pays = |device| DeviceCharge {
            device,
            region: region.clone(),
            pico_rho: record.pico_rho,
        };
        let devices: Vec<DeviceCharge> = payers.into_iter().map(pays).collect();
        // the same noise each time: what is not on the disk yet was seen by nobody
        let keep = || self.keep(index, &record, &devices);
        let mechanism = match self.handle.with_room(keep).await {
            Ok(mechanism) => mechanism,
            Err(error) => {
                // nothing was released: the window is asked again
                self.record.regions[index] = before;
                return Err(error);
            }
        };
        self.record.header.after_restore |= mechanism == Mechanism::RestoredNotPrivate;
        let record = WindowRecord {
            mechanism,
            ..record
        };
        let wire = record.wire(self.handle.id.as_str());
        self.core().tell(watch_response::Event::Window(wire));
        self.launch_if_due(index);
        Ok(())
    }

    /// What protects the votes of a region, and the marks of what is released of them.
    fn protection(&self, index: usize) -> Result<(Mechanism, Marks), CoordinatorError> {
        let spec = &self.record.header.spec;
        let noised = self.noise.variance() > 0.0;
        let mechanism = mechanism(spec, noised);
        let own = Marks {
            seeded: spec.is_seeded(),
            no_noise: !noised,
            restored: self.core().ledger.has_marked(&spec.regions[index..=index]),
        };
        let model = self.record.regions[index].model;
        Ok((mechanism, self.core().registry.marks(&model)?.and(own)))
    }

    /// What a verdict triggers, noted in the region's record; the name of the playbook.
    fn react(
        &mut self,
        index: usize,
        report: &WindowReport,
        drift: &DriftSpec,
    ) -> Result<String, CoordinatorError> {
        let region = &mut self.record.regions[index];
        region.since_mitigation += 1;
        let Some(id) = report.drift.clone() else {
            return Ok(String::new());
        };
        match report.verdict {
            Verdict::Drift => {
                let (playbook, acts) = plan(&self.record.header.spec, region, &report.evidence);
                if acts {
                    region.monitor.begin_mitigation(&id)?;
                    // builds that failed are made again of the run that is there
                    region.begun += u32::from(region.builds_failed == 0);
                }
                Ok(playbook)
            }
            Verdict::Validating if region.since_mitigation >= drift.warm_up => {
                region.monitor.validated(&id)?;
                region.failed = 0;
                Ok("validated".to_owned())
            }
            _ => Ok(String::new()),
        }
    }

    /// Charges the voters and keeps window and region, in one commit. Gives what may be said of the window:
    /// with a voter whose spending was lost it is not private.
    async fn keep(
        &self,
        index: usize,
        window: &WindowRecord,
        devices: &[DeviceCharge],
    ) -> Result<Mechanism, CoordinatorError> {
        let mut batch = Batch::new();
        self.record.put_region(index, &mut batch)?;
        // without noise nothing is paid, but the account says that nothing protects them
        if devices.is_empty() {
            self.record.put_window(index, window, &mut batch)?;
            self.core().store.commit(batch).await?;
            return Ok(window.mechanism);
        }
        let number = window.report.window;
        let charge = Charge {
            part: index as u64,
            mechanism: window.mechanism,
            unix_ms: self.core().clock.now_ms(),
            ..Charge::new(self.handle.id.as_str(), ChargeKind::Drift, number)
        };
        let mut kept = window.mechanism;
        let with_window = |mechanism| {
            kept = mechanism;
            let window = WindowRecord {
                mechanism,
                ..window.clone()
            };
            self.record.put_window(index, &window, &mut batch)?;
            Ok(batch)
        };
        let ledger = &self.core().ledger;
        ledger.charge_with(charge, devices, with_window).await?;
        Ok(kept)
    }
}
