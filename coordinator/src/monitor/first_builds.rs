//! Builds of the run's own model: where the recipe has `[builds]` and no playbook that would make them
//! later.

use super::at_work::Monitor;
use super::builds::build_for_region;
use super::record::MonitorRecord;
use crate::CoordinatorError;
use tributary_store::Batch;

/// Attempts for each region; each waits for devices until `builds.deadline_ms`.
const ATTEMPTS: u32 = 3;

/// Builds for every region that has none yet; what failed, as a sentence. Stopping ends the wait.
pub async fn first_builds(handle: &Monitor, record: &mut MonitorRecord) -> String {
    let spec = record.header.spec.clone();
    let Some(builds) = spec.builds.as_ref().filter(|_| spec.has_first_builds()) else {
        return String::new();
    };
    let mut failed = Vec::new();
    for index in 0..record.regions.len() {
        if record.regions[index].built {
            continue;
        }
        let (region, model) = (&spec.regions[index], record.regions[index].model);
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS {
            outcome = tokio::select! {
                built = build_for_region(handle, &spec, builds, region, model) => built,
                () = handle.stop.cancelled() => return failed.join("; "),
            };
            if outcome.is_ok() {
                break;
            }
        }
        let kept = match outcome {
            Ok(()) => keep(handle, record, index).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::error!(monitor = %handle.id, %region, %error, "the first builds failed");
            failed.push(format!("no builds for {region}: {error}"));
        }
    }
    failed.join("; ")
}

async fn keep(
    handle: &Monitor,
    record: &mut MonitorRecord,
    index: usize,
) -> Result<(), CoordinatorError> {
    record.regions[index].built = true;
    let mut batch = Batch::new();
    record.put_region(index, &mut batch)?;
    handle.commit(&batch).await
}
