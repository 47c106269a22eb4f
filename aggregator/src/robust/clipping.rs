//! Rules that shorten what is too long.

use super::RobustError;
use super::update_set::{STRIDE, UpdateSet};

/// v <- v + mean((x_i - v) min(1, tau / ||x_i - v||)), `iterations` times from `previous` or zero
/// (Karimireddy et al. 2021, algorithm 2).
pub(super) fn centered_clipping(
    cloud: &UpdateSet<'_>,
    tau: f64,
    iterations: u32,
    previous: Option<&[f32]>,
) -> Result<Vec<f32>, RobustError> {
    let mut centre: Vec<f64> = match previous {
        Some(previous) => previous.iter().map(|&value| f64::from(value)).collect(),
        None => vec![0.0; cloud.dimension()],
    };
    for _ in 0..iterations {
        let shares = shares(cloud, &centre, tau);
        let kept = 1.0 - shares.iter().sum::<f64>();
        cloud.for_each_block(|offset, width, rows| {
            let centre = &mut centre[offset..offset + width];
            for value in centre.iter_mut() {
                *value *= kept;
            }
            for (row, share) in rows.chunks(STRIDE).zip(&shares) {
                for (value, &point) in centre.iter_mut().zip(row) {
                    *value += share * f64::from(point);
                }
            }
        });
    }
    let result: Vec<f32> = centre.into_iter().map(|value| value as f32).collect();
    if result.iter().all(|value| value.is_finite()) {
        Ok(result)
    } else {
        Err(RobustError::Overflow)
    }
}

/// min(1, tau / ||x_i - v||) / n for every point.
fn shares(cloud: &UpdateSet<'_>, centre: &[f64], tau: f64) -> Vec<f64> {
    let mut squares = vec![0.0f64; cloud.len()];
    cloud.for_each_block(|offset, width, rows| {
        let centre = &centre[offset..offset + width];
        for (square, row) in squares.iter_mut().zip(rows.chunks(STRIDE)) {
            *square += squared_distance(&row[..width], centre);
        }
    });
    let count = cloud.len() as f64;
    let share = |square: f64| (tau / square.sqrt()).min(1.0) / count;
    squares.into_iter().map(share).collect()
}

fn squared_distance(row: &[f32], centre: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 4];
    let (row_chunks, row_rest) = row.as_chunks::<4>();
    let (centre_chunks, centre_rest) = centre.as_chunks::<4>();
    for (row, centre) in row_chunks.iter().zip(centre_chunks) {
        for lane in 0..4 {
            let difference = f64::from(row[lane]) - centre[lane];
            lanes[lane] += difference * difference;
        }
    }
    let rest = row_rest.iter().zip(centre_rest);
    let rest: f64 = rest
        .map(|(&value, centre)| (f64::from(value) - centre).powi(2))
        .sum();
    lanes.iter().sum::<f64>() + rest
}

/// The mean of the points after shortening each to the median norm, to a fixed bound, or to the
/// smaller of both (Sun et al. 2019).
pub(super) fn norm_bounding(
    cloud: &UpdateSet<'_>,
    median: bool,
    bound: Option<f64>,
) -> Result<Vec<f32>, RobustError> {
    let norms = cloud.point_norms();
    let limit = bound.unwrap_or(f64::INFINITY);
    let limit = if median {
        limit.min(median_of(&norms))
    } else {
        limit
    };
    let count = norms.len() as f64;
    let weight = |&norm: &f64| {
        if norm > limit {
            limit / norm / count
        } else {
            1.0 / count
        }
    };
    cloud.combine(&norms.iter().map(weight).collect::<Vec<_>>())
}

/// The middle value, of an even number the mean of both middle values.
fn median_of(norms: &[f64]) -> f64 {
    let mut sorted = norms.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    match (sorted.get(last / 2), sorted.get(last.div_ceil(2))) {
        (Some(lower), Some(upper)) => 0.5 * (lower + upper),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centered_clipping_moves_by_at_most_tau_per_step() {
        // from 0 with tau 1: steps 0.5, 1, -1 -> v = 1/6; from there 1/3, 1, -1 -> v = 1/6 + 1/9
        let vectors = vec![vec![0.5], vec![1e30], vec![-1e30]];
        let cloud = UpdateSet::new(&vectors).unwrap();
        let step = |iterations, from: Option<&[f32]>| {
            centered_clipping(&cloud, 1.0, iterations, from).unwrap()[0]
        };
        assert!((step(1, None) - 1.0 / 6.0).abs() < 1e-6);
        assert!((step(2, None) - 5.0 / 18.0).abs() < 1e-6);
        // carried over: starting at the last result goes on where it stopped
        assert!((step(1, Some(&[step(1, None)])) - step(2, None)).abs() < 1e-6);
    }

    #[test]
    fn points_on_the_centre_divide_nothing_by_zero() {
        let vectors = vec![vec![0.0, 0.0]; 3];
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(centered_clipping(&cloud, 1.0, 3, None).unwrap(), [0.0, 0.0]);
        assert_eq!(norm_bounding(&cloud, true, None).unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn norm_bounding_takes_the_smaller_of_median_and_bound() {
        let vectors = vec![vec![1.0, 0.0], vec![0.0, 2.0], vec![0.0, -9.0]];
        let cloud = UpdateSet::new(&vectors).unwrap();
        let mean = |median, bound| norm_bounding(&cloud, median, bound).unwrap();
        assert_eq!(mean(true, None), [1.0 / 3.0, 0.0]);
        assert_eq!(mean(true, Some(100.0)), [1.0 / 3.0, 0.0]);
        assert_eq!(mean(true, Some(1.0)), [1.0 / 3.0, 0.0]);
        assert_eq!(mean(false, Some(3.0)), [1.0 / 3.0, -1.0 / 3.0]);
    }
}
