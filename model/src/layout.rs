//! Where each parameter lives in the flat `f32` vector that travels.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// What a parameter does in its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Multiplies activations.
    Weight,
    /// Is added to each output channel.
    Bias,
}

/// One tensor of the model inside the flat vector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamEntry {
    /// `LAYER.KIND.NAME`, for instance `0.dense.weight`; also the tensor's name in a model file.
    pub path: String,
    /// Sizes, row major. Dense weight `[in, out]`, conv1d weight `[out, in, kernel]`.
    pub shape: Vec<usize>,
    /// Weight or bias.
    pub role: Role,
    /// The dimension of `shape` that counts output channels (quantisation is per such channel).
    pub output_axis: usize,
    /// Whether the tensor stays on the device instead of being shared and averaged.
    pub personal: bool,
    /// Index of its first value in the flat vector.
    pub offset: usize,
    /// Number of values: the product of `shape`.
    pub len: usize,
}

impl ParamEntry {
    /// The indices of the tensor in the flat vector.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len
    }

    /// Number of output channels.
    pub fn channels(&self) -> usize {
        self.shape[self.output_axis]
    }
}

/// The order, names and shapes of all parameters of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamLayout {
    /// The tensors, in the order of the flat vector, without gaps.
    pub entries: Vec<ParamEntry>,
}

impl ParamLayout {
    /// Number of values in the flat vector.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |entry| entry.range().end)
    }

    /// Whether the model has no parameters at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry called `path`.
    pub fn entry(&self, path: &str) -> Option<&ParamEntry> {
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// Marks every tensor whose path starts with `prefix` as personal and returns how many
    /// there are (`"2."` marks all tensors of layer 2).
    pub fn mark_personal(&mut self, prefix: &str) -> usize {
        let matching = self
            .entries
            .iter_mut()
            .filter(|entry| entry.path.starts_with(prefix));
        matching.map(|entry| entry.personal = true).count()
    }

    /// SHA-256 over a line `path shape role output_axis personal` per entry. Two vectors may be
    /// summed only if their layouts have the same digest.
    pub fn digest(&self) -> Digest {
        let mut text = String::new();
        for entry in &self.entries {
            text.push_str(&format!(
                "{} {:?} {:?} {} {}\n",
                entry.path, entry.shape, entry.role, entry.output_axis, entry.personal
            ));
        }
        Digest::of(text.as_bytes())
    }
}
