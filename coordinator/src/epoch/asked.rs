//! What a monitor has asked, compared with what devices show.

use super::Witness;
use crate::lineage::Lineage;

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
