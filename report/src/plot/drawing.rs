//! A finished plot, and where it can be put.

use maud::{Markup, html};

/// A finished plot.
pub(crate) struct Plot {
    /// Unique in the page.
    pub(crate) id: &'static str,
    /// What it shows, for readers who can't see it.
    pub(crate) title: String,
    /// Width in px.
    pub(crate) width: f64,
    /// Height in px.
    pub(crate) height: f64,
    /// SVG elements.
    pub(crate) body: Markup,
}

impl Plot {
    /// A plot that says that there is nothing to show.
    pub(crate) fn empty(id: &'static str, title: String, width: f64, height: f64) -> Plot {
        Plot::sentence(id, title, (width, height), "Not measured in this run")
    }

    /// A plot that is one sentence.
    pub(crate) fn sentence(
        id: &'static str,
        title: String,
        (width, height): (f64, f64),
        sentence: &str,
    ) -> Plot {
        let body = html! {
            rect class="band" x="0" y="0" width=(width) height=(height) rx="3" {}
            text class="note" x=(width / 2.0) y=(height / 2.0 + 4.0) text-anchor="middle" {
                (sentence)
            }
        };
        Plot {
            id,
            title,
            width,
            height,
            body,
        }
    }

    /// The plot as an element of a page; scales with the page.
    pub(crate) fn inline(&self) -> Markup {
        let (width, height) = (self.width, self.height);
        html! {
            svg class="plot" role="img" aria-labelledby=(format!("{}-title", self.id))
                viewBox=(format!("0 0 {width} {height}")) style=(format!("--full:{width}px")) {
                title id=(format!("{}-title", self.id)) { (self.title) }
                (self.body)
            }
        }
    }

    /// The plot as a part of a larger drawing.
    pub(crate) fn nested(&self, x: f64, y: f64) -> Markup {
        html! {
            svg x=(x) y=(y) width=(self.width) height=(self.height)
                viewBox=(format!("0 0 {} {}", self.width, self.height)) { (self.body) }
        }
    }
}
