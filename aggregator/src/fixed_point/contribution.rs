//! One validated update as integers.

use std::fmt;

use super::FixedPoint;
use super::update::EncodedBlocks;
use crate::codec::{BLOCK, Codec};
use crate::error::UpdateError;

/// A validated update: integers whose exact L2 norm is at most the bound.
///
/// Only [`FixedPoint::contribution`] makes one. `Debug` shows the dimension and no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Contribution {
    values: Vec<i32>,
}

impl FixedPoint {
    /// Decodes, rounds and checks one update: the integers that
    /// [`Partial::add_many`](crate::Partial::add_many) adds without holding them.
    ///
    /// # Errors
    /// [`UpdateError::WrongLength`], [`UpdateError::Malformed`], [`VectorError::NotFinite`](tributary_privacy::VectorError::NotFinite) or
    /// [`VectorError::NormTooLarge`](tributary_privacy::VectorError::NormTooLarge).
    pub fn contribution(&self, codec: Codec, bytes: &[u8]) -> Result<Contribution, UpdateError> {
        // checks the length before the allocation, so that no refused message decides its size
        let update = EncodedBlocks::new(codec, bytes, self.dimension())?;
        let mut values = vec![0; self.dimension()];
        let mut squares = update.no_squares();
        for (number, values) in values.chunks_mut(BLOCK).enumerate() {
            update.add::<false>(number, self.factor, values, &mut squares);
        }
        self.check(&update, squares)?;
        for value in &mut values {
            *value = value.wrapping_sub(super::rounding::BIAS);
        }
        Ok(Contribution { values })
    }
}

impl Contribution {
    /// The integers, one per parameter, each at most the bound in magnitude.
    pub fn values(&self) -> &[i32] {
        &self.values
    }
}

impl fmt::Debug for Contribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Contribution({} values)", self.values.len())
    }
}
