//! The engine on burn's automatic differentiation.
//!
//! burn changes its interface between minor versions, so this is the only module that names the
//! crate; layers take what they need from here. burn's generator of random numbers is one for the
//! whole process and is never used.

pub(crate) use burn::tensor::Tensor;
pub(crate) use burn::tensor::activation::{relu, softmax};
pub(crate) use burn::tensor::module::{conv1d, max_pool1d};
pub(crate) use burn::tensor::ops::{ConvOptions, MaxPoolOptions};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, TensorData};

use super::fast::descend;
use super::loss::mean;
use super::{Batch, Engine, check_inputs, check_len};
use crate::layers::Shapes;
use crate::{Graph, ModelError};

/// Most examples predicted at once.
const PREDICT_EXAMPLES: usize = 256;

/// Trains through burn's `flex` backend. Slower than [`FastEngine`](crate::FastEngine) on small
/// models (it builds a graph per step) but derives every gradient by itself.
#[derive(Debug, Clone)]
pub struct BurnEngine {
    graph: Graph,
    device: Device,
}

impl BurnEngine {
    /// An engine for `graph`.
    pub fn new(graph: &Graph) -> Self {
        Self {
            graph: graph.clone(),
            device: Device::flex(),
        }
    }

    /// One flat tensor per entry of the layout.
    fn leaves(&self, params: &[f32], device: &Device) -> Vec<Tensor<1>> {
        let entries = self.graph.layout().entries.iter();
        let leaf = |values: &[f32]| {
            Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        entries.map(|entry| leaf(&params[entry.range()])).collect()
    }

    /// Scores of `examples`: the output of the last layer, or what a trailing softmax is given.
    fn scores(&self, leaves: &[Tensor<1>], inputs: &[f32], device: &Device) -> Tensor<2> {
        let batch = inputs.len() / self.graph.features();
        let data = TensorData::new(inputs.to_vec(), [batch, self.graph.features()]);
        let mut activation = Tensor::from_data(data, device);
        let mut leaves = leaves;
        for index in 0..self.graph.trunk_len() {
            let own = self.graph.layer_entries(index).count();
            let (parameters, rest) = leaves.split_at(own);
            let shapes = Shapes {
                batch,
                input: &self.graph.shapes()[index],
                output: &self.graph.shapes()[index + 1],
            };
            activation = self.graph.layers()[index]
                .layer()
                .lower(shapes, parameters, activation);
            leaves = rest;
        }
        activation
    }

    /// `1` at each example's label, `0` elsewhere.
    fn one_hot(&self, labels: &[u32], device: &Device) -> Tensor<2> {
        let classes = self.graph.classes();
        let mut values = vec![0.0_f32; labels.len() * classes];
        for (row, &label) in values.chunks_exact_mut(classes).zip(labels) {
            row[label as usize] = 1.0;
        }
        Tensor::from_data(TensorData::new(values, [labels.len(), classes]), device)
    }
}

impl Engine for BurnEngine {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn gradient(
        &mut self,
        params: &[f32],
        batch: Batch<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, ModelError> {
        check_len("parameters", self.graph.layout().len(), params.len())?;
        batch.check(&self.graph)?;
        check_len("gradient", params.len(), gradient.len())?;
        let device = self.device.clone().autodiff();
        let leaves = self.leaves(params, &device);
        let leaves: Vec<_> = leaves.into_iter().map(Tensor::require_grad).collect();
        let scores = self.scores(&leaves, batch.inputs, &device);
        let chosen = log_softmax(scores, 1) * self.one_hot(batch.labels, &device);
        let loss = chosen.sum().neg() / batch.len() as f32;
        let value = f64::from(values(loss.clone())?[0]);
        gradient.fill(0.0);
        if !leaves.is_empty() {
            let mut gradients = loss.backward();
            for (entry, leaf) in self.graph.layout().entries.iter().zip(&leaves) {
                if let Some(derivative) = leaf.grad_remove(&mut gradients) {
                    gradient[entry.range()].copy_from_slice(&values(derivative)?);
                }
            }
        }
        mean(value * batch.len() as f64, batch)
    }

    fn predict(
        &mut self,
        params: &[f32],
        inputs: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        check_len("parameters", self.graph.layout().len(), params.len())?;
        check_inputs(&self.graph, inputs)?;
        let leaves = self.leaves(params, &self.device);
        out.clear();
        for inputs in inputs.chunks(PREDICT_EXAMPLES * self.graph.features()) {
            let scores = self.scores(&leaves, inputs, &self.device);
            out.extend_from_slice(&values(softmax(scores, 1))?);
        }
        Ok(())
    }

    fn step(
        &mut self,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError> {
        let mut gradient = vec![0.0; params.len()];
        let loss = self.gradient(params, batch, &mut gradient)?;
        descend(params, &gradient, learning_rate);
        Ok(loss)
    }
}

/// The values of a tensor, row major.
fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    let data = tensor.try_into_data().map_err(|error| failed(&error))?;
    let values = data.as_slice::<f32>().map_err(|error| failed(&error))?;
    Ok(values.to_vec())
}

fn failed(error: &dyn std::fmt::Debug) -> ModelError {
    ModelError::Engine {
        reason: format!("{error:?}"),
    }
}
