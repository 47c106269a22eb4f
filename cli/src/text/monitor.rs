//! Drift monitors in words.

use crate::output::{Palette, Tone, count, decimal, printable};
use crate::view::{MonitorView, WindowView};

/// How far a monitor is: against its plan as each region is, since one that is retrained misses windows.
pub fn progress(monitor: &MonitorView) -> String {
    if monitor.windows_planned == 0 {
        return format!("{} windows", count(monitor.windows_asked));
    }
    let planned = count(monitor.windows_planned);
    let asked = || monitor.regions.iter().map(|region| region.windows_asked);
    let (least, most) = (asked().min().unwrap_or(0), asked().max().unwrap_or(0));
    let asked = match least == most {
        true => count(most),
        false => format!("{} to {}", count(least), count(most)),
    };
    format!("{asked} of {planned} windows a region")
}

/// The tone of a verdict.
pub fn tone(verdict: &str) -> Tone {
    match verdict {
        "ok" => Tone::Good,
        "drift" => Tone::Bad,
        "warning" | "mitigating" | "validating" => Tone::Warn,
        _ => Tone::Dim,
    }
}

/// One window as a line of `run watch`.
pub fn window_line(window: &WindowView, colours: Palette) -> String {
    let worst = window.worst().map(|reading| {
        let statistic = decimal(reading.statistic);
        format!(
            "  {} {statistic} of {}",
            printable(&reading.quantity),
            decimal(reading.threshold)
        )
    });
    let playbook = match window.playbook.as_str() {
        "" => String::new(),
        playbook => format!("  -> {}", printable(playbook)),
    };
    format!(
        "window {:>3}  {:<10} {}{}{playbook}",
        window.window,
        printable(&window.region),
        colours.paint(tone(&window.verdict), &printable(&window.verdict)),
        worst.unwrap_or_default(),
    )
}
