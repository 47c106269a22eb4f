//! Matrix strategies: errors and sensitivities in closed form, the BLT's stream, and its optimiser.

use serde_json::Value;
use tributary_privacy::DiscreteGaussian;
use tributary_privacy::ftrl::{
    Blt, Errors, Participation, Reference, apply_buffered_inverse, buffered_coefficients,
    toeplitz_squared_sensitivity,
};

use crate::reference::{assert_close, cases, file, number};

fn numbers(case: &Value, field: &str) -> Vec<f64> {
    let list = case[field]
        .as_array()
        .unwrap_or_else(|| panic!("{field} is missing in {case}"));
    list.iter().map(|value| value.as_f64().unwrap()).collect()
}

fn participation(case: &Value) -> Participation {
    let whole = |field| number(case, field) as u32;
    Participation::new(whole("n"), whole("max_part"), whole("min_sep")).unwrap()
}

fn assert_all_close(actual: &[f64], expected: &[f64], case: &Value) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        let allowed = 1e-9 * expected.abs().max(1e-3);
        let difference = (actual - expected).abs();
        assert!(difference <= allowed, "{actual} for {expected} in {case}");
    }
}

/// A strategy in buffered form: the matrix itself, or its inverse with negative weights.
fn judge_buffered(case: &Value, participation: &Participation) -> (f64, Errors) {
    let n = participation.rounds as usize;
    let impulse = || (0..n).map(|round| f64::from(u8::from(round == 0)));
    let buffered = |theta, omega| {
        let (theta, omega) = (numbers(case, theta), numbers(case, omega));
        let inverse: Vec<f64> = apply_buffered_inverse(&theta, &omega, impulse()).collect();
        (buffered_coefficients(&theta, &omega, n), inverse)
    };
    let (coefficients, inverse) = if case["inv_theta"].is_array() {
        let (inverse, coefficients) = buffered("inv_theta", "inv_omega");
        (coefficients, inverse)
    } else {
        buffered("theta", "omega")
    };
    let squared = toeplitz_squared_sensitivity(&coefficients, participation).unwrap();
    (squared, Errors::of_inverse(&inverse))
}

/// Squared sensitivity and errors of the strategy that a case names.
fn judge(case: &Value, participation: &Participation) -> (f64, Errors) {
    let n = participation.rounds as usize;
    let mechanism = case["mechanism"].as_str().unwrap();
    let reference = if mechanism.starts_with("identity") {
        Reference::Identity
    } else if mechanism.starts_with("prefix") {
        Reference::Prefix
    } else if mechanism.starts_with("sqrt Toeplitz") {
        Reference::SquareRoot
    } else {
        return judge_buffered(case, participation);
    };
    let coefficients = reference.coefficients(n);
    let squared = toeplitz_squared_sensitivity(&coefficients, participation).unwrap();
    let errors = Errors::of_inverse(&reference.inverse_coefficients(n));
    (squared, errors)
}

#[test]
fn strategies_have_the_sensitivity_and_the_errors_of_the_reference() {
    for case in cases("matrix_factorisation") {
        let participation = participation(&case);
        let (squared, errors) = judge(&case, &participation);
        let close = |actual, field| assert_close(actual, number(&case, field), 1e-9, &case);
        close(squared, "sens_sq");
        close(errors.max_squared, "max_sq_err");
        close(errors.mean_squared, "mean_sq_err");
        close(errors.max_loss(squared), "max_loss");
        close(errors.rms_loss(squared), "rms_loss");
    }
}

#[test]
fn the_stream_of_a_blt_follows_the_reference() {
    let block = file()["blt_stream"].clone();
    let cases = block.as_array().cloned().unwrap_or_else(|| vec![block]);
    assert!(!cases.is_empty());
    for case in cases {
        let (theta, omega) = (numbers(&case, "theta"), numbers(&case, "omega"));
        let coefficients = numbers(&case, "coef");
        let found = buffered_coefficients(&theta, &omega, coefficients.len());
        assert_all_close(&found, &coefficients, &case);
        let answer = |field, seed: fn(usize) -> f64| {
            let expected = numbers(&case, field);
            let seeds = (0..expected.len()).map(seed);
            let found: Vec<f64> = apply_buffered_inverse(&theta, &omega, seeds).collect();
            assert_all_close(&found, &expected, &case);
        };
        answer("inverse_coef", |round| f64::from(u8::from(round == 0)));
        answer("impulse", |round| f64::from(u8::from(round == 0)));
        answer("ramp", |round| round as f64 + 1.0);
    }
}

#[test]
fn blts_have_the_losses_of_the_reference_and_the_optimiser_does_as_well() {
    let mut known: Vec<(Participation, f64)> = Vec::new();
    for case in cases("blt_optimised") {
        let participation = participation(&case);
        let blt = Blt::new(numbers(&case, "theta"), numbers(&case, "omega")).unwrap();
        let squared = blt.squared_sensitivity(&participation);
        let errors = blt.errors(participation.rounds as usize);
        let close = |actual, field| assert_close(actual, number(&case, field), 1e-6, &case);
        close(squared.sqrt(), "sens");
        close(errors.max_loss(squared), "max_loss");
        close(errors.rms_loss(squared), "rms_loss");
        close(participation.independent_max_loss(), "identity_max_loss");

        // rho from integers: a sensitivity of 2^20 sens under seeds of sigma z times as large
        let multiplier = number(&case, "noise_multiplier");
        let sensitivity = squared.sqrt() * f64::from(1u32 << 20);
        let sigma = DiscreteGaussian::new((multiplier * sensitivity).round() as u64).unwrap();
        let charge = sigma
            .rho((sensitivity * sensitivity).round() as u128)
            .unwrap();
        close(charge.as_f64(), "rho");

        let seen = known.iter().find(|(limits, _)| *limits == participation);
        let found = seen.map_or_else(
            || {
                Blt::optimise(&participation)
                    .unwrap()
                    .max_loss(&participation)
            },
            |(_, loss)| *loss,
        );
        known.push((participation, found));
        let reference = number(&case, "max_loss");
        assert!(
            found <= 1.01 * reference,
            "{found} against {reference}: {case}"
        );
    }
}
