//! The answer to an accepted assignment of a run with privacy: there is one, whatever the data are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::agent::abandoned::{Abandoned, failed};
use crate::agent::core::Core;
use crate::agent::in_time::{Moment, Slot};
use crate::agent::job::{Finished, TrainingJob};
use crate::agent::lease::Lease;
use crate::training::compute::Scratch;
use crate::training::data::Purpose;

impl Core {
    /// Trains, and answers at a moment that was drawn before: with the update when there is one by then,
    /// else with the constant form. No examples, no data, training that fails, panics, diverges or changes
    /// nothing: none of it shows.
    ///
    /// # Errors
    /// What does not depend on the data: a plan that can't be followed, or no randomness.
    pub(crate) async fn answer_whatever_comes(
        self: &Arc<Self>,
        job: TrainingJob,
        lease: Lease,
    ) -> Result<Finished, Abandoned> {
        // who drops out of a simulation does so whatever its data are
        self.decide(&job, 0, lease)?;
        let job = Arc::new(job);
        let moment = self.draw_moment(job.plan.privacy.answer_window, &job.plan.seed);
        let ready = match moment {
            // made beforehand: making it afterwards would make the answer later
            Moment::After(_) => Some(self.constant_form(&job).await?),
            Moment::AsTrained => None,
        };
        self.step('[');
        let (core, looking) = (Arc::clone(self), Arc::clone(&job));
        let trained = self
            .in_time(moment, |slot| core.look_and_train(looking, slot, lease))
            .await;
        let because = match trained {
            Some(Ok(finished)) => {
                free_elsewhere(ready);
                return Ok(finished);
            }
            Some(Err(because)) => because,
            None => "late",
        };
        // for the device's owner: this counter never leaves the device
        self.environment.tally.count("constant_form", because);
        match ready {
            Some(ready) => Ok(ready),
            None => self.constant_form(&job).await,
        }
    }

    async fn constant_form(&self, job: &Arc<TrainingJob>) -> Result<Finished, Abandoned> {
        let job = Arc::clone(job);
        let made = self.environment.compute.run(move |_| job.constant_form());
        let made = made.await.map_err(|_| failed("crashed"))?;
        made.map_err(|error| self.not_made_for(&error))
    }

    /// From here on the device looks at its data.
    async fn look_and_train(
        self: Arc<Self>,
        job: Arc<TrainingJob>,
        slot: Slot,
        lease: Lease,
    ) -> Result<Finished, &'static str> {
        let purpose = Purpose::Training {
            run_id: job.run_id.clone(),
            round: job.round,
        };
        let look = self.look().await;
        let core = Arc::clone(&self);
        // one piece of work: a device that finds nothing waits in no other queue than one that trains
        let work = move |bench: &mut Scratch| {
            let _held = look;
            slot.begin();
            let look = || {
                let examples = core.read(&job.plan.task, &purpose)?;
                let pause = core.decide(&job, examples.len(), lease);
                let pause = pause.map_err(|abandoned| abandoned.because)?;
                Ok((examples, pause))
            };
            let (examples, pause) = match look() {
                Ok(found) => found,
                Err(because) => return (Err(because), Duration::ZERO),
            };
            if !slot.spend(pause) {
                return (Err("late"), Duration::ZERO);
            }
            let trained = job.run(examples, bench, Some(&slot));
            let trained = trained.map_err(|error| core.not_trained(&error).because);
            (trained, slot.owed(pause))
        };
        let worked = self.environment.compute.run(work).await;
        let (trained, owed) = worked.map_err(|_| "crashed")?;
        sleep(owed).await;
        trained
    }
}

/// Frees an answer that is not sent where nothing waits for it: it is as long as the model, and one that
/// is sent is freed later.
fn free_elsewhere(ready: Option<Finished>) {
    if ready.is_some() {
        drop(tokio::task::spawn_blocking(move || drop(ready)));
    }
}
