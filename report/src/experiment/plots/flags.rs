//! What happened when, as labels above a plot.

use maud::{Markup, html};

use crate::experiment::{Event, Report};
use crate::plot::axes::Area;
use crate::plot::labels::text_width;
use crate::plot::px;
use crate::plot::scale::Scale;

/// Height of one row of event labels.
const ROW: f64 = 19.0;
/// Rows at most; further labels are left to the table of events.
const ROWS: usize = 5;

/// Event labels above a plot by round, each with a line down to the axis.
pub(crate) struct Flags<'a> {
    placed: Vec<(&'a Event, u64, usize)>,
    rows: usize,
}

impl<'a> Flags<'a> {
    /// Gives each event with a round the first row in which its label fits.
    pub(crate) fn place(report: &'a Report, x: &Scale, right: f64) -> Flags<'a> {
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
    pub(crate) fn height(&self) -> f64 {
        self.rows as f64 * ROW
    }

    /// Lines and labels; the last row is just above `area`.
    pub(crate) fn draw(&self, area: &Area, x: &Scale) -> Markup {
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
