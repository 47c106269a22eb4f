//! Drift on command: from a window on, the devices of a region see their shifted data.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use tributary_device::Purpose;
use tributary_proto::RegionId;

/// A drift to inject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftInjection {
    /// The region whose data shifts.
    pub region: RegionId,
    /// First window that sees the shifted data.
    pub from_window: u64,
}

#[derive(Debug, Clone, Copy)]
struct Shift {
    from_window: u64,
    /// Some device of the region has seen such a window.
    begun: bool,
}

/// Says which data a region sees now; shared by a fleet.
#[derive(Debug, Default)]
pub struct DriftSwitch(RwLock<HashMap<RegionId, Shift>>);

impl DriftSwitch {
    /// Arms a drift. Injecting again for the same region replaces the window.
    pub fn inject(&self, injection: DriftInjection) {
        let shift = Shift {
            from_window: injection.from_window,
            begun: false,
        };
        let mut shifts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        shifts.insert(injection.region, shift);
    }

    /// Ends a region's drift.
    pub fn clear(&self, region: &RegionId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(region);
    }

    /// Whether `region` sees its shifted data for `purpose`. Windows decide by their number; training
    /// follows once any window of the region was shifted.
    pub fn is_shifted(&self, region: &RegionId, purpose: &Purpose) -> bool {
        let shift = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(region)
            .copied();
        let Some(shift) = shift else { return false };
        match purpose {
            Purpose::Training { .. } => shift.begun,
            Purpose::Summary { window } => {
                let shifted = *window >= shift.from_window;
                if shifted && !shift.begun {
                    self.begin(region);
                }
                shifted
            }
        }
    }

    fn begin(&self, region: &RegionId) {
        let mut shifts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(shift) = shifts.get_mut(region) {
            shift.begun = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_shifts_from_its_window_on_and_training_follows() {
        let west: RegionId = "west".parse().unwrap();
        let east: RegionId = "east".parse().unwrap();
        let training = Purpose::Training {
            run_id: "r".to_owned(),
            round: 1,
        };
        let window = |window| Purpose::Summary { window };
        let switch = DriftSwitch::default();
        switch.inject(DriftInjection {
            region: west.clone(),
            from_window: 5,
        });
        assert!(!switch.is_shifted(&west, &window(4)));
        assert!(!switch.is_shifted(&west, &training));
        assert!(switch.is_shifted(&west, &window(5)));
        assert!(switch.is_shifted(&west, &training));
        assert!(
            !switch.is_shifted(&west, &window(4)),
            "an older window keeps its data"
        );
        assert!(!switch.is_shifted(&east, &window(9)));
        switch.clear(&west);
        assert!(!switch.is_shifted(&west, &window(9)));
    }
}
