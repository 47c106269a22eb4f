//! What the devices are doing, while they do it and at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tributary_device_sim::{FleetHandle, FleetStats};

use super::flags::DeviceArguments;
use crate::output::{self, Output, Palette, Tone, bytes, count};

const TICK: Duration = Duration::from_millis(500);
/// Ticks without any connection after which the coordinator is said to be silent.
const SILENT_AFTER: u32 = 4;

/// Shows one line that is kept up to date, on a terminal; elsewhere says when the devices are
/// connected. Says once that no coordinator answers, and once that answers have nothing in them. Ends when
/// every device was refused.
pub async fn show(
    fleet: &FleetHandle,
    arguments: &DeviceArguments,
    coordinator: &str,
    output: Output,
) {
    let bar = spinner(output);
    let say = |sentence: &str| bar.suspend(|| output::to_stderr(sentence));
    let (mut was_connected, mut silent_ticks, mut said_empty) = (false, 0, false);
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let stats = fleet.stats();
        bar.set_message(line(&stats, arguments, coordinator));
        let is_connected = stats.tally.connected + stats.refused >= stats.devices;
        if is_connected && !was_connected && !output.shows_progress() {
            let connected = count(stats.tally.connected as u64);
            say(&format!(
                "{connected} devices of {} connected",
                arguments.region
            ));
        }
        silent_ticks = match stats.tally.connected == 0 && stats.refused == 0 {
            true => silent_ticks + 1,
            false => 0,
        };
        if silent_ticks == SILENT_AFTER {
            say(&format!("{}; trying again", no_coordinator(coordinator)));
        }
        if let Some(why) = empty_answers(&stats).filter(|_| !said_empty) {
            let warning = format!("devices send answers with nothing in them: {why}");
            say(&output.errors.paint(Tone::Warn, &warning));
            said_empty = true;
        }
        was_connected = is_connected;
        if is_deserted(fleet) {
            bar.finish_and_clear();
            return;
        }
    }
}

/// Whether nobody is left: every device was refused for good.
fn is_deserted(fleet: &FleetHandle) -> bool {
    let stats = fleet.stats();
    stats.refused >= stats.devices
}

/// Says that nobody answers, and what to do.
pub fn no_coordinator(coordinator: &str) -> String {
    let remedy = "start one with `tributary serve`, or name another with --coordinator";
    format!("no coordinator answers at {coordinator}: {remedy}")
}

/// Whether a coordinator has ever answered one of the devices.
pub fn has_answered(stats: &FleetStats) -> bool {
    // `session.lost` is counted for attempts that reached nobody too
    let answers = ["enrolled", "enrolment_refused", "welcomed"];
    let mut answers = answers.iter().map(|name| format!("session.{name}"));
    answers.any(|name| stats.tally.count(&name) > 0)
}

fn line(stats: &FleetStats, arguments: &DeviceArguments, coordinator: &str) -> String {
    let tally = &stats.tally;
    if tally.connected == 0 && tally.bytes_down == 0 {
        return format!("waiting for the coordinator at {coordinator}");
    }
    let mut parts = vec![
        format!(
            "{}: {}/{} connected",
            arguments.region,
            count(tally.connected as u64),
            stats.devices
        ),
        format!("{} updates", count(tally.count("upload.counted"))),
        format!("{} votes", count(tally.count("summary.voted"))),
        format!("{} installs", count(tally.count("install.installed"))),
        format!(
            "{} down, {} up",
            bytes(tally.bytes_down),
            bytes(tally.bytes_up)
        ),
    ];
    let empty = total(stats, CONSTANT_FORM);
    if empty > 0 {
        parts.push(format!("{} empty answers", count(empty)));
    }
    if stats.refused > 0 {
        parts.push(format!("{} refused", count(stats.refused as u64)));
    }
    parts.join(" · ")
}

/// Counts answers in constant form: zeros, where a device has nothing to send by the moment that was drawn for
/// its answer. The counter never leaves the device; this is the machine of its owner.
const CONSTANT_FORM: &str = "constant_form.";

/// Why answers had nothing in them; none when all had.
fn empty_answers(stats: &FleetStats) -> Option<String> {
    let reasons = reasons(stats, CONSTANT_FORM);
    let late = stats.tally.count("constant_form.late") > 0;
    let remedy = match late {
        true => {
            "; late: training takes longer than privacy.answer_window_ms leaves: lower --step-ms, or widen \
             the window in the recipe"
        }
        false => "",
    };
    (!reasons.is_empty()).then(|| format!("{reasons}{remedy}"))
}

/// What happened, at the end.
pub fn summary(stats: &FleetStats, colours: Palette) -> String {
    let tally = &stats.tally;
    let abandoned = total(stats, "abandoned.");
    let rejected = total(stats, "rejected.");
    let lines = [
        ("devices", count(stats.devices as u64), String::new()),
        (
            "updates counted",
            count(tally.count("upload.counted")),
            String::new(),
        ),
        (
            "empty answers",
            count(total(stats, CONSTANT_FORM)),
            empty_answers(stats).unwrap_or_default(),
        ),
        ("refused", count(rejected), reasons(stats, "rejected.")),
        ("given back", count(abandoned), reasons(stats, "abandoned.")),
        ("votes", count(tally.count("summary.voted")), String::new()),
        (
            "builds installed",
            count(tally.count("install.installed")),
            String::new(),
        ),
        ("received", bytes(tally.bytes_down), String::new()),
        ("sent", bytes(tally.bytes_up), String::new()),
    ];
    let lines = lines
        .iter()
        .filter(|(_, value, _)| value != "0")
        .map(|(name, value, note)| {
            let name = colours.paint(Tone::Dim, &format!("{name:<17}"));
            let note = if note.is_empty() {
                String::new()
            } else {
                format!("  {note}")
            };
            format!("{name}{value:>9}{}", colours.paint(Tone::Dim, &note))
        });
    lines.collect::<Vec<_>>().join("\n")
}

fn total(stats: &FleetStats, prefix: &str) -> u64 {
    let events = stats
        .tally
        .events
        .iter()
        .filter(|(name, _)| name.starts_with(prefix));
    events.map(|(_, count)| count).sum()
}

/// `3 goal met, 1 duplicate`, the most frequent first.
fn reasons(stats: &FleetStats, prefix: &str) -> String {
    let events = stats.tally.events.iter();
    let mut reasons: Vec<(&str, u64)> = events
        .filter_map(|(name, count)| Some((name.strip_prefix(prefix)?, *count)))
        .collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons = reasons
        .iter()
        .map(|(name, number)| format!("{} {}", count(*number), name.replace('_', " ")));
    reasons.collect::<Vec<_>>().join(", ")
}

fn spinner(output: Output) -> ProgressBar {
    if !output.shows_progress() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

#[cfg(test)]
mod tests {
    use tributary_device::TallySnapshot;

    use super::*;

    fn stats(events: &[(&str, u64)]) -> FleetStats {
        let events = events.iter();
        let events = events.map(|(name, count)| ((*name).to_owned(), *count));
        FleetStats {
            devices: 10,
            refused: 0,
            tally: TallySnapshot {
                events: events.collect(),
                bytes_up: 5_000,
                ..TallySnapshot::default()
            },
        }
    }

    #[test]
    fn answers_with_nothing_in_them_are_counted_with_their_reason_and_the_remedy() {
        let late = stats(&[("upload.counted", 150), ("constant_form.late", 150)]);
        let text = summary(&late, Palette::PLAIN);
        for part in ["empty answers", "150 late", "--step-ms", "answer_window_ms"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let failed = stats(&[("constant_form.no_examples", 3), ("upload.counted", 9)]);
        let text = summary(&failed, Palette::PLAIN);
        assert!(text.contains("3 no examples"), "{text}");
        assert!(!text.contains("--step-ms"), "{text}");
        let trained = summary(&stats(&[("upload.counted", 9)]), Palette::PLAIN);
        assert!(!trained.contains("empty"), "{trained}");
    }

    #[test]
    fn a_coordinator_has_answered_once_a_session_began() {
        assert!(!has_answered(&stats(&[
            ("transport.unavailable", 9),
            ("session.lost", 9)
        ])));
        assert!(has_answered(&stats(&[("session.enrolled", 1)])));
    }

    #[test]
    fn the_summary_counts_by_reason_and_leaves_out_what_did_not_happen() {
        let events = [
            ("upload.counted", 1_234),
            ("rejected.goal_met", 3),
            ("rejected.duplicate", 1),
            ("abandoned.network", 7),
        ];
        let text = summary(&stats(&events), Palette::PLAIN);
        for part in ["1,234", "3 goal met, 1 duplicate", "7 network", "5.0 kB"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("votes"), "{text}");
    }
}
