//! One spend as a sentence, as a word, or as a cell of a table.

use crate::output::{Cell, Palette, Tone, decimal, printable};
use crate::view::Spend;

/// In place of an epsilon that would promise something.
const NOT_PRIVATE: &str = "not private";

/// A name as words: hyphens join the words of a name that has no spaces.
fn words(name: &str) -> String {
    if name.contains(' ') {
        printable(name)
    } else {
        printable(&name.replace('-', " "))
    }
}

/// A spend as a sentence with all of its conditions.
pub fn statement(spend: &Spend, colours: Palette) -> String {
    if spend.has_no_noise() {
        return colours.paint(Tone::Bad, "no noise: NOT PRIVATE");
    }
    if spend.not_private {
        return colours.paint(Tone::Bad, "NOT PRIVATE: the noise was seeded");
    }
    if spend.is_nothing() {
        return colours.paint(Tone::Dim, "nothing spent");
    }
    format!(
        "epsilon {} at delta {:e} ({}, {}; rho {})",
        colours.paint(Tone::Accent, &decimal(spend.epsilon)),
        spend.delta,
        words(&spend.adjacency),
        words(&spend.mechanism),
        decimal(spend.rho),
    )
}

/// The epsilon of a spend for a column or a line that has no room for its conditions; `-` where the
/// coordinator states nothing, as for an open round.
pub fn epsilon(spend: &Spend) -> String {
    if spend.is_not_private() {
        NOT_PRIVATE.to_owned()
    } else if spend.mechanism.is_empty() {
        "-".to_owned()
    } else {
        decimal(spend.epsilon)
    }
}

/// The same as a cell of a table.
pub fn epsilon_cell(spend: &Spend) -> Cell {
    match spend.is_not_private() {
        true => Cell::toned(Tone::Bad, NOT_PRIVATE),
        false => epsilon(spend).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epsilon_is_never_shown_without_its_conditions() {
        let spend = Spend {
            epsilon: 7.31,
            delta: 1e-5,
            rho: 0.62,
            adjacency: "add-or-remove-one-device".into(),
            mechanism: "discrete-gaussian".into(),
            ..Spend::default()
        };
        assert_eq!(
            statement(&spend, Palette::PLAIN),
            "epsilon 7.31 at delta 1e-5 (add or remove one device, discrete gaussian; rho 0.6200)"
        );
        let seeded = Spend {
            not_private: true,
            ..spend
        };
        assert!(statement(&seeded, Palette::PLAIN).starts_with("NOT PRIVATE"));
    }
}
