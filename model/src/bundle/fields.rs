//! The fields of a bundle, and how they are read.

use super::error::BundleError;
use crate::quant::scale::ActivationScale;
use crate::spec::MAX_ACTIVATIONS;

/// Longest model name kept in a bundle, in bytes; longer ones are cut.
pub const BUNDLE_NAME_LIMIT: usize = 255;

/// Takes fields from the contents of a bundle; every length is checked against what is there, so
/// nothing is allocated that the bytes do not pay for.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`BundleError::Truncated`] if there are fewer; the same goes for all methods below.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], BundleError> {
        let end = self.position.checked_add(count);
        let field = end.and_then(|end| self.bytes.get(self.position..end));
        let field = field.ok_or(BundleError::Truncated {
            offset: self.position,
        })?;
        self.position += count;
        Ok(field)
    }

    /// The next `N` bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BundleError> {
        let offset = self.position;
        self.take(N)?
            .try_into()
            .map_err(|_| BundleError::Truncated { offset })
    }

    /// An unsigned byte.
    pub fn u8(&mut self) -> Result<u8, BundleError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// An unsigned 32-bit integer.
    pub fn u32(&mut self) -> Result<u32, BundleError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// `count` signed bytes.
    pub fn i8s(&mut self, count: usize) -> Result<Vec<i8>, BundleError> {
        Ok(self
            .take(count)?
            .iter()
            .map(|&byte| i8::from_le_bytes([byte]))
            .collect())
    }

    /// `count` signed 32-bit integers.
    pub fn i32s(&mut self, count: usize) -> Result<Vec<i32>, BundleError> {
        let bytes = count.checked_mul(4).ok_or(BundleError::Truncated {
            offset: self.position,
        })?;
        let (words, _) = self.take(bytes)?.as_chunks::<4>();
        Ok(words.iter().map(|&word| i32::from_le_bytes(word)).collect())
    }

    /// A size: `u32`, at least 1 and at most the activation limit.
    ///
    /// # Errors
    /// [`BundleError::Field`] naming `what` if it is out of range.
    pub fn dimension(&mut self, what: &'static str) -> Result<usize, BundleError> {
        let value = usize::try_from(self.u32()?).map_err(|_| BundleError::Field { what })?;
        if (1..=MAX_ACTIVATIONS).contains(&value) {
            Ok(value)
        } else {
            Err(BundleError::Field { what })
        }
    }

    /// A `u8` that is 0 or 1.
    ///
    /// # Errors
    /// [`BundleError::Field`] naming `what` for any other value.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, BundleError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BundleError::Field { what }),
        }
    }

    /// A scale `f32` with its zero point `i8`.
    ///
    /// # Errors
    /// [`BundleError::Field`] naming `what` if the scale is not a positive normal number.
    pub fn scale(&mut self, what: &'static str) -> Result<ActivationScale, BundleError> {
        let scale = f32::from_le_bytes(self.array()?);
        let zero_point = i8::from_le_bytes(self.array()?);
        ActivationScale::from_parts(scale, zero_point).ok_or(BundleError::Field { what })
    }

    /// Whether all bytes were taken.
    pub fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }
}
