//! Placing text so that it does not overlap.

/// Width of a text at 13 px, roughly: fonts differ, so it errs on the wide side.
pub(crate) fn text_width(text: &str) -> f64 {
    let width = |letter| match letter {
        'f' | 'i' | 'j' | 'l' | 't' | 'r' | ' ' | '.' | ',' | '-' | ':' => 4.4,
        'm' | 'w' | 'M' | 'W' | '%' => 11.2,
        _ => 7.8,
    };
    text.chars().map(width).sum()
}

/// Room at the right end of lines for their bold names and a number of so many pixels, `least` or more
/// but never more than a third of the width.
pub(crate) fn label_room<'n>(
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
