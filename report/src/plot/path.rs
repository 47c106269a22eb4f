//! Coordinates and lines as SVG writes them.

/// A coordinate with one decimal.
pub(crate) fn px(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1}")
    } else {
        "0".into()
    }
}

/// Straight lines through the places given; `None` lifts the pen.
pub(crate) fn polyline(places: impl Iterator<Item = Option<(f64, f64)>>) -> String {
    let mut path = String::new();
    let mut drawing = false;
    for place in places {
        match place {
            Some((x, y)) => {
                path.push(if drawing { 'L' } else { 'M' });
                path.push_str(&format!("{} {}", px(x), px(y)));
                drawing = true;
            }
            None => drawing = false,
        }
    }
    path
}
