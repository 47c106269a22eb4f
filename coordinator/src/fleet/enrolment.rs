//! Who becomes known, and what of it changes when a device enrols again.

use std::sync::Arc;

use tributary_proto::v1::DeviceProfile;
use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet, Former, TOKEN_BYTES, hash};
use crate::CoordinatorError;
use crate::store::{Batch, Expect, StoreError, Table};

/// Former profiles that are kept of a device; the oldest go first.
const FORMER_KEPT: usize = 16;

impl Fleet {
    /// Enrols a device, durably. Repeating it with the same token and region is harmless; what it then
    /// says of its hardware and its tasks holds from now on, and what it said before is kept.
    ///
    /// # Errors
    /// When a field is wrong, the id is taken, or too many devices enrol.
    pub async fn enrol(
        &self,
        id: DeviceId,
        token: &[u8],
        region: RegionId,
        profile: DeviceProfile,
        tasks: Vec<String>,
        now_ms: u64,
    ) -> Result<Arc<Device>, CoordinatorError> {
        if token.len() != TOKEN_BYTES {
            return Err(CoordinatorError::Invalid {
                field: "token",
                problem: format!("has {} bytes", token.len()),
                remedy: "send 32 random bytes",
            });
        }
        check_profile(&profile, &tasks)?;
        let asking = Device {
            region,
            enrolled_in: None,
            profile: profile.into(),
            tasks,
            token: hash(token),
            history: Vec::new(),
        };
        loop {
            let known = self.device(&id);
            if known
                .as_ref()
                .is_some_and(|known| is_unchanged(known, &asking))
            {
                return same_device(&id, &asking, known);
            }
            self.admit(known.is_none())?;
            let record = self.store.get(Table::Devices, id.as_str().as_bytes())?;
            let stored = record.as_ref().map(|record| record.json::<Device>());
            let device = match stored.transpose()? {
                None => asking.clone(),
                Some(stored) => {
                    let stored = Arc::new(stored);
                    same_device(&id, &asking, Some(stored.clone()))?;
                    changed(&stored, &asking, now_ms)
                }
            };
            let mut batch = Batch::new();
            let expected = Expect::from(record.as_ref());
            batch.put_json(Table::Devices, id.as_str(), &device, expected)?;
            match self.store.commit(batch).await {
                Ok(_) => {
                    let device = Arc::new(device);
                    self.lock().replace(id, device.clone());
                    return Ok(device);
                }
                // somebody enrolled or moved it a moment ago, perhaps the same device over another call
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// True when a device says of itself what is known.
fn is_unchanged(known: &Device, asking: &Device) -> bool {
    known.profile == asking.profile && known.tasks == asking.tasks
}

/// The device as it is stored with what it says of itself now; where it is and what it spent stays.
fn changed(stored: &Device, asking: &Device, now_ms: u64) -> Device {
    if is_unchanged(stored, asking) {
        return stored.clone();
    }
    let mut history = stored.history.clone();
    history.push(Former {
        profile: stored.profile.clone(),
        tasks: stored.tasks.clone(),
        until_ms: now_ms,
    });
    let too_many = history.len().saturating_sub(FORMER_KEPT);
    history.drain(..too_many);
    Device {
        profile: asking.profile.clone(),
        tasks: asking.tasks.clone(),
        history,
        ..stored.clone()
    }
}

/// The device as it is known, if it is the one that asks.
fn same_device(
    id: &DeviceId,
    asking: &Device,
    known: Option<Arc<Device>>,
) -> Result<Arc<Device>, CoordinatorError> {
    let is_home = |known: &Arc<Device>| {
        known.region == asking.region || known.enrolled_in.as_ref() == Some(&asking.region)
    };
    known
        .filter(|known| known.token == asking.token && is_home(known))
        .ok_or_else(|| CoordinatorError::Taken(id.to_string()))
}

fn check_profile(profile: &DeviceProfile, tasks: &[String]) -> Result<(), CoordinatorError> {
    let long = |text: &String| text.len() > 64;
    let wrong = long(&profile.name)
        || profile.name.is_empty()
        || long(&profile.core)
        || profile.formats.len() > 16
        || profile.formats.iter().any(long)
        || tasks.len() > 64
        || tasks.iter().any(long);
    if wrong {
        return Err(CoordinatorError::Invalid {
            field: "profile",
            problem: "has no name, or a name, format or task list that is too long".to_owned(),
            remedy: "use names of 1 to 64 bytes, at most 16 formats and 64 tasks",
        });
    }
    Ok(())
}
