//! What is served over HTTP.

pub(super) mod admin;
