//! From a closed round to a new version: the charge first, then the release.

use tributary_model::Digest;
use tributary_proto::{DeviceId, RegionId};

use super::super::collect::owned_by;
use super::super::release::{Release, Released, noise_seed};
use super::Actor;
use crate::CoordinatorError;
use crate::engine::Event;
use crate::ledger::{Charge, ChargeKind};
use crate::registry::ModelRecord;
use crate::store::Batch;

impl Actor {
    /// Charges every contributor and moves the round on, in one commit.
    pub(super) async fn charge(&mut self) -> Result<(), CoordinatorError> {
        let round = self.state.round.number;
        let regions = &self.state.spec.regions;
        let leases = &self.state.round.leases;
        let devices: Vec<(DeviceId, RegionId)> = self
            .state
            .round
            .contributors()
            .filter_map(|id| Some((id.clone(), regions[leases.get(id)?.region].clone())))
            .collect();
        let events = vec![Event::Charged {
            round,
            pico_rho: self.costs.pico_rho,
        }];
        self.state.check_all(&events)?;
        let mut batch = Batch::new();
        self.journal.put(&events, &mut batch)?;
        let charge = self.charge_entry(devices.len());
        let charged = self.core.ledger.charge(charge, &devices, batch).await;
        if let Err(CoordinatorError::Budget(reason)) = charged {
            // another run or monitor spent what selection still saw: nothing is released
            return self.commit(vec![Event::Aborted { round, reason }]).await;
        }
        charged?;
        self.journal.committed(events.len());
        self.applied(&events).await
    }

    fn charge_entry(&self, devices: usize) -> Charge {
        let participations = self.state.round.contributors().map(|device| {
            let past = self.state.participations.get(device);
            past.map_or(1, |past| past.count + 1)
        });
        let most = participations
            .max()
            .unwrap_or(0)
            .max(self.state.most_participations());
        Charge {
            account: self.state.id.to_string(),
            kind: ChargeKind::Training,
            number: self.state.round.number.into(),
            part: 0,
            pico_rho: self.costs.pico_rho,
            devices: devices as u64,
            seeded: self.state.spec.is_seeded(),
            unnoised: self.costs.noise.is_none(),
            cap_pico_rho: self.costs.cap_pico_rho.unwrap_or(0),
            worst_pico_rho: self.costs.pico_rho.saturating_mul(u64::from(most)),
            unix_ms: self.core.clock.now_ms(),
        }
    }

    /// Makes the new version: noise, division, optimiser; blob, then record.
    ///
    /// Noise is drawn once: a step that failed is tried again with the same release, since other
    /// noise on the same sum would be another release. After a restart there is nothing left to
    /// repeat, and what was written without a record is swept away before anything is served.
    pub(super) async fn release(&mut self) -> Result<(), CoordinatorError> {
        let released = match self.released.take() {
            Some(released) => released,
            None => match self.draw().await? {
                Ok(released) => released,
                // trying again would only draw other noise on the same sum
                Err(error) => {
                    let reason = error.to_string();
                    return self.commit(vec![Event::Failed { reason }]).await;
                }
            },
        };
        match self.publish(&released).await {
            Ok((events, server)) => {
                let before = self.state.server;
                self.base = released.file;
                self.optimiser = released.optimiser;
                let outcome = self.applied(&events).await;
                if let Some(before) = before.filter(|before| *before != server) {
                    self.core.vault.delete(&before).await?;
                }
                outcome
            }
            Err(error) => {
                self.released = Some(released);
                Err(error)
            }
        }
    }

    /// Draws the noise and steps the optimiser. The inner error is final.
    async fn draw(&self) -> Result<Result<Released, CoordinatorError>, CoordinatorError> {
        let release = Release {
            total: self.collection.total()?,
            fixed: self.format.fixed,
            denominator: self.state.spec.rounds.cohort.into(),
            costs: self.costs.clone(),
            base: self.base.clone(),
            optimiser: self.optimiser.clone(),
            seed: noise_seed(&self.state),
        };
        let released = tokio::task::spawn_blocking(move || release.run())
            .await
            .map_err(|_| CoordinatorError::Stopping)?;
        match released {
            Err(error @ CoordinatorError::Noise(_)) => Err(error),
            other => Ok(other),
        }
    }

    /// Writes the version and commits its record with the event.
    async fn publish(
        &mut self,
        released: &Released,
    ) -> Result<(Vec<Event>, Digest), CoordinatorError> {
        let stored = owned_by(&self.state.id, released.optimiser.to_bytes());
        let server = self.core.vault.put(stored).await?;
        let mut batch = Batch::new();
        let describe = |digest, parameters| self.describe(digest, parameters);
        let registry = &self.core.registry;
        let model = registry
            .add_model(&released.file, describe, &mut batch)
            .await?;
        let events = vec![Event::Published {
            round: self.state.round.number,
            model,
            server,
            bytes_down: self.core.telemetry.downloads(&self.state.model),
        }];
        self.state.check_all(&events)?;
        self.journal.put(&events, &mut batch)?;
        self.core.store.commit(batch).await?;
        self.journal.committed(events.len());
        Ok((events, server))
    }

    fn describe(&self, digest: Digest, parameters: u64) -> ModelRecord {
        let regions = self
            .state
            .spec
            .regions
            .iter()
            .map(ToString::to_string)
            .collect();
        ModelRecord {
            digest,
            name: self.base.spec.name.clone(),
            parent: Some(self.state.model),
            run_id: self.state.id.to_string(),
            round: self.state.round.number,
            parameters,
            created_ms: self.core.clock.now_ms(),
            regions,
        }
    }
}
