//! Fetching an object by digest; goes on where a broken stream ended.

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::{Code, Status};
use tributary_model::Digest;
use tributary_proto::v1::DownloadRequest;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;

use crate::transport::backoff::Backoff;
use crate::transport::link::Link;

/// Why an object could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FetchError {
    /// The bytes have another digest.
    #[error("object {expected} arrived with digest {actual}; it was damaged or replaced")]
    WrongDigest {
        /// What was asked for.
        expected: Digest,
        /// What the bytes have.
        actual: Digest,
    },
    /// The object is larger than the device takes.
    #[error("object {digest} has {size} bytes, this device takes {limit}")]
    TooLarge {
        /// The object.
        digest: Digest,
        /// Its length.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The coordinator does not give the object out.
    #[error("object {digest} is not given out ({code:?})")]
    Refused {
        /// The object.
        digest: Digest,
        /// The status code.
        code: Code,
    },
    /// Time ran out.
    #[error("object {digest} was not fetched in time")]
    Late {
        /// The object.
        digest: Digest,
    },
}

impl FetchError {
    /// The word under which it is counted.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::WrongDigest { .. } => "wrong_digest",
            Self::TooLarge { .. } => "too_large",
            Self::Refused { .. } => "refused",
            Self::Late { .. } => "late",
        }
    }
}

/// How one stream ended.
enum Broken {
    Call(Status),
    Final(FetchError),
}

impl Link<'_> {
    /// Fetches `digest`, of at most `limit` bytes, until `deadline`. The bytes are verified.
    pub(crate) async fn fetch(
        &self,
        digest: Digest,
        limit: u64,
        deadline: Instant,
    ) -> Result<Bytes, FetchError> {
        let fetched = match timeout_at(deadline, self.fetch_with_retries(digest, limit)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Late { digest }),
        };
        if let Err(error) = &fetched {
            self.tally.count("download", error.reason());
            tracing::debug!(device = self.identity.hashed_id(), %error, "download failed");
        }
        fetched
    }

    async fn fetch_with_retries(&self, digest: Digest, limit: u64) -> Result<Bytes, FetchError> {
        let mut backoff = Backoff::new(self.timing.backoff);
        let mut received = Vec::new();
        loop {
            let before = received.len();
            let status = match self.fetch_rest(digest, limit, &mut received).await {
                Ok(()) => return verified(received, digest),
                Err(Broken::Final(error)) => return Err(error),
                Err(Broken::Call(status)) => status,
            };
            let code = status.code();
            if matches!(
                code,
                Code::NotFound
                    | Code::InvalidArgument
                    | Code::PermissionDenied
                    // it is damaged at the coordinator, and set aside there
                    | Code::FailedPrecondition
            ) {
                return Err(FetchError::Refused { digest, code });
            }
            self.step('~');
            if received.len() > before {
                backoff.reset();
            }
            let wait = backoff.next(&mut *self.rng());
            sleep(wait).await;
        }
    }

    /// Streams what is missing; what arrived stays in `received` when the stream breaks.
    async fn fetch_rest(
        &self,
        digest: Digest,
        limit: u64,
        received: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        let leased = self.lease();
        let mut client = TransferServiceClient::new(leased.channel.clone());
        let request = DownloadRequest {
            credentials: Some(self.identity.credentials()),
            digest: digest.to_string(),
            offset: received.len() as u64,
        };
        let answer = self.call(&leased, client.download(request)).await;
        let mut pieces = answer.map_err(Broken::Call)?;
        let mut total = None;
        loop {
            let next = timeout(self.timing.answer, pieces.message()).await;
            let next = next.unwrap_or_else(|_| Err(Status::deadline_exceeded("no piece in time")));
            let piece = match next {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(status) => {
                    self.note_failure(&status, &leased);
                    return Err(Broken::Call(status));
                }
            };
            if piece.total > limit || received.len() + piece.data.len() > limit as usize {
                let size = piece.total.max((received.len() + piece.data.len()) as u64);
                return Err(Broken::Final(FetchError::TooLarge {
                    digest,
                    size,
                    limit,
                }));
            }
            if piece.offset != received.len() as u64 {
                return Err(Broken::Call(Status::data_loss("a piece is missing")));
            }
            if received.is_empty() {
                received.reserve_exact(piece.total as usize);
            }
            total = Some(piece.total);
            self.tally.received(piece.data.len());
            received.extend_from_slice(&piece.data);
        }
        match total {
            Some(total) if total > received.len() as u64 => {
                Err(Broken::Call(Status::data_loss("the stream ended early")))
            }
            _ => Ok(()),
        }
    }
}

fn verified(received: Vec<u8>, expected: Digest) -> Result<Bytes, FetchError> {
    let actual = Digest::of(&received);
    if actual == expected {
        Ok(Bytes::from(received))
    } else {
        Err(FetchError::WrongDigest { expected, actual })
    }
}
