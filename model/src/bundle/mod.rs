//! The build a device installs: an [`Int8Model`] as one compact, checked block of bytes.
//!
//! All integers are little endian, reals are IEEE 754 binary32. Nothing is aligned or padded, and
//! one model has exactly one encoding.
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | magic `TRBM` |
//! | 2 | format version, 1 |
//! | 1 | number of steps, 1 to 64 |
//! | 1 | number of self-test vectors |
//! | 4 | length of the whole bundle in bytes |
//! | 1, n | length of the name, name in UTF-8 (at most 255 bytes) |
//! | 1 | dimensions of the input: 1 or 2 |
//! | 4 each | size of each dimension |
//! | 4, 1 | input scale, input zero point |
//! | 1, ... per step | step code, then what the layer's kernel writes (below) |
//! | 4, 4, c per vector | seed, trace, exact output scores (c = classes); see `quant::self_test` |
//! | 4 | CRC-32 (IEEE 802.3) of all bytes before it |
//!
//! | code | step | bytes after the code |
//! |---|---|---|
//! | 1 | dense | channel block; each channel has as many weights as the input has values |
//! | 2 | conv1d | kernel `u32`, stride `u32`, channel block; weights `[filters, channels, kernel]` |
//! | 3 | relu | none |
//! | 4 | max_pool1d | size `u32`, stride `u32` |
//! | 5 | global_average_pool | none |
//!
//! Channel block: channels `u32`, absorbed ReLU `u8` (0 or 1), output scale `f32`, output zero point
//! `i8`, then bias `i32`, factor mantissa `i32` and factor exponent `i8` of all channels, then the
//! weights `i8`, channel by channel. A ReLU after dense or conv1d is absorbed, flatten moves no
//! bytes and a final softmax does not change the order of the scores: none of them is a step.
//!
//! The checksum finds damage, not tampering: authenticity comes from the signed digest around it.

mod error;
mod fields;

pub use self::error::BundleError;
pub use self::fields::{BUNDLE_NAME_LIMIT, Reader};

use crate::layers::LayerSpec;
use crate::quant::Int8Model;
use crate::quant::kernel::Int8Tensor;
use crate::spec::{MAX_ACTIVATIONS, MAX_LAYERS, volume};

/// First bytes of every bundle.
pub const BUNDLE_MAGIC: [u8; 4] = *b"TRBM";
/// The one format version this program writes and reads.
pub const BUNDLE_VERSION: u16 = 1;
/// Offset of the length field, and the bytes of everything up to and including it.
const LENGTH_AT: usize = 8;
const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

/// Checks magic, version, length and checksum; gives the bytes between header and checksum with the
/// counts of steps and vectors.
fn open(bytes: &[u8]) -> Result<(u8, u8, Reader<'_>), BundleError> {
    let mut header = Reader::new(bytes);
    if header.array()? != BUNDLE_MAGIC {
        return Err(BundleError::Magic);
    }
    let found = u16::from_le_bytes(header.array()?);
    if found != BUNDLE_VERSION {
        return Err(BundleError::Version {
            found,
            supported: BUNDLE_VERSION,
        });
    }
    let (steps, vectors, length) = (header.u8()?, header.u8()?, header.u32()?);
    if u64::from(length) != bytes.len() as u64 {
        let stated = usize::try_from(length).unwrap_or(usize::MAX);
        return Err(BundleError::Length {
            stated,
            actual: bytes.len(),
        });
    }
    let contents_end = bytes.len().saturating_sub(CHECKSUM_BYTES);
    let stored = Reader::new(&bytes[contents_end..]).u32()?;
    if crc32fast::hash(&bytes[..contents_end]) != stored {
        return Err(BundleError::Checksum);
    }
    let contents = bytes.get(HEADER_BYTES..contents_end);
    let contents = contents.ok_or(BundleError::Truncated {
        offset: HEADER_BYTES,
    })?;
    Ok((steps, vectors, Reader::new(contents)))
}

impl Int8Model {
    /// The bundle, as described [above](crate::bundle).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::from(BUNDLE_MAGIC);
        bytes.extend(BUNDLE_VERSION.to_le_bytes());
        // Counts and sizes fit: at most 64 steps and 2^26 values, checked when the model was made.
        bytes.push(self.steps().len() as u8);
        bytes.push(self.self_tests().len() as u8);
        bytes.extend([0; HEADER_BYTES - LENGTH_AT]);
        bytes.push(self.name().len() as u8);
        bytes.extend(self.name().as_bytes());
        let input = self.input();
        bytes.push(input.shape.len() as u8);
        bytes.extend(
            input
                .shape
                .iter()
                .flat_map(|&size| (size as u32).to_le_bytes()),
        );
        bytes.extend(input.scale.scale().to_le_bytes());
        bytes.extend(input.scale.zero_point().to_le_bytes());
        for step in self.steps() {
            bytes.push(step.kernel.code());
            step.kernel.write(&mut bytes);
        }
        for test in self.self_tests() {
            test.write(&mut bytes);
        }
        let length = (bytes.len() + CHECKSUM_BYTES) as u32;
        bytes[LENGTH_AT..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a bundle. Any byte string is safe to give: what is not a well-formed bundle is
    /// refused, and memory stays proportional to the length of `bytes`.
    ///
    /// The self-test is not run here; a device runs
    /// [`verify_self_test`](Int8Model::verify_self_test) after checking that the arena fits.
    ///
    /// # Errors
    /// A [`BundleError`] that says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let (step_count, vector_count, mut reader) = open(bytes)?;
        let name_length = usize::from(reader.u8()?);
        let name = std::str::from_utf8(reader.take(name_length)?).ok();
        let name = name.filter(|name| name.len() <= BUNDLE_NAME_LIMIT);
        let name = name.ok_or(BundleError::Field { what: "name" })?;
        let input = read_input(&mut reader)?;
        if !(1..=MAX_LAYERS).contains(&usize::from(step_count)) {
            return Err(BundleError::Field {
                what: "number of steps",
            });
        }

        let mut activations = input.len();
        let mut steps = Vec::with_capacity(usize::from(step_count));
        let mut current = input.clone();
        for _ in 0..step_count {
            let code = reader.u8()?;
            let step = LayerSpec::read_int8(code, &current, &mut reader)?;
            activations = activations.saturating_add(step.output.len());
            if activations > MAX_ACTIVATIONS {
                return Err(BundleError::Field {
                    what: "activations",
                });
            }
            current = step.output.clone();
            steps.push(step);
        }
        let mut model = Self::assemble(name, input, steps);
        model.read_self_tests(vector_count, &mut reader)?;
        if !reader.is_at_end() {
            return Err(BundleError::Field { what: "end" });
        }
        Ok(model)
    }
}

fn read_input(reader: &mut Reader<'_>) -> Result<Int8Tensor, BundleError> {
    let what = "input shape";
    let dimensions = reader.u8()?;
    if !matches!(dimensions, 1 | 2) {
        return Err(BundleError::Field { what });
    }
    let shape = (0..dimensions)
        .map(|_| reader.dimension(what))
        .collect::<Result<Vec<_>, _>>()?;
    if volume(&shape, MAX_ACTIVATIONS).is_none() {
        return Err(BundleError::Field { what });
    }
    Ok(Int8Tensor {
        shape,
        scale: reader.scale("input scale")?,
    })
}
