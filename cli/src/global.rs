//! Flags that hold for every verb.

use clap::Args;

use crate::output::Format;

/// What holds for every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// How the answer is printed on standard output
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "human",
        value_name = "FORMAT"
    )]
    pub format: Format,
    /// The coordinator to talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TRIBUTARY_COORDINATOR",
        default_value = "http://127.0.0.1:7070"
    )]
    pub coordinator: String,
}
