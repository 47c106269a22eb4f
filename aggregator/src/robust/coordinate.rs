//! Rules that look at one coordinate at a time.

use super::update_set::{STRIDE, UpdateSet};

/// The median of each coordinate.
pub(super) fn median(cloud: &UpdateSet<'_>) -> Vec<f32> {
    let points: Vec<usize> = (0..cloud.len()).collect();
    per_coordinate(cloud, &points, |column| column_median(column) as f32)
}

/// The mean of each coordinate without its `trim` lowest and highest values.
pub(super) fn trimmed_mean(cloud: &UpdateSet<'_>, trim: usize) -> Vec<f32> {
    let points: Vec<usize> = (0..cloud.len()).collect();
    per_coordinate(cloud, &points, |column| {
        let last = column.len() - 1 - trim;
        column.select_nth_unstable(last);
        let low = &mut column[..=last];
        low.select_nth_unstable(trim);
        mean(&low[trim..])
    })
}

/// In each coordinate the mean of the `keep` values of `points` that are nearest to their median.
pub(super) fn mean_around_median(cloud: &UpdateSet<'_>, points: &[usize], keep: usize) -> Vec<f32> {
    per_coordinate(cloud, points, |column| {
        let middle = column_median(column);
        column.sort_unstable();
        mean(nearest_window(column, middle, keep))
    })
}

/// Of sorted values the `keep` consecutive ones nearest to `middle`; ties go to the lower.
fn nearest_window(sorted: &[i32], middle: f64, keep: usize) -> &[i32] {
    let mut start = 0;
    while start + keep < sorted.len()
        && value(sorted[start + keep]) - middle < middle - value(sorted[start])
    {
        start += 1;
    }
    &sorted[start..start + keep]
}

/// The middle value, of an even number the mean of both middle values.
fn column_median(column: &mut [i32]) -> f64 {
    let middle = column.len() / 2;
    let odd = column.len() % 2 == 1;
    let (below, &mut upper, _) = column.select_nth_unstable(middle);
    match below.iter().max() {
        Some(&lower) if !odd => 0.5 * (value(lower) + value(upper)),
        _ => value(upper),
    }
}

fn mean(keys: &[i32]) -> f32 {
    let sum: f64 = keys.iter().map(|&key| value(key)).sum();
    (sum / keys.len() as f64) as f32
}

/// Applies `reduce` to each coordinate's values of `points`, given as keys.
fn per_coordinate(
    cloud: &UpdateSet<'_>,
    points: &[usize],
    reduce: impl Fn(&mut [i32]) -> f32,
) -> Vec<f32> {
    let mut result = Vec::with_capacity(cloud.dimension());
    let mut column = vec![0i32; points.len()];
    cloud.for_each_block(|_, width, rows| {
        for position in 0..width {
            for (place, &point) in column.iter_mut().zip(points) {
                *place = key(rows[point * STRIDE + position]);
            }
            result.push(reduce(&mut column));
        }
    });
    result
}

/// An integer that orders as the float does: selecting and sorting integers needs no comparison
/// function and no branch.
fn key(value: f32) -> i32 {
    let bits = value.to_bits() as i32;
    bits ^ (((bits >> 31) as u32) >> 1) as i32
}

/// The float of a key.
fn value(key: i32) -> f64 {
    let bits = key ^ (((key >> 31) as u32) >> 1) as i32;
    f64::from(f32::from_bits(bits as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn columns(values: &[f32]) -> Vec<Vec<f32>> {
        values.iter().map(|&value| vec![value, -value]).collect()
    }

    #[test]
    fn medians_of_odd_and_even_numbers_are_the_textbook_ones() {
        let median = |values: &[f32]| median(&UpdateSet::new(&columns(values)).unwrap());
        assert_eq!(median(&[5.0, -1.0, 2.0]), [2.0, -2.0]);
        assert_eq!(median(&[5.0, -1.0, 2.0, 4.0]), [3.0, -3.0]);
        assert_eq!(median(&[7.0]), [7.0, -7.0]);
    }

    #[test]
    fn trimming_drops_the_ends_only() {
        let vectors = columns(&[1.0, 100.0, 3.0, 2.0, -50.0]);
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(trimmed_mean(&cloud, 1), [2.0, -2.0]);
        assert_eq!(trimmed_mean(&cloud, 2), [2.0, -2.0]);
        assert_eq!(trimmed_mean(&cloud, 0)[0], 11.2);
    }

    #[test]
    fn the_window_around_the_median_holds_the_nearest_values() {
        // median 4; the three nearest are 4, 3 (at 1) and 6 (at 2)
        let vectors = columns(&[0.0, 9.0, 4.0, 3.0, 6.0]);
        let cloud = UpdateSet::new(&vectors).unwrap();
        let mean = mean_around_median(&cloud, &[0, 1, 2, 3, 4], 3);
        assert!((mean[0] - 13.0 / 3.0).abs() < 1e-6, "{mean:?}");
    }

    proptest! {
        #[test]
        fn keys_order_as_floats_and_come_back(left in any::<f32>(), right in any::<f32>()) {
            prop_assume!(left.is_finite() && right.is_finite());
            prop_assert_eq!(key(left).cmp(&key(right)), left.total_cmp(&right));
            prop_assert_eq!(value(key(left)).to_bits(), f64::from(left).to_bits());
        }
    }
}
