//! The coordinator: gRPC services, the round engine, the fleet, the registry, builds and the monitor.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | durable metadata: atomic compare-and-swap batches over a closed list of tables |
//! | [`blob`] | content-addressed bytes: weights, partial sums, builds |

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod blob;
pub mod store;
