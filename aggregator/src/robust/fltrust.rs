//! FLTrust: trust what points where the server's own update points.

use tributary_privacy::l2_norm;

use super::RobustError;
use super::update_set::{STRIDE, UpdateSet};

/// sum t_i (||g0|| / ||x_i||) x_i / sum t_i with t_i = max(0, cos(x_i, g0)) (Cao et al. 2021,
/// algorithm 2). Zero when no point has a positive cosine, and when the server's own update is zero: every
/// point is then rescaled to nothing.
pub(super) fn fltrust(cloud: &UpdateSet<'_>, reference: &[f32]) -> Result<Vec<f32>, RobustError> {
    let reference_norm = l2_norm(reference);
    if reference_norm == 0.0 {
        return Ok(vec![0.0; cloud.dimension()]);
    }
    let mut products = vec![0.0f64; cloud.len()];
    cloud.for_each_block(|offset, width, rows| {
        let reference = &reference[offset..offset + width];
        for (product, row) in products.iter_mut().zip(rows.chunks(STRIDE)) {
            let terms = row.iter().zip(reference);
            *product += terms
                .map(|(&x, &g)| f64::from(x) * f64::from(g))
                .sum::<f64>();
        }
    });
    let norms = cloud.point_norms();
    let trust = |(product, norm): (&f64, &f64)| {
        if *norm > 0.0 {
            (product / norm / reference_norm).max(0.0)
        } else {
            0.0
        }
    };
    let trusts: Vec<f64> = products.iter().zip(&norms).map(trust).collect();
    let total: f64 = trusts.iter().sum();
    if total == 0.0 {
        return Ok(vec![0.0; cloud.dimension()]);
    }
    let weight = |(trust, norm): (&f64, &f64)| {
        if *trust > 0.0 {
            trust / total * reference_norm / norm
        } else {
            0.0
        }
    };
    cloud.combine(&trusts.iter().zip(&norms).map(weight).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_the_positive_part_of_the_cosine() {
        // cosines 1, 0.6, -1 and 0 (a zero vector); reference norm 2
        let vectors = vec![
            vec![5.0, 0.0],
            vec![0.3, 0.4],
            vec![-1e30, 0.0],
            vec![0.0, 0.0],
        ];
        let cloud = UpdateSet::new(&vectors).unwrap();
        let found = fltrust(&cloud, &[2.0, 0.0]).unwrap();
        // (1 * (2, 0) + 0.6 * (1.2, 1.6)) / 1.6
        assert!(
            (found[0] - 1.7).abs() < 1e-6 && (found[1] - 0.6).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn without_trust_or_with_a_reference_of_zeros_there_is_no_step() {
        let vectors = vec![vec![-1.0, 0.0]; 3];
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(fltrust(&cloud, &[0.0, 0.0]).unwrap(), [0.0, 0.0]);
        assert_eq!(fltrust(&cloud, &[1.0, 0.0]).unwrap(), [0.0, 0.0]);
    }
}
