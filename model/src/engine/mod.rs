//! Training engines behind one trait.
//!
//! [`FastEngine`] is the default: hand-written passes on `ndarray`, no allocation per step beyond
//! the matrix product's packing buffer. [`BurnEngine`] computes the same through burn's automatic
//! differentiation; it is the reference the fast one is checked against, and where new layers
//! and accelerators can start.

pub(crate) mod burn;
mod fast;
mod loss;

pub use self::burn::BurnEngine;
pub use self::fast::FastEngine;

use crate::{Graph, ModelError};

/// Examples with their labels.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `n x features` values, one example after the other.
    pub inputs: &'a [f32],
    /// `n` class indices.
    pub labels: &'a [u32],
}

impl Batch<'_> {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no examples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Checks the batch against the graph.
    ///
    /// # Errors
    /// If it is empty, the inputs are not `n x features`, or a label is not a class. Values of the
    /// inputs are not looked at: a NaN shows as [`ModelError::NotFinite`] loss.
    pub fn check(&self, graph: &Graph) -> Result<(), ModelError> {
        if self.labels.is_empty() {
            return Err(ModelError::EmptyBatch);
        }
        check_len(
            "batch inputs",
            self.labels.len() * graph.features(),
            self.inputs.len(),
        )?;
        let classes = graph.classes();
        match self
            .labels
            .iter()
            .position(|&label| label as usize >= classes)
        {
            Some(index) => {
                let label = self.labels[index];
                Err(ModelError::LabelOutOfRange {
                    index,
                    label,
                    classes,
                })
            }
            None => Ok(()),
        }
    }
}

/// Computes losses, gradients and predictions of one graph. The parameters are the caller's, in
/// the order of the graph's layout, so one engine serves any number of devices in turn.
pub trait Engine: Send {
    /// The graph this engine was made for.
    fn graph(&self) -> &Graph;

    /// Mean cross-entropy (in nats) of `batch`, and its derivative by each parameter written to
    /// `gradient`.
    ///
    /// # Errors
    /// On wrong lengths, labels out of range, or a loss that is not finite.
    fn gradient(
        &mut self,
        params: &[f32],
        batch: Batch<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, ModelError>;

    /// Mean cross-entropy (in nats) of `batch`.
    ///
    /// # Errors
    /// As [`gradient`](Engine::gradient).
    fn loss(&mut self, params: &[f32], batch: Batch<'_>) -> Result<f32, ModelError> {
        self.gradient(params, batch, &mut vec![0.0; params.len()])
    }

    /// Class probabilities of `n` examples; `out` becomes `n x classes` values.
    ///
    /// # Errors
    /// If `params` or `inputs` have a wrong length.
    fn predict(
        &mut self,
        params: &[f32],
        inputs: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError>;

    /// One step of stochastic gradient descent, `params -= learning_rate x gradient`; returns the
    /// loss before the step.
    ///
    /// # Errors
    /// As [`gradient`](Engine::gradient); `params` are then unchanged.
    fn step(
        &mut self,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError>;
}

pub(crate) fn check_len(
    what: &'static str,
    expected: usize,
    actual: usize,
) -> Result<(), ModelError> {
    if actual == expected {
        Ok(())
    } else {
        Err(ModelError::WrongLength {
            what,
            expected,
            actual,
        })
    }
}

/// Checks that `inputs` are whole examples and returns how many.
pub(crate) fn check_inputs(graph: &Graph, inputs: &[f32]) -> Result<usize, ModelError> {
    let examples = inputs.len().div_ceil(graph.features());
    check_len("inputs", examples * graph.features(), inputs.len())?;
    Ok(examples)
}
