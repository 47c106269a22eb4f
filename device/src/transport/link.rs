//! A device's way to its coordinator: calls, and what is counted and noted of them.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha20Rng;
use tokio::time::timeout;
use tonic::{Code, Response, Status};

use crate::state::identity::Identity;
use crate::state::tally::Tally;
use crate::transport::connections::{Connections, Leased};
use crate::transport::shape::SessionShape;
use crate::transport::timing::Timing;

/// What one device needs to speak to its coordinator.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) identity: &'a Identity,
    /// Which of the shared connections the device uses.
    pub(crate) number: u64,
    pub(crate) connections: &'a Connections,
    pub(crate) timing: Timing,
    pub(crate) tally: &'a Tally,
    pub(crate) shape: &'a Mutex<SessionShape>,
    /// Draws waits and jitter.
    pub(crate) rng: &'a Mutex<ChaCha20Rng>,
}

impl<'a> Link<'a> {
    /// The connection that the device uses now.
    pub(crate) fn lease(&self) -> Leased {
        self.connections.lease(self.number)
    }

    /// Randomness for waits and jitter.
    pub(crate) fn rng(&self) -> MutexGuard<'a, ChaCha20Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a step to the session's shape.
    pub(crate) fn step(&self, step: char) {
        self.shape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(step);
    }

    /// Makes a call within the time for answers and counts how it went.
    pub(crate) async fn call<T>(
        &self,
        leased: &Leased,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let answered = match timeout(self.timing.answer, call).await {
            Ok(answered) => answered,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        match answered {
            Ok(response) => {
                self.connections.succeeded(leased);
                Ok(response.into_inner())
            }
            Err(status) => {
                self.note_failure(&status, leased);
                Err(status)
            }
        }
    }

    /// Counts a failed call and says whether the channel should be suspected.
    pub(crate) fn note_failure(&self, status: &Status, leased: &Leased) {
        self.tally.transport(status.code());
        let suspect = matches!(
            status.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::DeadlineExceeded
        );
        if suspect {
            self.connections.failed(leased);
        }
    }
}
