//! Who is enrolled where, and what a recipe asks for that nobody has.

use std::collections::BTreeMap;

use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet};

/// Names listed in a warning.
const LISTED: usize = 8;

impl Fleet {
    /// Devices enrolled in one of the regions that hold data of the task, and were so when the coordinator
    /// started.
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
