//! The geometric median by smoothed Weiszfeld steps.

use super::RobustError;
use super::matrix::Matrix;
use super::update_set::{UpdateSet, upper_median};

/// The point with the smallest sum of distances to the points of a cloud (Pillutla et al. 2022,
/// algorithm 2): z <- sum w_i x_i / sum w_i with w_i = 1 / max(||x_i - z||, floor).
///
/// z is always a weighted mean, so the steps work on weights: with squared distances D,
/// ||x_j - z||^2 = (D w)_j - w'Dw / 2. The vectors are read once for D and once for the result.
///
/// The start weighs each point by the inverse of its median squared distance to the others: a point
/// far from the majority counts little, and the start changes smoothly with the points. `floor` is
/// `nu` times the median distance to it, so that smoothing follows the scale of the updates.
pub(super) fn geometric_median(
    cloud: &UpdateSet<'_>,
    nu: f64,
    iterations: u32,
) -> Result<Vec<f32>, RobustError> {
    let distances = cloud.distances();
    let mut weights = start(&distances);
    let floor = nu * upper_median(&distances_to(&distances, &weights));
    if floor > 0.0 {
        for _ in 0..iterations {
            let inverse = |distance: f64| 1.0 / distance.max(floor);
            let distances = distances_to(&distances, &weights);
            weights = normalised(distances.into_iter().map(inverse).collect());
        }
    }
    cloud.combine(&weights)
}

/// Weights in proportion to 1 / (median squared distance to the others). Points that agree with the
/// majority to the bit share all of it.
fn start(distances: &Matrix) -> Vec<f64> {
    let spread = |point: usize| upper_median(distances.row(point));
    let spreads: Vec<f64> = (0..distances.order()).map(spread).collect();
    let least = spreads.iter().copied().fold(f64::INFINITY, f64::min);
    let weight = |&spread: &f64| {
        if least > 0.0 {
            least / spread
        } else {
            f64::from(u8::from(spread == 0.0))
        }
    };
    normalised(spreads.iter().map(weight).collect())
}

/// Weights that sum to 1.
fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= total;
    }
    weights
}

/// Distance of every point from the mean with `weights`, which sum to 1.
fn distances_to(distances: &Matrix, weights: &[f64]) -> Vec<f64> {
    let product = |row: &[f64]| -> f64 { row.iter().zip(weights).map(|(d, w)| d * w).sum() };
    let products: Vec<f64> = (0..distances.order())
        .map(|point| product(distances.row(point)))
        .collect();
    let own = 0.5 * product(&products);
    products
        .into_iter()
        .map(|squared| (squared - own).max(0.0).sqrt())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_line_it_is_the_median() {
        let vectors: Vec<Vec<f32>> = [0.0, 1.0, 2.0, 3.0, 1e30].map(|x| vec![x]).to_vec();
        let mut cloud = UpdateSet::new(&vectors).unwrap();
        cloud.shorten_far();
        let found = geometric_median(&cloud, 1e-3, 200).unwrap();
        assert!((found[0] - 2.0).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn in_a_triangle_with_a_wide_angle_it_is_that_corner() {
        // an angle above 120 degrees at the origin (Torricelli)
        let vectors = vec![vec![0.0, 0.0], vec![1.0, 0.2], vec![-1.0, 0.2]];
        let cloud = UpdateSet::new(&vectors).unwrap();
        let found = geometric_median(&cloud, 1e-4, 500).unwrap();
        assert!(found[0].abs() < 1e-3 && found[1].abs() < 1e-2, "{found:?}");
    }

    #[test]
    fn in_an_even_triangle_it_is_the_centre() {
        let height = 0.75f32.sqrt();
        let vectors = vec![vec![0.0, 0.0], vec![1.0, 0.0], vec![0.5, height]];
        let cloud = UpdateSet::new(&vectors).unwrap();
        let found = geometric_median(&cloud, 0.1, 50).unwrap();
        assert!((found[0] - 0.5).abs() < 1e-5 && (found[1] - height / 3.0).abs() < 1e-5);
    }

    #[test]
    fn equal_points_are_their_own_median() {
        let vectors = vec![vec![0.1, -7.5e8]; 4];
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(geometric_median(&cloud, 0.1, 8).unwrap(), vectors[0]);
    }
}
