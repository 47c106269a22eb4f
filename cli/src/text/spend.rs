//! One spend as a sentence, as a word, or as a cell of a table.

use crate::output::{Cell, Palette, Tone, decimal, printable};
use crate::view::Spend;

/// In place of an epsilon that would promise something.
const NOT_PRIVATE: &str = "not private";

/// A name as words: hyphens join the words of a name that has no spaces.
pub fn words(name: &str) -> String {
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
        let why = spend.mechanism.strip_suffix(": NOT PRIVATE");
        let why = why.unwrap_or("the noise was seeded");
        return colours.paint(Tone::Bad, &format!("NOT PRIVATE: {}", printable(why)));
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

/// What the epsilons of a table mean: a line for the rows that mean the same, which are named where they
/// do not all.
pub fn conditions<'s>(rows: impl Iterator<Item = (String, &'s Spend)>) -> Vec<String> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (name, spend) in rows.filter(|(_, spend)| !spend.mechanism.is_empty()) {
        let meaning = match spend.is_not_private() {
            true => spend.mechanism.clone(),
            false => format!(
                "epsilon at delta {:e}, {}; {}",
                spend.delta,
                words(&spend.adjacency),
                spend.mechanism
            ),
        };
        match groups.iter_mut().find(|(known, _)| *known == meaning) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => groups.push((meaning, vec![name])),
        }
    }
    if let [(meaning, _)] = groups.as_slice() {
        return vec![printable(meaning)];
    }
    let line = |(meaning, names): (String, Vec<String>)| {
        printable(&format!("{}: {meaning}", names.join(", ")))
    };
    groups.into_iter().map(line).collect()
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
            adjacency: "zero-out-one-device".into(),
            mechanism: "discrete-gaussian".into(),
            ..Spend::default()
        };
        assert_eq!(
            statement(&spend, Palette::PLAIN),
            "epsilon 7.31 at delta 1e-5 (zero out one device, discrete gaussian; rho 0.6200)"
        );
        let seeded = Spend {
            not_private: true,
            ..spend
        };
        assert!(statement(&seeded, Palette::PLAIN).starts_with("NOT PRIVATE"));
    }
}
