//! One device, two steps of rate 0.1 on f(w) = 1/2 (w1 - 3)^2 + (w2 + 1)^2 from (1, 1). Its gradient
//! is (w1 - 3, 2 (w2 + 1)): (-2, 4) at the start.

use tributary_model::{
    Correction, LocalTraining, ModelError, Proximal, QFedAvgShare, feddyn_gradient_change,
    mean_loss, scaffold_change, scaffold_offset, train, train_corrected,
};

use crate::quadratic::{START, TARGET, assert_near, engine, minus, one, rng, steps};

fn corrected(correction: &Correction<'_>) -> Vec<f32> {
    let mut params = START.to_vec();
    let report = train_corrected(
        &mut engine(),
        &mut params,
        one(&TARGET),
        &steps(2, 0.1),
        correction,
        &mut rng(),
    );
    assert_eq!(report.unwrap().steps, 2);
    params
}

#[test]
fn two_plain_steps_are_gradient_descent() {
    // (1, 1) - 0.1 (-2, 4) = (1.2, 0.6); there the gradient is (-1.8, 3.2)
    assert_near(&corrected(&Correction::default()), &[1.38, 0.28]);
}

#[test]
fn fedprox_adds_mu_times_the_distance_from_the_assigned_model() {
    let proximal = Some(Proximal {
        strength: 0.5,
        anchor: &START,
    });
    let correction = Correction {
        proximal,
        ..Correction::default()
    };
    // first step: no distance yet, so (1.2, 0.6)
    // second: (-1.8, 3.2) + 0.5 (0.2, -0.4) = (-1.7, 3.0)
    assert_near(&corrected(&correction), &[1.37, 0.3]);
}

#[test]
fn scaffold_steps_along_the_gradient_plus_c_less_c_i_and_option_ii_moves_c_i() {
    let (server, own) = ([0.5, -0.5], [1.0, 1.0]);
    let offset = scaffold_offset(&server, &own).unwrap();
    assert_near(&offset, &[-0.5, -1.5]);
    let correction = Correction {
        offset: Some(&offset),
        ..Correction::default()
    };
    let y = corrected(&correction);
    // (-2, 4) + (-0.5, -1.5) = (-2.5, 2.5): y = (1.25, 0.75)
    // (-1.75, 3.5) + (-0.5, -1.5) = (-2.25, 2): y = (1.475, 0.55)
    assert_near(&y, &[1.475, 0.55]);
    // c_i+ = c_i - c + (x - y) / (2 x 0.1) = (0.5, 1.5) + (-0.475, 0.45) / 0.2 = (-1.875, 3.75),
    // which is the mean of the plain gradients (-2, 4) and (-1.75, 3.5)
    let change = scaffold_change(&server, &minus(&y, &START), 2, 0.1).unwrap();
    assert_near(&change, &[-1.875 - 1.0, 3.75 - 1.0]);
}

#[test]
fn feddyn_steps_along_the_regularised_gradient_and_moves_its_own() {
    let own = [0.4, -0.2];
    let offset = own.map(|value: f32| -value);
    let correction = Correction {
        offset: Some(&offset),
        proximal: Some(Proximal {
            strength: 0.5,
            anchor: &START,
        }),
        frozen: None,
    };
    let trained = corrected(&correction);
    // (-2, 4) - (0.4, -0.2) = (-2.4, 4.2): (1.24, 0.58)
    // (-1.76, 3.16) - (0.4, -0.2) + 0.5 (0.24, -0.42) = (-2.04, 3.15): (1.444, 0.265)
    assert_near(&trained, &[1.444, 0.265]);
    // g+ = g - 0.5 (0.444, -0.735)
    let change = feddyn_gradient_change(&minus(&trained, &START), 0.5);
    assert_near(&[own[0] + change[0], own[1] + change[1]], &[0.178, 0.1675]);
}

#[test]
fn fednova_averages_directions_and_multiplies_by_the_mean_number_of_steps() {
    // device 1 takes one step, device 2 two, both of the worked problem: deltas (0.2, -0.4) and
    // (0.38, -0.72), directions (0.2, -0.4) and (0.19, -0.36); mean direction (0.195, -0.38) times
    // 1.5 steps (Wang et al. 2020, equation 6 with tau_eff = sum p_i tau_i)
    let mut sum = [0.0_f32; 2];
    let mut work = 0.0;
    for count in [1, 2] {
        let mut params = START.to_vec();
        let settings = steps(count, 0.1);
        let report = train(
            &mut engine(),
            &mut params,
            one(&TARGET),
            &settings,
            &mut rng(),
        );
        let tau = report.unwrap().steps as f32;
        for (sum, delta) in sum.iter_mut().zip(minus(&params, &START)) {
            *sum += delta / tau;
        }
        work += tau;
    }
    let moved = sum.map(|sum| sum / 2.0 * (work / 2.0));
    assert_near(&moved, &[0.2925, -0.57]);
}

#[test]
fn qfedavg_weighs_by_powers_of_the_loss_before_training() {
    // F(1, 1) = 1/2 (1 x 4 + 2 x 4) = 6
    let loss = mean_loss(&mut engine(), &START, one(&TARGET)).unwrap();
    assert!((loss - 6.0).abs() < 1e-6);
    // one step: delta (0.2, -0.4), |delta|^2 = 0.2, L = 10
    let norm = 0.2_f64.sqrt();
    let share = |q| QFedAvgShare::new(q, loss, norm, 0.1);
    let near = |share: QFedAvgShare, factor: f64, weight: f64| {
        assert!((share.factor - factor).abs() < 1e-4, "{share:?}");
        assert!((share.weight - weight).abs() < 1e-4, "{share:?}");
    };
    near(share(0.0), 1.0, 1.0);
    near(share(1.0), 6.0, 6.0 + 10.0 * 0.2);
    near(share(2.0), 36.0, 36.0 + 2.0 * 6.0 * 10.0 * 0.2);
    // with a loss of zero and q below 1 the powers stay finite
    let none = QFedAvgShare::new(0.5, 0.0, norm, 0.1);
    assert!(none.factor.is_finite() && none.weight.is_finite());
}

#[test]
fn resting_parameters_keep_their_bits() {
    let correction = Correction {
        frozen: Some(&[true, false]),
        ..Correction::default()
    };
    let params = corrected(&correction);
    assert_eq!(params[0].to_bits(), START[0].to_bits());
    assert_near(&params, &[1.0, 0.28]);
}

#[test]
fn the_step_limit_ends_training_within_a_pass() {
    let inputs = [3.0, -1.0].repeat(5);
    let data = tributary_model::Batch {
        inputs: &inputs,
        labels: &[0; 5],
    };
    let settings = LocalTraining {
        epochs: 3,
        batch_size: 2,
        learning_rate: 0.1,
        max_steps: 4,
    };
    let mut params = START.to_vec();
    let report = train(&mut engine(), &mut params, data, &settings, &mut rng()).unwrap();
    // passes of 2 + 2 + 1 examples: one whole pass, then one batch
    assert_eq!((report.steps, report.examples), (4, 7));
}

#[test]
fn corrections_of_another_length_are_refused() {
    let short = [0.0; 1];
    let offset = Correction {
        offset: Some(&short),
        ..Correction::default()
    };
    let proximal = Correction {
        proximal: Some(Proximal {
            strength: 1.0,
            anchor: &short,
        }),
        ..Correction::default()
    };
    let frozen = Correction {
        frozen: Some(&[true]),
        ..Correction::default()
    };
    for correction in [offset, proximal, frozen] {
        let mut params = START.to_vec();
        let refused = train_corrected(
            &mut engine(),
            &mut params,
            one(&TARGET),
            &steps(1, 0.1),
            &correction,
            &mut rng(),
        );
        assert!(matches!(refused, Err(ModelError::WrongLength { .. })));
    }
    assert!(scaffold_offset(&[0.0; 2], &[0.0; 3]).is_err());
    assert!(scaffold_change(&[0.0; 2], &[0.0; 3], 1, 0.1).is_err());
    assert!(scaffold_change(&[0.0; 2], &[0.0; 2], 0, 0.1).is_err());
}
