//! The series and tables of a report as CSV.

use super::{Conditions, Report, RoundPoint, RoundSeries};
use crate::csv_file::{CsvFile, field, finite, optional};
use crate::error::EncodeError;

/// One CSV file per series and table, empty ones included (header only). Numbers are at full precision;
/// non-finite ones are empty fields.
///
/// # Errors
/// [`EncodeError`] names the file.
pub fn csv_files(report: &Report) -> Result<Vec<CsvFile>, EncodeError> {
    Ok(vec![
        accuracy(report)?,
        epsilon(report)?,
        drift(report)?,
        wire(report)?,
        events(report)?,
        builds(report)?,
        ledger(report)?,
    ])
}

fn accuracy(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.accuracy.iter().flat_map(|series| {
        let row = |point: &RoundPoint| {
            let (variant, region) = (series.variant.clone(), series.region.clone());
            [variant, region, field(point.round), finite(point.value)]
        };
        series.points.iter().map(row)
    });
    let header = ["variant", "region", "round", "accuracy"];
    CsvFile::new("accuracy.csv", header, rows)
}

fn epsilon(report: &Report) -> Result<CsvFile, EncodeError> {
    let conditions = report.epsilon_conditions.iter().map(Some);
    let conditions = conditions.chain(std::iter::repeat(None));
    let series = report.epsilon.iter().zip(conditions);
    let rows = series.flat_map(|(series, at)| spent(series, at));
    let header = [
        "region",
        "round",
        "epsilon",
        "delta",
        "adjacency",
        "mechanism",
    ];
    CsvFile::new("epsilon.csv", header, rows)
}

/// The rows of one series of epsilons; without conditions their fields are empty.
fn spent<'r>(
    series: &'r RoundSeries,
    at: Option<&'r Conditions>,
) -> impl Iterator<Item = [String; 6]> + 'r {
    series.points.iter().map(move |point| {
        [
            series.region.clone(),
            field(point.round),
            finite(point.value),
            at.map_or(String::new(), |at| finite(at.delta)),
            optional(at.map(|at| &at.adjacency)),
            optional(at.map(|at| &at.mechanism)),
        ]
    })
}

fn drift(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.drift.iter().map(|point| {
        [
            point.region.clone(),
            point.quantity.clone(),
            field(point.window),
            finite(point.statistic),
            finite(point.threshold),
            field(point.verdict.name()),
        ]
    });
    let header = [
        "region",
        "quantity",
        "window",
        "statistic",
        "threshold",
        "verdict",
    ];
    CsvFile::new("drift.csv", header, rows)
}

fn wire(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.wire.iter().map(|point| {
        let [round, down, up] = [point.round, point.down, point.up].map(field);
        [point.variant.clone(), round, down, up]
    });
    let header = ["variant", "round", "down_bytes", "up_bytes"];
    CsvFile::new("wire.csv", header, rows)
}

fn events(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.events.iter().map(|event| {
        [
            field(event.kind.name()),
            event.region.clone(),
            optional(event.round),
            optional(event.window),
            event.text(),
        ]
    });
    let header = ["kind", "region", "round", "window", "text"];
    CsvFile::new("events.csv", header, rows)
}

fn builds(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.summary.builds.iter().map(|build| {
        [
            build.region.clone(),
            build.profile.clone(),
            build.format.clone(),
            field(build.bytes),
            optional(build.slot_bytes),
            field(build.arena_bytes),
            optional(build.ram_bytes),
            field(build.installed_on),
            build.accuracy.map(finite).unwrap_or_default(),
            build.decision.clone(),
        ]
    });
    let header = [
        "region",
        "profile",
        "format",
        "bytes",
        "slot_bytes",
        "arena_bytes",
        "ram_bytes",
        "installed_on",
        "accuracy",
        "decision",
    ];
    CsvFile::new("builds.csv", header, rows)
}

fn ledger(report: &Report) -> Result<CsvFile, EncodeError> {
    let rows = report.ledger.iter().map(|line| {
        let [charges, per_device] = [line.charges, line.charges_per_device].map(field);
        [
            line.kind.clone(),
            line.region.clone(),
            charges,
            per_device,
            finite(line.rho),
            line.adjacency.clone(),
            line.mechanism.clone(),
        ]
    });
    let header = [
        "kind",
        "region",
        "charges",
        "charges_per_device",
        "rho",
        "adjacency",
        "mechanism",
    ];
    CsvFile::new("ledger.csv", header, rows)
}
