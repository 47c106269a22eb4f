//! The unit that updates are decoded, rounded and added in.

use tributary_privacy::VectorError;

/// Values in a block.
pub(crate) const BLOCK: usize = 1024;

/// Refuses values that start at `offset` with a NaN or infinite one among them.
pub(super) fn refuse_non_finite(values: &[f32], offset: usize) -> Result<(), VectorError> {
    // without an early exit, so that the common case uses vector registers
    let finite = values
        .iter()
        .fold(true, |finite, value| finite & value.is_finite());
    if finite {
        return Ok(());
    }
    let position = values.iter().position(|value| !value.is_finite());
    Err(VectorError::NotFinite {
        index: offset + position.unwrap_or(0),
    })
}
