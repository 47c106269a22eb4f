//! Runs and rounds for people, as lines: what `run watch` prints.

use super::state::{progress, tone};
use crate::output::{Palette, Tone, bytes, count, decimal, printable, short_digest};
use crate::text::spend::{conditions, epsilon};
use crate::view::{RoundView, RunSummary};

/// A run's name, state and progress.
pub fn one_line(run: &RunSummary, colours: Palette) -> String {
    let phase = match run.phase.as_str() {
        "" => String::new(),
        _ if run.state != "running" => String::new(),
        phase => format!(", {}", printable(phase)),
    };
    let reason = match run.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", printable(reason)),
    };
    format!(
        "{} {}  {}, round {}{phase}{reason}",
        colours.paint(Tone::Strong, &printable(&run.run)),
        printable(&run.name),
        colours.paint(tone(run.state), run.state),
        progress(run),
    )
}

/// The end of `run watch`: the run, and what its releases say of its health.
pub fn last_line(run: &RunSummary, colours: Palette) -> String {
    let hints = run.hints.iter();
    let hints =
        hints.map(|hint| format!("\nhint: {}", colours.paint(Tone::Warn, &printable(hint))));
    format!("{}{}", one_line(run, colours), hints.collect::<String>())
}

/// A round that ended, as a line of `run watch`, which names the clip where it `moved`. What the epsilon means
/// stands in [`epsilon_meaning`].
pub fn round_line(round: &RoundView, rounds: u32, moved: bool, colours: Palette) -> String {
    let digits = rounds.to_string().len();
    let number = format!("round {:>digits$}/{rounds}", round.round);
    let tone = if round.phase == "published" {
        Tone::Good
    } else {
        Tone::Warn
    };
    let phase = colours.paint(tone, &printable(&round.phase));
    if round.phase == "aborted" {
        return format!("{number}  {phase}: {}", printable(&round.reason));
    }
    let remark = match round.reason.as_str() {
        "" => String::new(),
        reason => format!("  {}", colours.paint(Tone::Warn, &printable(reason))),
    };
    let clip = match moved {
        true => format!("  clip {}", decimal(round.clip.into())),
        false => String::new(),
    };
    format!(
        "{number}  {phase}  {} of {}  {}  epsilon {}  model {}{clip}{remark}",
        count(round.counted),
        count(round.assigned),
        colours.paint(Tone::Dim, &format!("{} up", bytes(round.bytes_up))),
        epsilon(&round.privacy),
        short_digest(&round.model_version),
    )
}

/// What the epsilon of a round means, for a line above those of the rounds; none where it stands in the round's
/// own line, or nothing is stated.
pub fn epsilon_meaning(round: &RoundView) -> Option<String> {
    let is_stated = round.privacy.epsilon.is_finite() && !round.privacy.is_not_private();
    let rounds = std::iter::once((String::new(), &round.privacy));
    conditions(rounds).pop().filter(|_| is_stated)
}

#[cfg(test)]
mod tests {
    use tributary_proto::v1;

    use super::*;

    #[test]
    fn a_round_is_one_line_of_80_columns_and_its_epsilons_meaning_another() {
        let privacy = v1::PrivacySpend {
            epsilon: 1.98,
            delta: 1e-5,
            adjacency: "zero-out-one-device".into(),
            mechanism: "discrete Gaussian, zCDP composition, no amplification".into(),
            ..Default::default()
        };
        let round = v1::Round {
            round: 7,
            phase: "published".into(),
            assigned: 147,
            counted: 140,
            bytes_up: 2_900_000,
            clip: 0.3,
            model_digest: "0230791badd6".repeat(5),
            privacy: Some(privacy),
            ..Default::default()
        };
        let round = RoundView::from(round);
        let line = round_line(&round, 20, false, Palette::PLAIN);
        assert_eq!(
            line,
            "round  7/20  published  140 of 147  2.9 MB up  epsilon 1.98  model 0230791badd6"
        );
        assert!(round_line(&round, 20, true, Palette::PLAIN).contains("clip 0.3"));
        let meaning = epsilon_meaning(&round).unwrap();
        assert!(
            meaning.contains("at delta 1e-5, zero out one device; discrete"),
            "{meaning}"
        );
        assert_eq!(epsilon_meaning(&v1::Round::default().into()), None);
    }
}
