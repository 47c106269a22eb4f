//! A model as one file: safetensors with the architecture inside.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, View, serialize};

use crate::bundle::BUNDLE_MAGIC;
use crate::{Digest, Graph, MARKS_KEY, Marks, ModelError, ModelSpec, ParamEntry};

/// The metadata key of the file that holds the canonical JSON of the spec.
pub const SPEC_KEY: &str = "tributary.spec";

/// Bytes of a safetensors file before its header, and what the header is a multiple of.
const LENGTH: usize = 8;
/// How the header of every file that is written here begins.
const METADATA: &[u8] = b"{\"__metadata__\":{";
/// Most bytes of the header: tensor names with their shapes, and the metadata. The largest model has a
/// fraction of it; a header is parsed as a whole, so a longer one costs its reader time and memory.
pub const MAX_HEADER: u64 = 1 << 20;

/// A model version: architecture and weights. Its name is the digest of its bytes.
///
/// The file is safetensors: one little-endian `f32` tensor per [`ParamEntry`], named by its path,
/// and the metadata key [`SPEC_KEY`]. The same model always gives the same bytes. Files written by
/// other safetensors libraries are read too, if spec and tensors agree.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The architecture.
    pub spec: ModelSpec,
    /// The flat parameter vector, in the order of the spec's layout.
    pub weights: Vec<f32>,
}

impl ModelFile {
    /// The bytes of the file.
    ///
    /// # Errors
    /// If the spec is not valid, or the weights have a wrong length or are not finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        let graph = self.spec.graph()?;
        super::engine::check_len("weights", graph.layout().len(), self.weights.len())?;
        check_finite(&self.weights)?;
        let entries = graph.layout().entries.iter();
        let tensors = entries.map(|entry| {
            let values = &self.weights[entry.range()];
            (
                entry.path.as_str(),
                LittleEndian {
                    shape: &entry.shape,
                    values,
                },
            )
        });
        let spec = self.spec.to_canonical_json()?;
        let metadata = HashMap::from([(SPEC_KEY.to_owned(), spec)]);
        Ok(serialize(tensors, Some(metadata))?)
    }

    /// The bytes of the file with marks in its metadata; without marks those of
    /// [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes).
    pub fn to_marked_bytes(&self, marks: Marks) -> Result<Vec<u8>, ModelError> {
        let bytes = self.to_bytes()?;
        if marks.is_empty() {
            return Ok(bytes);
        }
        // the library writes metadata in the order of a hash map: a second key would stand anywhere
        let (length, data) = bytes.split_at(LENGTH);
        let length = u64::from_le_bytes(length.try_into().unwrap_or_default()) as usize;
        let (header, tensors) = data.split_at(length.min(data.len()));
        let Some(rest) = header.strip_prefix(METADATA) else {
            return Ok(bytes);
        };
        let mut marked = METADATA.to_vec();
        marked.extend_from_slice(format!("\"{MARKS_KEY}\":\"{marks}\",").as_bytes());
        marked.extend_from_slice(rest.trim_ascii_end());
        marked.resize(marked.len().next_multiple_of(LENGTH), b' ');
        let mut file = (marked.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(&marked);
        file.extend_from_slice(tensors);
        Ok(file)
    }

    /// The marks of a file.
    ///
    /// # Errors
    /// If the bytes are not safetensors, or carry a mark that is not known.
    pub fn marks_of(bytes: &[u8]) -> Result<Marks, ModelError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        Marks::of_metadata(metadata.metadata().as_ref())
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// If they are not safetensors, have a header above [`MAX_HEADER`] bytes, lack the spec, or hold other tensors than it asks for, tensors
    /// of another shape or type, or values that are not finite. A damaged weight that is still a
    /// number can't be told from a good one: use [`from_verified_bytes`](Self::from_verified_bytes)
    /// where the digest is known.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        refuse_other_formats(bytes)?;
        check_header(bytes)?;
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let spec = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get(SPEC_KEY));
        let spec = ModelSpec::from_json(spec.ok_or(ModelError::NoSpec { key: SPEC_KEY })?)?;
        let graph = spec.graph()?;
        let tensors = SafeTensors::deserialize(bytes)?;
        refuse_unknown_tensors(&graph, &tensors)?;
        let mut weights = Vec::with_capacity(graph.layout().len().min(bytes.len() / 4));
        for entry in &graph.layout().entries {
            weights.extend(tensor_values(entry, &tensors)?);
        }
        check_finite(&weights)?;
        Ok(Self { spec, weights })
    }

    /// Reads the bytes of a file that must have the given digest.
    ///
    /// # Errors
    /// [`ModelError::WrongDigest`] on any change of the bytes; else as
    /// [`from_bytes`](Self::from_bytes).
    pub fn from_verified_bytes(bytes: &[u8], expected: &Digest) -> Result<Self, ModelError> {
        let actual = Digest::of(bytes);
        if actual != *expected {
            return Err(ModelError::WrongDigest {
                expected: *expected,
                actual,
            });
        }
        Self::from_bytes(bytes)
    }
}

/// Names the formats that people hand in instead, by how they begin.
fn refuse_other_formats(bytes: &[u8]) -> Result<(), ModelError> {
    // torch.save writes a zip archive of pickles, and wrote a bare pickle before 1.6
    let zipped = bytes.starts_with(b"PK\x03\x04");
    let pickled =
        bytes.starts_with(&[0x80, 0x02, 0x8a, 0x0a]) || bytes.starts_with(&[0x80, 0x02, b'c']);
    if bytes.starts_with(&BUNDLE_MAGIC) {
        Err(ModelError::IsBuild)
    } else if zipped || pickled {
        Err(ModelError::IsPickle { key: SPEC_KEY })
    } else {
        Ok(())
    }
}

/// A tensor as safetensors wants to write it.
struct LittleEndian<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for LittleEndian<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        for value in self.values {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Refuses a long header before anything of it is parsed. The first 8 bytes have its length.
fn check_header(bytes: &[u8]) -> Result<(), ModelError> {
    let Some(length) = bytes.first_chunk::<8>() else {
        return Ok(()); // too short for anything, which is found when it is read
    };
    let length = u64::from_le_bytes(*length);
    if bytes.get(8).is_some_and(|first| *first != b'{') {
        return Err(ModelError::NotSafetensors);
    }
    if length > MAX_HEADER {
        return Err(ModelError::HeaderTooLong {
            bytes: length,
            limit: MAX_HEADER,
        });
    }
    Ok(())
}

fn refuse_unknown_tensors(graph: &Graph, tensors: &SafeTensors<'_>) -> Result<(), ModelError> {
    let mut names = tensors.names();
    names.sort_unstable();
    match names
        .into_iter()
        .find(|name| graph.layout().entry(name).is_none())
    {
        Some(name) => Err(tensor_error(
            name,
            "the spec has no such parameter".to_owned(),
        )),
        None => Ok(()),
    }
}

fn tensor_values(
    entry: &ParamEntry,
    tensors: &SafeTensors<'_>,
) -> Result<impl Iterator<Item = f32>, ModelError> {
    let tensor: TensorView<'_> = tensors
        .tensor(&entry.path)
        .map_err(|_| tensor_error(&entry.path, "it is missing".to_owned()))?;
    if tensor.dtype() != Dtype::F32 {
        let problem = format!("its type is {}, expected F32", tensor.dtype());
        return Err(tensor_error(&entry.path, problem));
    }
    if tensor.shape() != entry.shape {
        let problem = format!(
            "its shape is {:?}, expected {:?}",
            tensor.shape(),
            entry.shape
        );
        return Err(tensor_error(&entry.path, problem));
    }
    let (words, _) = tensor.data().as_chunks::<4>();
    Ok(words.iter().copied().map(f32::from_le_bytes))
}

fn tensor_error(path: &str, problem: String) -> ModelError {
    ModelError::Tensor {
        path: path.to_owned(),
        problem,
    }
}

fn check_finite(weights: &[f32]) -> Result<(), ModelError> {
    match weights.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::BrokenWeights { index }),
        None => Ok(()),
    }
}
