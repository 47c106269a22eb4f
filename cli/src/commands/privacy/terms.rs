//! Caps, reservations and decisions for people.

use crate::output::{Align, Cell, Palette, Table, Tone, age, decimal, printable};
use crate::view::{CapView, DecisionView, ReservationView};

/// The caps.
pub fn caps(caps: &[CapView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("cap of", Align::Left),
        ("epsilon", Align::Right),
        ("delta", Align::Right),
        ("rho", Align::Right),
        ("set by", Align::Left),
        ("set", Align::Left),
    ])
    .spare(&["set"]);
    for cap in caps {
        let by = match cap.run.as_str() {
            "" => "an operator".to_owned(),
            run => format!("the recipe of {run}"),
        };
        table.row(vec![
            Cell::toned(Tone::Strong, population(&cap.region)),
            decimal(cap.epsilon).into(),
            format!("{:e}", cap.delta).into(),
            decimal(cap.rho).into(),
            by.into(),
            age(cap.unix_ms).into(),
        ]);
    }
    let shown = table.render(colours, "no caps");
    let meaning = caps.first().map(|cap| {
        let meaning = format!("{}; {}", cap.adjacency.replace('-', " "), cap.mechanism);
        format!("\n{}", colours.paint(Tone::Dim, &printable(&meaning)))
    });
    format!("{shown}{}", meaning.unwrap_or_default())
}

/// What is set aside: a line for each run.
pub fn reservations(held: &[ReservationView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("reserved by", Align::Left),
        ("for", Align::Left),
        ("regions", Align::Left),
        ("rho at most", Align::Right),
    ]);
    for held in held {
        for part in &held.parts {
            table.row(vec![
                Cell::toned(Tone::Strong, &held.run),
                part.name.as_str().into(),
                held.regions.join(", ").into(),
                part.rho.map_or("no end".to_owned(), decimal).into(),
            ]);
        }
    }
    let part = held.iter().find_map(|held| held.parts.first());
    let meaning = part.map(|part| {
        let meaning = format!("{}; {}", part.adjacency.replace('-', " "), part.mechanism);
        format!("\n{}", colours.paint(Tone::Dim, &printable(&meaning)))
    });
    let shown = table.render(colours, "nothing is reserved");
    format!("{shown}{}", meaning.unwrap_or_default())
}

/// Decisions, newest last; those that went beyond a cap stand out.
pub fn decisions(decisions: &[DecisionView], colours: Palette) -> String {
    let line = |decision: &DecisionView| {
        let scope = population(&decision.region);
        let cap = match (decision.epsilon, decision.delta) {
            (Some(epsilon), Some(delta)) => {
                format!("epsilon {} at delta {delta:e}", decimal(epsilon))
            }
            _ => String::new(),
        };
        let (tone, what) = match decision.kind.as_str() {
            "without-privacy" => {
                let text = format!("run {} may do without privacy", decision.run);
                (Tone::Bad, text)
            }
            "raised" => (Tone::Warn, format!("cap of {scope} raised to {cap}")),
            "lowered" => {
                let text = format!(
                    "cap of {scope} lowered to {cap} by the recipe of {}",
                    decision.run
                );
                (Tone::Dim, text)
            }
            _ => (Tone::Dim, format!("cap of {scope} set to {cap}")),
        };
        let why = match decision.reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        let line = format!("{}  {what}{why}", age(decision.unix_ms));
        colours.paint(tone, &printable(&line))
    };
    decisions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn population(region: &str) -> &str {
    match region {
        "" => "all devices",
        region => region,
    }
}
