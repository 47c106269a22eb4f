//! What stands beside the engine on a disk: whose folder it is, what was acknowledged, what proves it.
//!
//! - [`folder`], [`format`], [`files`]: the data folder, and files that are private and synced
//! - [`anchor`]: what was acknowledged last, kept outside the engine; [`doubt`]: why it and the engine disagree
//! - [`checksum`], [`schema`]: checksums, and how records and the header are written
//! - [`proof`]: reads everything and compares it with the anchor

pub(crate) mod anchor;
pub(crate) mod checksum;
pub(crate) mod doubt;
pub(crate) mod files;
pub(crate) mod folder;
pub(crate) mod format;
pub(crate) mod proof;
pub(crate) mod schema;
