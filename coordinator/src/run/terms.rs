//! What a run asks of the ledger when it starts, and gives back when it is over.

use tributary_model::ModelFile;
use tributary_proto::RunId;

use super::Format;
use super::costs::RunCosts;
use super::origin::Origin;
use super::plan::{Room, check_budget};
use super::reserve::{PLAYBOOKS, TRAINING, WorstCase};
use crate::CoordinatorError;
use crate::core::Core;
use crate::engine::{RunState, RunStatus};
use crate::ledger::{Cap, Change, ChargeKind, Exposure, Hold, check_reason, permit};
use tributary_recipe::RunSpec;
use tributary_store::{Batch, Expect, Table};

/// Set once the runs of before there were caps and reservations have theirs.
const ADOPTED: &str = "privacy-terms";

/// What a new run asks of the ledger.
pub struct Plan<'p> {
    /// The recipe.
    pub spec: &'p RunSpec,
    /// What its rounds cost.
    pub costs: &'p RunCosts,
    /// How its updates are checked.
    pub format: &'p Format,
    /// What it charges at the most, all in all.
    pub worst: &'p WorstCase,
}

/// The caps, reservations and permissions that a new run changes.
///
/// # Errors
/// [`CoordinatorError::Budget`] when it does not fit under the caps of its devices, or has no privacy
/// although they are under one.
pub fn terms(
    core: &Core,
    hold: &Hold,
    id: &RunId,
    origin: &Origin,
    plan: &Plan<'_>,
) -> Result<Vec<Change>, CoordinatorError> {
    let spec = plan.spec;
    let now_ms = core.clock.now_ms();
    // what a person has decided for the run holds for what its playbook does
    let permission = match inherited(core, id, origin, spec) {
        Some(inherited) => Some(inherited),
        None => exposed(core, id, origin, spec)?,
    };
    if let Some(parent) = &origin.playbook_of
        && let Some(reserved) = core.ledger.reservation(parent.as_str())
    {
        let mut changes = Vec::from_iter(permission);
        if reserved.parts.iter().any(|part| part.name == PLAYBOOKS) {
            let account = (id.to_string(), ChargeKind::Training);
            let part = PLAYBOOKS.to_owned();
            changes.push(Change::Draw(reserved.id, part, account));
        }
        return Ok(changes);
    }
    let own = recipe_cap(spec)?.map(|cap| Cap {
        run: id.to_string(),
        is_promise: !spec.is_seeded(),
        unix_ms: now_ms,
        ..cap
    });
    let lowered = own.as_ref().map(|cap| hold.lower(&spec.regions, cap));
    let mut changes = lowered.unwrap_or_default();
    let bare = hold.headroom(&spec.regions, &[]);
    let headroom = hold.headroom(&spec.regions, &changes);
    let room = Room {
        own: own.is_some_and(|own| own.pico_rho == headroom.cap),
        standing: bare.left.map(|_| bare.cap),
        headroom: &headroom,
    };
    changes.extend(permission);
    let fixed = &plan.format.fixed;
    check_budget(spec, plan.costs, fixed, plan.worst, &room)?;
    changes.extend(plan.worst.reservation(id, spec).map(Change::Reserve));
    Ok(changes)
}

/// The cap that a recipe puts on the devices that it asks: its own, or its playbook's if that is lower.
fn recipe_cap(spec: &RunSpec) -> Result<Option<Cap>, CoordinatorError> {
    let playbook = spec.playbook.as_ref().map(|playbook| &playbook.privacy);
    let mut least: Option<Cap> = None;
    for privacy in [Some(&spec.privacy), playbook].into_iter().flatten() {
        let Some(epsilon) = privacy.epsilon else {
            continue;
        };
        let cap = Cap::new(epsilon, privacy.delta)?;
        if least
            .as_ref()
            .is_none_or(|least| cap.pico_rho < least.pico_rho)
        {
            least = Some(cap);
        }
    }
    Ok(least)
}

/// The permission that a playbook's run has from the run whose playbook it is, noted again for it; none if
/// it needs none, or nobody gave one.
fn inherited(core: &Core, id: &RunId, origin: &Origin, spec: &RunSpec) -> Option<Change> {
    let parent = origin.playbook_of.as_ref()?;
    if Exposure::of(spec, spec.privacy.mode.has_noise()) == Exposure::Noised {
        return None;
    }
    let reason = core.ledger.permission(parent.as_str())?;
    let reason = format!("{reason} (by playbook of run {parent})");
    Some(permit(id.as_str(), &reason, core.clock.now_ms()))
}

/// Refuses a run without privacy on devices under a cap, unless somebody says why; notes that.
fn exposed(
    core: &Core,
    id: &RunId,
    origin: &Origin,
    spec: &RunSpec,
) -> Result<Option<Change>, CoordinatorError> {
    let reason = &origin.allow_no_privacy;
    let exposure = Exposure::of(spec, spec.privacy.mode.has_noise());
    if exposure == Exposure::Noised {
        return match reason.is_empty() {
            true => Ok(None),
            false => Err(CoordinatorError::Invalid {
                field: "allow_no_privacy",
                problem: "is given, but the recipe has privacy".to_owned(),
                remedy: "leave it out",
            }),
        };
    }
    if !reason.is_empty() {
        check_reason(reason)?;
        return Ok(Some(permit(id.as_str(), reason, core.clock.now_ms())));
    }
    let caps = core.ledger.caps_in_the_way(&spec.regions, exposure);
    let Some(cap) = caps.iter().min_by_key(|cap| cap.pico_rho) else {
        return Ok(None);
    };
    let what = match exposure {
        Exposure::Seeded => "is seeded, so that its noise is known",
        _ => "adds no noise",
    };
    Err(CoordinatorError::Budget(format!(
        "the run {what}, but its devices are under a cap of {}: set privacy.mode to dp or local without a \
         seed, or say why with `run start --allow-no-privacy REASON`",
        cap.stated()
    )))
}

/// Gives back what a run that is over has reserved: all of it, unless its monitor goes on.
///
/// # Errors
/// When the store refuses.
pub async fn release_after(
    core: &Core,
    run: &RunId,
    spec: &RunSpec,
    completed: bool,
) -> Result<(), CoordinatorError> {
    let goes_on = completed && spec.is_monitored();
    let part = goes_on.then_some(TRAINING);
    core.ledger.release(run.as_str(), part).await
}

/// True when every run on disk was started under caps and reservations, or was given them.
///
/// # Errors
/// When the store can't be read.
pub fn is_adopted(core: &Core) -> Result<bool, CoordinatorError> {
    Ok(core.store.get(Table::Meta, ADOPTED.as_bytes())?.is_some())
}

/// Notes it.
///
/// # Errors
/// When the store refuses.
pub async fn set_adopted(core: &Core, before: bool) -> Result<(), CoordinatorError> {
    if before {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.put_json(Table::Meta, ADOPTED, &true, Expect::Any)?;
    core.store.commit(batch).await?;
    Ok(())
}

/// Gives a run of before there were caps and reservations its own: what it was promised is kept, and
/// what it may still charge is set aside even if that is more than is left.
///
/// # Errors
/// When the store refuses.
pub async fn adopt(
    core: &Core,
    state: &RunState,
    costs: &RunCosts,
    base: &ModelFile,
) -> Result<(), CoordinatorError> {
    let spec = &state.spec;
    let hold = core.ledger.hold().await;
    let mut changes = Vec::new();
    if let Some(cap) = recipe_cap(spec)? {
        let cap = Cap {
            run: state.id.to_string(),
            is_promise: !spec.is_seeded(),
            unix_ms: state.started_ms,
            ..cap
        };
        changes.extend(hold.lower(&spec.regions, &cap));
    }
    let goes_on = state.status == RunStatus::Completed && spec.is_monitored();
    if state.is_running() || goes_on {
        let worst = WorstCase::of(spec, costs, base)?;
        changes.extend(worst.reservation(&state.id, spec).map(Change::Reserve));
    }
    hold.commit(changes, Batch::new()).await
}
