//! What a round costs its devices, in the same commit that lets it go on.

use tributary_proto::DeviceId;

use super::Actor;
use crate::CoordinatorError;
use crate::engine::{Assigned, Event};
use crate::ledger::{Charge, ChargeKind, DeviceCharge};
use tributary_store::Batch;

impl Actor {
    /// Charges every contributor and moves the round on, in one commit.
    pub(super) async fn charge(&mut self) -> Result<(), CoordinatorError> {
        let round = self.state.round.number;
        if self.state.spec.privacy.is_charged_when_asked() {
            let charged = Event::Charged {
                round,
                pico_rho: 0,
                worst_pico_rho: self.state.round.worst_pico_rho,
            };
            return self.commit(vec![charged]).await;
        }
        let contributors = self.state.round.contributors();
        let devices: Vec<DeviceCharge> = contributors
            .filter_map(|device| self.pays(device))
            .collect();
        let events = vec![Event::Charged {
            round,
            pico_rho: devices.iter().map(|one| one.pico_rho).max().unwrap_or(0),
            worst_pico_rho: self.worst_after(),
        }];
        match self.commit_charged(0, &devices, events).await {
            // another run or monitor spent what selection still saw: nothing is released
            Err(CoordinatorError::Budget(reason)) => {
                self.commit(vec![Event::Aborted { round, reason }]).await
            }
            outcome => outcome,
        }
    }

    /// Charges the devices that are asked and makes the selection durable, in one commit: under local
    /// noise every update that leaves a device is a release, whatever becomes of the round. An attempt
    /// is a charge of its own.
    pub(super) async fn charge_asked(
        &mut self,
        chosen: &[Assigned],
        events: Vec<Event>,
    ) -> Result<(), CoordinatorError> {
        let regions = &self.state.spec.regions;
        let devices: Vec<DeviceCharge> = chosen
            .iter()
            .map(|assigned| DeviceCharge {
                device: assigned.device.clone(),
                region: regions[assigned.region].clone(),
                pico_rho: self.costs.spent(0, 1),
            })
            .collect();
        if devices.is_empty() {
            return self.commit(events).await;
        }
        let attempt = self.state.round.attempt;
        match self.commit_charged(attempt.into(), &devices, events).await {
            // another run or monitor spent what selection saw: nobody is asked, and others are chosen
            Err(CoordinatorError::Budget(reason)) => {
                self.reason = reason;
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Persists events together with what the devices pay for them, then applies them. A budget that
    /// refuses comes before anything is persisted.
    async fn commit_charged(
        &mut self,
        part: u64,
        devices: &[DeviceCharge],
        events: Vec<Event>,
    ) -> Result<(), CoordinatorError> {
        self.state.check_all(&events)?;
        let mut batch = Batch::new();
        self.journal.put(&events, &mut batch)?;
        let charge = self.entry(part);
        self.core.ledger.charge(charge, devices, batch).await?;
        self.journal.committed(&events);
        self.recovered();
        self.applied(&events).await
    }

    /// Spend in this run of the device that spent most once these are asked; 0 where being asked costs
    /// nothing.
    pub(super) fn worst_when_asked(&self, chosen: &[Assigned]) -> u64 {
        if !self.state.spec.privacy.is_charged_when_asked() {
            return 0;
        }
        let asked = |assigned: &Assigned| {
            let past = self.state.participations.get(&assigned.device);
            self.costs.spent(0, past.map_or(0, |past| past.count) + 1)
        };
        chosen.iter().map(asked).max().unwrap_or(0)
    }

    /// What a contributor of the open round pays.
    fn pays(&self, device: &DeviceId) -> Option<DeviceCharge> {
        let region = self.state.round.leases.get(device)?.region;
        let past = self.state.participations.get(device);
        Some(DeviceCharge {
            device: device.clone(),
            region: self.state.spec.regions[region].clone(),
            pico_rho: self.costs.price(&self.state, past),
        })
    }

    /// Spend in this run of the device that spent most, the open round included.
    fn worst_after(&self) -> u64 {
        let before = self
            .state
            .history
            .last()
            .map_or(0, |record| record.worst_pico_rho);
        let after = |device: &DeviceId| {
            let past = self.state.participations.get(device);
            let (estimated, trained) = past.map_or((0, 0), |past| (past.estimated, past.trained()));
            let spent = self.costs.spent(estimated, trained);
            spent.saturating_add(self.costs.price(&self.state, past))
        };
        let worst = self.state.round.contributors().map(after).max();
        before.max(worst.unwrap_or(0))
    }

    /// The ledger's entry for the open round; the ledger fills in what depends on the devices.
    fn entry(&self, part: u64) -> Charge {
        let round = self.state.round.number;
        let spec = &self.state.spec;
        Charge {
            part,
            mechanism: spec.privacy.mechanism(spec.is_seeded()),
            adjacency: spec.privacy.adjacency(),
            has_votes: spec.privacy.adaptive_clip.is_some(),
            unix_ms: self.core.clock.now_ms(),
            ..Charge::new(self.state.id.as_str(), ChargeKind::Training, round.into())
        }
    }
}
