//! A device that moves to another region takes its account, its participations and its slots along:
//! they belong to the device. Only where it is asked, and whose sum it is in, changes.

use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet, lock};
use crate::CoordinatorError;
use crate::ledger::Ledger;
use tributary_store::{Batch, Expect, Table};

impl Fleet {
    /// Moves a device, in the fleet and in the ledger with one commit. Returns where it was.
    ///
    /// A device with a lease in a running round is refused rather than moved later: its update may
    /// be in the sum of its old region already, the operator sees at once what happened, and nothing
    /// is left pending over a restart. A vote for a drift window that is under way still counts, and
    /// is charged, in the region that asked for it.
    ///
    /// # Errors
    /// When the device is unknown or at work, or the store refuses; then nothing has moved.
    pub async fn relocate(
        &self,
        ledger: &Ledger,
        id: &DeviceId,
        region: RegionId,
    ) -> Result<RegionId, CoordinatorError> {
        let remedy = "`tributary fleet ls` counts those that are enrolled";
        let unknown = || CoordinatorError::unknown("device", id.as_str(), remedy);
        if self.device(id).ok_or_else(unknown)?.region == region {
            return Ok(region);
        }
        // nobody selects, moves or changes it meanwhile
        let turn = self.changing.clone().lock_owned().await;
        let reserved = self.reserve_one(id);
        let reserved = reserved.ok_or_else(|| CoordinatorError::AtWork(id.to_string()))?;
        let known = self.device(id).ok_or_else(unknown)?;
        if known.region == region {
            return Ok(region);
        }
        let record = self.store.get(Table::Devices, id.as_str().as_bytes())?;
        // it may have enrolled again a moment ago, with another profile
        let stored = record.as_ref().map(|record| record.json::<Device>());
        let known = &stored.transpose()?.unwrap_or_else(|| (*known).clone());
        let enrolled_in = known.enrolled_in.as_ref().unwrap_or(&known.region);
        let device = Device {
            enrolled_in: (*enrolled_in != region).then(|| enrolled_in.clone()),
            region,
            ..known.clone()
        };
        let mut batch = Batch::new();
        let expected = Expect::from(record.as_ref());
        batch.put_json(Table::Devices, id.as_str(), &device, expected)?;
        let to = device.region.clone();
        let (inner, moving) = (self.inner.clone(), id.clone());
        let replace = move || {
            lock(&inner).replace(moving, device);
            // it may be selected again once it is where it belongs
            drop((reserved, turn));
        };
        let way = (&known.region, &to);
        ledger.relocate(id, way, batch, replace).await?;
        Ok(known.region.clone())
    }
}
