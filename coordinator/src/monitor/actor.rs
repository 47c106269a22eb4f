//! Windows, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tributary_aggregator::{Mechanism, rho_for_epsilon};
use tributary_drift::{Calibrator, DriftId, Quantity, Verdict};
use tributary_proto::v1::watch_response;
use tributary_proto::{DeviceId, RegionId};

use super::MonitorHandle;
use super::judge::VoteNoise;
use super::mitigation::{Mitigation, Outcome, plan};
use super::poll::{Question, Votes, request};
use super::record::{MonitorRecord, WindowRecord};
use crate::CoordinatorError;
use crate::core::{Core, seeded_bytes};
use crate::ledger::{Charge, ChargeKind, DeviceCharge};
use crate::spec::{DriftSpec, RunSpec};
use crate::store::Batch;

/// Devices asked in one window and region: what one commit can charge.
pub const MAX_ASKED: usize = 12_000;
/// Wait after a failure before the next window.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A seeded window waits for everybody; it is given up after so many deadlines.
const SEEDED_PATIENCE: u32 = 10;

/// The actor of one monitor.
pub struct Actor {
    handle: MonitorHandle,
    record: MonitorRecord,
    drift: DriftSpec,
    noise: VoteNoise,
    cap_pico_rho: Option<u64>,
    calibrator: Calibrator,
    mitigations: JoinSet<Outcome>,
}

/// What a recipe allows a device to spend, in units of 1e-12 of zCDP.
pub fn cap(spec: &RunSpec) -> Result<Option<u64>, CoordinatorError> {
    let privacy = &spec.privacy;
    let cap = privacy
        .epsilon
        .map(|epsilon| rho_for_epsilon(epsilon, privacy.delta))
        .transpose()?;
    Ok(cap.map(|rho| rho.pico()))
}

/// How long a poll waits for answers.
pub fn patience(spec: &RunSpec, deadline_ms: u64) -> Duration {
    let deadline = Duration::from_millis(deadline_ms);
    if spec.is_seeded() {
        deadline * SEEDED_PATIENCE
    } else {
        deadline
    }
}

impl Actor {
    /// An actor that goes on where the record ends.
    pub fn new(handle: MonitorHandle, record: MonitorRecord) -> Result<Self, CoordinatorError> {
        let spec = &record.header.spec;
        let Some(drift) = spec.drift.clone() else {
            let name = record.header.id.as_str();
            return Err(CoordinatorError::unknown(
                "monitor",
                name,
                "its recipe has no [drift]",
            ));
        };
        Ok(Self {
            noise: VoteNoise::new(drift.noise_votes, spec.seed)?,
            cap_pico_rho: cap(spec)?,
            handle,
            record,
            drift,
            calibrator: Calibrator::new(),
            mitigations: JoinSet::new(),
        })
    }

    fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Runs until the planned windows are over.
    pub async fn run(mut self) {
        for index in 0..self.record.regions.len() {
            let drift = self.record.regions[index].monitor.drift().cloned();
            if let Some(drift) = drift.filter(|_| self.record.is_mitigating(index)) {
                self.launch(index, drift);
            }
        }
        let mut interval =
            tokio::time::interval(Duration::from_millis(self.drift.interval_ms.max(1)));
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self
            .drift
            .windows
            .is_none_or(|planned| self.record.header.windows < planned)
        {
            tokio::select! {
                _ = interval.tick() => {}
                Some(outcome) = self.mitigations.join_next() => {
                    if let Ok(outcome) = outcome { self.mitigated(outcome).await; }
                    continue;
                }
            }
            if let Err(error) = self.window().await {
                tracing::error!(monitor = %self.handle.id, %error, "window failed");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            // virtual time stands still while a seeded monitor mitigates
            while self.record.header.spec.is_seeded()
                && let Some(outcome) = self.mitigations.join_next().await
            {
                if let Ok(outcome) = outcome {
                    self.mitigated(outcome).await;
                }
            }
        }
        while let Some(outcome) = self.mitigations.join_next().await {
            if let Ok(outcome) = outcome {
                self.mitigated(outcome).await;
            }
        }
    }

    /// Asks, sums, charges, judges, and starts playbooks.
    async fn window(&mut self) -> Result<(), CoordinatorError> {
        if self.core().halt.is_halted() {
            return Ok(());
        }
        let window = self.record.header.next_window;
        let active: Vec<usize> = (0..self.record.regions.len())
            .filter(|i| !self.record.is_mitigating(*i))
            .collect();
        let groups = active
            .iter()
            .map(|&index| self.question(index, window))
            .collect::<Result<Vec<_>, _>>()?;
        if self.record.header.asked_window < window {
            // durable before anybody is asked, so that no copy of the folder asks it as a new one
            self.record.header.asked_window = window;
            let mut batch = Batch::new();
            self.record.put_header(&mut batch)?;
            self.core().store.commit(batch).await?;
        }
        let patience = patience(&self.record.header.spec, self.drift.deadline_ms);
        let votes = self
            .handle
            .polls
            .ask(self.core(), window, groups, patience)
            .await;
        for (index, votes) in active.into_iter().zip(votes) {
            self.judge(index, window, votes).await?;
        }
        self.record.header.next_window = window + 1;
        self.record.header.windows += 1;
        let mut batch = Batch::new();
        self.record.put_header(&mut batch)?;
        self.core().store.commit(batch).await?;
        Ok(())
    }

    fn quantities(&self, index: usize) -> Vec<Quantity> {
        let streams = self.record.regions[index].monitor.streams();
        streams
            .iter()
            .map(|stream| stream.quantity().clone())
            .collect()
    }

    fn question(&self, index: usize, window: u64) -> Result<Question, CoordinatorError> {
        let spec = &self.record.header.spec;
        let quantities = self.quantities(index);
        let pico_rho = self.noise.pico_rho(quantities.len())?;
        let region = &spec.regions[index];
        let devices = payers(self.core(), region, &spec.task, pico_rho, self.cap_pico_rho);
        let deadline = Duration::from_millis(self.drift.deadline_ms);
        let model = self.record.regions[index].model.to_string();
        let seed = spec.seed.map(|seed| seeded_bytes(seed, &[b"device"]));
        let id = self.handle.id.as_str();
        let request = request(id, window, &spec.task, model, &quantities, deadline, seed);
        Ok(Question { request, devices })
    }

    /// Noises and charges one region's votes, and takes them into its statistics.
    async fn judge(
        &mut self,
        index: usize,
        window: u64,
        votes: Votes,
    ) -> Result<(), CoordinatorError> {
        if self.record.regions[index]
            .monitor
            .last_window()
            .is_some_and(|last| last >= window)
        {
            return Ok(());
        }
        let quantities = self.quantities(index);
        let region = self.record.header.spec.regions[index].clone();
        let voters = votes.voters.clone();
        let id = self.handle.id.as_str().as_bytes();
        let purpose: [&[u8]; 4] = [
            b"window",
            id,
            &window.to_be_bytes(),
            region.as_str().as_bytes(),
        ];
        // an empty window is judged as well: it says that there is too little data
        let histograms = self.noise.release(&quantities, votes, &purpose)?;
        let before = self.record.regions[index].clone();
        let monitor = &mut self.record.regions[index].monitor;
        let report = monitor.observe(window, &histograms, &mut self.calibrator)?;
        let playbook = self.react(index, &report)?;
        let pico_rho = self.noise.pico_rho(quantities.len())?;
        let record = WindowRecord {
            report,
            playbook,
            pico_rho,
            voters: voters.len() as u64,
        };
        if let Err(error) = self.keep(index, &record, voters, region).await {
            // nothing was released: the window is asked again
            self.record.regions[index] = before;
            return Err(error);
        }
        let wire = record.wire(self.handle.id.as_str());
        let verdicts = self.record.verdicts();
        self.handle.edit(|view| {
            view.windows.push(wire.clone());
            view.regions = verdicts;
        });
        self.core().tell(watch_response::Event::Window(wire));
        let region = &self.record.regions[index];
        if region.monitor.state() == Verdict::Mitigating
            && let Some(drift) = region.monitor.drift().cloned()
        {
            self.launch(index, drift);
        }
        Ok(())
    }

    /// What a verdict triggers, noted in the region's record; the name of the playbook.
    fn react(
        &mut self,
        index: usize,
        report: &tributary_drift::WindowReport,
    ) -> Result<String, CoordinatorError> {
        let region = &mut self.record.regions[index];
        region.since_mitigation += 1;
        let Some(drift) = report.drift.clone() else {
            return Ok(String::new());
        };
        match report.verdict {
            Verdict::Drift => {
                let (playbook, acts) = plan(&self.record.header.spec, region, &report.evidence);
                if acts {
                    region.monitor.begin_mitigation(&drift)?;
                    region.begun += 1;
                }
                Ok(playbook)
            }
            Verdict::Validating if region.since_mitigation >= self.drift.warm_up => {
                region.monitor.validated(&drift)?;
                region.failed = 0;
                Ok("validated".to_owned())
            }
            _ => Ok(String::new()),
        }
    }

    /// Charges the voters and keeps window and region, in one commit.
    async fn keep(
        &self,
        index: usize,
        window: &WindowRecord,
        voters: Vec<DeviceId>,
        region: RegionId,
    ) -> Result<(), CoordinatorError> {
        let mut batch = Batch::new();
        self.record.put_region(index, &mut batch)?;
        self.record.put_window(index, window, &mut batch)?;
        if window.pico_rho == 0 || voters.is_empty() {
            self.core().store.commit(batch).await?;
            return Ok(());
        }
        let charge = Charge {
            part: index as u64,
            mechanism: mechanism(&self.record.header.spec),
            cap_pico_rho: self.cap_pico_rho.unwrap_or(0),
            unix_ms: self.core().clock.now_ms(),
            ..Charge::new(
                self.handle.id.as_str(),
                ChargeKind::Drift,
                window.report.window,
            )
        };
        let pays = |device| DeviceCharge {
            device,
            region: region.clone(),
            pico_rho: window.pico_rho,
        };
        let devices: Vec<DeviceCharge> = voters.into_iter().map(pays).collect();
        self.core().ledger.charge(charge, &devices, batch).await
    }

    fn launch(&mut self, index: usize, drift: DriftId) {
        let mitigation = Mitigation {
            handle: self.handle.clone(),
            spec: self.record.header.spec.clone(),
            run_id: self.record.header.run_id.clone(),
            index,
            drift,
            model: self.record.regions[index].model,
            failed: self.record.regions[index].failed,
        };
        self.mitigations.spawn(mitigation.run());
    }

    /// Takes the outcome of a playbook into the region's record.
    async fn mitigated(&mut self, outcome: Outcome) {
        let region = &mut self.record.regions[outcome.index];
        region.since_mitigation = 0;
        region.mitigation = outcome.run.or(region.mitigation.take());
        let stepped = match outcome.result {
            Ok(model) => {
                region.model = model;
                region.monitor.mitigated(&outcome.drift)
            }
            Err(error) => {
                tracing::error!(monitor = %self.handle.id, %error, "mitigation failed");
                region.failed += 1;
                region.monitor.mitigation_failed(&outcome.drift)
            }
        };
        let mut batch = Batch::new();
        let kept = self.record.put_region(outcome.index, &mut batch);
        let committed = match kept {
            Ok(()) => self
                .core()
                .store
                .commit(batch)
                .await
                .map(drop)
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        if let Err(error) = stepped.map_err(Into::into).and(committed) {
            tracing::error!(monitor = %self.handle.id, %error, "the outcome can't be kept");
        }
        let verdicts = self.record.verdicts();
        self.handle.edit(|view| view.regions = verdicts);
    }
}

/// What protects the votes that a run's monitor asks for.
pub fn mechanism(spec: &RunSpec) -> Mechanism {
    match spec.is_seeded() {
        true => Mechanism::SeededNotPrivate,
        false => Mechanism::DiscreteGaussian,
    }
}

/// Reachable devices of a region that can pay, in the order of their ids.
pub fn payers(
    core: &Core,
    region: &RegionId,
    task: &str,
    pico_rho: u64,
    cap: Option<u64>,
) -> Vec<DeviceId> {
    let mut devices = core.fleet.reachable(region, task);
    devices.retain(|device| core.ledger.can_pay(device, pico_rho, cap));
    devices.sort_unstable();
    devices.truncate(MAX_ASKED);
    devices
}
