//! Several devices with f_i(w) = 1/2 a_i |w - b_i|^2: where rounds lead is known in closed form.

use tributary_model::{
    Correction, Proximal, feddyn_gradient_change, scaffold_change, scaffold_offset, train,
    train_corrected,
};

use crate::quadratic::{Quadratic, assert_near, minus, one, rng, steps};

const CURVATURES: [f32; 3] = [0.5, 1.0, 3.0];
const TARGETS: [[f32; 2]; 3] = [[4.0, -2.0], [0.0, 1.0], [-1.0, 5.0]];
const RATE: f32 = 0.1;
const STEPS: u32 = 5;

/// E full-batch steps are w -> b + (1 - rate a)^E (w - b).
fn contraction(curvature: f32) -> f32 {
    (1.0 - RATE * curvature).powi(STEPS as i32)
}

fn local(device: usize, start: &[f32; 2], correction: &Correction<'_>) -> Vec<f32> {
    let mut engine = Quadratic::new([CURVATURES[device]; 2]);
    let mut params = start.to_vec();
    train_corrected(
        &mut engine,
        &mut params,
        one(&TARGETS[device]),
        &steps(STEPS, RATE),
        correction,
        &mut rng(),
    )
    .unwrap();
    params
}

fn mean(vectors: &[Vec<f32>]) -> [f32; 2] {
    [0, 1].map(|j| vectors.iter().map(|vector| vector[j]).sum::<f32>() / vectors.len() as f32)
}

/// Where the sum of the losses is smallest: sum a_i b_i / sum a_i.
fn optimum() -> [f32; 2] {
    [0, 1].map(|j| {
        let weighted = CURVATURES.iter().zip(TARGETS).map(|(a, b)| a * b[j]);
        weighted.sum::<f32>() / CURVATURES.iter().sum::<f32>()
    })
}

#[test]
fn a_round_of_federated_averaging_is_its_affine_map() {
    let start = [2.0, -3.0];
    let models: Vec<_> = (0..3)
        .map(|device| {
            let mut params = start.to_vec();
            let mut engine = Quadratic::new([CURVATURES[device]; 2]);
            let target = one(&TARGETS[device]);
            train(
                &mut engine,
                &mut params,
                target,
                &steps(STEPS, RATE),
                &mut rng(),
            )
            .unwrap();
            params
        })
        .collect();
    let expected = [0, 1].map(|j| {
        let maps = CURVATURES
            .iter()
            .zip(TARGETS)
            .map(|(a, b)| b[j] + contraction(*a) * (start[j] - b[j]));
        maps.sum::<f32>() / 3.0
    });
    assert_near(&mean(&models), &expected);
}

#[test]
fn federated_averaging_ends_at_its_own_fixed_point_and_not_at_the_optimum() {
    let mut model = [0.0; 2];
    for _ in 0..100 {
        let models: Vec<_> = (0..3)
            .map(|device| local(device, &model, &Correction::default()))
            .collect();
        model = mean(&models);
    }
    // w = sum (1 - r_i) b_i / sum (1 - r_i) with r_i the contractions
    let pull = CURVATURES.map(|a| 1.0 - contraction(a));
    let fixed = [0, 1].map(|j| {
        let weighted = pull.iter().zip(TARGETS).map(|(p, b)| p * b[j]);
        weighted.sum::<f32>() / pull.iter().sum::<f32>()
    });
    assert_near(&model, &fixed);
    assert!((model[0] - optimum()[0]).abs() > 0.1, "the two differ here");
}

#[test]
fn scaffold_ends_at_the_optimum() {
    let mut model = [0.0; 2];
    let mut server = vec![0.0; 2];
    let mut own = vec![vec![0.0; 2]; 3];
    for _ in 0..150 {
        let (mut models, mut changes) = (Vec::new(), Vec::new());
        for (device, own) in own.iter_mut().enumerate() {
            let offset = scaffold_offset(&server, own).unwrap();
            let correction = Correction {
                offset: Some(&offset),
                ..Correction::default()
            };
            let y = local(device, &model, &correction);
            let delta = minus(&y, &model);
            let change = scaffold_change(&server, &delta, u64::from(STEPS), RATE).unwrap();
            own.iter_mut().zip(&change).for_each(|(own, c)| *own += c);
            models.push(y);
            changes.push(change);
        }
        model = mean(&models);
        let change = mean(&changes);
        server.iter_mut().zip(change).for_each(|(c, d)| *c += d);
    }
    assert_near(&model, &optimum());
    assert_near(&server, &[0.0, 0.0]); // the mean gradient at the optimum
}

#[test]
fn feddyn_ends_at_the_optimum() {
    const ALPHA: f32 = 0.5;
    let mut model = [0.0; 2];
    let mut h = [0.0; 2];
    let mut own = vec![vec![0.0; 2]; 3];
    for _ in 0..400 {
        let mut models = Vec::new();
        for (device, own) in own.iter_mut().enumerate() {
            let offset: Vec<f32> = own.iter().map(|value| -value).collect();
            let correction = Correction {
                offset: Some(&offset),
                proximal: Some(Proximal {
                    strength: ALPHA,
                    anchor: &model,
                }),
                frozen: None,
            };
            let trained = local(device, &model, &correction);
            let change = feddyn_gradient_change(&minus(&trained, &model), ALPHA);
            own.iter_mut().zip(&change).for_each(|(own, c)| *own += c);
            models.push(trained);
        }
        // the server's part: h -= alpha mean(w_i - w), w = mean(w_i) - h / alpha
        let average = mean(&models);
        for j in 0..2 {
            h[j] -= ALPHA * (average[j] - model[j]);
            model[j] = average[j] - h[j] / ALPHA;
        }
    }
    assert_near(&model, &optimum());
}

#[test]
fn fedprox_pulls_the_fixed_point_towards_the_optimum() {
    // With mu the local map contracts towards (a b + mu w) / (a + mu) by (1 - rate (a + mu))^E; its
    // fixed point is sum s_i b_i / sum s_i with s_i = (1 - r_i) a_i / (a_i + mu).
    const MU: f32 = 2.0;
    let mut model = [0.0; 2];
    for _ in 0..200 {
        let anchor = model;
        let correction = Correction {
            proximal: Some(Proximal {
                strength: MU,
                anchor: &anchor,
            }),
            ..Correction::default()
        };
        let models: Vec<_> = (0..3)
            .map(|device| local(device, &model, &correction))
            .collect();
        model = mean(&models);
    }
    let pull = CURVATURES.map(|a| (1.0 - contraction(a + MU)) * a / (a + MU));
    let fixed = [0, 1].map(|j| {
        let weighted = pull.iter().zip(TARGETS).map(|(p, b)| p * b[j]);
        weighted.sum::<f32>() / pull.iter().sum::<f32>()
    });
    assert_near(&model, &fixed);
}
