//! Records that can't be read.

use crate::CoordinatorError;
use tributary_store::StoreError;

/// A record that is not the JSON of what it should be.
pub(super) fn damaged(error: serde_json::Error) -> CoordinatorError {
    encoding(error.to_string())
}

/// A record that is not what it should be.
pub(super) fn encoding(message: String) -> CoordinatorError {
    CoordinatorError::Store(StoreError::Encoding { message })
}
