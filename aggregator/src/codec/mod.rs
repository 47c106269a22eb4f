//! How a vector of `f32` becomes bytes on the wire, and back.
//!
//! `docs/wire-formats.md` gives every layout byte by byte. Two kinds of scheme exist: those that
//! decode [`BLOCK`] values at a time ([`BlockScheme`]) and those that are decoded as a whole.

mod block;
mod block_scheme;
mod centroids;
mod compressed;
mod decode;
mod encode;
mod error_feedback;
mod floats;
mod hadamard;
mod lengths;
mod levels;
mod names;
mod rotation;
mod scheme;
mod share;
mod sparse;
mod sparse_fixed;

pub(crate) use block::BLOCK;
pub(crate) use block_scheme::BlockScheme;
pub use error_feedback::{ErrorFeedback, FeedbackError};
pub use names::UnknownCodec;
pub use scheme::{Codec, EdenBits, Scheme};
pub use share::Share;

#[cfg(test)]
mod tests;
