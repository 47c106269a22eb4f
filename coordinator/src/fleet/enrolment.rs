//! Who becomes known, and what of it changes when a device enrols again.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tributary_proto::v1::DeviceProfile;
use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet, Former, TOKEN_BYTES, hash, lock};
use crate::CoordinatorError;
use crate::commit_then::commit_then;
use tributary_store::{Batch, Expect, StoreError, Table, Versioned};

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
            profile: Arc::new(profile.into()),
            tasks: Arc::new(tasks),
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
            self.admit(&asking, known.is_none())?;
            let mut turn = None;
            let mut record = self.record(&id)?;
            if record.is_some() {
                turn = Some(self.changing.clone().lock_owned().await);
                record = self.record(&id)?;
            }
            let stored = record.as_ref().map(|record| record.json::<Device>());
            let device = match stored.transpose()? {
                None => asking.clone(),
                Some(stored) => {
                    let stored = Arc::new(stored);
                    same_device(&id, &asking, Some(stored.clone()))?;
                    changed(&stored, &asking, now_ms)
                }
            };
            match self.keep(&id, device, record.as_ref(), turn).await {
                // somebody enrolled or moved it a moment ago, perhaps the same device over another call
                Err(CoordinatorError::Store(StoreError::Conflict { .. })) => {}
                kept => return kept,
            }
        }
    }

    fn record(&self, id: &DeviceId) -> Result<Option<Versioned>, StoreError> {
        self.store.get(Table::Devices, id.as_str().as_bytes())
    }

    /// Puts a device in the place of its record, on disk and then in memory.
    async fn keep(
        &self,
        id: &DeviceId,
        device: Device,
        record: Option<&Versioned>,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Arc<Device>, CoordinatorError> {
        let mut batch = Batch::new();
        let is_new = record.is_none();
        batch.put_json(Table::Devices, id.as_str(), &device, Expect::from(record))?;
        let (inner, id) = (self.inner.clone(), id.clone());
        let replace = move || {
            let _in_turn = turn;
            let mut inner = lock(&inner);
            // one that was changed a moment after it had enrolled is as it was changed
            if !is_new || !inner.devices.contains_key(&id) {
                return inner.replace(id, device);
            }
            Arc::new(device)
        };
        commit_then("an enrolment", self.store.commit(batch), replace).await
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
