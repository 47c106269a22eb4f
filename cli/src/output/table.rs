//! Tables with a header, one thin line, and nothing else.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

use super::{Palette, Tone, printable};

/// Invisible letters of no width that stand for tones until the table is laid out, because colour
/// codes would count as text: U+206A to U+206F, which nothing else uses.
const MARKS: [char; 6] = [
    '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}',
];
/// Ends a tone; also without width.
const END: char = '\u{2064}';

/// Narrowest line that tables are broken to, and the longest where there is no terminal.
const LEAST: u16 = 80;
const NO_TERMINAL: u16 = 120;
/// Letters of a cell that surely stay on one line.
const UNBROKEN: usize = 8;

const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─'));

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A cell: text, perhaps with a tone.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(tone: Tone, text: impl AsRef<str>) -> Self {
        Self {
            tone: Some(tone),
            ..Self::from(text.as_ref())
        }
    }

    fn marked(&self) -> String {
        // an empty cell needs no colour
        match self.tone {
            Some(tone) if !self.text.is_empty() => format!("{}{}{END}", mark(tone), self.text),
            _ => self.text.clone(),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        let text = printable(text).replace(MARKS, "").replace(END, "");
        Self { text, tone: None }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

fn mark(tone: Tone) -> char {
    MARKS[tone as usize]
}

/// A table under construction.
pub struct Table {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    aligns: Vec<Align>,
}

impl Table {
    /// A table with these columns.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let names = columns.iter().map(|(name, _)| Cell::toned(Tone::Dim, name));
        Self {
            header: names.collect(),
            rows: Vec::new(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
        }
    }

    /// Adds a row, one cell per column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as lines, or `empty` when it has no rows. Lines that would be longer than the terminal
    /// (120 letters where there is none) are broken within their cells.
    pub fn render(&self, colours: Palette, empty: &str) -> String {
        self.render_within(width(), colours, empty)
    }

    fn render_within(&self, width: u16, colours: Palette, empty: &str) -> String {
        if self.rows.is_empty() {
            return colours.paint(Tone::Dim, empty);
        }
        let plain = self.laid_out(None);
        let longest = plain.lines().map(|line| letters(&line)).max().unwrap_or(0);
        let table = match longest > usize::from(width) {
            true => self.laid_out(Some(width)),
            false => plain,
        };
        let lines = table.lines().map(|line| painted(line.trim_end(), colours));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Laid out as wide as it is, or broken to a width.
    fn laid_out(&self, width: Option<u16>) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        match width {
            None => table.set_content_arrangement(ContentArrangement::Disabled),
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
        };
        let aligned = |cells: &[Cell]| row(cells.to_vec(), &self.aligns, width.is_some());
        table.set_header(aligned(&self.header));
        for cells in &self.rows {
            table.add_row(aligned(cells));
        }
        table
    }
}

/// Letters of a line that take up room.
fn letters(line: &str) -> usize {
    let takes_room = |letter: &char| !MARKS.contains(letter) && *letter != END;
    line.trim_end().chars().filter(takes_room).count()
}

/// Width of the terminal, at least 80; 120 where there is none.
fn width() -> u16 {
    let terminal = terminal_size::terminal_size();
    terminal.map_or(NO_TERMINAL, |(width, _)| width.0.max(LEAST))
}

fn row(cells: Vec<Cell>, aligns: &[Align], may_break: bool) -> Vec<comfy_table::Cell> {
    let aligned = cells.into_iter().zip(aligns).map(|(mut cell, align)| {
        if may_break && cell.text.chars().count() > UNBROKEN {
            // a tone must begin and end on one line
            cell.tone = None;
        }
        let side = match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        };
        comfy_table::Cell::new(cell.marked()).set_alignment(side)
    });
    aligned.collect()
}

fn painted(line: &str, colours: Palette) -> String {
    // the padding left of the first and right of the last column
    let line = match line.strip_prefix("──") {
        Some(rule) => rule,
        None => line.strip_prefix(' ').unwrap_or(line),
    };
    let mut painted = String::with_capacity(line.len());
    for letter in line.chars() {
        match MARKS.iter().position(|mark| *mark == letter) {
            Some(index) => painted.push_str(&colours.begin(Tone::ALL[index])),
            None if letter == END => painted.push_str(colours.end()),
            None => painted.push(letter),
        }
    }
    painted.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("region", Align::Left), ("devices", Align::Right)]);
        table.row(vec![Cell::toned(Tone::Good, "eu"), "1,200".into()]);
        table.row(vec!["north".into(), Cell::toned(Tone::Bad, "7")]);
        table
    }

    #[test]
    fn columns_are_aligned_under_a_header_and_one_line() {
        let text = sample().render(Palette::PLAIN, "");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "region  devices");
        assert!(lines[1].chars().all(|letter| letter == '─'), "{text}");
        assert_eq!(lines[2], "eu        1,200");
        assert_eq!(lines[3], "north         7");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let coloured = sample().render(Palette::COLOURED, "");
        let mut bare = coloured.clone();
        for tone in Tone::ALL {
            bare = bare.replace(&Palette::COLOURED.begin(tone), "");
        }
        let bare = bare.replace(Palette::COLOURED.end(), "");
        assert_ne!(coloured, bare);
        assert_eq!(bare, sample().render(Palette::PLAIN, ""));
    }

    #[test]
    fn a_table_wider_than_the_terminal_is_broken_within_its_cells() {
        let mut table = sample();
        let long =
            "width-0.75 fits: 4,096 of 5,120 bytes of flash; full needs 7,412 bytes".repeat(3);
        table.row(vec![long.as_str().into(), Cell::toned(Tone::Warn, "12")]);
        for colours in [Palette::PLAIN, Palette::COLOURED] {
            let wide = table.render_within(400, colours, "");
            assert_eq!(wide.lines().count(), 5);
            let text = table.render_within(80, Palette::PLAIN, "");
            assert!(text.lines().count() > 5, "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
            for word in ["flash;", "7,412", "1,200", "12"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }

    #[test]
    fn foreign_text_cannot_colour_or_steer() {
        let mut table = Table::new(&[("name", Align::Left)]);
        table.row(vec!["\x1b[31mred\u{206a}\u{2064}".into()]);
        let text = table.render(Palette::PLAIN, "");
        assert!(text.ends_with("\u{fffd}[31mred"), "{text:?}");
    }

    #[test]
    fn a_table_without_rows_says_so() {
        let table = Table::new(&[("name", Align::Left)]);
        assert_eq!(table.render(Palette::PLAIN, "no runs yet"), "no runs yet");
    }
}
