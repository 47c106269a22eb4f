//! What devices show, compared with what is known.

use tributary_proto::DeviceId;
use tributary_proto::v1::Ticket;

use super::{HaltRecord, Lineage, Subject, Witness};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{AssignmentState, RunState};
use crate::monitor::MonitorRecord;

/// Tickets that are looked at: what a device may show is four.
const LOOKED_AT: usize = 8;

impl Core {
    /// Looks at the tickets that a device shows, and halts when one is newer than anything known here.
    /// Returns those of this epoch, whose runs can tell more. What can't be compared, because a record
    /// is damaged, proves nothing: that record is set aside, so nothing is charged or released by it.
    ///
    /// # Errors
    /// When the store as a whole can't be read, or a device of an earlier epoch can't be charged.
    pub async fn witness(
        &self,
        device: &DeviceId,
        tickets: &[Ticket],
    ) -> Result<Vec<Witness>, CoordinatorError> {
        let mut genuine = Vec::new();
        for ticket in tickets.iter().take(LOOKED_AT) {
            let Some(witness) = self.epoch.verify(device, ticket) else {
                tracing::debug!("a ticket that was not made here is ignored");
                continue;
            };
            let proves_more = match self.is_unknown(device, &witness).await {
                Err(CoordinatorError::Store(error)) if error.is_damage() => {
                    self.set_aside_subject(&witness, &error.into());
                    false
                }
                compared => compared?,
            };
            if witness.epoch > self.epoch.number() || proves_more {
                self.halt_for(&witness).await;
            } else if witness.epoch == self.epoch.number() {
                genuine.push(witness);
            } else {
                self.forfeit_late(device).await?;
            }
        }
        Ok(genuine)
    }

    /// Halts because of what a witness proves.
    pub async fn halt_for(&self, witness: &Witness) {
        let proof = HaltRecord::new(witness, self.clock.now_ms());
        let sentence = proof.sentence();
        self.telemetry.set_halted(sentence.clone());
        match self.halt.halt(&*self.unguarded, proof).await {
            Ok(true) => tracing::error!("{sentence}"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "{sentence}; that can't be noted"),
        }
    }

    /// Charges or marks a device that took part in an earlier epoch and was not enrolled in the copy that
    /// was put back.
    async fn forfeit_late(&self, device: &DeviceId) -> Result<(), CoordinatorError> {
        let known = self.fleet.device(device);
        let Some(known) = known.filter(|_| !self.ledger.is_forfeited(device)) else {
            return Ok(());
        };
        let devices = [(device.clone(), known.region.clone())];
        let (epoch, now_ms) = (self.epoch.number(), self.clock.now_ms());
        let caps = self.caps_of_the_past()?;
        self.ledger.forfeit(&devices, caps, epoch, now_ms).await?;
        Ok(())
    }

    /// Names what a witness is about and can't be compared with.
    fn set_aside_subject(&self, witness: &Witness, error: &CoordinatorError) {
        match witness.subject() {
            Some(Subject::Run(run)) => self.quarantine.add("run", run.as_str(), error),
            Some(Subject::Windows(monitor) | Subject::Calibrations(monitor)) => {
                self.quarantine.add("monitor", monitor.as_str(), error)
            }
            None => return,
        };
    }

    /// Whether a witness of this epoch proves more than is known of its run or monitor. What is shown of a
    /// run that is at work its own task compares in full.
    async fn is_unknown(
        &self,
        device: &DeviceId,
        witness: &Witness,
    ) -> Result<bool, CoordinatorError> {
        if witness.epoch != self.epoch.number() {
            return Ok(false);
        }
        match witness.subject() {
            Some(Subject::Run(run)) => match self.run(&run) {
                Ok(handle) if !handle.view().is_over() => Ok(witness.place > handle.view().place()),
                _ => {
                    let shown = (device, witness);
                    self.past_runs.contradict(self, &run, shown).await
                }
            },
            Some(Subject::Windows(monitor)) => {
                let known = MonitorRecord::windows_asked(self, &monitor)?;
                Ok(known.is_none_or(|known| known.contradicts(witness)))
            }
            Some(Subject::Calibrations(monitor)) => {
                let known = MonitorRecord::calibrations_asked(self, &monitor)?;
                Ok(known.contradicts(witness))
            }
            None => Ok(false),
        }
    }
}

impl RunState {
    /// The newest place at which a device is known to have answered; none if it is not known to have. The
    /// device's ticket of this run is at least as new.
    pub fn answered_by(&self, device: &DeviceId) -> Option<super::Place> {
        let lease = self.round.leases.get(device);
        let counted = lease.filter(|lease| lease.state == AssignmentState::Counted);
        let counted = counted.map(|lease| super::Place::of_round(lease.round, lease.attempt));
        if self.spec.privacy.is_charged_when_asked() {
            // whom it has asked it has counted among the participants
            return counted;
        }
        let past = self.participations.get(device).map(|past| past.last_round);
        let late = self.spec.rounds.staleness_cap();
        let past = past.filter(|last| *last > 0);
        let past = past.map(|last| super::Place::of_round(last.saturating_sub(late).max(1), 1));
        counted.max(past)
    }

    /// Whether a witness about this run proves what the state does not know: an assignment that was
    /// not given, or not in that start of the coordinator, or an update that is not counted.
    pub fn contradicts(&self, device: &DeviceId, witness: &Witness) -> bool {
        let now = self.place();
        if witness.place > now || self.lineage.of(witness.place) != witness.incarnation {
            return true;
        }
        let lease = self.round.leases.get(device);
        let lease = lease
            .filter(|lease| super::Place::of_round(lease.round, lease.attempt) == witness.place);
        match (lease, witness.counted) {
            (Some(_), None) => false,
            (Some(lease), Some(digest)) => {
                let counted = lease.state == AssignmentState::Counted;
                !counted || self.was_counted(device, &digest) == Some(false)
            }
            (None, _) if witness.place == now => self.is_running(),
            (None, None) => false,
            // counted in an earlier round or attempt, which the account of participations has
            (None, Some(_)) => self.last_place(device).is_before(witness.place),
        }
    }
}

/// The windows or calibrations of a monitor that devices were asked in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The newest; 0 when there was none.
    pub newest: u64,
    /// In which starts of the coordinator.
    pub lineage: Lineage,
}

impl Asked {
    /// Whether a witness proves that a device was asked in one that is not among them.
    pub fn contradicts(&self, witness: &Witness) -> bool {
        let place = witness.place;
        place.number > self.newest || self.lineage.of(place) != witness.incarnation
    }
}
