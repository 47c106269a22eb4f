//! `tributary drift`: what the monitors see.

use anyhow::Result;
use clap::Subcommand;
use tonic::Response;
use tributary_proto::v1::{GetDriftRequest, GetDriftResponse};

use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Align, Cell, Format, Output, Palette, Table, Tone, count, decimal, printable};
use crate::text::monitor::{progress, tone};
use crate::view::{DriftView, MonitorView, WindowView};

const AFTER: &str = "\
Examples:
  tributary drift show
  tributary drift show --run RUN --windows 50
  tributary drift show --format json";

/// Rows of windows that are read at a time.
const PAGE: u32 = 2_000;

/// Verbs of `drift`.
#[derive(Debug, Subcommand)]
pub enum DriftVerb {
    /// Show verdicts and the latest windows
    #[command(after_help = AFTER)]
    Show {
        /// Only the monitor of this run
        #[arg(
            long,
            value_name = "RUN",
            default_value = "",
            hide_default_value = true
        )]
        run: String,
        /// Latest windows shown per monitor; JSON has all that are kept
        #[arg(long, value_name = "N", default_value_t = 12)]
        windows: usize,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: DriftVerb, global: &Global, output: Output) -> Result<Exit> {
    let DriftVerb::Show { run, windows } = verb;
    let coordinator = Coordinator::at(&global.coordinator)?;
    let wanted = match output.format {
        Format::Json => usize::MAX,
        Format::Human => windows,
    };
    let monitors = monitors(&coordinator, &run, wanted).await?;
    output.answer(&DriftView::from(monitors), |drift, colours| {
        text(drift, windows, colours)
    })?;
    Ok(Exit::Done)
}

/// The monitors with at least `wanted` of their kept windows' rows, read page by page.
async fn monitors(coordinator: &Coordinator, run: &str, wanted: usize) -> Result<GetDriftResponse> {
    let page = |run: &str, before| GetDriftRequest {
        run_id: run.to_owned(),
        windows: Some(u32::try_from(wanted).unwrap_or(PAGE).min(PAGE)),
        before_window: before,
    };
    let ask = async |request| {
        let answer = coordinator.control().get_drift(request).await;
        answer
            .map(Response::into_inner)
            .map_err(|status| coordinator.failure(&status))
    };
    let mut answer = ask(page(run, 0)).await?;
    for monitor in &mut answer.monitors {
        while monitor.earlier_windows && monitor.windows.len() < wanted {
            let Some(first) = monitor.windows.first() else {
                break;
            };
            let older = ask(page(&monitor.run_id, first.window)).await?;
            let Some(older) = older.monitors.into_iter().next() else {
                break;
            };
            monitor.earlier_windows = older.earlier_windows && !older.windows.is_empty();
            monitor.windows.splice(0..0, older.windows);
        }
    }
    Ok(answer)
}

fn text(drift: &DriftView, windows: usize, colours: Palette) -> String {
    if drift.monitors.is_empty() {
        let hint = "no monitors: a recipe with a [drift] section starts one when its run completes";
        return colours.paint(Tone::Dim, hint);
    }
    let monitors = drift
        .monitors
        .iter()
        .map(|monitor| self::monitor(monitor, windows, colours));
    monitors.collect::<Vec<_>>().join("\n\n")
}

fn monitor(monitor: &MonitorView, windows: usize, colours: Palette) -> String {
    let title = format!(
        "monitor {} of run {}: {}, {}",
        monitor.monitor,
        monitor.run,
        monitor.state,
        progress(monitor)
    );
    let first = monitor.windows.len().saturating_sub(windows);
    format!(
        "{}\n{}{}\n\n{}",
        colours.paint(Tone::Strong, &printable(&title)),
        verdict_table(monitor, colours),
        notes(monitor, colours),
        window_table(&monitor.windows[first..], colours),
    )
}

fn verdict_table(monitor: &MonitorView, colours: Palette) -> String {
    let mut verdicts = Table::new(&[
        ("region", Align::Left),
        ("verdict", Align::Left),
        ("reference", Align::Right),
        ("needs devices", Align::Right),
        ("mitigated by", Align::Left),
    ]);
    for region in &monitor.regions {
        let run = match region.mitigation_run.as_str() {
            "" => "-",
            run => run,
        };
        let needed = match region.devices_needed {
            0 => "-".to_owned(),
            needed => count(needed),
        };
        verdicts.row(vec![
            region.region.as_str().into(),
            Cell::toned(tone(&region.verdict), &region.verdict),
            count(region.reference_version).into(),
            needed.into(),
            run.into(),
        ]);
    }
    verdicts.render(colours, "no regions yet")
}

/// Why a monitor ended, and what is to be said of its regions; each note begins a line.
fn notes(monitor: &MonitorView, colours: Palette) -> String {
    let mut notes = String::new();
    let mut add = |note: &str| {
        notes.push('\n');
        notes.push_str(&colours.paint(Tone::Warn, &printable(note)));
    };
    if !monitor.reason.is_empty() {
        add(&monitor.reason);
    }
    let regions = monitor.regions.iter();
    for region in regions.filter(|region| !region.note.is_empty()) {
        add(&format!("{}: {}", region.region, region.note));
    }
    notes
}

fn window_table(windows: &[WindowView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("window", Align::Right),
        ("region", Align::Left),
        ("verdict", Align::Left),
        ("devices", Align::Right),
        ("moved most", Align::Left),
        ("wald", Align::Right),
        ("limit", Align::Right),
        ("ewma", Align::Right),
        ("limit", Align::Right),
        ("psi", Align::Right),
        ("playbook", Align::Left),
        ("", Align::Left),
    ])
    .spare(&["psi", "ewma", "limit"]);
    for window in windows {
        let worst = window.worst();
        let number = |value: Option<f64>| Cell::from(value.map_or("-".to_owned(), decimal));
        table.row(vec![
            count(window.window).into(),
            window.region.as_str().into(),
            Cell::toned(tone(&window.verdict), &window.verdict),
            count(window.devices).into(),
            worst.map_or("-", |reading| &reading.quantity).into(),
            number(worst.map(|reading| reading.statistic)),
            number(worst.map(|reading| reading.threshold)),
            number(worst.map(|reading| reading.ewma)),
            number(worst.map(|reading| reading.ewma_threshold)),
            number(worst.map(|reading| reading.psi)),
            window.playbook.as_str().into(),
            match window.is_private() {
                true => "".into(),
                false => Cell::toned(Tone::Bad, "NOT PRIVATE"),
            },
        ]);
    }
    table.render(colours, "no windows yet")
}
