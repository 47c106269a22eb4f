//! What an operator does with a store that nobody has open.
//!
//! - [`check`]: looks at it and changes nothing
//! - [`repair`]: saves what is left of a damaged one
//! - [`migrate`]: moves it to another engine; [`upgrade`]: folders of format 1
//! - [`build`]: a database that is made beside the one in use

pub(crate) mod build;
mod check;
mod migrate;
mod repair;
pub(crate) mod upgrade;

pub use self::check::{DamagedRecord, Inspected, StoreReport, inspect};
pub use self::migrate::{Migration, migrate};
pub use self::repair::{REPAIR_KEY, Repair, RepairNote, repair};
