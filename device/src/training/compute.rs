//! A bounded pool for training and inference, with engines that are used again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tributary_model::quant::Int8Scratch;
use tributary_model::{Digest, FastEngine};

use crate::install::library::LoadedModel;

/// Engines that one bench keeps; a fleet rarely works on more architectures at a time.
const ENGINES: usize = 4;

/// Work on the pool ended in a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("work on the pool crashed; see the panic message above")]
pub struct Crashed;

/// Runs work on a bounded number of blocking threads.
#[derive(Debug)]
pub struct ComputePool {
    permits: Semaphore,
    benches: Arc<Mutex<Vec<Scratch>>>,
}

impl ComputePool {
    /// A pool of at most `permits` threads (at least one).
    pub fn new(permits: usize) -> Self {
        Self {
            permits: Semaphore::new(permits.max(1)),
            benches: Arc::default(),
        }
    }

    /// Runs `work` with a bench as soon as a thread is free.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, Crashed> {
        let _permit = self.permits.acquire().await.map_err(|_| Crashed)?;
        let benches = Arc::clone(&self.benches);
        let task = tokio::task::spawn_blocking(move || {
            let kept = benches.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut bench = kept.unwrap_or_default();
            let result = work(&mut bench);
            benches
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(bench);
            result
        });
        task.await.map_err(|_| Crashed)
    }
}

/// Engines and buffers of one thread.
#[derive(Default)]
pub struct Scratch {
    engines: Vec<(Digest, FastEngine)>,
    pub(crate) weights: Vec<f32>,
    pub(crate) outputs: Vec<f32>,
    pub(crate) arena: Int8Scratch,
}

impl Scratch {
    /// The engine for a model's architecture and the two buffers.
    pub(crate) fn engine(&mut self, model: &LoadedModel) -> BenchParts<'_> {
        let known = self
            .engines
            .iter()
            .position(|(key, _)| *key == model.architecture);
        let index = match known {
            Some(index) => index,
            None => {
                if self.engines.len() >= ENGINES {
                    self.engines.remove(0);
                }
                self.engines
                    .push((model.architecture, FastEngine::new(&model.graph)));
                self.engines.len() - 1
            }
        };
        BenchParts {
            engine: &mut self.engines[index].1,
            weights: &mut self.weights,
            outputs: &mut self.outputs,
        }
    }
}

/// An engine with a bench's buffers.
pub(crate) struct BenchParts<'a> {
    pub(crate) engine: &'a mut FastEngine,
    pub(crate) weights: &'a mut Vec<f32>,
    pub(crate) outputs: &'a mut Vec<f32>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("engines", &self.engines.len())
            .finish_non_exhaustive()
    }
}
