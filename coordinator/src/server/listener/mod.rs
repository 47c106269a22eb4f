//! Connections: accepted within limits, with deadlines.
//!
//! - [`acceptor`]: accepts them; [`descriptors`]: how many the open files allow
//! - [`places`]: how many there may be, in all and of one peer
//! - [`guarded`]: one that must begin in time; [`connection`]: how a request knows its own

pub(super) mod acceptor;
pub(super) mod connection;
pub(super) mod descriptors;
pub(super) mod guarded;
pub(super) mod places;
