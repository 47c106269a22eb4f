//! Tributary's models: architectures as data, their training, their files and their int8 builds.
//!
//! A model is a [`ModelSpec`], a chain of layers from a closed list, and a flat `f32` vector whose
//! order is given by [`ParamLayout`]. Nothing here does I/O, reads a clock or draws randomness of
//! its own: seeds and generators are arguments, so that the same call gives the same bits.
//! Bad input of any kind is a [`ModelError`], never a panic.
//!
//! | module | holds |
//! |---|---|
//! | `spec` | the architecture and the checked graph with its shapes |
//! | `layers` | one file per layer: shapes, float passes, burn lowering, integer kernel |
//! | `engine` | training and prediction: the fast engine and the burn engine |
//! | `initialise`, `training` | first weights; local training, its corrections, accuracy |
//! | `algorithm`, `update_rules` | client algorithms by name, and what they send and keep |
//! | `file` | a model version as safetensors bytes |
//! | `layout` | where each parameter lives in the flat vector |
//! | `digest` | SHA-256 names |
//! | `error` | every reason to refuse |
//! | `quant`, `arena`, `bundle`, `fit`, `prune` | int8 builds for devices |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod algorithm;
pub mod arena;
pub mod bundle;
mod digest;
mod engine;
mod error;
mod file;
pub mod fit;
mod initialise;
pub mod layers;
mod layout;
mod marks;
pub mod prune;
pub mod quant;
mod spec;
mod training;
mod update_rules;

pub use algorithm::{LocalAlgorithm, MAX_CLUSTERS, Personalisation, named_parameters};
pub use bundle::BundleError;
pub use digest::{Digest, DigestBuilder, NotADigest};
pub use engine::{Batch, BurnEngine, Engine, FastEngine};
pub use error::{LayerError, ModelError};
pub use file::{MAX_HEADER, ModelFile, SPEC_KEY};
pub use fit::{FitError, fits};
pub use initialise::initialise;
pub use layers::LayerSpec;
pub use layout::{ParamEntry, ParamLayout, Role};
pub use marks::{MARKS_KEY, Marks};
pub use prune::prune_width;
pub use quant::{ActivationRanges, Int8Model, Int8Prediction, Int8Scratch, QuantError};
pub use quant::{observe_ranges, quantise};
pub use spec::{Graph, MAX_ACTIVATIONS, MAX_LAYERS, MAX_NAME, MAX_PARAMETERS, ModelSpec};
pub use training::{
    Correction, LocalTraining, MAX_EPOCHS, Mixture, Proximal, TrainReport, accuracy, mean_loss,
    train, train_corrected, train_mixture,
};
pub use update_rules::{QFedAvgShare, feddyn_gradient_change, scaffold_change, scaffold_offset};
