//! A device that moves to another region takes its account, its participations and its slots along:
//! they belong to the device. Only where it is asked, and whose sum it is in, changes.

use std::sync::Arc;

use tributary_proto::{DeviceId, RegionId};

use super::{Device, Fleet};
use crate::CoordinatorError;
use crate::ledger::Ledger;
use crate::store::{Batch, Expect, Table};

impl Fleet {
    /// Moves a device, in the fleet and in the ledger with one commit. Returns where it was.
    ///
    /// A device with a lease in a running round is refused rather than moved later: its update may
    /// be in the sum of its old region already, the operator sees at once what happened, and nothing
    /// is left pending over a restart. A vote for a drift window that is under way still counts, and
    /// is charged, in the region that asked for it.
    ///
    /// Run it to its end: a future that is dropped in between leaves the device reserved.
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
        // nobody selects or moves it meanwhile
        if self.reserve(vec![id.clone()]).is_empty() {
            return Err(CoordinatorError::AtWork(id.to_string()));
        }
        let moved = match self.device(id) {
            Some(known) => self.resettle(ledger, id, &known, region).await,
            None => Err(unknown()),
        };
        self.release([id]);
        moved
    }

    async fn resettle(
        &self,
        ledger: &Ledger,
        id: &DeviceId,
        known: &Device,
        region: RegionId,
    ) -> Result<RegionId, CoordinatorError> {
        let record = self.store.get(Table::Devices, id.as_str().as_bytes())?;
        // it may have enrolled again a moment ago, with another profile
        let stored = record.as_ref().map(|record| record.json::<Device>());
        let known = &stored.transpose()?.unwrap_or_else(|| known.clone());
        let enrolled_in = known.enrolled_in.as_ref().unwrap_or(&known.region);
        let device = Device {
            enrolled_in: (*enrolled_in != region).then(|| enrolled_in.clone()),
            region,
            ..known.clone()
        };
        let mut batch = Batch::new();
        let expected = Expect::from(record.as_ref());
        batch.put_json(Table::Devices, id.as_str(), &device, expected)?;
        let way = (&known.region, &device.region);
        ledger.relocate(id, way, batch).await?;
        self.lock().replace(id.clone(), Arc::new(device));
        Ok(known.region.clone())
    }
}
