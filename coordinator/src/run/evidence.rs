//! What a run knows of its devices, compared with what they show.

use tributary_proto::DeviceId;

use crate::engine::{AssignmentState, RunState};
use crate::epoch::Witness;
use crate::lineage::Place;

impl RunState {
    /// The newest place at which a device is known to have answered; none if it is not known to have. The
    /// device's ticket of this run is at least as new.
    pub fn answered_by(&self, device: &DeviceId) -> Option<Place> {
        let lease = self.round.leases.get(device);
        let counted = lease.filter(|lease| lease.state == AssignmentState::Counted);
        let counted = counted.map(|lease| Place::of_round(lease.round, lease.attempt));
        if self.spec.privacy.is_charged_when_asked() {
            // whom it has asked it has counted among the participants
            return counted;
        }
        let past = self.participations.get(device).map(|past| past.last_round);
        let late = self.spec.rounds.staleness_cap();
        let past = past.filter(|last| *last > 0);
        let past = past.map(|last| Place::of_round(last.saturating_sub(late).max(1), 1));
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
        let lease =
            lease.filter(|lease| Place::of_round(lease.round, lease.attempt) == witness.place);
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
