//! Everything that can be wrong with a model, its data or its file.

use thiserror::Error;

use crate::bundle::BundleError;
use crate::digest::{Digest, NotADigest};
use crate::quant::QuantError;

/// Why a model, its data or its file was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The text is not a digest.
    #[error(transparent)]
    NotADigest(#[from] NotADigest),
    /// The architecture JSON can't be read.
    #[error("model spec is not valid: {0}; see the model spec reference for its fields")]
    Spec(#[source] serde_json::Error),
    /// The model has no layers or too many.
    #[error("model has {count} layers, it must have 1 to {limit}; remove or add layers")]
    LayerCount {
        /// Layers in the spec.
        count: usize,
        /// Most layers allowed.
        limit: usize,
    },
    /// The input shape of the model is not usable.
    #[error("input shape {shape:?} must be [features] or [channels, steps], each at least 1")]
    InputShape {
        /// The shape in the spec.
        shape: Vec<usize>,
    },
    /// A layer can't follow the one before it.
    #[error("layer {index} ({kind}): {source}")]
    Layer {
        /// Position in the spec, from 0.
        index: usize,
        /// Kind as written in the spec.
        kind: &'static str,
        /// What is wrong with it.
        source: LayerError,
    },
    /// The last layer's output is not a list of class scores.
    #[error(
        "last layer gives shape {shape:?}, a classifier needs [classes] with at least 2; end with flatten or global_average_pool and dense"
    )]
    NotAClassifier {
        /// Output shape of the last layer.
        shape: Vec<usize>,
    },
    /// The model is larger than the limit.
    #[error("model needs {count} {what}, the limit is {limit}; use fewer or smaller layers")]
    TooLarge {
        /// `parameters` or `activations`.
        what: &'static str,
        /// How many the model needs.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A slice does not have the length the graph asks for.
    #[error("{what} has {actual} values, expected {expected}; was it made for another model?")]
    WrongLength {
        /// Which argument.
        what: &'static str,
        /// Length the graph asks for.
        expected: usize,
        /// Length given.
        actual: usize,
    },
    /// There is no example to work on.
    #[error("batch is empty; give at least one example")]
    EmptyBatch,
    /// A label is not a class of the model.
    #[error("label {label} of example {index} is not below the {classes} classes of the model")]
    LabelOutOfRange {
        /// Position in the batch.
        index: usize,
        /// The label.
        label: u32,
        /// Number of classes.
        classes: usize,
    },
    /// A value is infinite or not a number.
    #[error("{what} is not finite at position {index}; check the data and the learning rate")]
    NotFinite {
        /// Which argument or result.
        what: &'static str,
        /// Position of the first such value.
        index: usize,
    },
    /// A weight in a model file is infinite or not a number.
    #[error(
        "weight {index} of the model file is not finite; write the file again from weights that are: no \
         setting of a run mends it"
    )]
    BrokenWeights {
        /// Position of the first such value in the order of the layout.
        index: usize,
    },
    /// A training setting is out of range.
    #[error("local training: {field} {rule}, got {value}")]
    Training {
        /// Field of [`LocalTraining`](crate::LocalTraining).
        field: &'static str,
        /// The rule it breaks.
        rule: &'static str,
        /// The value given.
        value: String,
    },
    /// The model file can't be read as safetensors.
    #[error("model file is not readable as safetensors: {0}; transfer it again")]
    File(#[from] safetensors::SafeTensorError),
    /// A build for devices was given as a model version.
    #[error(
        "this is a build for devices, not a model version: import the version that it was made of, \
         and builds are made for the devices that need them"
    )]
    IsBuild,
    /// A pickle was given as a model version.
    #[error(
        "this is a PyTorch file (a pickle), which can run code when it is read: save its state dict \
         with safetensors, and put the architecture as JSON into the file's metadata under `{key}`"
    )]
    IsPickle {
        /// The metadata key of the architecture.
        key: &'static str,
    },
    /// The bytes do not begin like a safetensors file: 8 bytes of length, then JSON.
    #[error(
        "this is no safetensors file: name one that `tributary model export` wrote, or a state dict saved \
         with safetensors that has its architecture in the metadata"
    )]
    NotSafetensors,
    /// The model file's header is longer than any model needs.
    #[error(
        "model file has a header of {bytes} bytes, at most {limit} are read: leave out metadata that \
         is not the architecture"
    )]
    HeaderTooLong {
        /// Its length as the file states it.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// The model file lacks the architecture.
    #[error(
        "model file has no metadata key `{key}`, which holds the architecture as JSON: a version that \
         `tributary model export` wrote has it, and a state dict of another program needs it added"
    )]
    NoSpec {
        /// The key looked for.
        key: &'static str,
    },
    /// The model file carries a mark that this program does not know.
    #[error("model file is marked {mark:?}, which this program does not know: update it")]
    UnknownMark {
        /// The mark.
        mark: String,
    },
    /// The model file lacks a tensor or has one too many.
    #[error("model file and its spec disagree on tensor `{path}`: {problem}")]
    Tensor {
        /// Name of the tensor.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes are not the ones that were asked for.
    #[error("bytes have digest {actual}, expected {expected}; transfer them again")]
    WrongDigest {
        /// The digest asked for.
        expected: Digest,
        /// The digest of the bytes.
        actual: Digest,
    },
    /// The model's name can't be shown.
    #[error("model name must be 1 to {limit} characters without control characters, got {name:?}")]
    Name {
        /// The first characters of the name.
        name: String,
        /// Most characters allowed.
        limit: usize,
    },
    /// The model can't be brought to integers.
    #[error(transparent)]
    Quant(#[from] QuantError),
    /// A build can't be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The share of units to keep is out of range.
    #[error("share of units to keep must be above 0 and at most 1, got {keep}")]
    PruneShare {
        /// The share given.
        keep: f32,
    },
    /// The engine underneath failed.
    #[error("training engine failed: {reason}; use the fast engine for this model")]
    Engine {
        /// What it said.
        reason: String,
    },
}

/// Why a layer can't take the shape it is given.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// A field must be at least 1.
    #[error("{field} must be at least 1")]
    Zero {
        /// Name of the field.
        field: &'static str,
    },
    /// The input has another number of dimensions.
    #[error("takes {expected}, got shape {actual:?}; {remedy}")]
    Rank {
        /// The shape it takes, in words.
        expected: &'static str,
        /// The shape it was given.
        actual: Vec<usize>,
        /// What to change.
        remedy: &'static str,
    },
    /// The window is longer than the input.
    #[error("{field} {window} is longer than the {steps} steps of its input; make it shorter")]
    WindowTooLong {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        window: usize,
        /// Steps of the input.
        steps: usize,
    },
    /// Sizes multiply to more than the limit.
    #[error("{what} would exceed {limit} values; make the layer smaller")]
    TooLarge {
        /// What would be too large.
        what: &'static str,
        /// Most values allowed.
        limit: usize,
    },
}
