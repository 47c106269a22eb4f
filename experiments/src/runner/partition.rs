//! How a recipe says who holds which sample.

use serde::{Deserialize, Serialize};

/// Who holds which sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Partition {
    /// Every device looks like the whole.
    Iid {},
    /// Each device has its own mix of labels.
    Dirichlet {
        /// Concentration, above 0: 0.1 is very skewed, 100 is even.
        alpha: f64,
        /// Fewest samples of a device.
        #[serde(default = "one")]
        minimum: usize,
    },
    /// Each device holds a few samples of one natural user; users are spread over the devices in
    /// turn, and a region is a block of users.
    ByUser {
        /// Samples of a device.
        per_device: usize,
    },
}

fn one() -> usize {
    1
}
