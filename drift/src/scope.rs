//! Is it one region or the fleet?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::region::WindowReport;
use crate::stream::Level;
use crate::verdict::Verdict;

/// How far a drift reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// No region drifts.
    None,
    /// These regions drift, each in its own way: act on each.
    Regional(Vec<String>),
    /// At least half of the regions move the same way: one action on the whole fleet.
    Fleet,
}

/// Reads the scope from one report per region, of the same window.
///
/// It is fleet-wide if at least two regions and at least half of all regions drift, and one quantity is
/// over its drift threshold in all those with the same sign of its mean shift.
pub fn drift_scope(reports: &[WindowReport]) -> Scope {
    let drifting: Vec<&WindowReport> = reports
        .iter()
        .filter(|report| report.verdict == Verdict::Drift)
        .collect();
    if drifting.is_empty() {
        return Scope::None;
    }
    let most_alike = most_regions_alike(&drifting);
    if most_alike >= 2 && 2 * most_alike >= reports.len() {
        return Scope::Fleet;
    }
    Scope::Regional(
        drifting
            .iter()
            .map(|report| report.region.clone())
            .collect(),
    )
}

/// The largest number of regions in which one quantity drifts in one direction.
fn most_regions_alike(drifting: &[&WindowReport]) -> usize {
    let mut alike: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for observation in drifting.iter().flat_map(|report| &report.observations) {
        if let Some(test) = observation.test.filter(|test| test.level == Level::Drift) {
            let upwards = test.effect.mean_shift_bins >= 0.0;
            *alike.entry((&observation.quantity, upwards)).or_default() += 1;
        }
    }
    alike.into_values().max().unwrap_or(0)
}
