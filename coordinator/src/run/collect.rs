//! Open partials of a round and their sealing.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tributary_aggregator::{Contribution, Partial};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use super::Counted;
use super::journal::DEVICES_PER_EVENT;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{Reject, Segment};

/// Who waits for a receipt.
pub type Waiting = oneshot::Sender<Result<Counted, Reject>>;

/// One region's contributions that are not durable yet.
struct Open {
    partial: Partial,
    contributors: Vec<DeviceId>,
    receipts: Vec<Waiting>,
    bytes_up: u64,
}

/// The sums of the open round: what is sealed, and what is not yet.
pub struct Collection {
    dimension: usize,
    open: Vec<Open>,
    sealed: Vec<Partial>,
    pending: BTreeMap<DeviceId, usize>,
}

/// A partial that was written and waits for its record.
pub struct Sealing {
    /// The segment to record.
    pub segment: Segment,
    /// Its sum.
    pub partial: Partial,
    /// Who waits for it.
    pub receipts: Vec<Waiting>,
}

impl Collection {
    /// Empty sums for each region.
    pub fn new(regions: usize, dimension: usize) -> Self {
        let empty = |_| Partial::new(dimension);
        Self {
            dimension,
            open: (0..regions).map(|_| Open::new(dimension)).collect(),
            sealed: (0..regions).map(empty).collect(),
            pending: BTreeMap::new(),
        }
    }

    /// Rebuilds the sealed sums from their blobs.
    ///
    /// # Errors
    /// When a blob is missing or damaged.
    pub async fn recover(
        core: &Core,
        run: &RunId,
        regions: usize,
        dimension: usize,
        segments: &[Segment],
    ) -> Result<Self, CoordinatorError> {
        let mut collection = Self::new(regions, dimension);
        for segment in segments {
            let bytes = core.vault.get(&segment.digest).await?;
            let partial = Partial::from_bytes(without_owner(run, &bytes))?;
            collection.sealed[segment.region].merge(&partial)?;
        }
        Ok(collection)
    }

    /// Lets a repeated upload wait for the receipt of the first; gives the receipt back when there
    /// is no first.
    pub fn join(&mut self, device: &DeviceId, receipt: Waiting) -> Result<(), Waiting> {
        let Some(&region) = self.pending.get(device) else {
            return Err(receipt);
        };
        self.open[region].receipts.push(receipt);
        Ok(())
    }

    /// True when the device's contribution waits to be sealed.
    pub fn is_pending(&self, device: &DeviceId) -> bool {
        self.pending.contains_key(device)
    }

    /// Contributions that wait to be sealed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Adds a contribution to its region's open partial.
    ///
    /// # Errors
    /// When the sum refuses it; the partial is then unchanged.
    pub fn add(
        &mut self,
        region: usize,
        device: DeviceId,
        contribution: &Contribution,
        bytes: u64,
        receipt: Waiting,
    ) -> Result<(), (CoordinatorError, Waiting)> {
        let open = &mut self.open[region];
        if let Err(error) = open.partial.add(contribution) {
            return Err((error.into(), receipt));
        }
        self.pending.insert(device.clone(), region);
        open.contributors.push(device);
        open.receipts.push(receipt);
        open.bytes_up += bytes;
        Ok(())
    }

    /// Writes the open partials as blobs; their records must follow.
    ///
    /// # Errors
    /// When a blob can't be written. The contributions that waited are then dropped without a
    /// receipt, so their devices send them again.
    pub async fn write(
        &mut self,
        core: &Core,
        run: &RunId,
    ) -> Result<Vec<Sealing>, CoordinatorError> {
        let mut sealings = Vec::new();
        self.pending.clear();
        // all of them are taken first: what a failure drops is then dropped as a whole
        let dimension = self.dimension;
        let taken: Vec<Open> = self
            .open
            .iter_mut()
            .map(|open| std::mem::replace(open, Open::new(dimension)))
            .collect();
        for (region, open) in taken.into_iter().enumerate() {
            if open.contributors.is_empty() {
                continue;
            }
            let digest = core
                .vault
                .put(owned_by(run, open.partial.to_bytes()))
                .await?;
            let segment = Segment {
                region,
                digest,
                contributors: open.contributors,
                bytes_up: open.bytes_up,
            };
            sealings.push(Sealing {
                segment,
                partial: open.partial,
                receipts: open.receipts,
            });
        }
        Ok(sealings)
    }

    /// True when an open partial has as many contributors as one record takes.
    pub fn is_full(&self) -> bool {
        self.open
            .iter()
            .any(|open| open.contributors.len() >= DEVICES_PER_EVENT)
    }

    /// Takes a recorded partial into the region's sum.
    ///
    /// # Errors
    /// When the sum would overflow.
    pub fn sealed(&mut self, region: usize, partial: &Partial) -> Result<(), CoordinatorError> {
        Ok(self.sealed[region].merge(partial)?)
    }

    /// The sum over all regions.
    ///
    /// # Errors
    /// When it would overflow.
    pub fn total(&self) -> Result<Partial, CoordinatorError> {
        let mut total = Partial::new(self.dimension);
        for partial in &self.sealed {
            total.merge(partial)?;
        }
        Ok(total)
    }
}

impl Open {
    fn new(dimension: usize) -> Self {
        Self {
            partial: Partial::new(dimension),
            contributors: Vec::new(),
            receipts: Vec::new(),
            bytes_up: 0,
        }
    }
}

/// Marks bytes as one run's. Blobs are named by their content, so two runs with equal sums would
/// otherwise share a blob, and the first to end its round would delete it for both.
pub fn owned_by(run: &RunId, mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(run.as_str().as_bytes());
    bytes
}

/// What [`owned_by`] was given. Bytes of another run are left as they are and fail to parse.
pub fn without_owner<'b>(run: &RunId, bytes: &'b [u8]) -> &'b [u8] {
    bytes.strip_suffix(run.as_str().as_bytes()).unwrap_or(bytes)
}

/// The name of a segment on a receipt: keyed, so that nobody can test guesses of the sum with it.
pub fn segment_id(key: &[u8; 32], digest: &Digest) -> String {
    let mut builder = tributary_model::DigestBuilder::new();
    builder.update(b"tributary-receipt-v1");
    builder.update(key);
    builder.update(digest.as_bytes());
    builder.finish().to_string()
}

#[cfg(test)]
mod tests;
