//! Failures that pass, and those after which memory can't be relied on.

use crate::CoordinatorError;
use tributary_store::blob::BlobError;
use tributary_store::{StoreError, Table};

/// How the reason of a run begins that has no room on the disk.
pub const NO_SPACE: &str = "waiting for space";

/// True when what is in memory can't be relied on after this error.
pub fn needs_reload(error: &CoordinatorError) -> bool {
    match error {
        CoordinatorError::Crashed(_)
        | CoordinatorError::Inconsistent(_)
        | CoordinatorError::Misfit { .. }
        // what is read back needs it too, and says so
        | CoordinatorError::Blob(BlobError::Corrupt { .. } | BlobError::NotFound { .. }) => true,
        // the journal on disk is longer than the one in memory
        CoordinatorError::Store(StoreError::Conflict { table, .. }) => {
            matches!(table, Table::RunEvents | Table::Runs)
        }
        _ => false,
    }
}
