//! What a run, its monitor and its playbooks charge to any one device at the most: reserved before a
//! device is asked to work.

use tributary_model::ModelFile;
use tributary_proto::RunId;

use super::costs::RunCosts;
use super::format::format;
use crate::CoordinatorError;
use crate::ledger::{ChargeKind, Part, Reservation};
use crate::votes::{calibration_pico_rho, window_pico_rho};
use tributary_recipe::RunSpec;

/// The part that the run itself draws on.
pub const TRAINING: &str = "training";
/// The part of its monitor.
pub const WINDOWS: &str = "windows";
/// The part of the runs that its playbook starts.
pub const PLAYBOOKS: &str = "playbooks";
/// The part of the calibrations of builds.
pub const CALIBRATIONS: &str = "calibrations";

/// The worst case of one device, in units of 1e-12 of zCDP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorstCase {
    /// All rounds of the run.
    pub training: u64,
    /// One drift window.
    pub window: u64,
    /// Windows of the monitor; none when it has no end.
    pub windows: Option<u64>,
    /// All runs of the playbook.
    pub playbooks: u64,
    /// All calibrations.
    pub calibrations: u64,
}

impl WorstCase {
    /// The worst case of a run that starts from `base`.
    ///
    /// # Errors
    /// When the playbook's plan can't be costed.
    pub fn of(
        spec: &RunSpec,
        costs: &RunCosts,
        base: &ModelFile,
    ) -> Result<Self, CoordinatorError> {
        let mut worst = Self {
            training: costs.worst_case(spec),
            windows: Some(0),
            ..Self::default()
        };
        let calibration = match &spec.builds {
            Some(builds) => calibration_pico_rho(builds, &base.spec.graph()?)?,
            None => 0,
        };
        if spec.has_first_builds() {
            worst.calibrations = calibration;
        }
        let Some(drift) = &spec.drift else {
            return Ok(worst);
        };
        worst.window = window_pico_rho(drift)?;
        worst.windows = match worst.window {
            0 => Some(0),
            _ => drift.windows,
        };
        let Some(playbook) = &spec.playbook else {
            return Ok(worst);
        };
        let runs = u64::from(playbook.most_runs);
        if let Some(child) = spec.of_playbook(&spec.regions[0], "") {
            let (_, costs) = format(&child, base, None)?;
            worst.playbooks = costs.worst_case(&child).saturating_mul(runs);
        }
        worst.calibrations = calibration.saturating_mul(runs);
        Ok(worst)
    }

    /// All windows; none when they have no end.
    pub fn all_windows(&self) -> Option<u64> {
        self.windows
            .map(|windows| windows.saturating_mul(self.window))
    }

    /// All of it but the windows.
    pub fn beside_windows(&self) -> u64 {
        let parts = [self.training, self.playbooks, self.calibrations];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// The reservation of the run `id`; none when it charges nothing.
    pub fn reservation(&self, id: &RunId, spec: &RunSpec) -> Option<Reservation> {
        let run = id.as_str();
        let monitor = crate::names::monitor_of(run);
        let windows = self.all_windows();
        let playbooks = Part {
            name: PLAYBOOKS.to_owned(),
            pico_rho: Some(self.playbooks),
            // the runs that it starts are named when they start
            accounts: Vec::new(),
        };
        let parts = [
            Part::new(TRAINING, Some(self.training), run, ChargeKind::Training),
            Part::new(WINDOWS, windows, &*monitor, ChargeKind::Drift),
            playbooks,
            Part::new(
                CALIBRATIONS,
                Some(self.calibrations),
                monitor.as_str(),
                ChargeKind::Calibration,
            ),
        ];
        let parts: Vec<Part> = parts
            .into_iter()
            .filter(|part| part.pico_rho != Some(0))
            .collect();
        (!parts.is_empty()).then(|| Reservation {
            id: run.to_owned(),
            regions: spec.regions.clone(),
            parts,
        })
    }
}
