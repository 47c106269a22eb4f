//! From a plan and local examples to an encoded update or a vote.
//!
//! | module | holds |
//! |---|---|
//! | `data`, `conduct` | the traits through which examples are read and a simulation makes a device slow, absent or hostile |
//! | `plan`, `method`, `privacy`, `combination` | what a plan asks, and what it can't ask together |
//! | `fit`, `quantities` | whether the device is made for what it is asked, before it looks at its data |
//! | `compute`, `local`, `personal` | the pool, local steps, and the parameters that stay on the device |
//! | `payload`, `encode`, `update` | what is sent: payload, clip and codec, the encoded update |
//! | `summary` | one example, one vote per quantity |
//! | `check` | what is wrong with an encoded update |
//! | `subnormal`, `error` | numbers that take longer, and why there is no update |

pub(crate) mod check;
pub(crate) mod combination;
pub(crate) mod compute;
pub(crate) mod data;
pub(crate) mod encode;
pub(crate) mod error;
pub(crate) mod fit;
pub(crate) mod hooks;
pub(crate) mod local;
pub(crate) mod method;
pub(crate) mod payload;
pub(crate) mod personal;
pub(crate) mod plan;
pub(crate) mod privacy;
pub(crate) mod quantities;
pub(crate) mod subnormal;
pub(crate) mod summary;
pub(crate) mod update;

pub use self::check::{CheckedUpdate, check_update};
pub use self::compute::{ComputePool, Crashed, Scratch};
pub use self::data::{DataError, DataForm, Examples, LocalData, Purpose};
pub use self::error::TrainingError;
pub use self::hooks::{Decision, NoHooks, TrainingHooks, Workload};
pub use self::update::EncodedUpdate;
