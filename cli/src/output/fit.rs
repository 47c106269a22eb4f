//! Prose on a terminal: lines are broken between words, and go on below where their text began.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use terminal_size::terminal_size_of;

/// A label and the gap behind it end before this column.
const LABEL: usize = 26;
/// How far a line without a label goes in where it goes on.
const HANGING: usize = 2;

/// Columns of the terminal that a stream writes to; none where it writes to a pipe or a file, whose lines are
/// never broken.
pub fn columns(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = stream.is_terminal().then(|| terminal_size_of(stream));
    let (width, _) = size.flatten()?;
    Some(usize::from(width.0).max(1))
}

/// The text with no line longer than so many columns, except for words that are longer themselves: a digest
/// or an id stays whole.
pub fn fitted(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return text.to_owned();
    };
    let lines = text.split('\n').map(|line| match width(line) > columns {
        true => broken(line, columns),
        false => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Columns that a line takes up; colours take none.
pub fn width(line: &str) -> usize {
    bare(line).chars().count()
}

/// The line without its colours: ESC, `[`, numbers, `m`.
fn bare(line: &str) -> String {
    let mut bare = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters
                .by_ref()
                .take_while(|code| *code != 'm')
                .for_each(drop);
        } else {
            bare.push(letter);
        }
    }
    bare
}

fn broken(line: &str, columns: usize) -> String {
    let indent = hanging(line).min(columns / 2);
    let mut broken = String::with_capacity(line.len());
    let (mut used, mut has_word) = (0, false);
    for (number, word) in line.split(' ').enumerate() {
        let length = width(word);
        if has_word && length > 0 && used + 1 + length > columns {
            broken.truncate(broken.trim_end().len());
            broken.push('\n');
            broken.push_str(&" ".repeat(indent));
            used = indent;
        } else if number > 0 {
            broken.push(' ');
            used += 1;
        }
        broken.push_str(word);
        used += length;
        has_word |= length > 0;
    }
    broken
}

/// The column in which a line goes on: that of the text behind its label, which two spaces or more set apart.
fn hanging(line: &str) -> usize {
    let bare = bare(line);
    let text = bare.trim_start();
    let lead = bare.chars().count() - text.chars().count();
    let gap = text.find("  ").map(|gap| {
        let behind = text[gap..].trim_start();
        lead + text.chars().count() - behind.chars().count()
    });
    match gap {
        Some(column) if column <= LABEL => column,
        _ => lead + HANGING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_go_on_behind_their_label() {
        let text = "privacy       epsilon 1.2 at delta 1e-5 (zero out one device)\nshort";
        assert_eq!(
            fitted(text, Some(40)),
            "privacy       epsilon 1.2 at delta 1e-5\n              (zero out one device)\nshort"
        );
        assert_eq!(fitted(text, None), text);
        assert_eq!(fitted("aa bb cc", Some(5)), "aa bb\n  cc");
    }

    #[test]
    fn a_digest_that_is_longer_than_the_terminal_stays_whole() {
        let digest = "ab".repeat(32);
        let text = fitted(&format!("model  {digest} of run x"), Some(40));
        assert!(text.contains(&digest), "{text}");
    }

    #[test]
    fn colours_take_no_room_and_are_kept() {
        let text = "\x1b[2mone two\x1b[0m three";
        assert_eq!(width(text), 13);
        assert_eq!(fitted(text, Some(13)), text);
        assert_eq!(fitted(text, Some(9)), "\x1b[2mone two\x1b[0m\n  three");
    }
}
