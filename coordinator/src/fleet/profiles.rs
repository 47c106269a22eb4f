//! What devices say of themselves, kept once for all that say the same.
//!
//! Fleets are of a few classes, so this is small whatever their number; that it stays so with strangers, whose
//! every profile is another, is a limit in bytes.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Device, Profile};
use crate::CoordinatorError;

/// What a text costs beside its bytes.
const BESIDE: usize = 32;
/// How often what nobody says any more is looked for, while there is no room.
const BETWEEN: Duration = Duration::from_secs(5);

/// Profiles and lists of tasks, each once.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    profiles: HashSet<Arc<Profile>>,
    tasks: HashSet<Arc<Vec<String>>>,
    bytes: usize,
    cleaned: Option<Instant>,
}

impl Profiles {
    /// The device with its profile, its tasks and its history shared with all that say the same.
    pub(super) fn share(&mut self, mut device: Device) -> Device {
        device.profile = self.profile(&device.profile);
        device.tasks = self.task_list(&device.tasks);
        for former in &mut device.history {
            former.profile = self.profile(&former.profile);
            former.tasks = self.task_list(&former.tasks);
        }
        device
    }

    fn profile(&mut self, profile: &Arc<Profile>) -> Arc<Profile> {
        shared(
            &mut self.profiles,
            profile,
            &mut self.bytes,
            length_of_profile,
        )
    }

    fn task_list(&mut self, tasks: &Arc<Vec<String>>) -> Arc<Vec<String>> {
        let length = |tasks: &Vec<String>| length_of_tasks(tasks);
        shared(&mut self.tasks, tasks, &mut self.bytes, length)
    }

    /// Whether what a device says may be kept, within so many bytes.
    ///
    /// # Errors
    /// [`CoordinatorError::Limit`].
    pub(super) fn must_fit(
        &mut self,
        device: &Device,
        most: usize,
        now: Instant,
    ) -> Result<(), CoordinatorError> {
        let mut new = 0;
        if !self.profiles.contains(&device.profile) {
            new += length_of_profile(&device.profile);
        }
        if !self.tasks.contains(&device.tasks) {
            new += length_of_tasks(&device.tasks);
        }
        if new > 0 && self.bytes + new > most {
            self.clean(now);
        }
        if new > 0 && self.bytes + new > most {
            return Err(CoordinatorError::Limit {
                what: "the devices have too many different profiles and tasks to keep (bytes)",
                limit: most as u64,
                remedy: "enrol with the profile and the tasks that all devices of a class have",
            });
        }
        Ok(())
    }

    /// Forgets what no device says any more.
    fn clean(&mut self, now: Instant) {
        if self.cleaned.is_some_and(|last| now < last + BETWEEN) {
            return;
        }
        self.cleaned = Some(now);
        self.profiles.retain(|known| Arc::strong_count(known) > 1);
        self.tasks.retain(|known| Arc::strong_count(known) > 1);
        let profiles = self.profiles.iter().map(|known| length_of_profile(known));
        let tasks = self.tasks.iter().map(|known| length_of_tasks(known));
        self.bytes = profiles.chain(tasks).sum();
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn shared<T: Eq + Hash>(
    known: &mut HashSet<Arc<T>>,
    value: &Arc<T>,
    bytes: &mut usize,
    length: impl Fn(&T) -> usize,
) -> Arc<T> {
    if let Some(known) = known.get(value) {
        return known.clone();
    }
    *bytes += length(value);
    known.insert(value.clone());
    value.clone()
}

fn length_of_profile(profile: &Profile) -> usize {
    let formats = length_of_tasks(&profile.formats);
    size_of::<Profile>() + profile.name.len() + profile.core.len() + formats
}

fn length_of_tasks(texts: &[String]) -> usize {
    let texts = texts.iter().map(|text| text.len() + BESIDE);
    BESIDE + texts.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1::DeviceProfile;

    use super::super::{Fleet, TOKEN_BYTES};
    use super::*;
    use crate::fixtures::{device, region};
    use crate::limits::Limits;
    use crate::quarantine::Quarantine;
    use tributary_store::MemoryStore;

    #[tokio::test]
    async fn devices_of_a_class_share_their_profile_and_different_ones_are_bounded_in_bytes() {
        let fleet = Fleet::open(Arc::new(MemoryStore::new()), &Quarantine::default()).unwrap();
        fleet.set_limits(&Limits {
            profile_bytes: 4_096,
            ..Limits::default()
        });
        let says = |number: usize, name: String| {
            let profile = DeviceProfile {
                name,
                ..DeviceProfile::default()
            };
            let tasks = vec!["walk".to_owned()];
            fleet.enrol(
                device(number),
                &[7; TOKEN_BYTES],
                region("eu"),
                profile,
                tasks,
                1,
            )
        };
        let first = says(0, "watch".to_owned()).await.unwrap();
        let bytes = fleet.lock().profiles.bytes();
        for number in 1..100 {
            let device = says(number, "watch".to_owned()).await.unwrap();
            assert!(Arc::ptr_eq(&device.profile, &first.profile));
        }
        assert_eq!(fleet.lock().profiles.bytes(), bytes);
        let mut refused = None;
        for number in 100..200 {
            match says(number, format!("stranger-{number}")).await {
                Ok(_) => assert!(fleet.lock().profiles.bytes() <= 4_096),
                Err(error) => refused = Some(error),
            }
        }
        let refused = refused.expect("a limit");
        assert_eq!(refused.code(), "TRB-0221");
        assert!(refused.to_string().contains("4096"), "{refused}");
        // those of a class that is known come in all the same
        says(200, "watch".to_owned()).await.unwrap();
    }
}
