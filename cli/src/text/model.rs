//! Model versions and builds in words.

use crate::output::{Palette, Tone, count, printable, short_digest};
use crate::view::BuildView;

/// Marks as a line; what they say is said by their names.
pub fn marks(marks: &[String], colours: Palette) -> String {
    match marks.is_empty() {
        true => "-".to_owned(),
        false => colours.paint(Tone::Bad, &printable(&marks.join(", "))),
    }
}

/// A build as a line of `run watch`.
pub fn build_line(build: &BuildView, colours: Palette) -> String {
    let refused = match build.failed_on {
        0 => String::new(),
        failed => format!(", refused by {}", count(failed)),
    };
    let line = format!(
        "build {} {} for {} in {}: installed on {} of {}{refused}",
        short_digest(&build.digest),
        build.variant,
        build.profile,
        build.region,
        count(build.installed_on),
        count(build.offered_to),
    );
    let tone = if build.failed_on > 0 {
        Tone::Warn
    } else {
        Tone::Dim
    };
    colours.paint(tone, &printable(&line))
}
