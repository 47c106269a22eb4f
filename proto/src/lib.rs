//! Wire types of Tributary, generated from `tributary/v1/*.proto`, and the newtypes of its ids.
//!
//! The protos are compiled with protox, so no `protoc` is needed. Other languages read the same
//! files; the running server also serves them by gRPC reflection from [`FILE_DESCRIPTOR_SET`].
//!
//! - [`v1`]: generated messages, clients and servers
//! - [`ids`]: checked newtypes of devices, regions, runs and monitors
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod ids;
pub mod v1;

pub use ids::{DeviceId, IdError, MonitorId, RegionId, RunId};
pub use v1::FILE_DESCRIPTOR_SET;
