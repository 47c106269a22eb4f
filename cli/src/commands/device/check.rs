//! `tributary device check-update`: what is wrong with an encoded update, said where it was made.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tributary_aggregator::Codec;
use tributary_device::{CheckedUpdate, check_update};

use crate::bounded;
use crate::exit::{Exit, Failure};
use crate::output::{Output, decimal};

/// Largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

const AFTER: &str = "\
Examples:
  tributary device check-update update.bin --codec int8 --clip 0.5 --values 2410
  tributary device check-update update.bin --codec topk-fixed:0.01 --clip 0.5 \\
    --values 2410 --format json

In a run with privacy the coordinator tells nobody what it finds inside an
update: one that can't be decoded, is not finite or is too long is summed as
zeros, charged, and answered with a receipt. This command makes the
coordinator's checks on your machine, and needs none. Exit code 1: the update
would not count.";

/// Flags of `device check-update`.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER)]
pub struct CheckArguments {
    /// File with the encoded update, as it would be uploaded
    file: PathBuf,
    /// Codec of the assignment's plan
    #[arg(long, value_name = "CODEC")]
    codec: Codec,
    /// Clip of the plan; under local noise its wire_clip
    #[arg(long, value_name = "NORM")]
    clip: f32,
    /// Number of values of the payload
    #[arg(long, value_name = "N")]
    values: usize,
}

/// The answer for scripts.
#[derive(Debug, Serialize)]
struct Checked {
    bytes: usize,
    values: usize,
    nonzero: usize,
    norm: f64,
}

/// Checks a file.
pub fn check(arguments: &CheckArguments, output: Output) -> Result<Exit> {
    let file = &arguments.file;
    let bytes = bounded::read("update", file, MOST_BYTES)?;
    let checked = check_update(arguments.codec, arguments.clip, arguments.values, &bytes);
    let CheckedUpdate {
        bytes,
        values,
        nonzero,
        norm,
    } = checked.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let checked = Checked {
        bytes,
        values,
        nonzero,
        norm,
    };
    output.answer(&checked, |checked, _| {
        format!(
            "valid: {} bytes, {} values, {} of them not zero, norm {} of {}",
            checked.bytes,
            checked.values,
            checked.nonzero,
            decimal(checked.norm),
            arguments.clip
        )
    })?;
    Ok(Exit::Done)
}
