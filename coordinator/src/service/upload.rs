//! Taking one update: header, bytes, checks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tributary_aggregator::{Contribution, UpdateError};
use tributary_model::Digest;
use tributary_proto::DeviceId;
use tributary_proto::v1::{Reject, RejectReason, UploadHeader};

use crate::core::Core;
use crate::run::{RunHandle, wire_reject};

/// Bytes of updates that may be in memory at once, over all devices.
const IN_FLIGHT_BYTES: usize = 256 * 1024 * 1024;
/// Interrupted uploads that are kept for resumption.
const KEPT: usize = 256;
/// Largest chunk.
const MAX_CHUNK: usize = 1024 * 1024;
/// When to come back while the byte budget is used up.
const BUSY_MS: u64 = 500;

/// An upload under way.
pub struct Upload {
    /// The run it is for.
    pub run: RunHandle,
    /// Who sends it.
    pub device: DeviceId,
    /// The round it is for.
    pub round: u32,
    digest: Digest,
    size: usize,
    bytes: BytesMut,
    _permit: OwnedSemaphorePermit,
}

type Key = (DeviceId, Digest);

/// The byte budget, and uploads that were interrupted.
pub struct Uploads {
    budget: Arc<Semaphore>,
    kept: Mutex<HashMap<Key, Upload>>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            budget: Arc::new(Semaphore::new(IN_FLIGHT_BYTES)),
            kept: Mutex::default(),
        }
    }
}

fn reject(reason: RejectReason, message: impl Into<String>) -> Reject {
    Reject {
        reason: reason.into(),
        message: message.into(),
        retry_after_ms: 0,
    }
}

impl Uploads {
    /// Decides on a header, before any bytes are sent.
    ///
    /// # Errors
    /// The refusal to send.
    pub async fn begin(
        &self,
        core: &Core,
        device: DeviceId,
        header: &UploadHeader,
    ) -> Result<Upload, Reject> {
        let run = header.run_id.parse().ok().and_then(|id| core.run(&id).ok());
        let run = run.ok_or_else(|| {
            reject(
                RejectReason::UnknownRun,
                "run_id is not known here: wait for an assignment",
            )
        })?;
        run.admit(device.clone(), header.round)
            .await
            .map_err(wire_reject)?;
        let digest: Digest = header.digest.parse().map_err(|_| {
            reject(
                RejectReason::WrongDigest,
                "digest is no SHA-256: send 64 hex characters",
            )
        })?;
        check_header(&run, header)?;
        if let Some(kept) = self.take(&(device.clone(), digest))
            && kept.round == header.round
            && kept.run.id == run.id
        {
            return Ok(kept);
        }
        let size = header.size as usize;
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        if self.budget.available_permits() < size {
            self.forget_stale();
        }
        let Ok(permit) = self.budget.clone().try_acquire_many_owned(permits) else {
            let message = "too many updates are on their way: come back later";
            return Err(Reject {
                retry_after_ms: BUSY_MS,
                ..reject(RejectReason::Busy, message)
            });
        };
        // grows with the bytes that really come, so a header alone costs no memory
        let bytes = BytesMut::new();
        Ok(Upload {
            run,
            device,
            round: header.round,
            digest,
            size,
            bytes,
            _permit: permit,
        })
    }

    /// Keeps an interrupted upload, if there is room.
    pub fn keep(&self, upload: Upload) {
        if upload.bytes.is_empty() {
            return;
        }
        self.forget_stale();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.insert((upload.device.clone(), upload.digest), upload);
        }
    }

    /// Drops what was kept for rounds that are over; its place in the budget is free then.
    fn forget_stale(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, old| {
            old.run
                .view()
                .open
                .is_some_and(|open| open.round == old.round)
        });
    }

    fn take(&self, key: &Key) -> Option<Upload> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
    }
}

fn check_header(run: &RunHandle, header: &UploadHeader) -> Result<(), Reject> {
    let codec = run.format.codec;
    if header.codec != codec.name() {
        let message = format!("codec is {:?}: send {}", header.codec, codec.name());
        return Err(reject(RejectReason::WrongCodec, message));
    }
    let expected = codec.encoded_len(run.format.fixed.dimension()) as u64;
    if header.size != expected {
        let message = format!(
            "size is {} bytes: the plan's layout has {expected}",
            header.size
        );
        return Err(reject(RejectReason::WrongLayout, message));
    }
    let view = run.view();
    if header.model_digest != view.run.model_digest {
        let message = "model_digest is not the round's model: train the assigned version";
        return Err(reject(RejectReason::WrongLayout, message));
    }
    Ok(())
}

impl Upload {
    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// True when all bytes are here.
    pub fn is_complete(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// Takes a chunk.
    ///
    /// # Errors
    /// When it leaves a gap, or is too large.
    pub fn push(&mut self, offset: u64, data: &[u8]) -> Result<(), Reject> {
        if offset != self.offset() {
            let message = format!("chunk begins at {offset}: {} is next", self.offset());
            return Err(reject(RejectReason::Protocol, message));
        }
        if data.len() > MAX_CHUNK || self.bytes.len() + data.len() > self.size {
            let message = "more bytes than announced, or a chunk above 1 MiB: send smaller chunks";
            return Err(reject(RejectReason::TooLarge, message));
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Checks the bytes: digest, length, finite, norm.
    ///
    /// # Errors
    /// The refusal to send.
    pub fn check(&self) -> Result<Contribution, Reject> {
        if Digest::of(&self.bytes) != self.digest {
            let message = "the bytes do not have the announced digest: send them again";
            return Err(reject(RejectReason::WrongDigest, message));
        }
        let format = &self.run.format;
        format
            .fixed
            .contribution(format.codec, &self.bytes)
            .map_err(|error| reject(update_reason(&error), error.to_string()))
    }
}

fn update_reason(error: &UpdateError) -> RejectReason {
    match error {
        UpdateError::NotFinite { .. } => RejectReason::NotFinite,
        UpdateError::NormTooLarge { .. } => RejectReason::NormTooLarge,
        UpdateError::AllZero => RejectReason::AllZero,
        _ => RejectReason::WrongLayout,
    }
}
