//! What devices show, compared with what is known.

use tributary_proto::DeviceId;
use tributary_proto::v1::Ticket;

use crate::CoordinatorError;
use crate::coordinator::Coordinator;
use crate::epoch::{Subject, Witness};
use crate::monitor::MonitorRecord;

/// Tickets that are looked at: what a device may show is four.
const LOOKED_AT: usize = 8;

impl Coordinator {
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
            let Some(witness) = self.core.epoch.verify(device, ticket) else {
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
            if witness.epoch > self.core.epoch.number() || proves_more {
                self.core.halt_for(&witness).await;
            } else if witness.epoch == self.core.epoch.number() {
                genuine.push(witness);
            } else {
                self.forfeit_late(device).await?;
            }
        }
        Ok(genuine)
    }

    /// Charges or marks a device that took part in an earlier epoch and was not enrolled in the copy that
    /// was put back.
    async fn forfeit_late(&self, device: &DeviceId) -> Result<(), CoordinatorError> {
        let known = self.core.fleet.device(device);
        let Some(known) = known.filter(|_| !self.core.ledger.is_forfeited(device)) else {
            return Ok(());
        };
        let devices = [(device.clone(), known.region.clone())];
        let (epoch, now_ms) = (self.core.epoch.number(), self.core.clock.now_ms());
        let caps = self.core.caps_of_the_past()?;
        self.core
            .ledger
            .forfeit(&devices, caps, epoch, now_ms)
            .await?;
        Ok(())
    }

    /// Names what a witness is about and can't be compared with.
    fn set_aside_subject(&self, witness: &Witness, error: &CoordinatorError) {
        match witness.subject() {
            Some(Subject::Run(run)) => self.core.quarantine.add("run", run.as_str(), error),
            Some(Subject::Windows(monitor) | Subject::Calibrations(monitor)) => {
                self.core.quarantine.add("monitor", monitor.as_str(), error)
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
        if witness.epoch != self.core.epoch.number() {
            return Ok(false);
        }
        match witness.subject() {
            Some(Subject::Run(run)) => match self.runs.handle(&run) {
                Ok(handle) if !handle.view().is_over() => Ok(witness.place > handle.view().place()),
                _ => {
                    let shown = (device, witness);
                    self.past_runs.contradict(&self.core, &run, shown).await
                }
            },
            Some(Subject::Windows(monitor)) => {
                let known = MonitorRecord::windows_asked(&self.core, &monitor)?;
                Ok(known.is_none_or(|known| known.contradicts(witness)))
            }
            Some(Subject::Calibrations(monitor)) => {
                let known = MonitorRecord::calibrations_asked(&self.core, &monitor)?;
                Ok(known.contradicts(witness))
            }
            None => Ok(false),
        }
    }
}
