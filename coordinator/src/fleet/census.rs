//! Who is enrolled where, and what a recipe asks for that nobody has.

use std::collections::BTreeMap;

use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet};
use tributary_recipe::RoundSpec;

/// Names listed in a warning.
const LISTED: usize = 8;

impl Fleet {
    /// Devices enrolled in one of the regions that hold data of the task, and were so when the coordinator
    /// started: those that a roll call after a start waits for.
    pub fn population(&self, regions: &[RegionId], task: &str) -> usize {
        let inner = self.lock();
        let settled = |id: &DeviceId| !inner.unsettled.contains(id);
        let devices = inner.devices.iter();
        devices
            .filter(|(id, device)| device.is_of(regions, task) && settled(id))
            .count()
    }

    /// True when the device is one of [`Fleet::population`].
    pub fn is_settled(&self, id: &DeviceId, regions: &[RegionId], task: &str) -> bool {
        let inner = self.lock();
        let device = inner.devices.get(id);
        device.is_some_and(|device| device.is_of(regions, task)) && !inner.unsettled.contains(id)
    }

    /// Devices enrolled in a region that hold data of the task.
    pub fn enrolled(&self, region: &RegionId, task: &str) -> u64 {
        let inner = self.lock();
        let holds = |tasks: &[String]| tasks.iter().any(|held| held == task);
        let here = inner.devices.values();
        here.filter(|device| device.region == *region && holds(&device.tasks))
            .count() as u64
    }

    /// What the enrolled devices can't do for a recipe of this task and these regions, as sentences:
    /// a misspelt name looks like a region or a task that nobody has.
    pub fn warnings(&self, task: &str, regions: &[RegionId]) -> Vec<String> {
        let (mut by_region, mut by_task) = (BTreeMap::new(), BTreeMap::new());
        {
            let inner = self.lock();
            for device in inner.devices.values() {
                let holds = device.tasks.iter().any(|held| held == task);
                let (all, holding) = by_region
                    .entry(device.region.clone())
                    .or_insert((0_u64, 0_u64));
                *all += 1;
                *holding += u64::from(holds);
                for held in device.tasks.iter() {
                    *by_task.entry(held.clone()).or_insert(0_u64) += 1;
                }
            }
        }
        if by_region.is_empty() {
            return vec!["no device is enrolled yet: the run waits for devices".to_owned()];
        }
        if !by_task.contains_key(task) {
            let known = names(by_task.keys());
            return vec![format!(
                "no enrolled device holds task {task:?}: the run waits for one (tasks held: {known})"
            )];
        }
        let known = names(by_region.keys().map(RegionId::as_str));
        let warn = |region: &RegionId| match by_region.get(region) {
            None => Some(format!(
                "no device is enrolled in region {:?}: the run waits for one (regions with devices: \
                 {known})",
                region.as_str()
            )),
            Some((all, 0)) => Some(format!(
                "none of the {all} devices enrolled in region {:?} holds task {task:?}",
                region.as_str()
            )),
            Some(_) => None,
        };
        regions.iter().filter_map(warn).collect()
    }

    /// Says that the devices enrolled for a recipe may not take part as often as its rounds need; none when they
    /// may, and while there are fewer than its first round waits for if those would be enough.
    pub fn shortage(&self, task: &str, regions: &[RegionId], rounds: &RoundSpec) -> Option<String> {
        let regions = regions.iter();
        let enrolled: u64 = regions.map(|region| self.enrolled(region, task)).sum();
        let devices = enrolled.max(rounds.population().into());
        let each = u64::from(rounds.needed_participations());
        let available = devices.saturating_mul(each);
        let wanted = u64::from(rounds.count) * u64::from(rounds.cohort);
        if available >= wanted {
            return None;
        }
        let least = wanted.div_ceil(each.max(1));
        let (count, cohort) = (rounds.count, rounds.cohort);
        let remedy = match rounds.max_participations == rounds.needed_participations() {
            true => "raise rounds.max_participations",
            false => "lower rounds.min_separation",
        };
        Some(format!(
            "{count} rounds of {cohort} need {wanted} contributions, but {devices} devices may give \
             {available}, {each} each: start at least {least} devices, {remedy}, or lower rounds.cohort \
             or rounds.count; otherwise rounds will be given up for too few contributions"
        ))
    }
}

impl Device {
    fn is_of(&self, regions: &[RegionId], task: &str) -> bool {
        regions.contains(&self.region) && self.tasks.iter().any(|held| held == task)
    }
}

fn names<T: AsRef<str>>(names: impl Iterator<Item = T>) -> String {
    let mut listed: Vec<String> = Vec::new();
    for (number, name) in names.enumerate() {
        if number == LISTED {
            listed.push("...".to_owned());
            break;
        }
        listed.push(name.as_ref().to_owned());
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fixtures::{device, spec};
    use crate::quarantine::Quarantine;
    use tributary_store::MemoryStore;

    #[test]
    fn a_fleet_that_may_not_take_part_often_enough_is_told_with_the_numbers_and_the_remedies() {
        let spec = spec();
        let fleet = Fleet::open(Arc::new(MemoryStore::new()), &Quarantine::default()).unwrap();
        let mut rounds = spec.rounds.clone();
        let shortage = |rounds: &RoundSpec| fleet.shortage(&spec.task, &spec.regions, rounds);
        // 12 devices, twice each, for 3 rounds of 4
        assert_eq!(shortage(&rounds), None);
        (rounds.count, rounds.cohort) = (10, 4);
        let told = shortage(&rounds).unwrap();
        for part in [
            "10 rounds of 4 need 40",
            "12 devices may give 24, 2 each",
            "least 20 devices",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(told.contains("raise rounds.max_participations"), "{told}");
        (rounds.max_participations, rounds.min_separation) = (u32::MAX, 5);
        let told = shortage(&rounds).unwrap();
        assert!(told.contains("lower rounds.min_separation"), "{told}");
        rounds.min_separation = 1;
        assert_eq!(shortage(&rounds), None);
    }

    #[tokio::test]
    async fn devices_that_enrolled_after_the_start_count_against_a_shortage() {
        let spec = spec();
        let fleet = Fleet::open(Arc::new(MemoryStore::new()), &Quarantine::default()).unwrap();
        for number in 0..20 {
            let (id, token) = (device(number), [number as u8; 32]);
            let (region, tasks) = (spec.regions[0].clone(), vec![spec.task.clone()]);
            let profile = tributary_proto::v1::DeviceProfile {
                name: "watch".to_owned(),
                ..Default::default()
            };
            let enrolled = fleet.enrol(id, &token, region, profile, tasks, 5).await;
            enrolled.unwrap();
        }
        let mut rounds = spec.rounds.clone();
        (rounds.count, rounds.cohort) = (10, 4);
        assert_eq!(fleet.shortage(&spec.task, &spec.regions, &rounds), None);
        assert_eq!(fleet.population(&spec.regions, &spec.task), 0);
        rounds.count = 11;
        let told = fleet.shortage(&spec.task, &spec.regions, &rounds).unwrap();
        assert!(told.contains("20 devices may give 40, 2 each"), "{told}");
    }
}
