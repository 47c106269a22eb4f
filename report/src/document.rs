//! What every page begins with: one HTML document, no script, nothing fetched.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::style;

/// A whole document around what its body holds. `own_style` is CSS that only this page needs;
/// light or dark follows the reader's system.
pub fn document(title: &str, own_style: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(style::page())) (PreEscaped(own_style)) }
            }
            body { (body) }
        }
    }
    .into_string()
}
