//! What came of an experiment, as a table.

use tributary_experiments::runner::{ExperimentOutcome, VariantOutcome};

use crate::output::{
    Align, Cell, Palette, Table, Tone, bytes, count, decimal, percent, printable, short_digest,
};
use crate::text::spend::words;

/// The title, a row for each variant, what has to be known of them, and where the report is.
pub fn text(outcome: &ExperimentOutcome, colours: Palette) -> String {
    format!(
        "{}\n\n{}\n{}\nreport  {}",
        colours.paint(Tone::Strong, &outcome.title),
        table(&outcome.variants, colours),
        notes(outcome, colours),
        colours.paint(Tone::Accent, &outcome.report.display().to_string()),
    )
}

fn table(variants: &[VariantOutcome], colours: Palette) -> String {
    let shown = Shown::of(variants);
    let mut columns = vec![
        ("variant", Align::Left),
        ("rounds", Align::Right),
        ("contributions", Align::Right),
        ("bytes up", Align::Right),
        ("initial", Align::Right),
        ("trained", Align::Right),
    ];
    columns.extend(shown.columns().map(|name| (name, Align::Right)));
    columns.extend([("seconds", Align::Right), ("model", Align::Left)]);
    let mut table =
        Table::new(&columns).spare(&["model", "seconds", "rounds", "bytes up", "contributions"]);
    for variant in variants {
        let mut row = vec![
            Cell::toned(Tone::Strong, &variant.name),
            count(variant.rounds).into(),
            count(variant.contributions).into(),
            bytes(variant.bytes_up).into(),
            percent(variant.initial).into(),
            Cell::toned(Tone::Good, percent(variant.trained)),
        ];
        row.extend(shown.cells(variant));
        row.push(format!("{:.1}", variant.wall_s).into());
        row.push(short_digest(&variant.model_digest).into());
        table.row(row);
    }
    table.render(colours, "no variants")
}

/// Which columns say something of at least one variant.
#[derive(Clone, Copy)]
struct Shown {
    seeds: bool,
    personal: bool,
    regions: bool,
    epsilon: bool,
}

impl Shown {
    fn of(variants: &[VariantOutcome]) -> Self {
        Self {
            seeds: variants.iter().any(|v| v.trained_by_seed.len() > 1),
            personal: variants.iter().any(|v| v.local_personal.is_some()),
            regions: variants.iter().any(|v| v.regions.len() > 1),
            epsilon: variants.iter().any(|v| v.epsilon.is_finite()),
        }
    }

    fn columns(self) -> impl Iterator<Item = &'static str> {
        let columns = [
            (self.seeds, "deviation"),
            (self.personal, "shared on own data"),
            (self.personal, "personal on own data"),
            (self.regions, "worst region"),
            (self.epsilon, "epsilon"),
        ];
        let shown = columns.into_iter().filter(|(is_shown, _)| *is_shown);
        shown.map(|(_, name)| name)
    }

    /// What stands in [`Shown::columns`].
    fn cells(self, variant: &VariantOutcome) -> impl Iterator<Item = Cell> {
        let personal = variant.local_personal.map_or("-".to_owned(), percent);
        let cells = [
            (self.seeds, percent(variant.trained_deviation)),
            (self.personal, percent(variant.local_shared)),
            (self.personal, personal),
            (self.regions, worst_region(variant)),
            (self.epsilon, decimal(variant.epsilon)),
        ];
        let shown = cells.into_iter().filter(|(is_shown, _)| *is_shown);
        shown.map(|(_, text)| text.into())
    }
}

/// The region with the lowest accuracy, and that.
fn worst_region(variant: &VariantOutcome) -> String {
    let worst = variant.regions.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    worst.map_or("-".to_owned(), |(name, share)| {
        format!("{name} {}", percent(*share))
    })
}

/// What has to be known of the numbers; each note in a line of its own.
fn notes(outcome: &ExperimentOutcome, colours: Palette) -> String {
    let mut notes = String::new();
    if outcome.not_private {
        let seeded = "\nseeded: nothing here is private\n";
        notes.push_str(&colours.paint(Tone::Warn, seeded));
    }
    if outcome.interrupted {
        let incomplete = "\ninterrupted: variants, seeds or rounds are missing\n";
        notes.push_str(&colours.paint(Tone::Bad, incomplete));
    }
    for line in conditions(outcome) {
        notes.push_str(&format!("\n{}", colours.paint(Tone::Dim, &line)));
    }
    notes
}

/// What the epsilons mean: a line for the variants that mean the same.
fn conditions(outcome: &ExperimentOutcome) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for variant in outcome.variants.iter().filter(|v| v.epsilon.is_finite()) {
        let meaning = format!(
            "epsilon at delta {:e}, {}; {}",
            variant.delta,
            words(&variant.adjacency),
            variant.mechanism
        );
        match groups.iter_mut().find(|(known, _)| *known == meaning) {
            Some((_, names)) => names.push(&variant.name),
            None => groups.push((meaning, vec![&variant.name])),
        }
    }
    let line = |(meaning, names): (String, Vec<&str>)| {
        printable(&format!("{}: {meaning}", names.join(", ")))
    };
    groups.into_iter().map(line).collect()
}
