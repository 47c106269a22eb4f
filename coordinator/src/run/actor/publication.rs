//! From a charged round to a new version.

use std::collections::BTreeSet;
use std::sync::Arc;

use tributary_model::{Digest, Marks};

use super::Actor;
use crate::CoordinatorError;
use crate::engine::Event;
use crate::failpoint::Place;
use crate::registry::ModelRecord;
use crate::run::collect::{Sealed, owned_by, read_updates};
use crate::run::release::{Collected, Release, Released, RoundClip, noise_seed, rule_seed};
use crate::run::server_state::ServerState;
use tributary_recipe::PrivacyMode;
use tributary_store::Batch;

impl Actor {
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
        let moved = released
            .clip
            .map(|clip| self.format.with_clip(&self.state.spec, clip))
            .transpose();
        let moved = match moved {
            Ok(moved) => moved,
            Err(error) => {
                let reason = error.to_string();
                return self.commit(vec![Event::Failed { reason }]).await;
            }
        };
        match self.publish(&released).await {
            Ok((events, server)) => {
                let (before, control) = (self.state.server, self.state.control);
                self.server = released.server;
                self.last_step = released.step;
                if let Some(format) = moved {
                    self.format = Arc::new(format);
                }
                self.bases = if released.variants.is_empty() {
                    vec![released.main]
                } else {
                    released.variants
                };
                let outcome = self.applied(&events).await;
                if let Some(before) = before.filter(|before| *before != server) {
                    self.core.vault.delete(&before).await?;
                }
                if let Some(before) = control.filter(|_| self.state.control != control) {
                    let (controls, blobs) = (&self.runs.controls, &self.core.blobs);
                    controls.drop(blobs, &self.state.id, before).await?;
                }
                outcome
            }
            Err(error) => {
                self.released = Some(released);
                Err(error)
            }
        }
    }

    /// Draws the noise and steps the optimisers. The inner error is final.
    async fn draw(&mut self) -> Result<Result<Released, CoordinatorError>, CoordinatorError> {
        let release = self.prepare().await?;
        let (failpoint, id) = (self.core.failpoint.clone(), self.state.id.clone());
        let draw = move || {
            // only a failpoint of a test has something to say here, by a panic
            let _ = failpoint.reach(Place::Releasing, &id);
            release.run()
        };
        let released = tokio::task::spawn_blocking(draw).await;
        match released {
            // the coordinator is stopping: the next start draws again
            Err(error) if error.is_cancelled() => Err(CoordinatorError::Stopping),
            // nothing of it has left the process: read from disk again, as after a restart
            Err(_) => Err(CoordinatorError::Crashed("releasing the round")),
            Ok(Ok(released)) => Ok(Ok(released)),
            Ok(Err(refused)) => {
                let (error, release) = *refused;
                (self.bases, self.server) = (release.bases, release.server);
                if matches!(error, CoordinatorError::Noise(_)) {
                    return Err(error);
                }
                Ok(Err(error))
            }
        }
    }

    /// Everything that a release needs. The models move into it and come back with its outcome.
    async fn prepare(&mut self) -> Result<Release, CoordinatorError> {
        if self.bases.is_empty() {
            let gone = "the models went with a release that was cut off";
            return Err(CoordinatorError::Inconsistent(gone));
        }
        let total = self.collection.total();
        let collected = match &*total {
            Sealed::Sums(_) => Collected::Sums(total),
            Sealed::Updates(updates) => {
                let id = &self.state.id;
                let read = read_updates(&self.core, id, &self.format, updates);
                Collected::Updates(read.await?)
            }
        };
        let rounds = &self.state.spec.rounds;
        let control = match (self.format.payload.has_control(), self.state.control) {
            (false, _) => None,
            (true, None) => Some(vec![0.0; self.bases[0].weights.len()]),
            (true, Some(digest)) => Some(from_little_endian(&self.core.blobs.get(&digest).await?)),
        };
        let server = std::mem::replace(&mut self.server, ServerState::none());
        let privacy = &self.state.spec.privacy;
        let local_noise = match privacy.mode {
            PrivacyMode::Local => privacy.noise_multiplier * f64::from(self.state.clip()),
            PrivacyMode::Dp | PrivacyMode::None => 0.0,
        };
        Ok(Release {
            collected,
            format: self.format.clone(),
            cohort: rounds.cohort,
            regions: self.state.spec.regions.len(),
            costs: self.costs.clone(),
            bases: std::mem::take(&mut self.bases),
            server,
            control,
            population: rounds.population(),
            trusted: self.state.spec.aggregation.trusted.clone(),
            rule_seed: rule_seed(&self.state),
            noise_seed: noise_seed(&self.state),
            clip: RoundClip {
                now: self.state.clip(),
                moves: self.state.spec.privacy.moves_clip(self.state.round.number),
                only: self.state.is_estimating(),
            },
            local_noise,
            before: self.last_step.clone(),
        })
    }

    /// Writes the versions and commits their records with the event.
    async fn publish(
        &mut self,
        released: &Released,
    ) -> Result<(Vec<Event>, Digest), CoordinatorError> {
        let stored = owned_by(&self.state.id, released.stored.clone());
        let server = self.core.vault.put(stored).await?;
        let after_loss = self.is_after_loss();
        let mut batch = Batch::new();
        let (model, variants) = self.put_versions(released, after_loss, &mut batch).await?;
        let control = match &released.control {
            Some(control) => {
                let (controls, blobs) = (&self.runs.controls, &self.core.blobs);
                let bytes = to_little_endian(control);
                Some(controls.put(blobs, &self.state.id, bytes).await?)
            }
            None => None,
        };
        let round = self.state.round.number;
        let mut events = Vec::new();
        if after_loss && !self.state.after_loss {
            events.push(Event::AfterLoss { round });
        }
        let offered = self.offered();
        let downloads = offered
            .iter()
            .map(|digest| self.core.telemetry.downloads(digest));
        events.push(Event::Published {
            round,
            model,
            variants,
            control,
            server,
            clip: released.clip,
            signs: released.signs,
            bytes_down: downloads.sum(),
        });
        self.state.check_all(&events)?;
        self.journal.put(&events, &mut batch)?;
        self.core.store.commit(batch).await?;
        self.journal.committed(&events);
        Ok((events, server))
    }

    /// Writes the files of the new versions and adds their records to a batch: the version of the run, and
    /// those of regions or clusters. Models that nobody changed are one version, and one record.
    async fn put_versions(
        &self,
        released: &Released,
        after_loss: bool,
        batch: &mut Batch,
    ) -> Result<(Digest, Vec<Digest>), CoordinatorError> {
        let registry = &self.core.registry;
        let all = self.state.spec.regions.iter().map(ToString::to_string);
        let all: Vec<String> = all.collect();
        let name = &released.main.spec.name;
        let heads = self.format.payload.heads().is_some();
        let own = self.state.marks().and(Marks {
            restored: after_loss,
            ..Marks::default()
        });
        let mut recorded = BTreeSet::new();
        let mut marks = own;
        if self.state.is_estimating() {
            // the round released its clip alone: the versions stay what they are
            marks = registry.marks(&self.state.model)?;
            recorded.insert(self.state.model);
        }
        let mut variants: Vec<Digest> = Vec::with_capacity(released.variants.len());
        for (index, file) in released.variants.iter().enumerate() {
            let (name, regions) = if heads {
                (name.clone(), vec![all[index].clone()])
            } else {
                (format!("{name} cluster {}", index + 1), all.clone())
            };
            let digest = registry.put_model(file, marks).await?;
            if recorded.insert(digest) {
                let parameters = file.weights.len() as u64;
                let record = self.describe(digest, parameters, name, regions, own);
                registry.record(&record, batch)?;
            }
            variants.push(digest);
        }
        let model = match variants.first() {
            Some(first) if !heads => *first,
            _ => registry.put_model(&released.main, marks).await?,
        };
        if recorded.insert(model) {
            let parameters = released.main.weights.len() as u64;
            let record = self.describe(model, parameters, name.clone(), all, own);
            registry.record(&record, batch)?;
        }
        Ok((model, variants))
    }

    /// Whether what a device of the run had spent before was lost, the devices of this round included: some
    /// are found out, or come from another region, only after the start.
    fn is_after_loss(&self) -> bool {
        let counted = self.state.round.contributors();
        self.state.after_loss || self.core.ledger.is_any_marked(counted)
    }

    fn describe(
        &self,
        digest: Digest,
        parameters: u64,
        name: String,
        regions: Vec<String>,
        marks: Marks,
    ) -> ModelRecord {
        ModelRecord {
            digest,
            name,
            parent: Some(self.state.model),
            run_id: self.state.id.to_string(),
            round: self.state.round.number,
            parameters,
            created_ms: self.core.clock.now_ms(),
            regions,
            marks,
            pinned: false,
        }
    }
}

fn to_little_endian(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn from_little_endian(bytes: &[u8]) -> Vec<f32> {
    let (values, _) = bytes.as_chunks::<4>();
    values.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
}
