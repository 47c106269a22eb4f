//! The steps that a playbook or an operator takes a region through.

use super::RegionMonitor;
use crate::error::DriftError;
use crate::stream::StreamMonitor;
use crate::verdict::{DriftId, ReferenceVersion, Verdict};

impl RegionMonitor {
    /// Marks that a playbook is at work on the open drift. Doing it twice is fine.
    ///
    /// # Errors
    /// [`DriftError::WrongDrift`] for another drift, [`DriftError::IllegalStep`] unless the state is
    /// [`Verdict::Drift`].
    pub fn begin_mitigation(&mut self, drift: &DriftId) -> Result<(), DriftError> {
        let legal = [Verdict::Drift, Verdict::Mitigating];
        self.step("begin a mitigation", drift, &legal, Verdict::Mitigating)
            .map(drop)
    }

    /// The mitigated model is out: validation begins, and the windows from here on make the next
    /// reference. Doing it twice is fine.
    ///
    /// # Errors
    /// [`DriftError::WrongDrift`], [`DriftError::IllegalStep`] unless the state is
    /// [`Verdict::Mitigating`].
    pub fn mitigated(&mut self, drift: &DriftId) -> Result<(), DriftError> {
        let legal = [Verdict::Mitigating, Verdict::Validating];
        if self.step("finish a mitigation", drift, &legal, Verdict::Validating)? {
            let version = self.next_version();
            self.streams
                .iter_mut()
                .for_each(|stream| stream.start_candidate(version));
        }
        Ok(())
    }

    /// The mitigation proved itself: the next reference takes over (and goes on being built if it isn't
    /// complete), cooldown begins. Doing it twice is fine.
    ///
    /// # Errors
    /// [`DriftError::WrongDrift`], [`DriftError::IllegalStep`] unless the state is
    /// [`Verdict::Validating`].
    pub fn validated(&mut self, drift: &DriftId) -> Result<(), DriftError> {
        let legal = [Verdict::Validating, Verdict::Cooldown];
        if self.step("validate a mitigation", drift, &legal, Verdict::Cooldown)? {
            self.streams
                .iter_mut()
                .for_each(StreamMonitor::adopt_candidate);
            self.cooled_windows = 0;
        }
        Ok(())
    }

    /// The mitigation failed: back to [`Verdict::Drift`] with the old reference. Doing it twice is fine.
    ///
    /// # Errors
    /// [`DriftError::WrongDrift`], [`DriftError::IllegalStep`] unless the state is
    /// [`Verdict::Mitigating`] or [`Verdict::Validating`].
    pub fn mitigation_failed(&mut self, drift: &DriftId) -> Result<(), DriftError> {
        let legal = [Verdict::Mitigating, Verdict::Validating, Verdict::Drift];
        if self.step("give up a mitigation", drift, &legal, Verdict::Drift)? {
            self.streams
                .iter_mut()
                .for_each(StreamMonitor::drop_candidate);
            self.calm_windows = 0;
        }
        Ok(())
    }

    /// Forgets the reference and warms up again, whatever the state: for an operator, or a new global
    /// model that changes what the quantities mean.
    pub fn rebase(&mut self) -> ReferenceVersion {
        let version = self.next_version();
        self.streams
            .iter_mut()
            .for_each(|stream| stream.rebase(version));
        self.state = Verdict::WarmUp;
        self.drift = None;
        (self.insufficient, self.calm_windows) = (false, 0);
        version
    }

    /// Moves to `next`; false if the state is already there.
    fn step(
        &mut self,
        step: &'static str,
        drift: &DriftId,
        legal: &[Verdict],
        next: Verdict,
    ) -> Result<bool, DriftError> {
        if self.drift.as_ref() != Some(drift) {
            return Err(DriftError::WrongDrift {
                given: drift.clone(),
                open: self.drift.clone(),
            });
        }
        if !legal.contains(&self.state) {
            let (region, verdict) = (self.region.clone(), self.state);
            return Err(DriftError::IllegalStep {
                step,
                region,
                verdict,
            });
        }
        let moved = self.state != next;
        self.state = next;
        Ok(moved)
    }

    fn next_version(&mut self) -> ReferenceVersion {
        self.newest_reference = ReferenceVersion(self.newest_reference.0.saturating_add(1));
        self.newest_reference
    }
}
