//! How many values a noise state may have.

use super::FtrlError;
use crate::grid::MAX_DIMENSION;

/// Refuses an empty model and one beyond [`MAX_DIMENSION`].
pub(super) fn check_dimension(dimension: usize) -> Result<(), FtrlError> {
    if dimension == 0 || dimension > MAX_DIMENSION {
        return Err(FtrlError::BadDimension {
            dimension,
            max: MAX_DIMENSION,
        });
    }
    Ok(())
}
