//! The hand-written engine.

use super::loss::{cross_entropy, mean};
use super::{Batch, Engine, check_inputs, check_len};
use crate::layers::{Blend, LayerSpec, Pass, Scratch, Shapes, softmax_probabilities};
use crate::{Graph, ModelError};

/// Most values in all activation buffers together (64 MiB); larger batches go in pieces.
const BUFFER_VALUES: usize = 16 << 20;
/// Most examples predicted at once: keeps activations of small models in the cache.
const PREDICT_EXAMPLES: usize = 256;

/// The default engine: each layer's own passes on buffers that are kept from step to step.
///
/// Runs on the calling thread only and always adds in the same order: on one machine the same
/// input gives the same bits, whatever the number of threads around it.
#[derive(Debug, Clone)]
pub struct FastEngine {
    graph: Graph,
    /// Index `i`: output of layer `i` of the current piece.
    outputs: Vec<Vec<f32>>,
    /// Index `i`: derivative of the loss by the output of layer `i`.
    gradients: Vec<Vec<f32>>,
    scratch: Vec<Scratch>,
    /// The first layer with parameters: backward passes end there.
    first_trainable: usize,
    /// Most examples at once.
    piece: usize,
    /// Only used by steps on batches of more than one piece.
    whole_gradient: Vec<f32>,
}

impl FastEngine {
    /// An engine for `graph`. Buffers grow with the first batch.
    pub fn new(graph: &Graph) -> Self {
        let count = graph.layers().len();
        let per_example: usize = graph.shapes().iter().map(|shape| size(shape)).sum();
        let trainable = (0..count).find(|&layer| !graph.layer_parameters(layer).is_empty());
        Self {
            outputs: vec![Vec::new(); count],
            gradients: vec![Vec::new(); count],
            scratch: vec![Scratch::default(); count],
            first_trainable: trainable.unwrap_or(count),
            piece: (BUFFER_VALUES / per_example).max(1),
            whole_gradient: Vec::new(),
            graph: graph.clone(),
        }
    }

    /// Runs the graph and shows `visit` every activation: index 0 is the input, `i + 1` the output
    /// of layer `i` (a trailing softmax included). Many examples come in several calls per index,
    /// each with whole examples.
    ///
    /// # Errors
    /// If `params` or `inputs` have a wrong length.
    pub fn visit_activations(
        &mut self,
        params: &[f32],
        inputs: &[f32],
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), ModelError> {
        check_len("parameters", self.graph.layout().len(), params.len())?;
        check_inputs(&self.graph, inputs)?;
        let layers = self.graph.layers().len();
        for inputs in inputs.chunks(self.piece.min(PREDICT_EXAMPLES) * self.graph.features()) {
            let examples = inputs.len() / self.graph.features();
            self.forward(params, inputs, examples, layers);
            visit(0, inputs);
            for (index, shape) in self.graph.shapes().iter().enumerate().skip(1) {
                visit(index, &self.outputs[index - 1][..examples * size(shape)]);
            }
        }
        Ok(())
    }

    /// Computes the outputs of the first `layers` layers.
    fn forward(&mut self, params: &[f32], inputs: &[f32], examples: usize, layers: usize) {
        for index in 0..layers {
            let shapes = shapes(&self.graph, index, examples);
            let (before, rest) = self.outputs.split_at_mut(index);
            let input = before.last().map_or(inputs, |output| output);
            let output = sized(&mut rest[0], examples * size(shapes.output));
            self.graph.layers()[index].layer().forward(
                shapes,
                &params[self.graph.layer_parameters(index)],
                &input[..examples * size(shapes.input)],
                output,
                &mut self.scratch[index],
            );
        }
    }

    /// Runs the batch forward and leaves the derivative of the loss by the scores.
    fn scores(&mut self, params: &[f32], piece: Batch<'_>, examples: usize) -> f64 {
        let trunk = self.graph.trunk_len();
        self.forward(params, piece.inputs, piece.len(), trunk);
        let len = piece.len() * self.graph.classes();
        // with softmax as the only layer the scores are the inputs
        let scores = match trunk {
            0 => piece.inputs,
            _ => &self.outputs[trunk - 1][..len],
        };
        let slot = trunk.saturating_sub(1);
        cross_entropy(
            scores,
            piece.labels,
            examples,
            sized(&mut self.gradients[slot], len),
        )
    }

    /// Carries the derivative back through all layers that have parameters at or before them.
    fn backward(&mut self, inputs: &[f32], examples: usize, mut target: Target<'_>) {
        for index in (self.first_trainable..self.graph.trunk_len()).rev() {
            let shapes = shapes(&self.graph, index, examples);
            let layer = self.graph.layers()[index].layer();
            let range = self.graph.layer_parameters(index);
            let (gradients_before, gradients) = self.gradients.split_at_mut(index);
            let input = if index == 0 {
                inputs
            } else {
                &self.outputs[index - 1]
            };
            let pass = Pass {
                input: &input[..examples * size(shapes.input)],
                output: &self.outputs[index][..examples * size(shapes.output)],
                output_gradient: &gradients[0][..examples * size(shapes.output)],
            };
            let scratch = &mut self.scratch[index];
            if let Some(input_gradient) = gradients_before.last_mut()
                && index > self.first_trainable
            {
                let input_gradient = sized(input_gradient, examples * size(shapes.input));
                let params = &target.params()[range.clone()];
                layer.backward_input(shapes, params, pass, input_gradient, scratch);
            }
            if !range.is_empty() {
                let (values, blend) = target.values();
                layer.backward_parameters(shapes, pass, blend, &mut values[range], scratch);
            }
        }
    }

    fn check(&self, params: &[f32], batch: Batch<'_>) -> Result<(), ModelError> {
        check_len("parameters", self.graph.layout().len(), params.len())?;
        batch.check(&self.graph)
    }
}

/// Where the derivative by the parameters goes.
enum Target<'a> {
    /// To a gradient of its own.
    Gradient {
        params: &'a [f32],
        gradient: &'a mut [f32],
        blend: Blend,
    },
    /// Straight into the parameters.
    Descent {
        params: &'a mut [f32],
        learning_rate: f32,
    },
}

impl Target<'_> {
    fn params(&self) -> &[f32] {
        match self {
            Self::Gradient { params, .. } => params,
            Self::Descent { params, .. } => params,
        }
    }

    fn values(&mut self) -> (&mut [f32], Blend) {
        match self {
            Self::Gradient {
                gradient, blend, ..
            } => (gradient, *blend),
            Self::Descent {
                params,
                learning_rate,
            } => (params, Blend::descend(*learning_rate)),
        }
    }
}

impl Engine for FastEngine {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn gradient(
        &mut self,
        params: &[f32],
        batch: Batch<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, ModelError> {
        self.check(params, batch)?;
        check_len("gradient", params.len(), gradient.len())?;
        let mut sum = 0.0;
        let mut blend = Blend::REPLACE;
        let pieces = batch.inputs.chunks(self.piece * self.graph.features());
        for (inputs, labels) in pieces.zip(batch.labels.chunks(self.piece)) {
            sum += self.scores(params, Batch { inputs, labels }, batch.len());
            self.backward(
                inputs,
                labels.len(),
                Target::Gradient {
                    params,
                    gradient,
                    blend,
                },
            );
            blend = Blend::ADD;
        }
        mean(sum, batch)
    }

    fn loss(&mut self, params: &[f32], batch: Batch<'_>) -> Result<f32, ModelError> {
        self.check(params, batch)?;
        let mut sum = 0.0;
        let pieces = batch.inputs.chunks(self.piece * self.graph.features());
        for (inputs, labels) in pieces.zip(batch.labels.chunks(self.piece)) {
            sum += self.scores(params, Batch { inputs, labels }, batch.len());
        }
        mean(sum, batch)
    }

    fn predict(
        &mut self,
        params: &[f32],
        inputs: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        check_len("parameters", self.graph.layout().len(), params.len())?;
        let examples = check_inputs(&self.graph, inputs)?;
        let classes = self.graph.classes();
        let layers = self.graph.layers().len();
        let ends_in_softmax = matches!(self.graph.layers().last(), Some(LayerSpec::Softmax(_)));
        out.resize(examples * classes, 0.0);
        let piece = self.piece.min(PREDICT_EXAMPLES);
        let pieces = inputs.chunks(piece * self.graph.features());
        for (inputs, out) in pieces.zip(out.chunks_mut(piece * classes)) {
            self.forward(params, inputs, inputs.len() / self.graph.features(), layers);
            let last = &self.outputs[layers - 1][..out.len()];
            if ends_in_softmax {
                out.copy_from_slice(last);
            } else {
                for (scores, out) in last.chunks(classes).zip(out.chunks_mut(classes)) {
                    softmax_probabilities(scores, out);
                }
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        params: &mut [f32],
        batch: Batch<'_>,
        learning_rate: f32,
    ) -> Result<f32, ModelError> {
        if batch.len() > self.piece {
            let mut gradient = std::mem::take(&mut self.whole_gradient);
            gradient.resize(params.len(), 0.0);
            let loss = self.gradient(params, batch, &mut gradient);
            if loss.is_ok() {
                descend(params, &gradient, learning_rate);
            }
            self.whole_gradient = gradient;
            return loss;
        }
        self.check(params, batch)?;
        let sum = self.scores(params, batch, batch.len());
        let loss = mean(sum, batch)?;
        self.backward(
            batch.inputs,
            batch.len(),
            Target::Descent {
                params,
                learning_rate,
            },
        );
        Ok(loss)
    }
}

/// `params -= learning_rate x gradient`.
pub(super) fn descend(params: &mut [f32], gradient: &[f32], learning_rate: f32) {
    for (parameter, gradient) in params.iter_mut().zip(gradient) {
        *parameter -= learning_rate * gradient;
    }
}

fn shapes(graph: &Graph, layer: usize, batch: usize) -> Shapes<'_> {
    Shapes {
        batch,
        input: &graph.shapes()[layer],
        output: &graph.shapes()[layer + 1],
    }
}

fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The first `len` values of a buffer that only ever grows.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
