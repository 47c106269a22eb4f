//! Placing text so that it does not overlap.

use maud::{Markup, html};

use super::axes::Area;
use super::px;
use super::scale::Scale;
use crate::report::{Event, Report};

/// Width of a text at 13 px, roughly: fonts differ, so it errs on the wide side.
pub(super) fn text_width(text: &str) -> f64 {
    let width = |letter| match letter {
        'f' | 'i' | 'j' | 'l' | 't' | 'r' | ' ' | '.' | ',' | '-' | ':' => 4.4,
        'm' | 'w' | 'M' | 'W' | '%' => 11.2,
        _ => 7.8,
    };
    text.chars().map(width).sum()
}

/// Room at the right end of lines for their bold names and a number of so many pixels, `least` or more
/// but never more than a third of the width.
pub(super) fn label_room<'n>(
    names: impl Iterator<Item = &'n str>,
    number: f64,
    least: f64,
    width: f64,
) -> f64 {
    let longest = names.map(text_width).fold(0.0, f64::max);
    (longest * 1.1 + number + 14.0).max(least).min(width / 3.0)
}

/// Moves places apart until neighbours are at least `distance` away, keeping their order and mean.
pub(crate) fn spread(places: &mut [f64], distance: f64) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
    for _ in 0..50 {
        let mut moved = false;
        for pair in order.windows(2) {
            let overlap = distance - (places[pair[1]] - places[pair[0]]);
            if overlap > 0.01 {
                places[pair[0]] -= overlap / 2.0;
                places[pair[1]] += overlap / 2.0;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}

/// Height of one row of event labels.
const ROW: f64 = 19.0;
/// Rows at most; further labels are left to the table of events.
const ROWS: usize = 5;

/// Event labels above a plot by round, each with a line down to the axis.
pub(super) struct Flags<'a> {
    placed: Vec<(&'a Event, u64, usize)>,
    rows: usize,
}

impl<'a> Flags<'a> {
    /// Gives each event with a round the first row in which its label fits.
    pub(super) fn place(report: &'a Report, x: &Scale, right: f64) -> Flags<'a> {
        let mut events: Vec<(&Event, u64)> = report
            .events
            .iter()
            .filter_map(|event| Some((event, event.round?)))
            .collect();
        events.sort_by_key(|&(_, round)| round);
        let mut ends: Vec<(f64, f64)> = Vec::new();
        let mut placed = Vec::new();
        for (event, round) in events {
            let (start, end) = extent(&event.text(), x.place(round as f64), right);
            let fits = |&(taken_from, taken_to): &(f64, f64)| start > taken_to || end < taken_from;
            let row = ends.iter().position(fits).unwrap_or(ends.len());
            match ends.get_mut(row) {
                Some(taken) => *taken = (taken.0.min(start), taken.1.max(end)),
                None if row < ROWS => ends.push((start, end)),
                None => continue,
            }
            placed.push((event, round, row));
        }
        Flags {
            placed,
            rows: ends.len(),
        }
    }

    /// Space needed above the plot.
    pub(super) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    /// Lines and labels; the last row is just above `area`.
    pub(super) fn draw(&self, area: &Area, x: &Scale) -> Markup {
        html! {
            @for (event, round, row) in &self.placed {
                @let place = x.place(*round as f64);
                @let y = area.top - 8.0 - (self.rows - 1 - *row) as f64 * ROW;
                @let leftward = points_left(&event.text(), place, area.right);
                line class="mark" x1=(px(place)) x2=(px(place)) y1=(px(y - 9.0)) y2=(px(area.bottom)) {}
                text class="halo" x=(px(if leftward { place - 7.0 } else { place + 7.0 })) y=(px(y))
                    text-anchor=(if leftward { "end" } else { "start" }) { (event.text()) }
            }
        }
    }
}

/// Whether a label must stand to the left of its line to stay within the drawing.
fn points_left(text: &str, place: f64, right: f64) -> bool {
    place + 7.0 + text_width(text) > right
}

fn extent(text: &str, place: f64, right: f64) -> (f64, f64) {
    let width = text_width(text) + 16.0;
    if points_left(text, place, right) {
        (place - width, place)
    } else {
        (place, place + width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_get_room_and_leave_most_of_the_plot() {
        let room = |names: &[&str]| label_room(names.iter().copied(), 44.0, 104.0, 900.0);
        assert_eq!(room(&["eu", "us"]), 104.0);
        assert!(room(&["regional heads"]) > 140.0);
        assert_eq!(
            room(&["a name that is longer than any plot could ever hold"]),
            300.0
        );
    }

    #[test]
    fn labels_at_the_same_place_are_spread_and_keep_their_order() {
        let mut places = [50.0, 50.0, 52.0, 200.0];
        spread(&mut places, 15.0);
        assert!(
            places[0] + 14.9 < places[1] && places[1] + 14.9 < places[2],
            "{places:?}"
        );
        assert_eq!(places[3], 200.0);
    }
}
