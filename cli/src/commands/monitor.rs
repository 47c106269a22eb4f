//! `tributary monitor`: the monitors themselves; what they see is shown by `tributary drift`.

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::{GetDriftRequest, StopMonitorRequest};

use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, printable};
use crate::text::monitor::progress;
use crate::view::{DriftView, MonitorView};

const LS: &str = "\
Examples:
  tributary monitor ls
  tributary monitor ls --format json

Lists monitors that are at work and the 100 that ended last. `tributary drift
show` has what they see.";

const STOP: &str = "\
Examples:
  tributary monitor stop MONITOR
  tributary monitor stop RUN

Nothing more is asked of devices, charged or released, and a run that its
playbook started is stopped. What was judged stays. A monitor that is stopped
does not begin again.";

/// Verbs of `monitor`.
#[derive(Debug, Subcommand)]
pub enum MonitorVerb {
    /// List the monitors
    #[command(after_help = LS)]
    Ls {},
    /// End a monitor
    #[command(after_help = STOP)]
    Stop {
        /// The monitor, or its run
        #[arg(value_name = "MONITOR")]
        monitor: String,
    },
}

/// Does what was asked.
pub async fn dispatch(verb: MonitorVerb, global: &Global, output: Output) -> Result<Exit> {
    let coordinator = Coordinator::at(&global.coordinator)?;
    match verb {
        MonitorVerb::Ls {} => list(&coordinator, output).await?,
        MonitorVerb::Stop { monitor } => stop(&coordinator, monitor, output).await?,
    }
    Ok(Exit::Done)
}

async fn list(coordinator: &Coordinator, output: Output) -> Result<()> {
    let request = GetDriftRequest {
        windows: Some(0),
        ..GetDriftRequest::default()
    };
    let answer = coordinator.control().get_drift(request).await;
    let monitors = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner();
    let monitors = DriftView::from(monitors);
    output.answer(&monitors, |drift, colours| table(&drift.monitors, colours))
}

async fn stop(coordinator: &Coordinator, monitor_id: String, output: Output) -> Result<()> {
    let request = StopMonitorRequest { monitor_id };
    let answer = coordinator.control().stop_monitor(request).await;
    let monitor = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner()
        .monitor;
    output.answer(&MonitorView::from(monitor.unwrap_or_default()), one_line)
}

fn one_line(monitor: &MonitorView, colours: Palette) -> String {
    format!(
        "{} {}, {}",
        colours.paint(Tone::Strong, &printable(&monitor.monitor)),
        printable(monitor.state),
        progress(monitor),
    )
}

fn table(monitors: &[MonitorView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("monitor", Align::Left),
        ("run", Align::Left),
        ("state", Align::Left),
        ("windows", Align::Left),
        ("regions", Align::Left),
        ("", Align::Left),
    ]);
    for monitor in monitors {
        let tone = match monitor.state {
            "running" => Tone::Good,
            "quarantined" => Tone::Bad,
            _ => Tone::Dim,
        };
        let regions: Vec<String> = monitor
            .regions
            .iter()
            .map(|region| format!("{} {}", region.region, region.verdict))
            .collect();
        table.row(vec![
            Cell::toned(Tone::Strong, &monitor.monitor),
            monitor.run.as_str().into(),
            Cell::toned(tone, monitor.state),
            progress(monitor).into(),
            regions.join(", ").into(),
            monitor.reason.as_str().into(),
        ]);
    }
    let empty = "no monitors: a recipe with a [drift] section starts one when its run completes";
    table.render(colours, empty)
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

    use super::*;

    #[test]
    fn a_monitor_is_listed_with_its_state_and_its_windows() {
        let monitor = v1::Monitor {
            monitor_id: "m-1-drift".into(),
            run_id: "m-1".into(),
            state: v1::MonitorState::Stopped.into(),
            windows_asked: 1_234,
            ..Default::default()
        };
        let view = MonitorView::from(monitor);
        let text = table(std::slice::from_ref(&view), Palette::PLAIN);
        assert!(
            text.contains("stopped") && text.contains("1,234 windows"),
            "{text}"
        );
        assert_eq!(
            one_line(&view, Palette::PLAIN),
            "m-1-drift stopped, 1,234 windows"
        );
        assert!(table(&[], Palette::PLAIN).contains("[drift]"));
    }

    #[test]
    fn windows_are_counted_by_region_against_the_plan() {
        let region = |windows_asked| v1::RegionVerdict {
            windows_asked,
            ..Default::default()
        };
        let monitor = |regions| {
            MonitorView::from(v1::Monitor {
                windows_asked: 71,
                windows_planned: 40,
                regions,
                ..Default::default()
            })
        };
        let done = monitor(vec![region(40), region(40)]);
        assert_eq!(progress(&done), "40 of 40 windows a region");
        let begun = monitor(vec![region(9), region(31)]);
        assert_eq!(progress(&begun), "9 to 31 of 40 windows a region");
    }
}
