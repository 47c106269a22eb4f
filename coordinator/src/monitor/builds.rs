//! A build of the region's model for each device profile: the widest variant that fits.

use std::collections::BTreeMap;
use std::time::Duration;

use ed25519_dalek::Signer as _;
use tributary_model::quant::{ActivationRanges, Int8Model, quantise};
use tributary_model::{Digest, Marks, ModelFile};
use tributary_proto::v1::{BuildChanged, BuildOffer, watch_response};
use tributary_proto::{DeviceId, RegionId};

use super::at_work::Monitor;
use super::calibration::calibrate;
use super::installs::OfferKey;
use crate::CoordinatorError;
use crate::fleet::Profile;
use crate::registry::BuildRecord;
use tributary_recipe::{BuildSpec, RunSpec};

/// The format of these builds.
pub const FORMAT: &str = "tributary-int8-v1";

/// One variant of a model.
struct Variant {
    name: String,
    model: Int8Model,
}

/// Calibrates, builds for every profile of the region, offers the builds and waits for the devices.
///
/// # Errors
/// When calibration fails or a store refuses. A profile that nothing fits is reported, not an error.
pub async fn build_for_region(
    handle: &Monitor,
    spec: &RunSpec,
    builds: &BuildSpec,
    region: &RegionId,
    model: Digest,
) -> Result<(), CoordinatorError> {
    let core = handle.core();
    let file = core.registry.file(&model).await?;
    let graph = file.spec.graph()?;
    let ranges = calibrate(handle, spec, builds, region, model, &graph).await?;
    let own = Marks {
        seeded: spec.is_seeded(),
        no_noise: builds.calibration_noise_votes == 0.0,
        restored: core.ledger.has_marked(std::slice::from_ref(region)),
    };
    let marks = core.registry.marks(&model)?.and(own);
    let widths = builds.widths.clone();
    // quantising computes: beside the threads that answer calls
    let made = tokio::task::spawn_blocking(move || variants(&file, &ranges, &widths)).await;
    let variants = made.map_err(|error| CoordinatorError::of_task("making a build", &error))??;
    let mut offers = Vec::new();
    for (profile, devices) in profiles(handle, region, &spec.task) {
        match choose(&variants, &profile) {
            Ok((variant, decision)) => {
                let bytes = variant.model.to_bytes();
                let put = || async { Ok(core.blobs.put(bytes.clone()).await?) };
                let digest = handle.with_room(put).await?;
                let record = BuildRecord {
                    digest,
                    model,
                    region: region.to_string(),
                    profile: profile.name,
                    format: FORMAT.to_owned(),
                    variant: variant.name.clone(),
                    bytes: variant.model.flash_bytes() as u64,
                    arena_bytes: variant.model.arena().bytes as u64,
                    decision,
                    offered_to: devices.len() as u64,
                    installed_on: 0,
                    failed_on: 0,
                    marks,
                };
                handle
                    .with_room(|| core.registry.put_build(&record))
                    .await?;
                offers.push((record, devices));
            }
            Err(why) => tracing::warn!(%region, profile = profile.name, why, "no build fits"),
        }
    }
    roll_out(handle, spec, builds, offers).await
}

fn variants(
    file: &ModelFile,
    ranges: &ActivationRanges,
    widths: &[f32],
) -> Result<Vec<Variant>, CoordinatorError> {
    let graph = file.spec.graph()?;
    let mut variants = Vec::with_capacity(widths.len());
    for &width in widths {
        let variant = if width >= 1.0 {
            Variant {
                name: "full".to_owned(),
                model: quantise(&graph, &file.weights, ranges)?,
            }
        } else {
            let (spec, weights) =
                tributary_model::prune::prune_width(&graph, &file.weights, width)?;
            let model = quantise(&spec.graph()?, &weights, ranges)?;
            Variant {
                name: format!("width-{width}"),
                model,
            }
        };
        variants.push(variant);
    }
    Ok(variants)
}

/// The first variant that fits, and why.
fn choose<'v>(variants: &'v [Variant], profile: &Profile) -> Result<(&'v Variant, String), String> {
    if !profile.formats.iter().any(|format| format == FORMAT) {
        return Err(format!("it does not run {FORMAT}"));
    }
    let mut refusals = Vec::new();
    for variant in variants {
        let ram = usize::try_from(profile.ram_bytes).unwrap_or(usize::MAX);
        let slot = usize::try_from(profile.flash_slot_bytes).unwrap_or(usize::MAX);
        match tributary_model::fit::fits(&variant.model, ram, slot) {
            Ok(()) => {
                refusals.push(format!(
                    "{} fits: {} of {} bytes of flash, {} of {} bytes of RAM",
                    variant.name,
                    variant.model.flash_bytes(),
                    profile.flash_slot_bytes,
                    variant.model.arena().bytes,
                    profile.ram_bytes
                ));
                return Ok((variant, refusals.join("; ")));
            }
            Err(refusal) => refusals.push(format!(
                "{} needs {} bytes of {}, {} are there",
                variant.name, refusal.needed, refusal.what, refusal.available
            )),
        }
    }
    Err(refusals.join("; "))
}

/// The region's reachable devices by profile, in the order of the profiles' names.
fn profiles(handle: &Monitor, region: &RegionId, task: &str) -> Vec<(Profile, Vec<DeviceId>)> {
    let fleet = &handle.core().fleet;
    let mut groups = BTreeMap::<String, (Profile, Vec<DeviceId>)>::new();
    for id in fleet.reachable(region, task) {
        let Some(device) = fleet.device(&id) else {
            continue;
        };
        let profile = Profile::clone(&device.profile);
        let group = groups
            .entry(profile.name.clone())
            .or_insert((profile, Vec::new()));
        group.1.push(id);
    }
    groups.into_values().collect()
}

async fn roll_out(
    handle: &Monitor,
    spec: &RunSpec,
    builds: &BuildSpec,
    offers: Vec<(BuildRecord, Vec<DeviceId>)>,
) -> Result<(), CoordinatorError> {
    let core = handle.core();
    for (record, devices) in &offers {
        handle.installs.offer(
            core,
            key(record),
            offer(handle, record, &spec.task),
            devices,
        );
    }
    let patience = Duration::from_millis(builds.deadline_ms);
    for (mut record, _) in offers {
        let tally = handle.installs.wait(&key(&record), patience).await;
        record.installed_on = tally.installed;
        record.failed_on = tally.failed;
        handle
            .with_room(|| core.registry.put_build(&record))
            .await?;
        let build = Some(record.into());
        core.tell(watch_response::Event::Build(BuildChanged { build }));
    }
    Ok(())
}

fn key(record: &BuildRecord) -> OfferKey {
    OfferKey {
        build: record.digest,
        region: record.region.clone(),
        profile: record.profile.clone(),
    }
}

fn offer(handle: &Monitor, record: &BuildRecord, task: &str) -> BuildOffer {
    let text = format!("tributary-build-v1:{}", record.digest);
    BuildOffer {
        build_digest: record.digest.to_string(),
        size: record.bytes,
        format: record.format.clone(),
        arena_bytes: record.arena_bytes,
        signature: handle
            .core()
            .build_key
            .sign(text.as_bytes())
            .to_bytes()
            .to_vec()
            .into(),
        model_digest: record.model.to_string(),
        task: task.to_owned(),
    }
}
