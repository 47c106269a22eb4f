//! Who may take part in a round, who is asked first, and what is noted of those who did.

use tributary_proto::DeviceId;

use super::{DropReason, RunState, Standing};

/// Attempts that a device is passed over at the most after it failed.
pub const LONGEST_HOLD: u32 = 64;

impl RunState {
    /// Most published rounds that any one device is in.
    pub fn most_participations(&self) -> u32 {
        let counts = self.participations.values().map(|past| past.count);
        counts.max().unwrap_or(0)
    }

    /// Number of attempts, over all rounds, that are over.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.history.len()).unwrap_or(u32::MAX)
    }

    /// Where a device stands in the open attempt.
    pub fn standing(&self, device: &DeviceId) -> Standing {
        let past = self.participations.get(device);
        past.map_or(Standing::Good, |past| past.standing(self.attempts()))
    }

    /// True when the device may take part in the open round as far as this run is concerned. What it
    /// gave to a round that was given up counts, but does not keep it from that round's next attempt.
    pub fn may_participate(&self, device: &DeviceId) -> bool {
        let Some(past) = self.participations.get(device) else {
            return true;
        };
        let again = past.last_round == self.round.number;
        if self.spec.privacy.is_charged_when_asked() {
            // every ask is a release of its own
            return past.count < self.spec.rounds.needed_participations()
                && (again || self.is_apart(past.last_round));
        }
        again
            || past.count + past.given_up < self.spec.rounds.max_participations
                && self.is_apart(past.last_round)
    }

    /// True when the device's own timer lets it take part again. In a seeded run no time passes.
    pub fn has_rested(&self, device: &DeviceId, now_ms: u64) -> bool {
        let pause = self.spec.rounds.min_interval_ms;
        let past = self.participations.get(device);
        pause == 0
            || self.spec.is_seeded()
            || past.is_none_or(|past| {
                past.last_round == self.round.number
                    || past.last_round == 0
                    || now_ms >= past.last_ms.saturating_add(pause)
            })
    }

    fn is_apart(&self, last_round: u32) -> bool {
        last_round == 0 || self.round.number >= last_round + self.spec.rounds.min_separation
    }

    /// Notes that a device took part in the open round.
    pub(super) fn take_part(&mut self, device: DeviceId, until_ms: u64, published: bool) {
        let number = self.round.number;
        let estimating = self.is_estimating();
        let past = self.participations.entry(device).or_default();
        if past.last_round == number && past.given_up > 0 {
            // an earlier attempt at this round
            past.given_up -= 1;
        }
        if published {
            past.count += 1;
            past.estimated += u32::from(estimating);
        } else {
            past.given_up += 1;
        }
        (past.last_round, past.last_attempt) = (number, self.round.attempt);
        past.last_ms = past.last_ms.max(until_ms);
    }

    /// Whether a device that was asked in vain for this reason is pushed back. Under privacy only what
    /// can't depend on its data is used; in a seeded run not what a simulation draws for each round.
    fn pushes_back(&self, reason: DropReason) -> bool {
        let tells = self.spec.privacy.mode.has_noise() && reason.may_tell_of_data();
        let drawn = self.spec.is_seeded() && reason.is_of_the_round();
        !tells && !drawn
    }

    /// Pushes a device back that was asked in vain: others are asked before it in the next attempt,
    /// after a second time in the next two, then four, up to [`LONGEST_HOLD`]. True when it was in
    /// good standing.
    pub(super) fn push_back(&mut self, device: &DeviceId, reason: DropReason) -> bool {
        if !self.pushes_back(reason) {
            return false;
        }
        let next = self.attempts() + 1;
        let past = self.participations.entry(device.clone()).or_default();
        let hold = 1 << past.setbacks.min(LONGEST_HOLD.ilog2());
        past.setbacks = past.setbacks.saturating_add(1);
        past.held_until = next.saturating_add(hold);
        past.setbacks == 1
    }

    /// A device that is in a published round is in good standing again.
    pub(super) fn forgive(&mut self, device: &DeviceId) {
        if let Some(past) = self.participations.get_mut(device) {
            (past.setbacks, past.held_until) = (0, 0);
        }
    }
}
