//! Runs and rounds for people, as pages and tables.

use super::line::one_line;
use super::state::{progress, tone};
use crate::output::{
    Align, Cell, Palette, Table, Tone, age, bytes, count, decimal, printable, short_digest,
};
use crate::text::model::marks;
use crate::text::spend::{conditions, epsilon_cell, statement};
use crate::view::{DropView, RoundView, RunSummary, RunView};

/// `run ls`.
pub fn list(runs: &[RunSummary], halted: &str, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("name", Align::Left),
        ("state", Align::Left),
        ("round", Align::Right),
        ("contributions", Align::Right),
        ("epsilon", Align::Right),
        ("model", Align::Left),
        ("started", Align::Left),
    ])
    .spare(&["name", "model", "contributions", "started"]);
    for run in runs {
        table.row(vec![
            Cell::toned(Tone::Strong, &run.run),
            run.name.as_str().into(),
            Cell::toned(tone(run.state), run.state),
            progress(run).into(),
            count(run.contributions_total).into(),
            epsilon_cell(&run.privacy),
            short_digest(&run.model_version).into(),
            age(run.started_unix_ms).into(),
        ]);
    }
    let shown = table.render(
        colours,
        "no runs yet: start one with `tributary run start RECIPE`",
    );
    let spends = runs.iter().map(|run| (run.run.clone(), &run.privacy));
    let shown = with_conditions(shown, conditions(spends), colours);
    if halted.is_empty() {
        return shown;
    }
    let halted = colours.paint(Tone::Bad, &printable(halted));
    format!("{halted}\n\n{shown}")
}

/// A table, and below it what its epsilons mean.
fn with_conditions(table: String, conditions: Vec<String>, colours: Palette) -> String {
    let lines = conditions.iter().map(|line| colours.paint(Tone::Dim, line));
    let lines: Vec<String> = lines.collect();
    match lines.is_empty() {
        true => table,
        false => format!("{table}\n\n{}", lines.join("\n")),
    }
}

/// `run show`: the run, its regions, its latest rounds.
pub fn page(view: &RunView, rounds: usize, colours: Palette) -> String {
    let run = &view.run;
    let label = |name: &str| colours.paint(Tone::Dim, &format!("{name:<14}"));
    let mut lines = vec![format!("{}\n", one_line(run, colours))];
    let mut line = |name: &str, value: String| lines.push(format!("{}{value}", label(name)));
    line("task", printable(&run.task));
    line("started", age(run.started_unix_ms));
    line("method", printable(&run.method));
    line(
        "model",
        match run.model_version.as_str() {
            "" => "-".to_owned(),
            digest => printable(digest),
        },
    );
    line("contributions", contributions(run));
    line("privacy", statement(&run.privacy, colours));
    if !run.drops.is_empty() {
        line("dropped", drops(&run.drops));
    }
    for warning in &run.warnings {
        line("warning", colours.paint(Tone::Warn, &printable(warning)));
    }
    if !run.marks.is_empty() {
        line("marks", marks(&run.marks, colours));
    }
    for hint in &run.hints {
        line("hint", colours.paint(Tone::Warn, &printable(hint)));
    }
    if !run.drift.is_empty() {
        line("because of", format!("drift {}", printable(&run.drift)));
    }
    let first = view.round_log.len().saturating_sub(rounds);
    if rounds > 0 || view.round_log.is_empty() {
        let table = round_table(&view.round_log[first..], colours);
        lines.push(format!("\n{table}"));
    }
    if first > 0 {
        let hint = format!("{first} earlier rounds: --rounds {}", view.round_log.len());
        lines.push(colours.paint(Tone::Dim, &hint));
    }
    lines.join("\n")
}

fn contributions(run: &RunSummary) -> String {
    let by_region = run.regions.iter().map(|region| {
        format!(
            "{} {}",
            printable(&region.region),
            count(region.contributions)
        )
    });
    let by_region = by_region.collect::<Vec<_>>().join(", ");
    match by_region.as_str() {
        "" => count(run.contributions_total),
        by_region => format!("{} ({by_region})", count(run.contributions_total)),
    }
}

/// Why assignments came to nothing: `model mismatch 8, expired 2`.
fn drops(drops: &[DropView]) -> String {
    let one = |drop: &DropView| {
        let reason = drop.reason.replace('_', " ");
        format!("{} {}", printable(&reason), count(drop.count))
    };
    drops.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn round_table(rounds: &[RoundView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("round", Align::Right),
        ("phase", Align::Left),
        ("assigned", Align::Right),
        ("counted", Align::Right),
        ("dropped", Align::Right),
        ("down", Align::Right),
        ("up", Align::Right),
        ("clip", Align::Right),
        ("epsilon", Align::Right),
        ("model", Align::Left),
        ("", Align::Left),
    ])
    .spare(&["down", "clip", "dropped", "up", "model"]);
    for round in rounds {
        let tone = match round.phase.as_str() {
            "published" => Tone::Good,
            "aborted" => Tone::Warn,
            _ => Tone::Accent,
        };
        table.row(vec![
            count(round.round.into()).into(),
            Cell::toned(tone, &round.phase),
            count(round.assigned).into(),
            count(round.counted).into(),
            count(round.dropped).into(),
            bytes(round.bytes_down).into(),
            bytes(round.bytes_up).into(),
            decimal(round.clip.into()).into(),
            epsilon_cell(&round.privacy),
            short_digest(&round.model_version).into(),
            remark(round).into(),
        ]);
    }
    let spends = rounds.iter();
    let spends = spends.map(|round| (format!("round {}", round.round), &round.privacy));
    let shown = table.render(colours, "no rounds yet");
    with_conditions(shown, conditions(spends), colours)
}

/// What a round's row says at its end: why it was given up, and why assignments came to nothing.
fn remark(round: &RoundView) -> String {
    match (round.reason.as_str(), drops(&round.drops).as_str()) {
        (reason, "") => reason.to_owned(),
        ("", drops) => format!("dropped: {drops}"),
        (reason, drops) => format!("{reason} (dropped: {drops})"),
    }
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

    use super::super::line::round_line;
    use super::*;

    fn view() -> RunView {
        let run = v1::Run {
            run_id: "run-1".into(),
            name: "quickstart".into(),
            state: v1::RunState::Running.into(),
            round: 3,
            rounds: 20,
            phase: "collecting".into(),
            contributions_total: 1_234,
            regions: vec![v1::RegionCount {
                region: "eu".into(),
                contributions: 1_234,
            }],
            ..Default::default()
        };
        let round = |round, phase: &str| v1::Round {
            round,
            phase: phase.into(),
            ..Default::default()
        };
        let rounds = vec![
            round(1, "published"),
            round(2, "aborted"),
            round(3, "collecting"),
        ];
        v1::GetRunResponse {
            run: Some(run),
            rounds,
            ..v1::GetRunResponse::default()
        }
        .into()
    }

    #[test]
    fn a_run_is_shown_with_its_state_counts_and_latest_rounds() {
        let text = page(&view(), 2, Palette::PLAIN);
        for part in [
            "run-1 quickstart  running, round 3/20, collecting",
            "1,234 (eu 1,234)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            !text.contains("published") && text.contains("aborted"),
            "{text}"
        );
        assert!(text.contains("1 earlier rounds"), "{text}");
        let none = page(&view(), 0, Palette::PLAIN);
        assert!(
            none.contains("earlier rounds") && !none.contains("no rounds yet"),
            "{none}"
        );
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn lists_and_lines_name_what_scripts_would_read() {
        let run = view().run;
        assert!(list(std::slice::from_ref(&run), "", Palette::PLAIN).contains("3/20"));
        assert!(list(&[], "", Palette::PLAIN).contains("tributary run start"));
        let stopped = list(&[], "stopped: this folder is old", Palette::PLAIN);
        assert!(stopped.starts_with("stopped: this folder is old\n"));
        let ended = RunSummary {
            state: "failed",
            reason: "too few devices".into(),
            ..run
        };
        assert!(one_line(&ended, Palette::PLAIN).ends_with("failed, round 3/20: too few devices"));
    }

    #[test]
    fn a_run_without_noise_reads_not_private_and_a_private_one_starts_at_zero() {
        let spend = |mechanism: &str, epsilon, not_private| v1::PrivacySpend {
            epsilon,
            mechanism: mechanism.into(),
            not_private,
            ..Default::default()
        };
        let shown = |privacy: v1::PrivacySpend| {
            let round = v1::Round {
                round: 1,
                phase: "published".into(),
                privacy: Some(privacy.clone()),
                ..Default::default()
            };
            let run = v1::Run {
                privacy: Some(privacy),
                ..Default::default()
            };
            let answer = v1::GetRunResponse {
                run: Some(run),
                rounds: vec![round],
                ..v1::GetRunResponse::default()
            };
            let view = RunView::from(answer);
            let lines = [
                page(&view, 1, Palette::PLAIN),
                list(std::slice::from_ref(&view.run), "", Palette::PLAIN),
                round_line(&view.round_log[0], 1, false, Palette::PLAIN),
            ];
            assert!(lines.iter().all(|line| !line.contains("inf")), "{lines:?}");
            lines
        };
        let [page, list, line] = shown(spend("no noise: NOT PRIVATE", f64::INFINITY, true));
        assert!(page.contains("no noise: NOT PRIVATE"), "{page}");
        assert!(list.contains("not private"), "{list}");
        assert!(line.contains("epsilon not private"), "{line}");
        let private = "discrete Gaussian, zCDP composition, no amplification";
        let [page, list, line] = shown(spend(private, 0.0, false));
        assert!(page.contains("nothing spent"), "{page}");
        assert!(!list.contains("not private"), "{list}");
        assert!(line.contains("epsilon 0 "), "{line}");
    }
}
