//! Speaking to the coordinator: shared connections, calls, and objects that move in pieces.
//!
//! A retried upload is identical to the byte; a download goes on where a broken stream ended.
//!
//! | module | holds |
//! |---|---|
//! | `connections` | a few HTTP/2 connections that many agents share |
//! | `timing`, `backoff` | how long is waited for what, and between tries |
//! | `link` | what one device needs for a call, and what is counted of it |
//! | `download`, `upload` | models and builds in, updates out |
//! | `shape` | what a device did in a session, one character a step |

pub(crate) mod backoff;
pub(crate) mod connections;
pub(crate) mod download;
pub(crate) mod link;
pub(crate) mod shape;
pub(crate) mod timing;
pub(crate) mod upload;

pub use self::backoff::{Backoff, BackoffLimits};
pub use self::connections::{Connections, ConnectionsError, Leased};
pub use self::shape::SessionShape;
pub use self::timing::Timing;
