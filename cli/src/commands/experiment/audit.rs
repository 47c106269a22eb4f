//! The privacy audit of `tributary experiment run`.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use tributary_experiments::audit::{AuditRecipe, run_audit, write_audit};
use tributary_experiments::runner::{Progress as _, RunnerError};
use tributary_report::audit::{
    AdaptiveOutcome, AuditOutcome, CanaryOutcome, Check, FieldOutcome, NoiseOutcome,
    SensitivityOutcome,
};

use crate::exit::{Exit, unfinished};
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count, decimal, percent};
use crate::progress::ProgressReporter;

/// What is printed: the outcome and where its files are.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    outcome: AuditOutcome,
    report: Option<PathBuf>,
}

/// Runs the audit and prints its tables; fails when a verdict does.
pub async fn play(recipe: &AuditRecipe, out: Option<PathBuf>, output: Output) -> Result<Exit> {
    let narrator = ProgressReporter::new(output);
    let interrupt = narrator.interrupt();
    let ran = tokio::select! {
        ran = run_audit(recipe, &narrator) => ran,
        () = interrupt.wait() => return Err(unfinished("the audit")(RunnerError::Interrupted)),
    };
    narrator.finish();
    let outcome = ran.context("the audit did not reach its verdicts")?;
    let written = out
        .map(|folder| write_audit(&outcome, &folder))
        .transpose()?;
    let exit = if outcome.passed {
        Exit::Done
    } else {
        Exit::Failed
    };
    let report = written.map(|written| written.page);
    output.answer(&Answer { outcome, report }, text)?;
    Ok(exit)
}

fn text(answer: &Answer, colours: Palette) -> String {
    let outcome = &answer.outcome;
    let mut parts = vec![
        colours.paint(Tone::Strong, &outcome.title),
        titled("1  Noise: what releases hold beyond the exact sum", colours),
        noise(&outcome.noise, colours),
        titled("2  Sensitivity: what one device changes, in clips", colours),
        sensitivity(&outcome.sensitivity, colours),
        titled("3  Membership attack in one run", colours),
        canaries(&outcome.canaries, colours),
    ];
    if let Some(adaptive) = &outcome.adaptive {
        parts.push(titled("4  Adaptive clip, in median norms", colours));
        parts.push(self::adaptive(adaptive, colours));
    }
    parts.push(titled(
        "5  The field's default (Flower 1.41's rules, re-derived) on the same updates",
        colours,
    ));
    parts.push(field(&outcome.field, colours));
    parts.push(failures(outcome, colours));
    let end = if outcome.passed {
        colours.paint(Tone::Good, "all verdicts pass")
    } else {
        colours.paint(Tone::Bad, "the audit fails")
    };
    parts.push(end);
    if let Some(page) = &answer.report {
        let page = colours.paint(Tone::Accent, &page.display().to_string());
        parts.push(format!("report  {page}"));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn titled(text: &str, colours: Palette) -> String {
    colours.paint(Tone::Strong, text)
}

fn verdict(passed: bool) -> Cell {
    if passed {
        Cell::toned(Tone::Good, "pass")
    } else {
        Cell::toned(Tone::Bad, "FAIL")
    }
}

fn noise(laws: &[NoiseOutcome], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("mechanism", Align::Left),
        ("values", Align::Right),
        ("variance", Align::Right),
        ("Anderson-Darling", Align::Right),
        ("least p-value", Align::Right),
        ("charge / due", Align::Right),
        ("verdict", Align::Left),
    ]);
    for law in laws {
        let measured = |name: &str| law.checks.iter().find(|check| check.name.starts_with(name));
        let number = |name: &str| measured(name).map_or(f64::NAN, |check| check.measured);
        let least = law.checks.iter().filter_map(|check| check.p_value);
        let charge = measured("charge").map_or(f64::NAN, |check| check.measured / check.expected);
        table.row(vec![
            Cell::toned(Tone::Strong, &law.mechanism),
            count(law.samples as u64).into(),
            format!("{:.4}", number("variance, all")).into(),
            format!("{:.2}", number("Anderson-Darling")).into(),
            decimal(least.fold(1.0, f64::min)).into(),
            format!("{charge:.4}").into(),
            verdict(law.passed),
        ]);
    }
    let note = laws.first().map_or(String::new(), |law| {
        let note = format!(
            "variance in units of the law's; a right build fails with probability at most {:e} per \
             mechanism",
            law.false_alarm
        );
        format!("\n{}", colours.paint(Tone::Dim, &note))
    });
    format!("{}{note}", table.render(colours, "no mechanisms"))
}

fn sensitivity(outcome: &SensitivityOutcome, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("the device", Align::Left),
        ("counted", Align::Right),
        ("distance", Align::Right),
        ("at most", Align::Right),
        ("verdict", Align::Left),
    ]);
    for case in &outcome.cases {
        table.row(vec![
            case.name.as_str().into(),
            format!("{} of {}", case.counted, case.rounds).into(),
            Cell::toned(Tone::Strong, format!("{:.6}", case.distance)),
            format!("{:.6}", case.limit).into(),
            verdict(case.passed),
        ]);
    }
    let note = format!("distances are measured to {:.1e}", outcome.rounding);
    let note = colours.paint(Tone::Dim, &note);
    format!("{}\n{note}", table.render(colours, "no cases"))
}

fn canaries(outcome: &CanaryOutcome, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("z", Align::Right),
        ("right guesses", Align::Right),
        ("epsilon at least", Align::Right),
        ("claimed", Align::Right),
        ("the attack must", Align::Left),
        ("verdict", Align::Left),
    ]);
    for run in &outcome.runs {
        let goal = if run.must_be_refuted {
            "refute the claim"
        } else {
            "stay below it"
        };
        table.row(vec![
            run.name.as_str().into(),
            decimal(run.noise_multiplier).into(),
            format!("{} of {}", run.correct, run.guesses).into(),
            Cell::toned(Tone::Strong, format!("{:.3}", run.bound)),
            format!("{:.3}", outcome.claimed).into(),
            goal.into(),
            verdict(run.passed),
        ]);
    }
    let note = format!(
        "delta {:e}, confidence {}; {} of {} simulated attacks on exactly the claimed noise go above \
         the claim",
        outcome.delta,
        percent(outcome.confidence),
        percent(outcome.simulated_above),
        count(outcome.simulations as u64),
    );
    let note = colours.paint(Tone::Dim, &note);
    format!("{}\n{note}", table.render(colours, "no attacks"))
}

fn adaptive(outcome: &AdaptiveOutcome, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("start", Align::Right),
        ("rounds", Align::Right),
        ("last clip", Align::Right),
        ("quantile", Align::Right),
        ("field's default", Align::Right),
        ("", Align::Left),
        ("verdict", Align::Left),
    ]);
    for run in &outcome.runs {
        let last = |clips: &[f64]| decimal(clips.last().copied().unwrap_or(f64::NAN));
        let how = match run.estimation_rounds {
            0 => String::new(),
            rounds => format!("frozen after {rounds}"),
        };
        table.row(vec![
            decimal(run.start).into(),
            count(run.clips.len() as u64).into(),
            Cell::toned(Tone::Strong, last(&run.clips)),
            decimal(outcome.target).into(),
            Cell::toned(Tone::Warn, last(&run.field_clips)),
            how.into(),
            verdict(run.passed),
        ]);
    }
    table.render(colours, "no starts")
}

fn field(outcome: &FieldOutcome, colours: Palette) -> String {
    let mut table = Table::new(&[
        ("leaving out the device with most examples", Align::Left),
        ("tributary", Align::Right),
        ("field's default", Align::Right),
    ]);
    let rows = [
        (
            "moves the mean by so many clip / n",
            outcome.our_change,
            outcome.field_change,
        ),
        (
            "noise over that movement",
            outcome.our_multiplier,
            outcome.field_multiplier,
        ),
        (
            "epsilon of that",
            outcome.our_epsilon,
            outcome.field_epsilon,
        ),
    ];
    let clip = outcome.field_clip_ratio;
    let clip = clip.map(|ratio| ("adaptive clip: noise over z clips, worst round", 1.0, ratio));
    for (name, ours, theirs) in rows.into_iter().chain(clip) {
        table.row(vec![
            name.into(),
            Cell::toned(Tone::Strong, decimal(ours)),
            Cell::toned(Tone::Warn, decimal(theirs)),
        ]);
    }
    let note = format!(
        "{} devices, one with {} examples and the others with one, rounds: {}, delta {:e}",
        outcome.devices,
        count(outcome.examples as u64),
        outcome.rounds,
        outcome.delta
    );
    let note = colours.paint(Tone::Dim, &note);
    format!("{}\n{note}", table.render(colours, "nothing"))
}

/// Every question whose answer is wrong, in a line of its own.
fn failures(outcome: &AuditOutcome, colours: Palette) -> String {
    let line = |part: &str, check: &Check| {
        let p_value = check.p_value.map_or(String::new(), |value| {
            format!(", p-value {}", decimal(value))
        });
        let text = format!(
            "{part}: {} is {}, should be {}{p_value}",
            check.name,
            decimal(check.measured),
            decimal(check.expected)
        );
        colours.paint(Tone::Bad, &text)
    };
    let mut lines = Vec::new();
    for law in &outcome.noise {
        let wrong = law.checks.iter().filter(|check| !check.passed);
        lines.extend(wrong.map(|check| line(&law.mechanism, check)));
    }
    for run in outcome.adaptive.iter().flat_map(|adaptive| &adaptive.runs) {
        let part = format!("clip from {}", run.start);
        let wrong = run.checks.iter().filter(|check| !check.passed);
        lines.extend(wrong.map(|check| line(&part, check)));
    }
    lines.join("\n")
}
