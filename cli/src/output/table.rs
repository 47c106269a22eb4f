//! Tables with a header, one thin line, and nothing else.
//!
//! A cell is never broken: digests and ids can be copied, and a row is one line for whoever cuts columns out of
//! a pipe. Where a terminal is too narrow, remarks move below their rows, then columns are left out that a table
//! can do without, and where that is not enough each row becomes a block of labels and values.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, TableStyle};

use super::fit::{columns, fitted};
use super::{Palette, Tone, printable};

/// Invisible letters of no width that stand for tones until the table is laid out, because colour
/// codes would count as text: U+206A to U+206F, which nothing else uses.
const MARKS: [char; 6] = [
    '\u{206a}', '\u{206b}', '\u{206c}', '\u{206d}', '\u{206e}', '\u{206f}',
];
/// Ends a tone; also without width.
const END: char = '\u{2064}';

/// How far a remark below its row goes in.
const REMARK: &str = "    ";

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

/// A table under construction.
pub struct Table {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    aligns: Vec<Align>,
    /// Names of the columns that it can do without, the first to go first.
    spare: Vec<&'static str>,
    /// The last column holds remarks, which may stand below their rows.
    has_remarks: bool,
}

impl Table {
    /// A table with these columns; a last one without a name holds remarks.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let names = columns.iter().map(|(name, _)| Cell::toned(Tone::Dim, name));
        Self {
            header: names.collect(),
            rows: Vec::new(),
            aligns: columns.iter().map(|(_, align)| *align).collect(),
            spare: Vec::new(),
            has_remarks: columns.last().is_some_and(|(name, _)| name.is_empty()),
        }
    }

    /// Names the columns that a narrow terminal may do without, the first to go first.
    pub fn spare(mut self, names: &[&'static str]) -> Self {
        self.spare = names.to_vec();
        self
    }

    /// Takes the last column for remarks although it has a name.
    pub fn with_remarks(mut self) -> Self {
        self.has_remarks = true;
        self
    }

    /// Adds a row, one cell per column.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as lines, or `empty` when it has no rows. It fits the terminal where there is one.
    pub fn render(&self, colours: Palette, empty: &str) -> String {
        self.render_within(columns(&std::io::stdout()), colours, empty)
    }

    fn render_within(&self, width: Option<usize>, colours: Palette, empty: &str) -> String {
        if self.rows.is_empty() {
            return colours.paint(Tone::Dim, empty);
        }
        let mut shown: Vec<usize> = (0..self.header.len()).collect();
        let whole = self.lines(&shown);
        let Some(width) = width.filter(|width| longest(&whole) > *width) else {
            return finished(&whole, colours);
        };
        if self.has_remarks {
            shown.pop();
        }
        let mut left_out = Vec::new();
        let mut spare = self.spare.iter();
        loop {
            let lines = self.lines(&shown);
            if longest(&lines) <= width {
                let lines = self.with_remarks_below(lines, width);
                return format!(
                    "{}{}",
                    finished(&lines, colours),
                    missing(&left_out, colours)
                );
            }
            let Some(name) = spare.next() else {
                return self.stacked(width, colours);
            };
            shown.retain(|column| self.header[*column].text != *name);
            left_out.push(*name);
        }
    }

    /// A header, a rule, and a line for each row, of some of the columns.
    fn lines(&self, shown: &[usize]) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.aligned(&self.header, shown));
        for cells in &self.rows {
            table.add_row(self.aligned(cells, shown));
        }
        let lines = table.lines();
        lines
            .map(|line| without_padding(&line).to_owned())
            .collect()
    }

    fn aligned(&self, cells: &[Cell], shown: &[usize]) -> Vec<comfy_table::Cell> {
        let aligned = shown.iter().filter_map(|column| {
            let side = match self.aligns.get(*column)? {
                Align::Left => CellAlignment::Left,
                Align::Right => CellAlignment::Right,
            };
            let cell = comfy_table::Cell::new(cells.get(*column)?.marked());
            Some(cell.set_alignment(side))
        });
        aligned.collect()
    }

    /// The lines with the remark of each row below it.
    fn with_remarks_below(&self, lines: Vec<String>, width: usize) -> Vec<String> {
        let before = lines.len().saturating_sub(self.rows.len());
        let mut all = Vec::with_capacity(lines.len());
        for (number, line) in lines.into_iter().enumerate() {
            all.push(line);
            let row = number
                .checked_sub(before)
                .and_then(|row| self.rows.get(row));
            let remark = row.filter(|_| self.has_remarks).and_then(|row| row.last());
            if let Some(remark) = remark.filter(|remark| !remark.text.is_empty()) {
                let tone = remark.tone.unwrap_or(Tone::Dim);
                let text = fitted(&format!("{REMARK}{}", remark.text), Some(width));
                let lines = text.lines().map(|line| Cell::toned(tone, line).marked());
                all.extend(lines);
            }
        }
        all
    }

    /// Each row as a block: a label and a value on a line, empty values left out.
    fn stacked(&self, width: usize, colours: Palette) -> String {
        let names = self.header.iter().map(|name| name.text.chars().count());
        let label = names.max().unwrap_or(0) + 2;
        let block = |row: &Vec<Cell>| {
            let pairs = self.header.iter().zip(row);
            let filled = pairs.filter(|(_, cell)| !cell.text.is_empty());
            let lines = filled.map(|(name, cell)| {
                let name = format!("{:<label$}", name.text);
                let value = painted(&cell.marked(), colours);
                fitted(
                    &format!("{}{value}", colours.paint(Tone::Dim, &name)),
                    Some(width),
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let blocks = self.rows.iter().map(block);
        blocks.collect::<Vec<_>>().join("\n\n")
    }
}

/// Says which columns there was no room for.
fn missing(left_out: &[&str], colours: Palette) -> String {
    match left_out {
        [] => String::new(),
        names => {
            let text = format!("no room for {}: widen the terminal", names.join(", "));
            format!("\n{}", colours.paint(Tone::Dim, &text))
        }
    }
}

fn longest(lines: &[String]) -> usize {
    let takes_room = |letter: &char| !MARKS.contains(letter) && *letter != END;
    let lengths = lines.iter();
    let lengths = lengths.map(|line| line.trim_end().chars().filter(takes_room).count());
    lengths.max().unwrap_or(0)
}

fn finished(lines: &[String], colours: Palette) -> String {
    let lines = lines.iter().map(|line| painted(line, colours));
    lines.collect::<Vec<_>>().join("\n")
}

fn mark(tone: Tone) -> char {
    MARKS[tone as usize]
}

/// A line without the padding left of the first and right of the last column.
fn without_padding(line: &str) -> &str {
    let line = line.trim_end();
    match line.strip_prefix("──") {
        Some(rule) => rule,
        None => line.strip_prefix(' ').unwrap_or(line),
    }
}

fn painted(line: &str, colours: Palette) -> String {
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

    fn wide() -> Table {
        let columns = [
            ("run", Align::Left),
            ("name", Align::Left),
            ("epsilon", Align::Right),
            ("model", Align::Left),
            ("", Align::Left),
        ];
        let mut table = Table::new(&columns).spare(&["name"]);
        let remark = "dropped: model mismatch 8, expired 2";
        let cells = ["quickstart-1", "quickstart", "1.98", "0230791badd6", remark];
        table.row(cells.map(Cell::from).to_vec());
        table.row(
            ["quickstart-2", "quickstart", "7.00", "7c11f0e2aa34", ""]
                .map(Cell::from)
                .to_vec(),
        );
        table
    }

    #[test]
    fn without_a_terminal_every_row_is_one_line_with_whole_cells() {
        let text = wide().render_within(None, Palette::PLAIN, "");
        assert_eq!(text.lines().count(), 4, "{text}");
        let row = text.lines().nth(2).unwrap();
        assert!(
            row.ends_with("0230791badd6  dropped: model mismatch 8, expired 2"),
            "{row}"
        );
    }

    #[test]
    fn a_narrow_terminal_moves_remarks_then_leaves_columns_out_and_then_stacks_the_rows() {
        let at = |width| wide().render_within(Some(width), Palette::PLAIN, "");
        for width in [100, 60, 50, 38, 20] {
            let text = at(width);
            for whole in ["quickstart-1", "0230791badd6", "7c11f0e2aa34", "mismatch"] {
                assert!(text.contains(whole), "{whole} at {width}: {text}");
            }
            let fits = |line: &str| line.chars().count() <= width.max(21);
            assert!(text.lines().all(fits), "{width}: {text}");
        }
        assert_eq!(at(100), wide().render_within(None, Palette::PLAIN, ""));
        let below = at(60);
        assert!(
            below.contains("\n    dropped: model mismatch 8, expired 2\n"),
            "{below}"
        );
        assert!(!below.contains("no room"), "{below}");
        let fewer = at(40);
        assert!(!fewer.contains("quickstart  "), "{fewer}");
        assert!(
            fewer.ends_with("no room for name: widen the terminal"),
            "{fewer}"
        );
        let stacked = at(30);
        assert!(
            stacked.contains("run      quickstart-1\nname     quickstart\n"),
            "{stacked}"
        );
    }

    #[test]
    fn colours_change_nothing_in_where_a_table_breaks() {
        for width in [100, 60, 40, 30] {
            let coloured = wide().render_within(Some(width), Palette::COLOURED, "");
            let plain = wide().render_within(Some(width), Palette::PLAIN, "");
            assert_eq!(coloured.lines().count(), plain.lines().count(), "{width}");
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
