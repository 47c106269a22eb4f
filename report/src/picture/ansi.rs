//! Terminal output as a grid of cells.
//!
//! Understands what command-line programs print: SGR colours (ECMA-48 section 8.3.117, with the 256 and
//! 24-bit extensions), carriage return, backspace, tab, and erase-in-line. Other escape sequences are
//! skipped. Size is bounded whatever the input.

/// Columns kept at most.
const MAX_COLUMNS: usize = 300;
/// Rows kept at most.
const MAX_ROWS: usize = 1000;

/// How a cell looks. Colours are `#rrggbb`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) foreground: Option<String>,
    pub(crate) background: Option<String>,
    pub(crate) bold: bool,
    pub(crate) dim: bool,
    pub(crate) italic: bool,
    pub(crate) underline: bool,
}

/// A character with its look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) letter: char,
    pub(crate) look: Look,
}

/// The 16 standard colours on a dark background.
const PALETTE: [&str; 16] = [
    "#5c6370", "#f1766d", "#7fc99a", "#e2b457", "#7fb2e6", "#c3a0e8", "#5cc5c9", "#d5d2ca",
    "#7d776d", "#ff948b", "#9ae0b2", "#f3cd7c", "#a3caf2", "#d8bdf5", "#86dde0", "#fbfaf6",
];

/// Lays the text out as rows of cells.
pub(crate) fn rows(text: &str) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = vec![Vec::new()];
    let mut column = 0usize;
    let mut look = Look::default();
    let mut inverse = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let full = rows.len() >= MAX_ROWS;
        // there is always a row: one at the start, one more per line feed
        let Some(row) = rows.last_mut() else { break };
        match letter {
            '\n' if full => break,
            '\n' => {
                rows.push(Vec::new());
                column = 0;
            }
            '\r' => column = 0,
            '\u{8}' => column = column.saturating_sub(1),
            '\t' => column = (column / 8 + 1) * 8,
            '\u{1b}' => match escape(&mut letters) {
                Escape::Look(numbers) => apply(&numbers, &mut look, &mut inverse),
                Escape::EraseToEnd => row.truncate(column),
                Escape::EraseLine => row.clear(),
                Escape::Other => {}
            },
            letter if letter.is_control() => {}
            letter => {
                put(row, column, letter, shown(&look, inverse));
                column += 1;
            }
        }
    }
    rows
}

fn put(row: &mut Vec<Cell>, column: usize, letter: char, look: Look) {
    if column >= MAX_COLUMNS {
        return;
    }
    let blank = Cell {
        letter: ' ',
        look: Look::default(),
    };
    if row.len() <= column {
        row.resize(column + 1, blank);
    }
    row[column] = Cell { letter, look };
}

fn shown(look: &Look, inverse: bool) -> Look {
    let mut look = look.clone();
    if inverse {
        let foreground = look.foreground.take().unwrap_or_else(|| PALETTE[7].into());
        look.foreground = Some(look.background.take().unwrap_or_else(|| "#191816".into()));
        look.background = Some(foreground);
    }
    look
}

enum Escape {
    Look(Vec<u16>),
    EraseToEnd,
    EraseLine,
    Other,
}

/// Reads the rest of an escape sequence.
fn escape(letters: &mut std::str::Chars<'_>) -> Escape {
    match letters.next() {
        Some('[') => control_sequence(letters),
        // a title or link: up to BEL or ESC backslash
        Some(']') => {
            while let Some(letter) = letters.next() {
                if letter == '\u{7}' || (letter == '\u{1b}' && letters.next() == Some('\\')) {
                    break;
                }
            }
            Escape::Other
        }
        _ => Escape::Other,
    }
}

fn control_sequence(letters: &mut std::str::Chars<'_>) -> Escape {
    let mut parameters = String::new();
    for letter in letters {
        match letter {
            '\u{40}'..='\u{7e}' => {
                let numbers = parameters
                    .split([';', ':'])
                    .map(|number| number.parse().unwrap_or(0));
                return match (letter, parameters.as_str()) {
                    ('m', _) => Escape::Look(numbers.collect()),
                    ('K', "" | "0") => Escape::EraseToEnd,
                    ('K', "1" | "2") => Escape::EraseLine,
                    _ => Escape::Other,
                };
            }
            letter if parameters.len() < 64 => parameters.push(letter),
            _ => {}
        }
    }
    Escape::Other
}

fn apply(numbers: &[u16], look: &mut Look, inverse: &mut bool) {
    let mut rest = numbers;
    while let [number, tail @ ..] = rest {
        rest = tail;
        match number {
            0 => (*look, *inverse) = (Look::default(), false),
            1 => look.bold = true,
            2 => look.dim = true,
            3 => look.italic = true,
            4 => look.underline = true,
            7 => *inverse = true,
            22 => (look.bold, look.dim) = (false, false),
            23 => look.italic = false,
            24 => look.underline = false,
            27 => *inverse = false,
            30..=37 => look.foreground = Some(PALETTE[usize::from(number - 30)].into()),
            90..=97 => look.foreground = Some(PALETTE[usize::from(number - 82)].into()),
            40..=47 => look.background = Some(PALETTE[usize::from(number - 40)].into()),
            100..=107 => look.background = Some(PALETTE[usize::from(number - 92)].into()),
            39 => look.foreground = None,
            49 => look.background = None,
            38 | 48 => {
                let colour;
                (colour, rest) = extended(rest);
                let place = if *number == 38 {
                    &mut look.foreground
                } else {
                    &mut look.background
                };
                *place = colour.or(place.take());
            }
            _ => {}
        }
    }
}

/// The colour after 38 or 48, and what follows it.
fn extended(numbers: &[u16]) -> (Option<String>, &[u16]) {
    match numbers {
        [5, index, rest @ ..] => (Some(indexed(*index)), rest),
        [2, red, green, blue, rest @ ..] => {
            let [red, green, blue] = [red, green, blue].map(|part| (*part).min(255));
            (Some(format!("#{red:02x}{green:02x}{blue:02x}")), rest)
        }
        [_, rest @ ..] => (None, rest),
        [] => (None, numbers),
    }
}

/// The 256-colour table: 16 standard, a 6 x 6 x 6 cube, 24 greys.
fn indexed(index: u16) -> String {
    match index.min(255) {
        standard @ 0..=15 => PALETTE[usize::from(standard)].into(),
        cube @ 16..=231 => {
            let level = |step: u16| if step == 0 { 0 } else { 55 + 40 * step };
            let cube = cube - 16;
            let [red, green, blue] = [cube / 36, cube / 6 % 6, cube % 6].map(level);
            format!("#{red:02x}{green:02x}{blue:02x}")
        }
        grey => {
            let level = 8 + 10 * (grey - 232);
            format!("#{level:02x}{level:02x}{level:02x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> Vec<String> {
        rows(text)
            .iter()
            .map(|row| row.iter().map(|cell| cell.letter).collect())
            .collect()
    }

    #[test]
    fn a_carriage_return_overwrites_and_erase_clears_the_rest() {
        assert_eq!(plain("progress 10%\rdone\u{1b}[K\nnext"), ["done", "next"]);
        assert_eq!(plain("ab\tc"), ["ab      c"]);
    }

    #[test]
    fn colours_apply_until_they_are_reset() {
        let row = &rows("\u{1b}[1;31mA\u{1b}[0mB\u{1b}[38;5;208mC\u{1b}[38;2;1;2;3mD\u{1b}[7mE")[0];
        assert_eq!(row[0].look.foreground.as_deref(), Some("#f1766d"));
        assert!(row[0].look.bold);
        assert_eq!(row[1].look, Look::default());
        assert_eq!(row[2].look.foreground.as_deref(), Some("#ff8700"));
        assert_eq!(row[3].look.foreground.as_deref(), Some("#010203"));
        assert_eq!(row[4].look.background.as_deref(), Some("#010203"));
    }

    #[test]
    fn titles_links_and_cursor_moves_leave_no_trace() {
        let link = "\u{1b}]8;;file:///x\u{1b}\\text\u{1b}]8;;\u{7}\u{1b}[2A\u{1b}[?25l!";
        assert_eq!(plain(link), ["text!"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_bounded_grid(text in "(\\PC|\\x1b|\\[|[0-9;m\\n\\r\\t]){0,400}") {
            let rows = rows(&text);
            prop_assert!(rows.len() <= MAX_ROWS);
            prop_assert!(rows.iter().all(|row| row.len() <= MAX_COLUMNS));
        }
    }
}
