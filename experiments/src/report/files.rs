//! CSV and JSON, and the folder with everything.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::output_file::OutputFile;
use super::picture::{Appearance, key_plots};
use super::{Report, page};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file or folder could not be written.
    #[error("cannot write {path}; check that it is a folder that may be written to and has room")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The data could not be encoded.
    #[error("cannot encode {what}: {reason}")]
    Encode {
        /// What was being encoded.
        what: &'static str,
        /// Why not.
        reason: String,
    },
}

/// One CSV file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFile {
    /// File name, e.g. `accuracy.csv`.
    pub name: &'static str,
    /// Contents with a header line.
    pub text: String,
}

/// Where [`write_all`] put things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `report.html`.
    pub page: PathBuf,
    /// `report.json`.
    pub json: PathBuf,
    /// `report.svg`.
    pub picture: PathBuf,
    /// One file per series.
    pub csv: Vec<PathBuf>,
}

/// The report as indented JSON; reads back with serde.
///
/// # Errors
/// [`ReportError::Encode`].
pub fn json(report: &Report) -> Result<String, ReportError> {
    let text = serde_json::to_string_pretty(report);
    text.map_err(|error| ReportError::Encode {
        what: "report.json",
        reason: error.to_string(),
    })
}

/// One CSV file per series and table, empty ones included (header only). Numbers are at full precision;
/// non-finite ones are empty fields.
///
/// # Errors
/// [`ReportError::Encode`].
pub fn csv_files(report: &Report) -> Result<Vec<CsvFile>, ReportError> {
    let by_round = |name, value, series: &[super::RoundSeries]| {
        let rows = series.iter().flat_map(|series| {
            let row = |point: &super::RoundPoint| {
                let (variant, region) = (series.variant.clone(), series.region.clone());
                [variant, region, text(point.round), real(point.value)]
            };
            series.points.iter().map(row)
        });
        table(name, ["variant", "region", "round", value], rows)
    };
    let optional = |value: Option<u64>| value.map(text).unwrap_or_default();
    let drift = report.drift.iter().map(|point| {
        [
            point.region.clone(),
            point.quantity.clone(),
            text(point.window),
            real(point.statistic),
            real(point.threshold),
            text(point.verdict.name()),
        ]
    });
    let wire = report.wire.iter().map(|point| {
        let [round, down, up] = [point.round, point.down, point.up].map(text);
        [point.variant.clone(), round, down, up]
    });
    let events = report.events.iter().map(|event| {
        let (round, window) = (optional(event.round), optional(event.window));
        [
            text(event.kind.name()),
            event.region.clone(),
            round,
            window,
            event.text(),
        ]
    });
    let builds = report.summary.builds.iter().map(|build| {
        [
            build.region.clone(),
            build.profile.clone(),
            build.format.clone(),
            text(build.bytes),
            optional(build.slot_bytes),
            text(build.arena_bytes),
            optional(build.ram_bytes),
            text(build.installed_on),
            build.accuracy.map(real).unwrap_or_default(),
            build.decision.clone(),
        ]
    });
    let ledger = report.ledger.iter().map(|line| {
        let charges = [line.charges, line.charges_per_device].map(text);
        let [charges, per_device] = charges;
        [
            line.kind.clone(),
            line.region.clone(),
            charges,
            per_device,
            real(line.rho),
            line.adjacency.clone(),
            line.mechanism.clone(),
        ]
    });
    let conditions = report.epsilon_conditions.iter().map(Some);
    let conditions = conditions.chain(std::iter::repeat(None));
    let epsilon = report
        .epsilon
        .iter()
        .zip(conditions)
        .flat_map(|(series, at)| {
            let row = move |point: &super::RoundPoint| {
                [
                    series.region.clone(),
                    text(point.round),
                    real(point.value),
                    at.map_or(String::new(), |at| real(at.delta)),
                    at.map_or(String::new(), |at| at.adjacency.clone()),
                    at.map_or(String::new(), |at| at.mechanism.clone()),
                ]
            };
            series.points.iter().map(row)
        });
    Ok(vec![
        by_round("accuracy.csv", "accuracy", &report.accuracy)?,
        table(
            "epsilon.csv",
            [
                "region",
                "round",
                "epsilon",
                "delta",
                "adjacency",
                "mechanism",
            ],
            epsilon,
        )?,
        table(
            "drift.csv",
            [
                "region",
                "quantity",
                "window",
                "statistic",
                "threshold",
                "verdict",
            ],
            drift,
        )?,
        table(
            "wire.csv",
            ["variant", "round", "down_bytes", "up_bytes"],
            wire,
        )?,
        table(
            "events.csv",
            ["kind", "region", "round", "window", "text"],
            events,
        )?,
        table(
            "builds.csv",
            [
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
            ],
            builds,
        )?,
        table(
            "ledger.csv",
            [
                "kind",
                "region",
                "charges",
                "charges_per_device",
                "rho",
                "adjacency",
                "mechanism",
            ],
            ledger,
        )?,
    ])
}

fn text(value: impl Display) -> String {
    value.to_string()
}

fn real(value: f64) -> String {
    if value.is_finite() {
        value.to_string()
    } else {
        String::new()
    }
}

fn table<const COLUMNS: usize>(
    name: &'static str,
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> Result<CsvFile, ReportError> {
    let encode = |reason: String| ReportError::Encode { what: name, reason };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(header)
        .map_err(|error| encode(error.to_string()))?;
    for row in rows {
        writer
            .write_record(row)
            .map_err(|error| encode(error.to_string()))?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| encode(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| encode(error.to_string()))?;
    Ok(CsvFile { name, text })
}

/// Makes a folder where it is not there, and checks that files can be made in it: a report that can't be
/// written must not cost the work before it.
///
/// # Errors
/// What the operating system says.
pub fn prepare_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

/// Writes `report.html`, `report.json`, `report.svg` and the CSV files into `folder`, which is made when
/// it is not there. Existing files of these names are replaced.
///
/// # Errors
/// [`ReportError`].
pub fn write_all(report: &Report, folder: &Path) -> Result<Written, ReportError> {
    let failed = |path: &Path, source| ReportError::Write {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        OutputFile::write(&path, text.as_bytes()).map_err(|source| failed(&path, source))?;
        Ok(path)
    };
    let csv = csv_files(report)?;
    Ok(Written {
        page: write("report.html", &page(report))?,
        json: write("report.json", &json(report)?)?,
        picture: write("report.svg", &key_plots(report, Appearance::Adaptive))?,
        csv: csv
            .iter()
            .map(|file| write(file.name, &file.text))
            .collect::<Result<_, _>>()?,
    })
}
