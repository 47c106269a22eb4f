//! Slow and plain: f64, one copy of everything per step.

use super::*;

type Vector = Vec<f64>;

pub fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(a, b)| (a - b).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn mean(vectors: &[Vector]) -> Vector {
    weighted(vectors, &vec![1.0 / vectors.len() as f64; vectors.len()])
}

fn weighted(vectors: &[Vector], weights: &[f64]) -> Vector {
    let at = |column: usize| {
        vectors
            .iter()
            .zip(weights)
            .map(|(v, w)| w * v[column])
            .sum()
    };
    (0..vectors[0].len()).map(at).collect()
}

fn shortened(vector: &[f64], limit: f64) -> Vector {
    let factor = if norm(vector) > limit {
        limit / norm(vector)
    } else {
        1.0
    };
    vector.iter().map(|x| x * factor).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn middle(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    let n = values.len();
    (values[(n - 1) / 2] + values[n / 2]) / 2.0
}

fn columns(vectors: &[Vector]) -> Vec<Vec<f64>> {
    (0..vectors[0].len())
        .map(|c| vectors.iter().map(|v| v[c]).collect())
        .collect()
}

fn nearest(vectors: &[Vector], point: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..vectors.len()).collect();
    let to = |other: &usize| distance(&vectors[*other], &vectors[point]);
    order.sort_by(|a, b| to(a).total_cmp(&to(b)));
    order
}

fn krum_order(vectors: &[Vector], f: usize) -> Vec<usize> {
    let n = vectors.len();
    let score = |i: usize, count: usize| -> f64 {
        let others: Vec<f64> = (0..n)
            .filter(|&j| j != i)
            .map(|j| distance(&vectors[i], &vectors[j]).powi(2))
            .collect();
        sorted(others).iter().take(count).sum()
    };
    let near = n.saturating_sub(f + 2).max(1);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| {
        let by_score = score(a, near).total_cmp(&score(b, near));
        by_score.then(score(a, n).total_cmp(&score(b, n)))
    });
    order
}

fn bulyan(vectors: &[Vector], f: usize) -> Vector {
    let mut left = vectors.to_vec();
    let mut chosen = Vec::new();
    while chosen.len() < vectors.len() - 2 * f {
        chosen.push(left.remove(krum_order(&left, f)[0]));
    }
    let keep = chosen.len() - 2 * f;
    let reduce = |column: Vec<f64>| {
        let centre = middle(column.clone());
        let mut column = sorted(column);
        column.sort_by(|a, b| (a - centre).abs().total_cmp(&(b - centre).abs()));
        column[..keep].iter().sum::<f64>() / keep as f64
    };
    columns(&chosen).into_iter().map(reduce).collect()
}

fn geometric_median(vectors: &[Vector], nu: f64, iterations: u32) -> Vector {
    let n = vectors.len();
    let spread =
        |x: &Vector| sorted(vectors.iter().map(|v| distance(v, x).powi(2)).collect())[n / 2];
    let closeness: Vec<f64> = vectors.iter().map(|x| 1.0 / spread(x).max(1e-12)).collect();
    let total: f64 = closeness.iter().sum();
    let shares: Vec<f64> = closeness.iter().map(|c| c / total).collect();
    let mut z = weighted(vectors, &shares);
    let floor = nu * sorted(vectors.iter().map(|v| distance(v, &z)).collect())[n / 2];
    for _ in 0..iterations {
        let inverse: Vec<f64> = vectors
            .iter()
            .map(|v| 1.0 / distance(v, &z).max(floor).max(1e-12))
            .collect();
        let total: f64 = inverse.iter().sum();
        z = weighted(
            vectors,
            &inverse.iter().map(|w| w / total).collect::<Vec<_>>(),
        );
    }
    z
}

fn centered_clipping(vectors: &[Vector], tau: f64, iterations: u32, from: Vector) -> Vector {
    let mut v = from;
    for _ in 0..iterations {
        let steps: Vec<Vector> = vectors
            .iter()
            .map(|x| x.iter().zip(&v).map(|(x, v)| x - v).collect::<Vector>())
            .map(|step| shortened(&step, tau))
            .collect();
        v = v
            .iter()
            .zip(mean(&steps))
            .map(|(v, step)| v + step)
            .collect();
    }
    v
}

fn fltrust(vectors: &[Vector], g0: &[f64]) -> Vector {
    let dot = |x: &[f64]| x.iter().zip(g0).map(|(x, g)| x * g).sum::<f64>();
    let trust: Vec<f64> = vectors
        .iter()
        .map(|x| (dot(x) / norm(x) / norm(g0)).max(0.0))
        .collect();
    let total: f64 = trust.iter().sum();
    let weights: Vec<f64> = vectors
        .iter()
        .zip(&trust)
        .map(|(x, t)| t * norm(g0) / norm(x) / total)
        .collect();
    if total == 0.0 {
        vec![0.0; g0.len()]
    } else {
        weighted(vectors, &weights)
    }
}

fn arc(vectors: &[Vector], f: usize) -> Vec<Vector> {
    let n = vectors.len();
    let norms = sorted(vectors.iter().map(|v| norm(v)).collect());
    let clipped = (2.0 * f as f64 / n as f64 * (n - f) as f64 + 1e-9) as usize;
    vectors
        .iter()
        .map(|v| shortened(v, norms[n - 1 - clipped]))
        .collect()
}

fn nnm(vectors: &[Vector], f: usize) -> Vec<Vector> {
    let keep = vectors.len() - f;
    let mixed = |i: usize| {
        let near: Vec<Vector> = nearest(vectors, i)[..keep]
            .iter()
            .map(|&j| vectors[j].clone())
            .collect();
        mean(&near)
    };
    (0..vectors.len()).map(mixed).collect()
}

pub fn aggregate(spec: &RobustSpec, vectors: &[Vec<f32>], extra: &[f32]) -> Vector {
    let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vector>();
    let f = spec.byzantine as usize;
    let mut points: Vec<Vector> = vectors.iter().map(|v| wide(v)).collect();
    for stage in &spec.pre {
        points = match stage {
            PreAggregator::Arc => arc(&points, f),
            PreAggregator::Nnm => nnm(&points, f),
            PreAggregator::Bucketing { .. } => unreachable!("not compared"),
        };
    }
    let n = points.len();
    match spec.rule {
        RobustRule::Median {} => columns(&points).into_iter().map(middle).collect(),
        RobustRule::TrimmedMean {} => columns(&points)
            .into_iter()
            .map(|c| sorted(c)[f..n - f].iter().sum::<f64>() / (n - 2 * f) as f64)
            .collect(),
        RobustRule::Krum {} => points[krum_order(&points, f)[0]].clone(),
        RobustRule::MultiKrum {} => {
            let best = &krum_order(&points, f)[..n - f];
            mean(&best.iter().map(|&i| points[i].clone()).collect::<Vec<_>>())
        }
        RobustRule::Bulyan {} => bulyan(&points, f),
        RobustRule::GeometricMedian { nu, iterations } => geometric_median(&points, nu, iterations),
        RobustRule::CenteredClipping { tau, iterations } => {
            centered_clipping(&points, tau, iterations, wide(extra))
        }
        RobustRule::NormBounding { bound, .. } => {
            let median = middle(points.iter().map(|v| norm(v)).collect());
            let limit = median.min(bound.unwrap_or(f64::INFINITY));
            mean(
                &points
                    .iter()
                    .map(|v| shortened(v, limit))
                    .collect::<Vec<_>>(),
            )
        }
        RobustRule::FlTrust {} => fltrust(&points, &wide(extra)),
        RobustRule::Mean {} => mean(&points),
    }
}
