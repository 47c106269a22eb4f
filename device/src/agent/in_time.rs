//! Answers whose time says nothing of the data.
//!
//! How long a device trains depends on its data: on how many examples it has, on whether a loss stops being
//! finite, even on how small its numbers are. So the moment of an answer is drawn before the device looks at
//! its data, and whatever is not done by then is not in the answer. Nothing is sent earlier.
//!
//! A real device counts from when it accepted the work. Simulated devices share processors: each counts
//! from when it has one, before it looks at its data, and keeps it until it has trained, so that waiting in
//! a queue for others makes an answer later but never empty, and as late for a device that finds nothing.
//! The pause that stands for a device's slowness shortens the time that is left to it. In a seeded
//! simulation time is virtual, and nothing is waited for: such a run is not private anyway.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};
use tributary_model::{Batch, Engine, FastEngine, Graph, ModelError};
use tributary_proto::v1::AnswerWindow;

use crate::agent::core::Core;
use crate::agent::lease::LONGEST_LEASE;
use crate::state::randomness::uniform_below;

/// When an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// As soon as it is there.
    AsTrained,
    /// So long after the work was accepted.
    After(Duration),
}

/// Work under way that looks at the data.
#[derive(Clone)]
pub(crate) struct Slot {
    moment: Moment,
    stop: Arc<AtomicBool>,
    begun: Arc<Mutex<Option<oneshot::Sender<Instant>>>>,
    /// When a slow device would not be done any more.
    limit: Arc<OnceLock<Instant>>,
}

impl Slot {
    /// Says that the device has its processor now. Comes before it looks at its data.
    pub(crate) fn begin(&self) {
        let begun = self.begun.lock();
        let sender = begun.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // whoever counts from the acceptance does not listen
            let _ = sender.send(Instant::now());
        }
    }

    /// Takes the pause of a slow device off the time that is left; false when nothing is. Nothing
    /// happens where the answer comes as trained: that waits itself.
    pub(crate) fn spend(&self, pause: Duration) -> bool {
        let Moment::After(wait) = self.moment else {
            return true;
        };
        let left = wait.saturating_sub(pause);
        if !pause.is_zero() {
            let _ = self.limit.set(Instant::now() + left);
        }
        !left.is_zero()
    }

    /// The pause to wait for after the training, where the answer comes as trained.
    pub(crate) fn owed(&self, pause: Duration) -> Duration {
        match self.moment {
            Moment::AsTrained => pause,
            Moment::After(_) => Duration::ZERO,
        }
    }

    /// True when the answer is gone: whatever goes on is for nothing.
    pub(crate) fn is_over(&self) -> bool {
        let limit = self.limit.get();
        self.stop.load(Ordering::Relaxed) || limit.is_some_and(|limit| Instant::now() >= *limit)
    }
}

impl Core {
    /// The moment of an answer: drawn uniformly from the window, to the microsecond.
    pub(crate) fn draw_moment(&self, window: Option<AnswerWindow>, seed: &[u8]) -> Moment {
        let is_virtual = self.is_virtual(seed);
        let window = window.filter(|window| window.until_ms > 0 && !is_virtual);
        let Some(window) = window else {
            return Moment::AsTrained;
        };
        let micros = |ms: u64| Duration::from_millis(ms).min(LONGEST_LEASE).as_micros() as u64;
        let (from, until) = (micros(window.from_ms), micros(window.until_ms));
        let within = uniform_below(&mut *self.rng(), until.saturating_sub(from) + 1);
        Moment::After(Duration::from_micros(from + within))
    }

    /// Does work that looks at the data and returns when the answer is due. `None` when the work panicked
    /// or was not done by then.
    pub(crate) async fn in_time<T, F>(
        &self,
        moment: Moment,
        work: impl FnOnce(Slot) -> F,
    ) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let accepted = Instant::now();
        let (begin, begun) = oneshot::channel();
        let slot = Slot {
            moment,
            stop: Arc::default(),
            begun: Arc::new(Mutex::new(Some(begin))),
            limit: Arc::default(),
        };
        let stop = Arc::clone(&slot.stop);
        // ends with this call, also when the agent stops in the middle
        let mut task = JoinSet::new();
        task.spawn(work(slot));
        let Moment::After(wait) = moment else {
            return task.join_next().await?.ok();
        };
        let begun = match self.simulated {
            // the sender goes when the work ends before it began
            true => begun.await.ok(),
            false => None,
        };
        let due = begun.unwrap_or(accepted) + wait;
        let done = timeout_at(due, task.join_next()).await;
        stop.store(true, Ordering::Relaxed);
        task.abort_all();
        sleep_until(due).await;
        done.ok()??.ok()
    }
}

/// An engine that ends a training when its slot is over, at its next step.
pub(crate) struct StoppingEngine<'e> {
    pub(crate) engine: &'e mut FastEngine,
    pub(crate) slot: Option<&'e Slot>,
}

impl StoppingEngine<'_> {
    fn check(&self) -> Result<(), ModelError> {
        match self.slot {
            Some(slot) if slot.is_over() => Err(ModelError::Engine {
                reason: "the answer is due".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

impl Engine for StoppingEngine<'_> {
    fn graph(&self) -> &Graph {
        self.engine.graph()
    }

    fn gradient(
        &mut self,
        params: &[f32],
        batch: Batch<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, ModelError> {
        self.check()?;
        self.engine.gradient(params, batch, gradient)
    }

    fn loss(&mut self, params: &[f32], batch: Batch<'_>) -> Result<f32, ModelError> {
        self.engine.loss(params, batch)
    }

    fn predict(
        &mut self,
        params: &[f32],
        inputs: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        self.engine.predict(params, inputs, out)
    }

    fn step(
        &mut self,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError> {
        self.check()?;
        self.engine.step(params, batch, learning_rate)
    }
}

#[cfg(test)]
#[path = "moment_tests.rs"]
mod moment_tests;
