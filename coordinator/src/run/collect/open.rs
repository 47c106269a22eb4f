//! One region's contributions, of one cluster, that are not durable yet.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tributary_aggregator::{EncodedContribution, Faults, Partial, PartialError};
use tributary_model::Digest;
use tributary_proto::{DeviceId, RunId};

use super::arrival::{Adding, AdmittedUpdate, Content, Sealing, SumCrash, crashed};
use super::salt::{SALT, salted, salted_update};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::Segment;
use crate::failpoint::Place;
use crate::random::random_bytes;
use crate::run::Format;
use crate::run::receipt::{ReceiptSender, Refusal};
use tributary_store::blob::{BlobError, Sink, Source};

/// What crashed, for the log.
const SUMMING: &str = "adding updates to a sum";
/// Updates that go through a block of sums while it is in the cache.
const TOGETHER: usize = 8;
/// Bytes of updates that are summed on a thread where blocking is allowed.
const HEAVY: usize = 256 * 1024;
/// Stored sums of this length or more are written piece by piece.
const LARGE: usize = 4 * 1024 * 1024;

/// Contributions that are not durable yet.
pub struct OpenSum {
    partial: Partial,
    /// The updates themselves with their places in the byte budget, for a robust rule; in the order
    /// of the contributors.
    updates: Vec<(Bytes, Option<OwnedSemaphorePermit>)>,
    /// Whose they are.
    pub contributors: Vec<DeviceId>,
    /// Digests of their updates.
    digests: Vec<Digest>,
    /// Who waits for the receipt of each.
    pub receipts: Vec<Vec<ReceiptSender>>,
    bytes_up: u64,
}

impl OpenSum {
    /// No contribution yet.
    pub fn new(format: &Format) -> Self {
        Self {
            partial: Partial::new(format.fixed.dimension()),
            updates: Vec::new(),
            contributors: Vec::new(),
            digests: Vec::new(),
            receipts: Vec::new(),
            bytes_up: 0,
        }
    }

    /// Checks and adds updates, [`TOGETHER`] at a time, [`HEAVY`] ones on threads of their own; returns
    /// whose are in, with their places, and adds to `refused` whose are not.
    ///
    /// # Errors
    /// When adding crashed.
    pub async fn add(
        &mut self,
        format: &Arc<Format>,
        arrivals: Vec<AdmittedUpdate>,
        adding: &Adding,
        refused: &mut Vec<DeviceId>,
    ) -> Result<Vec<(DeviceId, usize)>, SumCrash> {
        let before = self.contributors.len();
        let mut arrivals = arrivals.into_iter().peekable();
        while arrivals.peek().is_some() {
            let group: Vec<AdmittedUpdate> = arrivals.by_ref().take(TOGETHER).collect();
            let heavy = group.iter().map(|one| one.bytes.len()).sum::<usize>() >= HEAVY;
            let mut partial = std::mem::replace(&mut self.partial, Partial::new(0));
            let format = format.clone();
            let shards = if heavy { adding.threads.get() } else { 1 };
            let devices: Vec<DeviceId> = group.iter().map(|one| one.device.clone()).collect();
            let (failpoint, run) = (adding.failpoint.clone(), adding.run.clone());
            let sum = move || {
                // only a failpoint of a test has something to say here, by a panic
                let _ = failpoint.reach(Place::Summing, &run);
                let outcomes = add_group(&mut partial, &format, &group, shards);
                (partial, format, group, outcomes)
            };
            let summed = if heavy {
                let summed = tokio::task::spawn_blocking(sum).await;
                summed.map_err(|error| crashed(&error, SUMMING))
            } else {
                // the sum went into it and does not come back: nothing half done is seen
                let summed = panic::catch_unwind(AssertUnwindSafe(sum));
                summed.map_err(|_| CoordinatorError::Crashed(SUMMING))
            };
            let summed = summed.map_err(|error| SumCrash { devices, error });
            let (partial, format, group, outcomes) = summed?;
            self.partial = partial;
            for (arrival, outcome) in group.into_iter().zip(outcomes) {
                refused.extend(self.note(&format, arrival, outcome));
            }
        }
        let added = self.contributors.iter().cloned().zip(0..);
        Ok(added.skip(before).collect())
    }

    /// Keeps a contribution that is in, and tells the sender of one that is not; returns who that is.
    fn note(
        &mut self,
        format: &Format,
        arrival: AdmittedUpdate,
        outcome: Result<(), PartialError>,
    ) -> Option<DeviceId> {
        if let Err(error) = outcome {
            let refusal = match error {
                PartialError::Update(error) => Refusal::Update(error),
                error => Refusal::Sum(error),
            };
            arrival.receipt.answer(Err(refusal));
            return Some(arrival.device);
        }
        let length = if format.is_private {
            let lengths = format.codec.encoded_len_range(format.fixed.dimension());
            *lengths.end()
        } else {
            arrival.bytes.len()
        };
        self.bytes_up += length as u64;
        self.contributors.push(arrival.device);
        self.digests.push(arrival.receipt.digest);
        self.receipts.push(vec![arrival.receipt]);
        if format.robust.is_some() {
            self.updates.push((arrival.bytes, arrival.permit));
        }
        None
    }

    /// Writes the sum, or each update, as a blob, and moves it into `sealings`.
    ///
    /// # Errors
    /// When a blob can't be written; what was not is still here.
    pub async fn write(
        &mut self,
        core: &Core,
        run: &RunId,
        format: &Format,
        (region, cluster): (usize, usize),
        sealings: &mut Vec<Sealing>,
    ) -> Result<(), CoordinatorError> {
        if self.contributors.is_empty() {
            return Ok(());
        }
        if self.updates.is_empty() {
            let digest = self.put_sum(core, run).await?;
            let written = std::mem::replace(self, Self::new(format));
            sealings.push(Sealing {
                segment: Segment {
                    region,
                    cluster,
                    digest,
                    salted: true,
                    contributors: written.contributors,
                    marks: Vec::new(),
                    bytes_up: written.bytes_up,
                },
                digests: written.digests,
                content: Content::Sum(written.partial),
                receipts: written.receipts,
            });
            return Ok(());
        }
        while let Some((bytes, _)) = self.updates.first() {
            let device = &self.contributors[0];
            let stored = salted_update(run, device, bytes)?;
            let digest = core.vault.put(stored).await?;
            let (bytes, permit) = self.updates.remove(0);
            sealings.push(Sealing {
                segment: Segment {
                    region,
                    cluster,
                    digest,
                    salted: true,
                    contributors: vec![self.contributors.remove(0)],
                    marks: Vec::new(),
                    bytes_up: bytes.len() as u64,
                },
                digests: vec![self.digests.remove(0)],
                content: Content::Update(bytes, permit),
                receipts: vec![self.receipts.remove(0)],
            });
        }
        *self = Self::new(format);
        Ok(())
    }

    /// Stores the sum; a large one piece by piece.
    async fn put_sum(&mut self, core: &Core, run: &RunId) -> Result<Digest, CoordinatorError> {
        if self.partial.stored_len() < LARGE {
            let bytes = salted(run, self.partial.to_bytes())?;
            return Ok(core.vault.put(bytes).await?);
        }
        let sum = Arc::new(OwnedSum {
            salt: random_bytes()?,
            run: run.clone(),
            partial: std::mem::replace(&mut self.partial, Partial::new(0)),
        });
        let stored = core.vault.put_written(sum.clone()).await;
        let digest = stored.map(|(digest, _)| digest);
        // whoever wrote it has let go of it, unless the coordinator stops
        self.partial = match Arc::try_unwrap(sum) {
            Ok(sum) => sum.partial,
            Err(sum) => sum.partial.clone(),
        };
        Ok(digest?)
    }

    /// Takes back what [`Open::write`] moved out.
    ///
    /// # Errors
    /// When a sum would overflow.
    pub fn put_back(&mut self, sealing: Sealing) -> Result<(), CoordinatorError> {
        let segment = sealing.segment;
        match sealing.content {
            Content::Sum(sum) => self.partial.merge(&sum)?,
            Content::Update(bytes, permit) => self.updates.push((bytes, permit)),
        }
        self.contributors.extend(segment.contributors);
        self.digests.extend(sealing.digests);
        self.receipts.extend(sealing.receipts);
        self.bytes_up += segment.bytes_up;
        Ok(())
    }
}

/// A sum that is stored as one run's.
struct OwnedSum {
    salt: [u8; SALT],
    run: RunId,
    partial: Partial,
}

impl Source for OwnedSum {
    fn write_to(&self, sink: &mut Sink<'_>) -> Result<(), BlobError> {
        self.partial.write_to(&mut *sink)?;
        sink(&self.salt)?;
        sink(self.run.as_str().as_bytes())
    }
}

/// Adds what is valid of a group; under privacy the rest counts as zeros, and nobody is told. Under a robust rule the sum is thrown away: it only checks.
fn add_group(
    partial: &mut Partial,
    format: &Format,
    group: &[AdmittedUpdate],
    shards: usize,
) -> Vec<Result<(), PartialError>> {
    let contributions: Vec<EncodedContribution<'_>> = group
        .iter()
        .map(|arrival| EncodedContribution {
            bytes: &arrival.bytes,
            weight: arrival.weight,
            work: arrival.work,
            share: arrival.share,
        })
        .collect();
    let faults = match format.is_private {
        true => Faults::SummedAsZeros,
        false => Faults::Refused,
    };
    partial.add_in_shards(&format.fixed, format.codec, &contributions, shards, faults)
}
