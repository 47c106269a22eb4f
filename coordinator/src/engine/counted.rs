//! Which updates a run has counted: the marks that its leases and segments keep of them.

use tributary_model::Digest;
use tributary_proto::DeviceId;

use super::{Mark, MarkKey, RunState, Segment};

impl RunState {
    /// The marks of devices' updates in the open round; none while the run has no key.
    pub fn update_marks<'a>(
        &self,
        devices: impl IntoIterator<Item = &'a DeviceId>,
        updates: &[Digest],
    ) -> Vec<Mark> {
        let Some(key) = &self.mark_key else {
            return Vec::new();
        };
        let pairs = devices.into_iter().zip(updates);
        pairs
            .map(|(device, update)| key.mark(device, update))
            .collect()
    }

    /// Whether the counted update of a device is one with this digest; none when that is not known.
    pub fn was_counted(&self, device: &DeviceId, update: &Digest) -> Option<bool> {
        let mark = self.round.leases.get(device)?.mark?;
        Some(mark.is_of(self.mark_key.as_ref(), device, update))
    }

    /// Gives a run of before there were keys one, and makes what it holds with it.
    pub fn adopt_key(&mut self, key: MarkKey) {
        for (device, lease) in &mut self.round.leases {
            lease.mark = lease.mark.map(|mark| mark.keyed(&key, device));
        }
        for segment in &mut self.round.segments {
            segment.adopt_key(&key);
        }
        self.mark_key = Some(key);
    }

    /// Another key for another attempt.
    pub(super) fn turn_key(&mut self) {
        self.mark_key = self.mark_key.as_ref().map(MarkKey::next);
    }

    /// Drops what a run that is over has no use for: who was asked last, what they sent, and the key.
    pub fn forget_round(&mut self) {
        self.mark_key = None;
        self.round.leases.clear();
        self.round.segments.clear();
    }
}

impl Segment {
    fn adopt_key(&mut self, key: &MarkKey) {
        for (mark, device) in self.marks.iter_mut().zip(&self.contributors) {
            *mark = mark.keyed(key, device);
        }
    }
}
