//! The demo's numbers as text. The picture of the terminal in the README is made from it.

use tributary_experiments::demo::DemoOutcome;
use tributary_report::experiment::Summary;

use crate::output::{Align, Cell, Palette, Table, Tone, bytes, count, decimal, percent};

/// Letters of a full bar: accuracy 1.
const BAR: f64 = 30.0;
/// Parts of a letter that a bar can end with.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Everything that was measured, on about one screen.
pub fn text(outcome: &DemoOutcome, colours: Palette) -> String {
    let summary = &outcome.summary;
    let mut blocks = vec![title(summary, colours), accuracy(summary, colours)];
    blocks.push(facts(outcome, colours));
    blocks.push(builds(summary, colours));
    blocks.push(place(summary, colours));
    if !outcome.remarks.is_empty() {
        let remarks = outcome
            .remarks
            .iter()
            .map(|remark| format!("falls short: {remark}"));
        let remarks = remarks.map(|remark| colours.paint(Tone::Warn, &remark));
        blocks.push(remarks.collect::<Vec<_>>().join("\n"));
    }
    blocks.join("\n\n")
}

fn title(summary: &Summary, colours: Palette) -> String {
    let regions = summary.regions.join(", ");
    let rest = format!(
        "{} rounds over gRPC, held-out accuracy",
        count(summary.rounds)
    );
    format!(
        "{} in {regions}; {rest}",
        colours.paint(
            Tone::Strong,
            &format!("{} wearables", count(summary.devices))
        ),
    )
}

fn accuracy(summary: &Summary, colours: Palette) -> String {
    let accuracy = &summary.accuracy;
    let region = summary
        .drift
        .as_ref()
        .map_or("the region", |drift| &drift.region);
    let lines = [
        ("before training".to_owned(), accuracy.initial, Tone::Dim),
        (
            "trained, all regions".to_owned(),
            accuracy.trained,
            Tone::Accent,
        ),
        (
            format!("{region} on the other arm"),
            accuracy.drifted,
            Tone::Bad,
        ),
        (
            format!("{region}, retrained"),
            accuracy.recovered,
            Tone::Good,
        ),
        (
            "the same as int8".to_owned(),
            accuracy.recovered_int8,
            Tone::Good,
        ),
    ];
    let lines = lines.map(|(name, share, tone)| {
        let (number, bar) = match share {
            Some(share) => (percent(share), bar(share)),
            None => ("not measured".to_owned(), String::new()),
        };
        format!("{name:<24}{number:>7}  {}", colours.paint(tone, &bar))
    });
    lines.join("\n")
}

fn bar(share: f64) -> String {
    let eighths = (share.clamp(0.0, 1.0) * BAR * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

fn facts(outcome: &DemoOutcome, colours: Palette) -> String {
    let summary = &outcome.summary;
    let label = |name: &str| colours.paint(Tone::Dim, &format!("{name:<10}"));
    let mut lines = vec![format!("{}{}", label("privacy"), privacy(outcome, colours))];
    if let Some(drift) = &summary.drift {
        let seen = match drift.detected_window {
            Some(window) => {
                let later = window.saturating_sub(drift.injected_window);
                colours.paint(
                    Tone::Good,
                    &format!("seen in window {window} ({later} later)"),
                )
            }
            None => colours.paint(Tone::Bad, "not seen"),
        };
        let tone = if drift.false_alarms == 0 {
            Tone::Good
        } else {
            Tone::Warn
        };
        let alarms = colours.paint(tone, &format!("{} false alarms", drift.false_alarms));
        let (region, window) = (&drift.region, drift.injected_window);
        lines.push(format!(
            "{}{region} from window {window}, {seen}, {alarms}",
            label("drift")
        ));
    }
    let wire = summary.wire_bytes;
    lines.push(format!(
        "{}{} down, {} up",
        label("traffic"),
        bytes(wire.down),
        bytes(wire.up)
    ));
    let wall = summary.wall_s.map(|seconds| format!("{seconds:.0} s"));
    let memory = summary
        .peak_rss_bytes
        .map(|peak| format!("{} of memory at most", bytes(peak)));
    let took: Vec<String> = wall.into_iter().chain(memory).collect();
    lines.push(format!("{}{}", label("took"), took.join(", ")));
    lines.join("\n")
}

fn privacy(outcome: &DemoOutcome, colours: Palette) -> String {
    let privacy = &outcome.summary.privacy;
    let statement = format!(
        "epsilon {} at delta {:e}, {}",
        colours.paint(Tone::Accent, &decimal(privacy.epsilon)),
        privacy.delta,
        privacy.adjacency.replace('-', " "),
    );
    let mechanism = format!("{:<10}{}", "", colours.paint(Tone::Dim, &privacy.mechanism));
    match outcome.not_private {
        true => {
            let warning = colours.paint(Tone::Bad, "NOT PRIVATE: the seed makes the noise known");
            format!("{warning}\n{:<10}{statement} without it\n{mechanism}", "")
        }
        false => format!("{statement}, all charges included\n{mechanism}"),
    }
}

fn builds(summary: &Summary, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("build", Align::Left),
        ("for", Align::Left),
        ("flash", Align::Right),
        ("of", Align::Right),
        ("arena", Align::Right),
        ("of", Align::Right),
        ("devices", Align::Right),
        ("accuracy", Align::Right),
    ]);
    let limit = |limit: Option<u64>| limit.map_or("-".to_owned(), bytes);
    let first = summary.builds.first().map(|build| &build.region);
    let is_one_region = summary
        .builds
        .iter()
        .all(|build| Some(&build.region) == first);
    for build in &summary.builds {
        table.row(vec![
            build.format.replace("tributary-int8-v1 ", "").into(),
            match is_one_region {
                true => Cell::toned(Tone::Strong, &build.profile),
                false => Cell::toned(Tone::Strong, format!("{}, {}", build.profile, build.region)),
            },
            bytes(build.bytes).into(),
            limit(build.slot_bytes).into(),
            bytes(build.arena_bytes).into(),
            limit(build.ram_bytes).into(),
            count(build.installed_on).into(),
            build.accuracy.map_or("-".to_owned(), percent).into(),
        ]);
    }
    table.render(colours, "no builds")
}

fn place(summary: &Summary, colours: Palette) -> String {
    let label = |name: &str| colours.paint(Tone::Dim, &format!("{name:<10}"));
    format!(
        "{}{}\n{}{}",
        label("model"),
        summary.model_digest,
        label("report"),
        colours.paint(Tone::Accent, &summary.report),
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tributary_report::experiment::{AccuracySummary, Build, DriftSummary, PrivacySummary};

    use super::*;

    fn outcome() -> DemoOutcome {
        let accuracy = AccuracySummary {
            initial: Some(0.14),
            trained: Some(0.8812),
            drifted: Some(0.33),
            recovered: Some(0.8),
            recovered_int8: None,
        };
        let drift = DriftSummary {
            region: "west".into(),
            injected_window: 9,
            detected_window: Some(10),
            false_alarms: 0,
        };
        let build = Build {
            region: "west".into(),
            profile: "wrist-small".into(),
            format: "int8".into(),
            bytes: 4_500,
            slot_bytes: Some(5_120),
            installed_on: 360,
            accuracy: Some(0.79),
            ..Build::default()
        };
        let privacy = PrivacySummary {
            epsilon: 7.312,
            delta: 1e-5,
            rho: 0.62,
            adjacency: "zero-out-one-device".into(),
            mechanism: "discrete-gaussian".into(),
        };
        let summary = Summary {
            devices: 4_000,
            regions: vec!["north".into(), "east".into(), "west".into()],
            rounds: 72,
            accuracy,
            privacy,
            drift: Some(drift),
            builds: vec![build],
            report: "tributary-report/report.html".into(),
            ..Summary::default()
        };
        DemoOutcome {
            summary,
            not_private: false,
            seed: None,
            epsilon_gaussian: None,
            trained_digest: String::new(),
            remarks: Vec::new(),
            picture: PathBuf::new(),
        }
    }

    #[test]
    fn the_summary_names_every_result_with_its_conditions() {
        let text = text(&outcome(), Palette::PLAIN);
        for part in [
            "4,000 wearables",
            "88.1 %",
            "not measured",
            "epsilon 7.31 at delta 1e-5, zero out one device, all charges included",
            "discrete-gaussian",
            "west from window 9, seen in window 10 (1 later), 0 false alarms",
            "wrist-small",
            "tributary-report/report.html",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(!text.contains("falls short") && !text.contains("NOT PRIVATE"));
    }

    #[test]
    fn a_seeded_run_is_marked_and_missed_targets_are_named() {
        let remarks = vec!["epsilon is 9, the target is at most 8".to_owned()];
        let text = text(
            &DemoOutcome {
                not_private: true,
                remarks,
                ..outcome()
            },
            Palette::PLAIN,
        );
        assert!(
            text.contains("NOT PRIVATE") && text.contains("falls short: epsilon is 9"),
            "{text}"
        );
        assert!(!text.contains("all charges included"));
    }

    #[test]
    fn bars_grow_with_the_share_and_stay_in_their_place() {
        assert_eq!(bar(0.0), "");
        assert_eq!(bar(1.0).chars().count(), 30);
        assert_eq!((bar(2.0), bar(f64::NAN)), (bar(1.0), String::new()));
        assert!(bar(0.51).chars().count() > bar(0.45).chars().count());
    }
}
