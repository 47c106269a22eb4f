//! What the attack laboratory found: the outcome as data, and what shows it.
//!
//! - [`AttackOutcome`]: accuracy of every pipeline under every attack.
//! - [`page()`]: the HTML page.
//! - [`csv_file()`]: one line per setting, pipeline and attack.

mod csv_file;
mod outcome;
mod page;

pub use csv_file::csv_file;
pub use outcome::{AttackOutcome, CellOutcome, PipelineOutcome, SettingOutcome, Worst};
pub use page::page;
