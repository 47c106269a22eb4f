//! Grids and axes.

use maud::{Markup, html};

use super::path::px;
use super::scale::{Scale, whole_ticks};

/// The rectangle that data are drawn in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

impl Area {
    /// Left to right.
    pub(crate) fn across(&self, low: f64, high: f64) -> Scale {
        Scale::linear(low, high, self.left, self.right)
    }

    /// Bottom to top.
    pub(crate) fn upward(&self, low: f64, high: f64) -> Scale {
        Scale::linear(low, high, self.bottom, self.top)
    }

    /// Bottom to top, equal steps for equal ratios.
    pub(crate) fn upward_logarithmic(&self, low: f64, high: f64) -> Scale {
        Scale::logarithmic(low, high, self.bottom, self.top)
    }
}

/// Horizontal lines with their numbers to the left.
pub(crate) fn grid(area: &Area, y: &Scale, ticks: &[(f64, String)]) -> Markup {
    html! {
        @for (value, label) in ticks {
            @let place = y.place(*value);
            line class="grid" x1=(px(area.left)) x2=(px(area.right)) y1=(px(place)) y2=(px(place)) {}
            text x=(px(area.left - 8.0)) y=(px(place + 4.5)) text-anchor="end" { (label) }
        }
    }
}

/// The line below the data with whole numbers and what they count.
pub(crate) fn whole_axis(area: &Area, x: &Scale, low: u64, high: u64, caption: &str) -> Markup {
    let wanted = ((area.right - area.left) / 56.0).clamp(2.0, 9.0) as usize;
    html! {
        line class="base" x1=(px(area.left)) x2=(px(area.right))
            y1=(px(area.bottom)) y2=(px(area.bottom)) {}
        @for tick in whole_ticks(low, high, wanted) {
            @let place = x.place(tick as f64);
            line class="base" x1=(px(place)) x2=(px(place))
                y1=(px(area.bottom)) y2=(px(area.bottom + 4.0)) {}
            text x=(px(place)) y=(px(area.bottom + 19.0)) text-anchor="middle" { (tick) }
        }
        text class="note" x=(px(area.right)) y=(px(area.bottom + 36.0)) text-anchor="end" { (caption) }
    }
}
