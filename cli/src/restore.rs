//! `tributary restore`: makes a data folder safe that was put back from a copy.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use tributary_coordinator::clock::SystemClock;
use tributary_coordinator::ledger::PastCaps;
use tributary_coordinator::rollback::{Restored, restore as restore_folder};

use crate::exit::{Exit, Failure};
use crate::output::{Output, Palette};

const AFTER: &str = "\
Examples:
  tributary restore --data tributary-data
  tributary restore --data /var/lib/tributary --format json

Run it on a folder that was copied back, before the coordinator is started on
it. The ledger of a copy does not hold what was spent since, and its noise must
not be used twice. So runs that were going on end as failed, every device is
charged all that its cap leaves, and what follows for a device without a cap is
marked NOT PRIVATE. A new epoch begins, in which devices take part again.

A cap bounds what a device has spent only if it held: say --caps-changed if a
cap was raised, or a run without privacy allowed, since the copy was made, or
if you don't know. All devices are marked then.";

/// Flags of `restore`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct RestoreArguments {
    /// The data folder; no coordinator may serve it
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// A cap was raised or a run without privacy allowed since the copy: all are marked NOT PRIVATE
    #[arg(long)]
    caps_changed: bool,
}

/// Restores a folder and says what was done.
pub async fn restore(arguments: RestoreArguments, output: Output) -> Result<Exit> {
    let folder = arguments.data;
    if !folder.join("meta").is_dir() {
        let sentence = format!(
            "--data {}: there is no data folder of a coordinator; name the one that was copied back",
            folder.display()
        );
        return Err(Failure::new(Exit::Failed, sentence).into());
    }
    let caps = match arguments.caps_changed {
        true => PastCaps::Void,
        false => PastCaps::Held,
    };
    let restored = restore_folder(&folder, Arc::new(SystemClock::new()), caps).await;
    let restored = restored.map_err(|error| Failure {
        exit: Exit::Failed,
        sentence: format!("--data {}: {error}", folder.display()),
        code: Some(error.code().to_owned()),
    })?;
    output.answer(&restored, page)?;
    Ok(Exit::Done)
}

fn page(restored: &Restored, _: Palette) -> String {
    let list = |runs: &[String]| match runs {
        [] => "none".to_owned(),
        runs => runs.join(", "),
    };
    let mut lines = vec![
        format!(
            "restored: epoch {} has begun after epoch {}",
            restored.epoch, restored.former_epoch
        ),
        format!("runs ended as failed: {}", list(&restored.runs_ended)),
        format!(
            "devices charged all that their cap left: {}",
            restored.devices_charged
        ),
        format!(
            "devices that no cap bounds, NOT PRIVATE from now on: {}",
            restored.devices_not_private
        ),
    ];
    if restored.devices_charged > 0 {
        let held = "the charges are true only if no cap was raised and no run without privacy was \
                    allowed since the copy was made; else repeat this with --caps-changed";
        lines.push(held.to_owned());
    }
    if !restored.runs_damaged.is_empty() {
        let damaged = list(&restored.runs_damaged);
        lines.push(format!("runs that can't be read: {damaged}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_was_lost() {
        let restored = Restored {
            epoch: 9,
            former_epoch: 4,
            was_halted: true,
            runs_ended: vec!["a-1".to_owned(), "b-2".to_owned()],
            runs_damaged: Vec::new(),
            devices_charged: 3,
            devices_not_private: 2,
        };
        let page = page(&restored, Palette::stdout());
        for words in [
            "epoch 9",
            "a-1, b-2",
            "left: 3",
            "NOT PRIVATE from now on: 2",
            "repeat this with --caps-changed",
        ] {
            assert!(page.contains(words), "{page}");
        }
    }
}
