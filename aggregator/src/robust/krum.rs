//! Rules that choose whole vectors by their distances.

use super::RobustError;
use super::coordinate::mean_around_median;
use super::matrix::Matrix;
use super::pre::by_distance;
use super::update_set::UpdateSet;

/// The vector with the best score (Blanchard et al. 2017).
pub(super) fn krum(cloud: &UpdateSet<'_>, byzantine: usize) -> Result<Vec<f32>, RobustError> {
    mean_of_best(cloud, byzantine, 1)
}

/// The mean of the n - f vectors with the best scores (Blanchard et al. 2017, section 4).
pub(super) fn multi_krum(cloud: &UpdateSet<'_>, byzantine: usize) -> Result<Vec<f32>, RobustError> {
    mean_of_best(cloud, byzantine, cloud.len().saturating_sub(byzantine))
}

/// n - 2f vectors chosen by Krum one after the other among those left, then in each coordinate the
/// mean of the n - 4f values nearest to the median (El Mhamdi et al. 2018, section 4).
pub(super) fn bulyan(cloud: &UpdateSet<'_>, byzantine: usize) -> Vec<f32> {
    let mut contest = Contest::new(&cloud.distances());
    let chosen_count = cloud.len().saturating_sub(2 * byzantine).max(1);
    let mut chosen = Vec::with_capacity(chosen_count);
    while chosen.len() < chosen_count {
        let Some(&best) = contest.ranking(byzantine).first() else {
            break;
        };
        contest.alive[best] = false;
        chosen.push(best);
    }
    let keep = chosen.len().saturating_sub(2 * byzantine).max(1);
    mean_around_median(cloud, &chosen, keep)
}

fn mean_of_best(
    cloud: &UpdateSet<'_>,
    byzantine: usize,
    keep: usize,
) -> Result<Vec<f32>, RobustError> {
    let ranking = Contest::new(&cloud.distances()).ranking(byzantine);
    let mut weights = vec![0.0; cloud.len()];
    for &point in ranking.iter().take(keep) {
        weights[point] = 1.0 / keep as f64;
    }
    cloud.combine(&weights)
}

/// Who is still in the running, and everybody's neighbours by distance.
struct Contest {
    /// For each point the others and their squared distances, nearest first.
    neighbours: Vec<Vec<(usize, f64)>>,
    alive: Vec<bool>,
}

impl Contest {
    fn new(distances: &Matrix) -> Self {
        let neighbours = |point: usize| {
            let others = by_distance(distances, point).into_iter().skip(1);
            others
                .map(|other| (other, distances.row(point)[other]))
                .collect()
        };
        Self {
            neighbours: (0..distances.order()).map(neighbours).collect(),
            alive: vec![true; distances.order()],
        }
    }

    /// Those still in the running, the best first. The score of a point is the sum of its squared
    /// distances to the r - f - 2 nearest of the r that are left, at least one. Two points that are
    /// each other's nearest have the same score when only one counts: then the sum over all that are
    /// left decides, then the position.
    fn ranking(&self, byzantine: usize) -> Vec<usize> {
        let left = self.alive.iter().filter(|&&alive| alive).count();
        let nearest = left.saturating_sub(byzantine + 2).max(1);
        let scores = |point: usize| -> (f64, f64) {
            let others = self.neighbours[point].iter();
            let others = others.filter(|(other, _)| self.alive[*other]);
            let sum = |count| {
                others
                    .clone()
                    .take(count)
                    .map(|(_, distance)| distance)
                    .sum()
            };
            (sum(nearest), sum(left))
        };
        let alive = (0..self.alive.len()).filter(|&point| self.alive[point]);
        let mut ranking: Vec<((f64, f64), usize)> =
            alive.map(|point| (scores(point), point)).collect();
        ranking.sort_unstable_by(|(left, left_point), (right, right_point)| {
            let by_score = left.0.total_cmp(&right.0);
            let by_total = left.1.total_cmp(&right.1);
            by_score.then(by_total).then(left_point.cmp(right_point))
        });
        ranking.into_iter().map(|(_, point)| point).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Vec<Vec<f32>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    #[test]
    fn krum_takes_the_point_with_the_nearest_neighbours() {
        // f = 1, two neighbours each: scores 1 + 4, 1 + 1, 1 + 4, 4 + 9, and far
        let vectors = line(&[0.0, 1.0, 2.0, 4.0, 90.0]);
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(krum(&cloud, 1).unwrap(), [1.0]);
        // the four best are all but 90
        assert_eq!(multi_krum(&cloud, 1).unwrap(), [1.75]);
    }

    #[test]
    fn equal_scores_go_to_the_earlier_position() {
        let vectors = line(&[3.0, 3.0, 0.0, 0.0, 0.0, 3.0]);
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(krum(&cloud, 1).unwrap(), [3.0]);
        let turned = line(&[0.0, 3.0, 3.0, 0.0, 0.0, 3.0]);
        assert_eq!(krum(&UpdateSet::new(&turned).unwrap(), 1).unwrap(), [0.0]);
    }

    #[test]
    fn bulyan_chooses_then_averages_around_the_median() {
        // n = 7, f = 1. Chosen: 2 (score 1 + 1 + 4 + 4), then 3 (14 as 1 has, but nearer to all), 1
        // (1 + 9), 4 (16 as 0 has, but nearer to all), and of 0 60 70 with one neighbour each 60.
        // The three of 1 2 3 4 60 nearest to their median 3 are 2 3 4: the outlier is trimmed.
        let vectors = line(&[0.0, 1.0, 2.0, 3.0, 4.0, 60.0, 70.0]);
        let cloud = UpdateSet::new(&vectors).unwrap();
        assert_eq!(bulyan(&cloud, 1), [3.0]);
    }
}
