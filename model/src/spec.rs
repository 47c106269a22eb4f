//! An architecture as data, and the graph that checking it gives.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::layers::{Dense, LayerSpec, Relu, Softmax};
use crate::{Digest, LayerError, ModelError, ParamEntry, ParamLayout};

/// Most layers in a model.
pub const MAX_LAYERS: usize = 64;
/// Most characters in a model's name.
pub const MAX_NAME: usize = 64;
/// Most parameters in a model.
pub const MAX_PARAMETERS: usize = 64 << 20;
/// Most activations of one example, summed over input and all layers; also the most values of
/// any buffer that a layer needs for one example.
pub const MAX_ACTIVATIONS: usize = 64 << 20;

/// A named architecture: what is trained, sent and compiled.
///
/// The spec is a chain of layers that ends in `[classes]`. Scores are class logits; a trailing
/// softmax turns them into probabilities and is fused with the cross-entropy loss in training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Name for people; part of the model's identity.
    pub name: String,
    /// `[features]`, or `[channels, steps]` for a signal over time.
    pub input: Vec<usize>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
}

impl ModelSpec {
    /// A multi-layer perceptron: dense layers of `hidden` units, each followed by ReLU, then a
    /// dense layer of `classes` units and softmax.
    pub fn perceptron(name: &str, features: usize, hidden: &[usize], classes: usize) -> Self {
        let mut layers = Vec::new();
        for &units in hidden {
            layers.push(Dense { units }.into());
            layers.push(Relu.into());
        }
        layers.push(Dense { units: classes }.into());
        layers.push(Softmax.into());
        Self {
            name: name.to_owned(),
            input: vec![features],
            layers,
        }
    }

    /// Reads a spec from JSON.
    ///
    /// # Errors
    /// [`ModelError::Spec`] on unknown or missing fields, unknown layer kinds and wrong types.
    pub fn from_json(json: &str) -> Result<Self, ModelError> {
        serde_json::from_str(json).map_err(ModelError::Spec)
    }

    /// The one JSON text of this spec: no spaces, fields in declaration order, defaults written out.
    ///
    /// # Errors
    /// [`ModelError::Spec`] if it can't be written, which no value of this type causes.
    pub fn to_canonical_json(&self) -> Result<String, ModelError> {
        serde_json::to_string(self).map_err(ModelError::Spec)
    }

    /// Digest of the canonical JSON: names the architecture, whatever its weights.
    ///
    /// # Errors
    /// As [`to_canonical_json`](Self::to_canonical_json).
    pub fn digest(&self) -> Result<Digest, ModelError> {
        Ok(Digest::of(self.to_canonical_json()?.as_bytes()))
    }

    /// Checks the spec and infers all shapes.
    ///
    /// # Errors
    /// Names the first layer that can't take its input, or the limit that is passed.
    pub fn graph(&self) -> Result<Graph, ModelError> {
        Graph::new(self.clone())
    }
}

/// A checked model: the spec with every shape and the place of every parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    spec: ModelSpec,
    shapes: Vec<Vec<usize>>,
    parameter_ranges: Vec<Range<usize>>,
    layout: ParamLayout,
}

impl Graph {
    fn new(spec: ModelSpec) -> Result<Self, ModelError> {
        check_name(&spec.name)?;
        let count = spec.layers.len();
        if count == 0 || count > MAX_LAYERS {
            return Err(ModelError::LayerCount {
                count,
                limit: MAX_LAYERS,
            });
        }
        let well_formed = matches!(spec.input.len(), 1 | 2) && spec.input.iter().all(|&d| d > 0);
        if !well_formed {
            return Err(ModelError::InputShape { shape: spec.input });
        }
        let mut graph = Self {
            shapes: vec![spec.input.clone()],
            parameter_ranges: Vec::with_capacity(count),
            layout: ParamLayout::default(),
            spec,
        };
        let mut activations = add_activations(0, &graph.spec.input)?;
        for index in 0..count {
            let shape = graph.place_layer(index)?;
            activations = add_activations(activations, &shape)?;
            graph.shapes.push(shape);
        }
        match graph.output_shape() {
            [classes] if *classes >= 2 => Ok(graph),
            shape => Err(ModelError::NotAClassifier {
                shape: shape.to_vec(),
            }),
        }
    }

    /// Checks layer `index`, appends its parameters to the layout and returns its output shape.
    fn place_layer(&mut self, index: usize) -> Result<Vec<usize>, ModelError> {
        let input = self.shapes[index].clone();
        let spec = &self.spec.layers[index];
        let kind = spec.kind();
        let layer = spec.layer();
        let shape = layer
            .output_shape(&input)
            .map_err(|source| ModelError::Layer {
                index,
                kind,
                source,
            })?;
        let start = self.layout.len();
        for parameter in layer.parameters(&input) {
            let offset = self.layout.len();
            let size = volume(&parameter.shape, MAX_PARAMETERS);
            let Some(len) = size.filter(|len| offset + len <= MAX_PARAMETERS) else {
                let source = LayerError::TooLarge {
                    what: "parameters of the model",
                    limit: MAX_PARAMETERS,
                };
                return Err(ModelError::Layer {
                    index,
                    kind,
                    source,
                });
            };
            self.layout.entries.push(ParamEntry {
                path: format!("{index}.{kind}.{}", parameter.name),
                shape: parameter.shape,
                role: parameter.role,
                output_axis: parameter.output_axis,
                personal: false,
                offset,
                len,
            });
        }
        self.parameter_ranges.push(start..self.layout.len());
        Ok(shape)
    }

    /// The spec this graph was made from.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The layers, first to last.
    pub fn layers(&self) -> &[LayerSpec] {
        &self.spec.layers
    }

    /// All shapes: index 0 is the input, `i + 1` the output of layer `i`.
    pub fn shapes(&self) -> &[Vec<usize>] {
        &self.shapes
    }

    /// Where each parameter lives in the flat vector.
    pub fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// Marks tensors as personal; see [`ParamLayout::mark_personal`].
    pub fn mark_personal(&mut self, prefix: &str) -> usize {
        self.layout.mark_personal(prefix)
    }

    /// The part of the flat vector that belongs to `layer`, empty if it has no parameters.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn layer_parameters(&self, layer: usize) -> Range<usize> {
        self.parameter_ranges[layer].clone()
    }

    /// The entries of the layout that belong to `layer`, in the order the layer declares them.
    pub fn layer_entries(&self, layer: usize) -> impl Iterator<Item = &ParamEntry> {
        let range = self.layer_parameters(layer);
        self.layout
            .entries
            .iter()
            .filter(move |entry| range.contains(&entry.offset))
    }

    /// Values in one example: the product of the input shape.
    pub fn features(&self) -> usize {
        self.shapes[0].iter().product()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.output_shape().iter().product()
    }

    /// Number of layers before the loss: all of them, or all but a trailing softmax.
    pub fn trunk_len(&self) -> usize {
        match self.spec.layers.last() {
            Some(LayerSpec::Softmax(_)) => self.spec.layers.len() - 1,
            _ => self.spec.layers.len(),
        }
    }

    /// Multiply-accumulate operations of one forward pass of one example.
    pub fn macs(&self) -> u64 {
        let layers = self.spec.layers.iter().zip(&self.shapes);
        layers
            .map(|(spec, input)| spec.layer().macs(input))
            .fold(0, u64::saturating_add)
    }

    fn output_shape(&self) -> &[usize] {
        self.shapes.last().map_or(&[], Vec::as_slice)
    }
}

fn check_name(name: &str) -> Result<(), ModelError> {
    let length = name.chars().count();
    if (1..=MAX_NAME).contains(&length) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ModelError::Name {
        name: name.chars().take(MAX_NAME).collect(),
        limit: MAX_NAME,
    })
}

fn add_activations(sum: usize, shape: &[usize]) -> Result<usize, ModelError> {
    let count = volume(shape, MAX_ACTIVATIONS).map_or(usize::MAX, |size| sum + size);
    if count > MAX_ACTIVATIONS {
        return Err(ModelError::TooLarge {
            what: "activations",
            count,
            limit: MAX_ACTIVATIONS,
        });
    }
    Ok(count)
}

/// The product of `shape`, or `None` if it passes `limit`.
pub(crate) fn volume(shape: &[usize], limit: usize) -> Option<usize> {
    let mut product: usize = 1;
    for &size in shape {
        product = product.checked_mul(size)?;
    }
    (product <= limit).then_some(product)
}
