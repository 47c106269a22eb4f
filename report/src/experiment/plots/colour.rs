//! Which series has which colour: the same in every plot of a report.

use crate::experiment::{Report, RoundSeries};
use crate::style::COLOURS;

/// Regions in the order of the summary, then any others as they appear in the series.
pub(crate) fn regions(report: &Report) -> Vec<String> {
    let mut order: Vec<String> = report.summary.regions.clone();
    let accuracy = report.accuracy.iter().map(RoundSeries::label);
    let epsilon = report.epsilon.iter().map(RoundSeries::label);
    let drift = report.drift.iter().map(|point| point.region.clone());
    // where variants are compared, they are what colours tell apart
    if report
        .accuracy
        .iter()
        .any(|series| !series.variant.is_empty())
    {
        order.clear();
    }
    for name in accuracy.chain(drift).chain(epsilon) {
        if !name.is_empty() && !order.contains(&name) {
            order.push(name);
        }
    }
    order
}

/// The class that gives a region its colour; plain ink for a series that is no region.
pub(crate) fn colour(report: &Report, region: &str) -> String {
    match regions(report).iter().position(|other| other == region) {
        Some(index) => format!("c{}", index % COLOURS),
        None => "ink".into(),
    }
}
