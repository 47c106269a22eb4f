//! Post-training int8 quantisation and integer inference.
//!
//! Weights are symmetric per output channel in -127..=127, activations asymmetric per tensor in
//! -128..=127, biases 32-bit with the scale of the products, and results are brought back to int8
//! by a fixed-point factor: the scheme of Jacob et al. 2018 in the form TensorFlow Lite fixed it.
//! Inference uses integers only, so its outputs are the same bits on every machine.
//!
//! | module | holds |
//! |---|---|
//! | [`arithmetic`] | rounding multiply and shift, fixed-point factors |
//! | [`scale`] | real numbers to int8 and back |
//! | `ranges` | observed activation ranges |
//! | [`kernel`] | what a layer provides to run on integers |
//! | `channels` | quantised weights of dense and convolution layers |
//! | `quantise` | a float model to an [`Int8Model`] |
//! | `interpreter` | running an [`Int8Model`] in its arena |
//! | `self_test` | synthetic inputs with their exact outputs |

pub mod arithmetic;
mod channels;
mod error;
mod interpreter;
pub mod kernel;
mod quantise;
mod ranges;
pub mod scale;
mod self_test;
mod vectors;

pub use channels::ChannelWeights;
pub use error::QuantError;
pub use interpreter::{Int8Model, Int8Prediction, Int8Scratch};
pub use quantise::{Footprint, footprint, quantise};
pub use ranges::{ActivationRanges, observe_ranges};
