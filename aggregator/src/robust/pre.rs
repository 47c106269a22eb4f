//! Pre-aggregators: what is done to the vectors before a rule sees them.

use std::borrow::Cow;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tributary_privacy::uniform_below;

use super::RobustError;
use super::matrix::Matrix;
use super::update_set::UpdateSet;

/// Adaptive robust clipping (Allouah et al. 2025, algorithm 1): the floor(2 f (n - f) / n) longest
/// vectors are shortened to the norm of the next longest.
pub(super) fn arc(cloud: &mut UpdateSet<'_>, byzantine: usize) {
    let count = cloud.len();
    let clipped = 2 * byzantine * count.saturating_sub(byzantine) / count.max(1);
    let mut norms = cloud.norms().to_vec();
    norms.sort_unstable_by(|a, b| b.total_cmp(a));
    if let Some(&limit) = norms.get(clipped) {
        cloud.shorten(limit);
    }
}

/// Nearest-neighbour mixing (Allouah et al. 2023, algorithm 2): each vector becomes the mean of its
/// n - f nearest, itself included.
pub(super) fn nnm(cloud: &mut UpdateSet<'_>, byzantine: usize) {
    let keep = cloud.len().saturating_sub(byzantine).max(1);
    let distances = cloud.distances();
    let nearest = |point: usize| {
        let mut order = by_distance(&distances, point);
        order.truncate(keep);
        // the sum of a mixture does not depend on which of its members is nearer
        order.sort_unstable();
        order
    };
    cloud.mix((0..cloud.len()).map(nearest).collect());
}

/// All positions by their distance from `point`, itself first; ties by position.
pub(super) fn by_distance(distances: &Matrix, point: usize) -> Vec<usize> {
    let row = distances.row(point);
    let mut order: Vec<usize> = (0..row.len()).collect();
    let key = |index: usize| (index != point, row[index], index);
    order.sort_unstable_by(|&left, &right| {
        let (left, right) = (key(left), key(right));
        let by_distance = left.1.total_cmp(&right.1);
        left.0
            .cmp(&right.0)
            .then(by_distance)
            .then(left.2.cmp(&right.2))
    });
    order
}

/// Bucketing (Karimireddy et al. 2022, algorithm 1): the means of random groups of `size`, the last
/// one smaller when the number does not divide.
pub(super) fn bucketing<'b>(
    cloud: &UpdateSet<'_>,
    size: usize,
    seed: u64,
) -> Result<UpdateSet<'b>, RobustError> {
    let mut order: Vec<usize> = (0..cloud.len()).collect();
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    for last in (1..order.len()).rev() {
        order.swap(last, uniform_below(last as u64 + 1, &mut rng) as usize);
    }
    let mean = |group: &[usize]| {
        let mut weights = vec![0.0; cloud.len()];
        for &member in group {
            weights[member] = 1.0 / group.len() as f64;
        }
        cloud.combine(&weights).map(Cow::Owned)
    };
    let buckets: Result<_, RobustError> = order.chunks(size.max(1)).map(mean).collect();
    Ok(UpdateSet::of(buckets?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arc_shortens_the_longest_to_the_next_longest() {
        // n = 5, f = 1: floor(2 * 1 * 4 / 5) = 1 vector is shortened, to norm 4
        let vectors: Vec<Vec<f32>> = [1.0, 2.0, -10.0, 3.0, 4.0].map(|x| vec![x, 0.0]).to_vec();
        let mut cloud = UpdateSet::new(&vectors).unwrap();
        arc(&mut cloud, 1);
        assert_eq!(cloud.norms(), [1.0, 2.0, 4.0, 3.0, 4.0]);
        let only_third = cloud.combine(&[0.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        assert_eq!(only_third, [-4.0, 0.0]);
    }

    #[test]
    fn mixing_takes_the_mean_of_the_nearest_and_leaves_the_outlier_to_itself() {
        // n = 4, f = 1: means of 3; of 9 the nearest are 9, 2 and 1
        let vectors: Vec<Vec<f32>> = [0.0, 1.0, 2.0, 9.0].map(|x| vec![x]).to_vec();
        let mut cloud = UpdateSet::new(&vectors).unwrap();
        nnm(&mut cloud, 1);
        let mut seen = Vec::new();
        cloud.for_each_block(|_, _, rows| {
            seen = rows
                .chunks(super::super::update_set::STRIDE)
                .map(|row| row[0])
                .collect();
        });
        assert_eq!(seen, [1.0, 1.0, 1.0, 4.0]);
        let distances = cloud.distances();
        assert_eq!(distances.row(0)[..3], [0.0; 3]);
        assert!((distances.row(0)[3] - 9.0).abs() < 1e-5);
    }

    #[test]
    fn every_vector_is_in_one_bucket_and_the_seed_decides_which() {
        let vectors: Vec<Vec<f32>> = (0..7).map(|x| vec![(1 << x) as f32]).collect();
        let cloud = UpdateSet::new(&vectors).unwrap();
        let sums = |seed| -> Vec<f32> {
            let buckets = bucketing(&cloud, 3, seed).unwrap();
            let sizes = [3.0, 3.0, 1.0];
            buckets
                .norms()
                .iter()
                .zip(sizes)
                .map(|(&mean, size)| mean as f32 * size)
                .collect()
        };
        assert_eq!(sums(1).iter().sum::<f32>().round(), 127.0);
        assert_eq!(sums(1), sums(1));
        assert!((2..20).any(|seed| sums(seed) != sums(1)));
    }
}
