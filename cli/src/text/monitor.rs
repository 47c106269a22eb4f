//! Drift monitors in words.

use crate::output::{Palette, Tone, count, decimal, printable};
use crate::view::{MonitorView, WindowView};

/// How far a monitor is: windows asked, and planned where their number is known.
pub fn progress(monitor: &MonitorView) -> String {
    let asked = count(monitor.windows_asked);
    match monitor.windows_planned {
        0 => format!("{asked} windows"),
        planned => format!("{asked} of {} windows", count(planned)),
    }
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
