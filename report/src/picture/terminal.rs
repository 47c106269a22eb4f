//! Terminal output drawn as a window.

use maud::{Markup, PreEscaped, html};

use super::ansi::{Cell, Look, rows};

/// How the window looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalOptions {
    /// Shown in the title bar, e.g. the command.
    pub title: String,
    /// Columns the window has at least; longer lines widen it.
    pub columns: usize,
}

impl Default for TerminalOptions {
    fn default() -> Self {
        TerminalOptions {
            title: String::new(),
            columns: 80,
        }
    }
}

const CELL_WIDTH: f64 = 8.4;
const ROW_HEIGHT: f64 = 20.0;
const MARGIN: f64 = 24.0;
const BAR: f64 = 40.0;

const STYLE: &str = "text{font-family:ui-monospace,\"SF Mono\",\"JetBrains Mono\",Menlo,Consolas,\
\"DejaVu Sans Mono\",\"Liberation Mono\",monospace;font-size:14px;fill:#d5d2ca;white-space:pre}\
.b{font-weight:700}.d{opacity:.62}.i{font-style:italic}.u{text-decoration:underline}\
.t{font-size:12.5px;fill:#8c867c}";

/// Draws terminal output, ANSI colours included, as a dark window in one SVG file.
///
/// At most 1,000 rows of 300 columns are drawn. Every run of letters is pinned to its column, so that
/// tables stay aligned whatever font the reader has.
pub fn terminal(text: &str, options: &TerminalOptions) -> String {
    let mut rows = rows(text);
    while rows
        .last()
        .is_some_and(|row| row.iter().all(|cell| cell.letter == ' '))
    {
        rows.pop();
    }
    let columns = rows
        .iter()
        .map(Vec::len)
        .max()
        .unwrap_or(0)
        .max(options.columns.min(300));
    let width = columns as f64 * CELL_WIDTH + 2.0 * MARGIN;
    let height = BAR + rows.len() as f64 * ROW_HEIGHT + MARGIN;
    let label = if options.title.is_empty() {
        "Terminal output"
    } else {
        &options.title
    };
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" width=(px(width)) height=(px(height))
            viewBox=(format!("0 0 {} {}", px(width), px(height))) aria-label=(label) {
            style { (PreEscaped(STYLE)) }
            rect x="0.5" y="0.5" width=(px(width - 1.0)) height=(px(height - 1.0)) rx="10"
                fill="#191816" stroke="#37342f" {}
            @for (index, colour) in ["#e5685f", "#dfae43", "#5fb37c"].iter().enumerate() {
                circle cx=(22 + 20 * index) cy="20" r="5.5" fill=(colour) {}
            }
            text class="t" x=(px(width / 2.0)) y="24.5" text-anchor="middle" { (options.title) }
            @for (index, row) in rows.iter().enumerate() {
                (draw_row(row, BAR + index as f64 * ROW_HEIGHT))
            }
        }
    }
    .into_string()
}

fn px(value: f64) -> String {
    format!("{value:.1}").trim_end_matches(".0").to_owned()
}

fn draw_row(row: &[Cell], top: f64) -> Markup {
    html! {
        @for (start, run) in runs(row) {
            @let left = px(MARGIN + start as f64 * CELL_WIDTH);
            @let width = px(run.len() as f64 * CELL_WIDTH);
            @let look = &run[0].look;
            @if let Some(colour) = &look.background {
                rect x=(left) y=(px(top)) width=(width) height=(ROW_HEIGHT) fill=(colour) {}
            }
            @let letters = run.iter().map(|cell| cell.letter).collect::<String>();
            @if !letters.trim().is_empty() {
                text x=(left) y=(px(top + 14.5)) textLength=(width) lengthAdjust="spacingAndGlyphs"
                    class=[class(look)] fill=[look.foreground.as_deref()]
                    style=[look.foreground.as_ref().map(|colour| format!("fill:{colour}"))] { (letters) }
            }
        }
    }
}

/// Neighbouring cells of the same look, with the column each run starts in. Plain runs are also split
/// at gaps of two spaces or more, so that every column of a table is pinned.
fn runs(row: &[Cell]) -> Vec<(usize, &[Cell])> {
    let mut runs = Vec::new();
    let mut start = 0;
    for place in 1..=row.len() {
        let ends = place == row.len() || row[place].look != row[start].look || {
            row[place].letter != ' ' && row[place - 1].letter == ' ' && place - start > 1 && {
                place >= 2 && row[place - 2].letter == ' '
            }
        };
        if ends {
            let blank = row[start..place]
                .iter()
                .take_while(|cell| cell.letter == ' ')
                .count();
            let plain = row[start].look.background.is_none() && !row[start].look.underline;
            // leading blanks are dropped from the run: renderers treat them differently
            let skip = if plain && blank < place - start {
                blank
            } else {
                0
            };
            let trail = row[start + skip..place]
                .iter()
                .rev()
                .take_while(|cell| cell.letter == ' ');
            let end = if plain { place - trail.count() } else { place };
            if end > start + skip {
                runs.push((start + skip, &row[start + skip..end]));
            }
            start = place;
        }
    }
    runs
}

fn class(look: &Look) -> Option<String> {
    let marks = [
        (look.bold, "b"),
        (look.dim, "d"),
        (look.italic, "i"),
        (look.underline, "u"),
    ];
    let names: Vec<&str> = marks
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
    (!names.is_empty()).then(|| names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_the_output_is_escaped() {
        let svg = terminal("<script>&\u{1b}[31m\"red\"", &TerminalOptions::default());
        assert!(
            !svg.contains("<script>") && svg.contains("&lt;script&gt;&amp;"),
            "{svg}"
        );
    }

    #[test]
    fn empty_output_is_still_a_window() {
        let svg = terminal("", &TerminalOptions::default());
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"));
    }

    #[test]
    fn every_column_of_a_table_is_pinned() {
        let row = rows("region   profile").remove(0);
        let starts: Vec<usize> = runs(&row).iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0, 9]);
    }

    #[test]
    fn a_window_is_as_wide_as_its_longest_line() {
        let svg = terminal(
            &"x".repeat(100),
            &TerminalOptions {
                title: "t".into(),
                columns: 20,
            },
        );
        assert!(
            svg.contains("width=\"888\""),
            "100 columns of 8.4 px and two margins of 24"
        );
    }
}
