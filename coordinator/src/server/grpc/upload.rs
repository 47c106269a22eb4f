//! Taking one update: header, bytes, checks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::OwnedSemaphorePermit;
use tributary_aggregator::UpdateError;
use tributary_model::{Digest, DigestBuilder};
use tributary_privacy::VectorError;
use tributary_proto::DeviceId;
use tributary_proto::v1::{Reject, RejectReason, UploadHeader};

use super::budget::{Budget, Place};
use crate::engine;
use crate::error::CoordinatorError;
use crate::run::Runs;
use crate::run::{Refusal, RunHandle, UpdateHeader, wire_reject};

/// Longest time that any upload may take, and the least bytes per second beyond it.
const SETTLING: Duration = Duration::from_secs(60);
const LEAST_RATE: u64 = 16 * 1024;
/// How long an interrupted upload is kept at most.
const KEPT_FOR: Duration = Duration::from_secs(120);
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
    /// What its header says of its weight and cluster.
    pub header: UpdateHeader,
    digest: Digest,
    /// The digest of the bytes so far.
    so_far: DigestBuilder,
    size: usize,
    bytes: BytesMut,
    place: Place,
}

type Key = (DeviceId, Digest);

/// The byte budget, and uploads that were interrupted.
pub struct Uploads {
    budget: Arc<Budget>,
    kept: Mutex<HashMap<Key, Upload>>,
}

fn reject(reason: RejectReason, message: impl Into<String>) -> Reject {
    Reject {
        reason: reason.into(),
        message: message.into(),
        ..Reject::default()
    }
}

impl Uploads {
    /// None yet, and so many bytes for them.
    pub fn new(bytes: usize) -> Self {
        Self {
            budget: Budget::new(bytes),
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Key, Upload>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on a header, before any bytes are sent.
    ///
    /// # Errors
    /// The refusal to send.
    pub async fn begin(
        &self,
        runs: &Runs,
        device: DeviceId,
        header: &UploadHeader,
    ) -> Result<Upload, Reject> {
        let run = header.run_id.parse().map_err(CoordinatorError::from);
        let run = run
            .and_then(|id| runs.handle(&id))
            .map_err(|error| match error {
                CoordinatorError::Reject(over) => wire_reject(over),
                CoordinatorError::SetAside { .. } => aside(),
                _ => reject(
                    RejectReason::UnknownRun,
                    "run_id is not known here: wait for an assignment",
                ),
            })?;
        let models = run
            .admit(device.clone(), header.round, header.digest.parse().ok())
            .await
            .map_err(wire_refusal)?;
        let digest: Digest = header.digest.parse().map_err(|_| {
            reject(
                RejectReason::WrongDigest,
                "digest is no SHA-256: send 64 hex characters",
            )
        })?;
        check_header(&run, header, &models)?;
        let announced = UpdateHeader {
            weight: header.weight,
            work: header.work,
            cluster: header.cluster,
            clip: header.into(),
        };
        if let Some(kept) = self.take(&(device.clone(), digest))
            && kept.round == header.round
            && kept.run.id == run.id
        {
            return Ok(Upload {
                header: announced,
                ..kept
            });
        }
        let size = header.size as usize;
        let place = self.budget.open(&device, size);
        // grows with the bytes that really come, so a header alone costs no memory
        let bytes = BytesMut::new();
        Ok(Upload {
            run,
            device,
            round: header.round,
            header: announced,
            digest,
            so_far: DigestBuilder::new(),
            size,
            bytes,
            place,
        })
    }

    /// Keeps an interrupted upload for a while, if there is room and nobody needs its memory more.
    pub fn keep(self: &Arc<Self>, upload: Upload) {
        if upload.bytes.is_empty() || upload.is_sent_away() {
            return;
        }
        self.forget_stale();
        let mut kept = self.kept();
        if kept.len() >= KEPT {
            return;
        }
        let key = (upload.device.clone(), upload.digest);
        let gone = upload.place.watch();
        kept.insert(key.clone(), upload);
        let uploads = self.clone();
        tokio::spawn(async move {
            // either way its time is over
            let _ = tokio::time::timeout(KEPT_FOR, gone.cancelled()).await;
            let mut kept = uploads.kept();
            if kept
                .get(&key)
                .is_some_and(|upload| upload.place.is_watched_by(&gone))
            {
                kept.remove(&key);
            }
        });
    }

    /// Drops what was kept for rounds that are over; its place in the budget is free then.
    fn forget_stale(&self) {
        self.kept().retain(|_, old| {
            let cap = old.run.format.staleness_cap;
            old.run
                .view()
                .open
                .is_some_and(|open| open.round.saturating_sub(old.round) <= cap)
        });
    }

    fn take(&self, key: &Key) -> Option<Upload> {
        self.kept().remove(key)
    }
}

#[expect(
    clippy::result_large_err,
    reason = "the refusal is the message that is sent; it is made once an upload"
)]
fn check_header(run: &RunHandle, header: &UploadHeader, models: &[Digest]) -> Result<(), Reject> {
    let format = &run.format;
    let codec = format.codec;
    if header.codec.parse() != Ok(codec) {
        let shown: String = header.codec.chars().take(32).collect();
        let message = format!("codec is {shown:?}: send {codec}");
        return Err(reject(RejectReason::WrongCodec, message));
    }
    let range = codec.encoded_len_range(format.fixed.dimension());
    if !usize::try_from(header.size).is_ok_and(|size| range.contains(&size)) {
        let (least, most) = range.into_inner();
        let wanted = if least == most {
            format!("the plan's layout has {most}")
        } else {
            format!("the plan's layout has {least} to {most}")
        };
        let message = format!("size is {} bytes: {wanted}", header.size);
        return Err(reject(RejectReason::WrongLayout, message));
    }
    format
        .payload
        .weigh(header.weight, header.work, header.cluster)
        .map_err(|wrong| reject(RejectReason::Protocol, wrong))?;
    let from: Option<Digest> = header.model_digest.parse().ok();
    let trained = models.iter().position(|model| from.as_ref() == Some(model));
    let of_cluster = models.len() < 2 || trained == Some(header.cluster as usize);
    if trained.is_none() || !of_cluster {
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

    /// Longest time that the bytes may take.
    pub fn patience(&self) -> Duration {
        SETTLING + Duration::from_secs(self.size as u64 / LEAST_RATE)
    }

    /// True when all bytes are here.
    pub fn is_complete(&self) -> bool {
        self.bytes.len() == self.size
    }

    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.size as u64
    }

    /// Resolves when others need its memory more.
    pub async fn sent_away(&self) {
        self.place.sent_away().await;
    }

    fn is_sent_away(&self) -> bool {
        self.place.watch().is_cancelled()
    }

    /// Takes a chunk, once there is room for it.
    ///
    /// # Errors
    /// When it leaves a gap, is too large, or there is no room.
    pub async fn push(&mut self, offset: u64, data: &[u8]) -> Result<(), Reject> {
        if offset != self.offset() {
            let message = format!("chunk begins at {offset}: {} is next", self.offset());
            return Err(reject(RejectReason::Protocol, message));
        }
        if data.len() > MAX_CHUNK || self.bytes.len() + data.len() > self.size {
            let message = "more bytes than announced, or a chunk above 1 MiB: send smaller chunks";
            return Err(reject(RejectReason::TooLarge, message));
        }
        self.place.grow(data.len()).await.map_err(|_| busy())?;
        if self.bytes.is_empty() {
            // once, so that the bytes are never copied; what is not written takes no memory
            self.bytes.reserve(self.size);
        }
        self.bytes.extend_from_slice(data);
        self.so_far.update(data);
        Ok(())
    }

    /// The bytes with their digest and their place in the budget, once they have the announced digest.
    ///
    /// # Errors
    /// The refusal to send.
    #[expect(
        clippy::result_large_err,
        reason = "the refusal is the message that is sent; it is made once an upload"
    )]
    pub fn finish(self) -> Result<(Digest, Bytes, Option<OwnedSemaphorePermit>), Reject> {
        if self.so_far.finish() != self.digest {
            let message = "the bytes do not have the announced digest: send them again";
            return Err(reject(RejectReason::WrongDigest, message));
        }
        Ok((self.digest, self.bytes.freeze(), self.place.finish()))
    }
}

/// The refusal of an upload while there is no memory for it.
pub fn busy() -> Reject {
    Reject {
        retry_after_ms: BUSY_MS,
        ..reject(
            RejectReason::Busy,
            "too many updates are on their way, and faster ones: come back later",
        )
    }
}

/// The refusal of an update for a run that is set aside.
pub fn aside() -> Reject {
    reject(
        RejectReason::UnknownRun,
        "the run is set aside as damaged: drop the update and wait for the next assignment",
    )
}

/// Why an update is not counted, as a message.
pub fn wire_refusal(refusal: Refusal) -> Reject {
    match refusal {
        Refusal::Engine(engine) => wire_reject(engine),
        Refusal::Update(error) => reject(update_reason(&error), error.to_string()),
        Refusal::Header(wrong) => reject(RejectReason::Protocol, wrong),
        Refusal::SetAside => aside(),
        Refusal::Sum(error) => reject(RejectReason::Busy, error.to_string()),
        Refusal::Counted(counted) => Reject {
            digest: counted.digest.to_string(),
            ticket: Some(counted.ticket),
            ..wire_reject(engine::Reject::Duplicate)
        },
    }
}

fn update_reason(error: &UpdateError) -> RejectReason {
    match error {
        UpdateError::Vector(VectorError::NotFinite { .. }) => RejectReason::NotFinite,
        UpdateError::Vector(VectorError::NormTooLarge { .. }) => RejectReason::NormTooLarge,
        _ => RejectReason::WrongLayout,
    }
}
