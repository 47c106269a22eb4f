//! Models and builds for people.

use crate::output::{
    Align, Cell, Palette, Table, Tone, age, bytes, count, printable, short_digest,
};
use crate::text::model::marks;
use crate::view::{BuildView, ModelView};

/// `model ls`.
pub fn list(models: &[ModelView], colours: Palette) -> String {
    let is_marked = models.iter().any(|model| !model.marks.is_empty());
    let mut columns = vec![
        ("model", Align::Left),
        ("name", Align::Left),
        ("parameters", Align::Right),
        ("run", Align::Left),
        ("round", Align::Right),
        ("regions", Align::Left),
        ("parent", Align::Left),
        ("made", Align::Left),
    ];
    if is_marked {
        columns.push(("marks", Align::Left));
    }
    let mut table =
        Table::new(&columns).spare(&["parent", "regions", "name", "parameters", "made"]);
    for model in models {
        let mut row = vec![
            Cell::toned(Tone::Strong, short_digest(&model.digest)),
            model.name.as_str().into(),
            count(model.parameters).into(),
            origin(model).into(),
            count(model.round.into()).into(),
            regions(model).into(),
            short_digest(&model.parent).into(),
            age(model.created_unix_ms).into(),
        ];
        if is_marked {
            row.push(Cell::toned(Tone::Bad, model.marks.join(", ")));
        }
        table.row(row);
    }
    table.render(
        colours,
        "no models yet: a run makes them, or `tributary model import`",
    )
}

/// `model show`: the version and its builds.
pub fn page(model: &ModelView, colours: Palette) -> String {
    let label = |name: &str| colours.paint(Tone::Dim, &format!("{name:<12}"));
    let parent = if model.parent.is_empty() {
        "-"
    } else {
        &model.parent
    };
    let made = format!("{}, round {}", origin(model), model.round);
    let lines = [
        (
            "model",
            colours.paint(Tone::Strong, &printable(&model.digest)),
        ),
        ("name", printable(&model.name)),
        ("parameters", count(model.parameters)),
        ("parent", printable(parent)),
        ("made by", printable(&made)),
        ("made", age(model.created_unix_ms)),
        ("regions", printable(&regions(model))),
        ("marks", marks(&model.marks, colours)),
    ];
    let lines = lines
        .map(|(name, value)| format!("{}{value}", label(name)))
        .join("\n");
    let builds = model.builds.as_deref().unwrap_or_default();
    format!("{lines}\n\n{}", build_table(builds, colours))
}

/// `model import`.
pub fn imported(model: &ModelView, colours: Palette) -> String {
    let marked = match model.marks.is_empty() {
        true => String::new(),
        false => format!(", marked {}", marks(&model.marks, colours)),
    };
    format!(
        "registered {} ({}, {} parameters{marked})",
        colours.paint(Tone::Strong, &printable(&model.digest)),
        printable(&model.name),
        count(model.parameters),
    )
}

fn build_table(builds: &[BuildView], colours: Palette) -> String {
    let mut table = Table::new(&[
        ("build", Align::Left),
        ("region", Align::Left),
        ("profile", Align::Left),
        ("format", Align::Left),
        ("variant", Align::Left),
        ("bytes", Align::Right),
        ("arena", Align::Right),
        ("installed", Align::Right),
        ("decision", Align::Left),
    ])
    .with_remarks()
    .spare(&["format", "arena", "variant", "bytes"]);
    for build in builds {
        let tone = if build.failed_on > 0 {
            Tone::Warn
        } else {
            Tone::Good
        };
        let installed = format!(
            "{} of {}",
            count(build.installed_on),
            count(build.offered_to)
        );
        table.row(vec![
            Cell::toned(Tone::Strong, short_digest(&build.digest)),
            build.region.as_str().into(),
            build.profile.as_str().into(),
            build.format.as_str().into(),
            build.variant.as_str().into(),
            bytes(build.bytes).into(),
            bytes(build.arena_bytes).into(),
            Cell::toned(tone, installed),
            build.decision.as_str().into(),
        ]);
    }
    table.render(colours, "no builds")
}

fn origin(model: &ModelView) -> &str {
    if model.run.is_empty() {
        "imported"
    } else {
        &model.run
    }
}

fn regions(model: &ModelView) -> String {
    if model.regions.is_empty() {
        "all".to_owned()
    } else {
        model.regions.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_shown_with_its_builds() {
        let build = BuildView {
            profile: "wrist-small".into(),
            variant: "width-0.75".into(),
            bytes: 4_096,
            installed_on: 10,
            offered_to: 12,
            ..tributary_proto::v1::Build::default().into()
        };
        let model = ModelView {
            digest: "ab".repeat(32),
            parameters: 5_063,
            builds: Some(vec![build]),
            ..tributary_proto::v1::Model::default().into()
        };
        let text = page(&model, Palette::PLAIN);
        for part in [
            &*"ab".repeat(32),
            "5,063",
            "imported, round 0",
            "width-0.75",
            "4.1 kB",
            "10 of 12",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
