//! What can be chosen about the demo, and its fixed cast.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use tributary_device::Hardware;
use tributary_recipe::{PrivacySpec, RoundSpec, RunSpec};

use crate::runner::{RunnerError, SUBJECTS};

/// The recipe, for [`DemoConfig::default`]'s number of devices.
const RECIPE: &str = include_str!("../../recipes/demo.toml");
/// Devices that the recipe's cohorts are meant for.
const RECIPE_DEVICES: u32 = 4_000;
/// Devices that the demo can be played with. Noise does not shrink with the fleet: with fewer, windows of
/// the smallest region could not show a shift, and even rounds of all devices would learn too little under
/// it. More do not fit into one process.
const DEVICES: RangeInclusive<u32> = 2_000..=20_000;
/// Participations that a device has left after the last round, on average, so that every round finds its
/// cohort.
const LEFT: f64 = 0.5;

/// Regions and the subjects who live there.
pub(super) const REGIONS: [(&str, RangeInclusive<u32>); 3] =
    [("north", 1..=4), ("east", 5..=7), ("west", 8..=10)];
/// The region whose wearers change the arm.
pub(super) const DRIFTING: &str = "west";
/// First window in which they wear it on the left: four make the reference, four are clean.
pub(super) const INJECTED_WINDOW: u64 = 9;
/// Windows of the drifting region that are waited for after its new model is installed: four make
/// the new reference, two show that it is calm against it.
pub(super) const WINDOWS_AFTER: usize = 6;
/// Windows of a seeded run: a number that does not depend on how fast the machine is.
pub(super) const SEEDED_WINDOWS: u64 = INJECTED_WINDOW + 8;
/// Windows after the injection within which drift must be seen; then the demo gives up.
pub(super) const MISSED_AFTER: u64 = 12;
/// Probability that a device drops out of a round.
pub(super) const DROP_OUT: f64 = 0.02;
/// Of ten devices of a subject, those with the larger hardware.
pub(super) const LARGE_OF_TEN: u32 = 7;

/// Hardware of most devices: the whole model fits.
pub(super) fn wrist_large() -> Hardware {
    Hardware::int8("wrist-large", "cortex-m4", 2_048, 16_384)
}

/// Hardware of the others: a flash slot of 5 KiB holds a narrower model only.
pub(super) fn wrist_small() -> Hardware {
    Hardware::int8("wrist-small", "cortex-m0plus", 512, 5_120)
}

/// What can be chosen about the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoConfig {
    /// Wearables to simulate, 2,000 to 20,000. The privacy noise does not shrink with their number: fewer
    /// than 4,000 take part more often.
    pub devices: u32,
    /// Repeats the demo to the bit, below 2^63. Its noise can then be predicted and nothing is
    /// private.
    pub seed: Option<u64>,
    /// Folder of the report; made when it is not there.
    pub report: PathBuf,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            devices: RECIPE_DEVICES,
            seed: None,
            report: PathBuf::from("tributary-report"),
        }
    }
}

impl DemoConfig {
    /// Whether the demo can be played so.
    ///
    /// # Errors
    /// [`RunnerError::Setting`] for a number of devices out of range, with the range and its reasons.
    pub fn check(&self) -> Result<(), RunnerError> {
        if DEVICES.contains(&self.devices) {
            return Ok(());
        }
        let problem = format!("is {}", self.devices);
        let (fewest, most) = (DEVICES.start(), DEVICES.end());
        let remedy = format!(
            "use {fewest} to {most}: fewer vanish in the noise that epsilon 8 demands, more do not fit into \
             one process"
        );
        Err(RunnerError::setting("devices", problem, remedy))
    }

    /// The run to start: the recipe for this number of devices and this seed.
    ///
    /// # Errors
    /// As [`DemoConfig::check`].
    pub(super) fn run_spec(&self) -> Result<RunSpec, RunnerError> {
        self.check()?;
        self.scaled_spec()
    }

    /// The recipe scaled to this number of devices, whether that is enough or not.
    pub(super) fn scaled_spec(&self) -> Result<RunSpec, RunnerError> {
        let mut spec = RunSpec::from_toml(RECIPE).map_err(|error| {
            RunnerError::setting("demo.toml", error.to_string(), "mend the recipe")
        })?;
        let regions = REGIONS.len() as u32;
        scale(&mut spec.rounds, self.devices, self.devices);
        if self.devices < RECIPE_DEVICES {
            join_more_often(&mut spec.rounds, &mut spec.privacy, self.devices);
        }
        if let Some(playbook) = &mut spec.playbook {
            scale(
                &mut playbook.rounds,
                self.devices,
                self.devices_in(DRIFTING),
            );
        }
        if let Some(drift) = &mut spec.drift {
            drift.minimum_devices =
                scaled(drift.minimum_devices, self.devices).min(self.devices / (2 * regions));
            if self.seed.is_some() {
                drift.windows = Some(SEEDED_WINDOWS);
            }
        }
        spec.seed = self.seed;
        Ok(spec)
    }

    /// Devices in `region`: subjects take turns.
    pub(super) fn devices_in(&self, region: &str) -> u32 {
        (0..self.devices)
            .filter(|number| region_of(subject(*number)) == region)
            .count() as u32
    }
}

/// The subject whose data device `number` holds.
pub(super) fn subject(number: u32) -> u32 {
    number % SUBJECTS + 1
}

/// The region in which a subject lives.
pub(super) fn region_of(subject: u32) -> &'static str {
    let home = REGIONS
        .iter()
        .find(|(_, subjects)| subjects.contains(&subject));
    home.map_or(DRIFTING, |(region, _)| region)
}

fn scaled(value: u32, devices: u32) -> u32 {
    let product = u64::from(value) * u64::from(devices) / u64::from(RECIPE_DEVICES);
    // at most 12,000 x 20,000 / 4,000
    product.max(1) as u32
}

/// What rounds learn under a budget grows with the devices times the cohort (rounds x (cohort / noise)^2,
/// where a budget fixes noise^2 / participations). So the cohort grows as the fleet shrinks: every device
/// joins more often, under noise that makes all its participations cost what they cost in the recipe.
fn join_more_often(rounds: &mut RoundSpec, privacy: &mut PrivacySpec, devices: u32) {
    let shrunk = f64::from(RECIPE_DEVICES) / f64::from(devices);
    // `scale` has made it that much smaller
    let grown = |value: u32| (f64::from(value) * shrunk * shrunk) as u32;
    rounds.minimum = rounds.minimum.map(grown);
    rounds.cohort = grown(rounds.cohort);
    let asked = f64::from(rounds.cohort) * rounds.over_selection * f64::from(rounds.count);
    let before = f64::from(rounds.max_participations);
    let each = (asked / f64::from(devices) + LEFT).ceil();
    let each = each.min(f64::from(rounds.count));
    rounds.max_participations = each as u32;
    let noise = privacy.noise_multiplier * (each / before).sqrt();
    privacy.noise_multiplier = (noise * 1e3).ceil() / 1e3;
}

fn scale(rounds: &mut RoundSpec, devices: u32, population: u32) {
    rounds.minimum = rounds.minimum.map(|minimum| scaled(minimum, devices));
    rounds.cohort = scaled(rounds.cohort, devices);
    rounds.population = Some(population);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_is_for_the_default_fleet() {
        let spec = DemoConfig::default().run_spec().unwrap();
        assert_eq!((spec.rounds.cohort, spec.rounds.population()), (940, 4_000));
        assert_eq!(spec.playbook.unwrap().rounds.population(), 1_200);
        assert!(spec.drift.unwrap().windows >= Some(INJECTED_WINDOW + MISSED_AFTER + 6));
    }

    #[test]
    fn every_size_of_fleet_makes_a_valid_recipe() {
        for devices in [2_000, 2_001, 2_713, 3_999, 4_000, 4_020, 12_345, 20_000] {
            let config = DemoConfig {
                devices,
                seed: Some(3),
                ..DemoConfig::default()
            };
            let spec = config.run_spec().unwrap();
            spec.check().unwrap();
            assert_eq!(spec.seed, Some(3));
        }
    }

    #[test]
    fn every_fleet_learns_under_as_little_noise_as_the_recipe_s_for_the_same_privacy() {
        // cohort over noise, the loss of privacy of a device in all rounds, and what is asked of the fleet
        let of = |devices: u32| {
            let config = DemoConfig {
                devices,
                ..DemoConfig::default()
            };
            let spec = config.run_spec().unwrap();
            let (rounds, noise) = (spec.rounds, spec.privacy.noise_multiplier);
            let asked = f64::from(rounds.cohort) * rounds.over_selection;
            assert!(asked <= f64::from(devices), "{devices}: {asked} in a round");
            let there = f64::from(devices) * f64::from(rounds.max_participations);
            assert!(asked * f64::from(rounds.count) <= there, "{devices}");
            let rho = f64::from(rounds.max_participations) / (2.0 * noise * noise);
            (f64::from(rounds.cohort) / noise, rho)
        };
        let (signal, rho) = of(RECIPE_DEVICES);
        assert!(rho <= 0.5);
        for devices in DEVICES.step_by(17).chain([*DEVICES.end()]) {
            let (own, spent) = of(devices);
            // a whole participation more costs 7 % of noise at once, which the cohort makes up for by and by
            assert!(own > 0.965 * signal, "{devices}: {own} against {signal}");
            assert!(spent <= 0.5, "{devices}: {spent}");
        }
    }

    #[test]
    fn a_window_of_the_smallest_region_can_be_judged_in_every_fleet_that_is_accepted() {
        use tributary_drift::{Calibrator, MonitorConfig, Quantity, RegionMonitor};
        let config = DemoConfig {
            devices: *DEVICES.start(),
            ..DemoConfig::default()
        };
        let drift = config.run_spec().unwrap().drift.unwrap();
        let settings = MonitorConfig {
            regions: REGIONS.len() as u32,
            warm_up_windows: drift.warm_up,
            min_devices: drift.minimum_devices.into(),
            max_invisible_psi: drift.max_invisible_psi,
            drift_interval: drift.mean_windows_between_false_alarms as u32,
            ..MonitorConfig::default()
        };
        // one quantity of seven classes, as if three were there: intervals are per stream
        let quantities = vec![Quantity::prediction("prediction", 7).unwrap()];
        let monitor = RegionMonitor::new("west", quantities, settings).unwrap();
        let variance = drift.noise_votes * drift.noise_votes;
        let needed = monitor
            .devices_needed(variance, &mut Calibrator::new())
            .unwrap();
        let smallest = REGIONS
            .map(|(name, _)| config.devices_in(name))
            .into_iter()
            .min();
        // with unequal shares a window needs more
        assert!(u64::from(smallest.unwrap()) * 10 >= needed * 12, "{needed}");
    }

    #[test]
    fn a_fleet_out_of_range_is_refused() {
        for devices in [0, 99, 1_999, 20_001] {
            let config = DemoConfig {
                devices,
                ..DemoConfig::default()
            };
            let error = config.run_spec().unwrap_err();
            let text = error.to_string();
            assert!(
                text.starts_with("devices is") && text.contains("2000"),
                "{text}"
            );
        }
    }

    #[test]
    fn subjects_live_where_the_story_says() {
        let homes: Vec<&str> = (1..=10).map(region_of).collect();
        assert_eq!(homes[..4], ["north"; 4]);
        assert_eq!(homes[4..7], ["east"; 3]);
        assert_eq!(homes[7..], ["west"; 3]);
        assert_eq!(DemoConfig::default().devices_in("west"), 1_200);
    }
}
