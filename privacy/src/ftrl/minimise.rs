//! A small quasi-Newton minimiser for smooth functions of a few variables.

/// Step of the central differences; their error, about the square of it, is far below what matters.
const DIFFERENCE: f64 = 1e-5;
const ITERATIONS: usize = 200;
/// A search ends when this many steps in a row gain less than [`GAIN`].
const PATIENCE: usize = 3;
const GAIN: f64 = 1e-9;
/// Longest step per variable: the variables are logarithms.
const LONGEST_STEP: f64 = 1.0;

/// A local minimum of `function` near `start` and its value (BFGS with numerical gradients and a
/// backtracking line search; Nocedal and Wright, Numerical Optimization, algorithm 6.1).
///
/// Deterministic; the value never exceeds that of the start.
pub(super) fn minimise(function: impl Fn(&[f64]) -> f64, start: Vec<f64>) -> (Vec<f64>, f64) {
    let mut point = start;
    let mut value = function(&point);
    let mut slope = gradient(&function, &point);
    let mut inverse_hessian = identity(point.len());
    let mut idle = 0;
    for _ in 0..ITERATIONS {
        let mut direction = times(&inverse_hessian, &slope, -1.0);
        if dot(&direction, &slope) >= 0.0 {
            inverse_hessian = identity(point.len());
            direction = slope.iter().map(|part| -part).collect();
        }
        let longest = direction
            .iter()
            .fold(0.0f64, |most, part| most.max(part.abs()));
        if longest > LONGEST_STEP {
            let shrink = LONGEST_STEP / longest;
            direction.iter_mut().for_each(|part| *part *= shrink);
        }
        let Some((step, next_value)) = search(&function, &point, value, &direction, &slope) else {
            break;
        };
        let next: Vec<f64> = point.iter().zip(&step).map(|(p, s)| p + s).collect();
        let next_slope = gradient(&function, &next);
        let bend: Vec<f64> = next_slope.iter().zip(&slope).map(|(a, b)| a - b).collect();
        update(&mut inverse_hessian, &step, &bend);
        idle = if value - next_value < GAIN {
            idle + 1
        } else {
            0
        };
        (point, value, slope) = (next, next_value, next_slope);
        if idle == PATIENCE {
            break;
        }
    }
    (point, value)
}

/// The first halving of `direction` that gains a fair part of what the slope promises.
fn search(
    function: &impl Fn(&[f64]) -> f64,
    point: &[f64],
    value: f64,
    direction: &[f64],
    slope: &[f64],
) -> Option<(Vec<f64>, f64)> {
    let promised = dot(direction, slope);
    let mut scale = 1.0;
    for _ in 0..40 {
        let step: Vec<f64> = direction.iter().map(|part| scale * part).collect();
        let moved: Vec<f64> = point.iter().zip(&step).map(|(p, s)| p + s).collect();
        let next = function(&moved);
        if next < value + 1e-4 * scale * promised {
            return Some((step, next));
        }
        scale *= 0.5;
    }
    None
}

fn gradient(function: &impl Fn(&[f64]) -> f64, point: &[f64]) -> Vec<f64> {
    let mut moved = point.to_vec();
    let slope = |index: usize| {
        let here = point[index];
        moved[index] = here + DIFFERENCE;
        let above = function(&moved);
        moved[index] = here - DIFFERENCE;
        let below = function(&moved);
        moved[index] = here;
        (above - below) / (2.0 * DIFFERENCE)
    };
    (0..point.len()).map(slope).collect()
}

/// H <- (I - r s y^T) H (I - r y s^T) + r s s^T with r = 1 / (y^T s).
fn update(inverse_hessian: &mut [Vec<f64>], step: &[f64], bend: &[f64]) {
    let curvature = dot(step, bend);
    if curvature <= 1e-14 {
        return;
    }
    let moved = times(inverse_hessian, bend, 1.0);
    let factor = (1.0 + dot(&moved, bend) / curvature) / curvature;
    for (i, row) in inverse_hessian.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry +=
                factor * step[i] * step[j] - (moved[i] * step[j] + step[i] * moved[j]) / curvature;
        }
    }
}

fn identity(size: usize) -> Vec<Vec<f64>> {
    let row = |i: usize| (0..size).map(|j| f64::from(u8::from(i == j))).collect();
    (0..size).map(row).collect()
}

fn times(matrix: &[Vec<f64>], vector: &[f64], scale: f64) -> Vec<f64> {
    matrix.iter().map(|row| scale * dot(row, vector)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curved_valley_is_followed_to_its_lowest_point() {
        let rosenbrock = |x: &[f64]| (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2);
        let (point, value) = minimise(rosenbrock, vec![-1.2, 1.0]);
        assert!(value < 1e-6, "{value} at {point:?}");
        assert!((point[0] - 1.0).abs() < 1e-2 && (point[1] - 1.0).abs() < 1e-2);
    }

    #[test]
    fn a_minimum_stays_where_it_is() {
        let (point, value) = minimise(|x| x[0] * x[0], vec![0.0]);
        assert_eq!((point, value), (vec![0.0], 0.0));
    }
}
