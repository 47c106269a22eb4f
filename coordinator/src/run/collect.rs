//! Open contributions of a round and their sealing: exact sums, or under a robust rule the updates
//! themselves.
//!
//! - `arrival`: an update on its way into a sum
//! - `open`: what is not durable yet
//! - `owner`: blobs that are one run's
//! - `salt`: blobs whose names say nothing of them

mod arrival;
mod open;
mod owner;
mod salt;

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_aggregator::{Partial, PartialError};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use self::arrival::crashed;
pub use self::arrival::{Adding, AdmittedUpdate, Content, Sealing, SumCrash};
use self::open::OpenSum;
pub use self::owner::{owned_by, without_owner};
use super::Format;
use super::journal::CONTRIBUTORS_PER_SEGMENT;
use super::receipt::ReceiptSender;
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::Segment;

/// The blob of a single update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredUpdate {
    digest: Digest,
    salted: bool,
}

impl StoredUpdate {
    fn of(segment: &Segment) -> Self {
        Self {
            digest: segment.digest,
            salted: segment.salted,
        }
    }
}

/// What is durable of the open round.
#[derive(Debug, Clone)]
pub enum Sealed {
    /// Exact sums, by region and cluster.
    Sums(Vec<Partial>),
    /// Blobs of single updates, by device: a robust rule needs each.
    Updates(BTreeMap<DeviceId, StoredUpdate>),
}

/// The contributions of the open round: what is sealed, and what is not yet.
pub struct RoundSums {
    format: Arc<Format>,
    open: Vec<OpenSum>,
    sealed: Arc<Sealed>,
    /// By device: where its contribution waits to be sealed.
    pending: BTreeMap<DeviceId, (usize, usize)>,
    /// Digests of the updates that were sealed since the process runs; on disk there are only marks.
    counted: BTreeMap<DeviceId, Digest>,
}

impl RoundSums {
    /// Nothing from any of the regions yet.
    pub fn new(format: Arc<Format>, regions: usize) -> Self {
        let slots = regions * format.payload.clusters();
        let dimension = format.fixed.dimension();
        let sealed = if format.robust.is_some() {
            Sealed::Updates(BTreeMap::new())
        } else {
            Sealed::Sums((0..slots).map(|_| Partial::new(dimension)).collect())
        };
        Self {
            open: (0..slots).map(|_| OpenSum::new(&format)).collect(),
            sealed: Arc::new(sealed),
            pending: BTreeMap::new(),
            counted: BTreeMap::new(),
            format,
        }
    }

    /// Rebuilds what is sealed from its blobs.
    ///
    /// # Errors
    /// When a blob is missing or damaged.
    pub async fn recover(
        core: &Core,
        run: &RunId,
        format: Arc<Format>,
        regions: usize,
        segments: &[Segment],
    ) -> Result<Self, CoordinatorError> {
        let mut collection = Self::new(format, regions);
        let clusters = collection.format.payload.clusters();
        for segment in segments {
            match Arc::make_mut(&mut collection.sealed) {
                Sealed::Sums(sums) => {
                    let bytes = core.vault.get(&segment.digest).await?;
                    let slot = segment.region * clusters + segment.cluster;
                    sums[slot].merge_bytes(salt::without(run, &bytes, segment.salted))?;
                }
                Sealed::Updates(updates) => {
                    core.vault.size(&segment.digest).await?;
                    let (devices, stored) = (&segment.contributors, StoredUpdate::of(segment));
                    updates.extend(devices.iter().map(|device| (device.clone(), stored)));
                }
            }
        }
        Ok(collection)
    }

    /// Digest of the device's update in a sealed segment, if it was sealed since the process runs.
    pub fn counted(&self, device: &DeviceId) -> Option<Digest> {
        self.counted.get(device).copied()
    }

    /// Lets another upload of a device wait for what becomes of the first, whether it has the same
    /// bytes or others; gives the waiting one back when there is no first.
    pub fn join(&mut self, device: &DeviceId, receipt: ReceiptSender) -> Result<(), ReceiptSender> {
        let Some(&(slot, index)) = self.pending.get(device) else {
            return Err(receipt);
        };
        self.open[slot].receipts[index].push(receipt);
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

    /// Checks and adds updates; several of one region and cluster go through the sums together, large
    /// ones on threads of their own. Each that is refused is told so, and leaves no trace; returns whose were.
    ///
    /// # Errors
    /// When adding them crashed; the sums are then gone and nothing more may be added or sealed.
    pub async fn add(
        &mut self,
        arrivals: Vec<AdmittedUpdate>,
        adding: &Adding,
    ) -> Result<Vec<DeviceId>, SumCrash> {
        let mut refused = Vec::new();
        let clusters = self.format.payload.clusters();
        let mut by_slot: BTreeMap<usize, Vec<AdmittedUpdate>> = BTreeMap::new();
        for arrival in arrivals {
            let slot = arrival.region * clusters + arrival.cluster;
            by_slot.entry(slot).or_default().push(arrival);
        }
        for (slot, arrivals) in by_slot {
            let open = &mut self.open[slot];
            let added = open
                .add(&self.format, arrivals, adding, &mut refused)
                .await?;
            let pending = added
                .into_iter()
                .map(|(device, index)| (device, (slot, index)));
            self.pending.extend(pending);
        }
        Ok(refused)
    }

    /// Writes what is open as blobs; their records must follow.
    ///
    /// # Errors
    /// When a blob can't be written. If the disk is full, everything is as before, and may be written
    /// again later; otherwise the contributions that waited are dropped without a receipt, so their
    /// devices send them again.
    pub async fn write(
        &mut self,
        core: &Core,
        run: &RunId,
    ) -> Result<Vec<Sealing>, CoordinatorError> {
        let mut sealings = Vec::new();
        self.pending.clear();
        let clusters = self.format.payload.clusters();
        for (slot, open) in self.open.iter_mut().enumerate() {
            let place = (slot / clusters, slot % clusters);
            let written = open.write(core, run, &self.format, place, &mut sealings);
            let Err(error) = written.await else {
                continue;
            };
            if error.is_disk_full() {
                self.put_back(sealings)?;
            } else {
                let slots = self.open.len();
                // what a failure drops is dropped as a whole
                self.open = (0..slots).map(|_| OpenSum::new(&self.format)).collect();
            }
            return Err(error);
        }
        Ok(sealings)
    }

    /// Takes back what was written but could not be recorded: it waits to be sealed again, together
    /// with what has come meanwhile. Its blobs are garbage that the next start removes.
    ///
    /// # Errors
    /// When a sum would overflow.
    pub fn put_back(&mut self, sealings: Vec<Sealing>) -> Result<(), CoordinatorError> {
        let clusters = self.format.payload.clusters();
        for sealing in sealings {
            let slot = sealing.segment.region * clusters + sealing.segment.cluster;
            self.open[slot].put_back(sealing)?;
        }
        self.pending.clear();
        for (slot, open) in self.open.iter().enumerate() {
            let places = (0..).map(|index| (slot, index));
            let devices = open.contributors.iter().cloned();
            self.pending.extend(devices.zip(places));
        }
        Ok(())
    }

    /// True when an open sum has as many contributors as one record takes.
    pub fn is_full(&self) -> bool {
        self.open
            .iter()
            .any(|open| open.contributors.len() >= CONTRIBUTORS_PER_SEGMENT)
    }

    /// Takes a recorded segment into what the round will release.
    ///
    /// # Errors
    /// When a sum would overflow.
    pub fn sealed(&mut self, sealing: &Sealing) -> Result<(), CoordinatorError> {
        let (segment, content) = (&sealing.segment, &sealing.content);
        let devices = segment.contributors.iter().cloned();
        self.counted
            .extend(devices.zip(sealing.digests.iter().copied()));
        let slot = segment.region * self.format.payload.clusters() + segment.cluster;
        match (Arc::make_mut(&mut self.sealed), content) {
            (Sealed::Sums(sums), Content::Sum(sum)) => sums[slot].merge(sum)?,
            (Sealed::Sums(_), Content::Update(..)) => {}
            (Sealed::Updates(updates), _) => {
                let (devices, stored) = (&segment.contributors, StoredUpdate::of(segment));
                updates.extend(devices.iter().map(|device| (device.clone(), stored)));
            }
        }
        Ok(())
    }

    /// What the round will release.
    pub fn total(&self) -> Arc<Sealed> {
        self.sealed.clone()
    }
}

/// Reads the single updates of a round, decoded, in the order of their devices' ids.
///
/// # Errors
/// When a blob is missing or damaged.
pub async fn read_updates(
    core: &Core,
    run: &RunId,
    format: &Arc<Format>,
    updates: &BTreeMap<DeviceId, StoredUpdate>,
) -> Result<Vec<(DeviceId, Vec<f32>)>, CoordinatorError> {
    let mut read = Vec::with_capacity(updates.len());
    for (device, stored) in updates {
        // one at a time: the encoded bytes are gone before the next ones come
        let bytes = core.vault.get(&stored.digest).await?;
        let suffix = device.as_str().len() + salt::suffix(run, stored.salted);
        let length = bytes.len().saturating_sub(suffix);
        let format = format.clone();
        let decode = move || {
            let mut values = vec![0.0; format.fixed.dimension()];
            let decoded = format.codec.decode_into(&bytes[..length], &mut values);
            decoded.map(|()| values).map_err(PartialError::from)
        };
        let decoded = tokio::task::spawn_blocking(decode).await;
        let crashed = |error| crashed(&error, "decoding an update");
        let values = decoded.map_err(crashed)??;
        read.push((device.clone(), values));
    }
    Ok(read)
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
