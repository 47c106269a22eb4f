//! Server optimisers through the public interface.

use proptest::prelude::*;
use tributary_aggregator::{OptimiserError, OptimiserState, ServerOptimiser};

const DIMENSION: usize = 50;

/// A mean update that differs in every place.
fn ramp(factor: f32) -> Vec<f32> {
    (0..DIMENSION)
        .map(|index| factor * (index as f32 - 20.0) / 100.0)
        .collect()
}

fn all_optimisers() -> [ServerOptimiser; 6] {
    [
        ServerOptimiser::FedAvg { learning_rate: 0.5 },
        ServerOptimiser::FedAvgM {
            learning_rate: 0.5,
            momentum: 0.9,
        },
        ServerOptimiser::FedAdam {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-3,
        },
        ServerOptimiser::FedAdagrad {
            learning_rate: 0.1,
            beta1: 0.0,
            epsilon: 1e-3,
        },
        ServerOptimiser::FedYogi {
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-3,
        },
        ServerOptimiser::FedDyn { participation: 0.5 },
    ]
}

#[test]
fn server_steps_follow_their_formulas() {
    let steps = |optimiser| {
        let mut state = OptimiserState::new(optimiser, 1).unwrap();
        let mut weights = [1.0f32];
        let mut trace = Vec::new();
        for delta in [0.2f32, -0.1] {
            state.apply(&mut weights, &[delta]).unwrap();
            trace.push(weights[0]);
        }
        assert_eq!(state.steps(), 2);
        trace
    };
    let [average, momentum, adam, adagrad, yogi, dynamic] = all_optimisers().map(steps);
    let close = |trace: &[f32], expected: [f32; 2]| {
        assert!(
            trace
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{trace:?}"
        );
    };
    close(&average, [1.1, 1.05]);
    // v = 0.2, then 0.9 * 0.2 - 0.1 = 0.08
    close(&momentum, [1.1, 1.14]);
    // m = 0.02, v = 4e-4: 0.1 * 0.02 / (0.02 + 0.001); then m = 0.008, v = 4.96e-4
    let first = 1.0 + 0.002 / 0.021;
    close(&adam, [first, first + 0.0008 / (4.96e-4f32.sqrt() + 0.001)]);
    // m = delta; v = 0.04, then 0.05
    let first = 1.0 + 0.02 / 0.201;
    close(&adagrad, [first, first - 0.01 / (0.05f32.sqrt() + 0.001)]);
    // v = 0 + 0.01 * 0.04 = 4e-4, below 0.01 of the second delta: v = 4e-4 + 1e-4; m as for Adam
    let first = 1.0 + 0.002 / 0.021;
    close(&yogi, [first, first + 0.0008 / (5e-4f32.sqrt() + 0.001)]);
    // u = 0.1: 1 + 0.2 + 0.1; then u = 0.05: 1.3 - 0.1 + 0.05
    close(&dynamic, [1.3, 1.25]);
}

#[test]
fn optimiser_state_survives_storage_in_mid_run() {
    for optimiser in all_optimisers() {
        let mut state = OptimiserState::new(optimiser, DIMENSION).unwrap();
        let mut weights = vec![0.0; DIMENSION];
        state.apply(&mut weights, &ramp(1.0)).unwrap();
        let bytes = state.to_bytes();
        let mut restored = OptimiserState::from_bytes(optimiser, DIMENSION, &bytes).unwrap();
        assert_eq!(restored, state);
        let mut again = weights.clone();
        state.apply(&mut weights, &ramp(-0.3)).unwrap();
        restored.apply(&mut again, &ramp(-0.3)).unwrap();
        assert_eq!(weights, again);
        assert!(OptimiserState::from_bytes(optimiser, DIMENSION + 1, &bytes).is_err());
        assert!(OptimiserState::from_bytes(optimiser, DIMENSION, &bytes[..20]).is_err());
        for other in all_optimisers()
            .into_iter()
            .filter(|other| *other != optimiser)
        {
            assert!(OptimiserState::from_bytes(other, DIMENSION, &bytes).is_err());
        }
    }
}

#[test]
fn a_broken_mean_update_changes_nothing() {
    for optimiser in all_optimisers() {
        let mut state = OptimiserState::new(optimiser, 2).unwrap();
        let before = state.clone();
        let mut weights = [1.0, 2.0];
        let refused = state.apply(&mut weights, &[0.1, f32::NAN]);
        let what = "mean update";
        assert_eq!(refused, Err(OptimiserError::NotFinite { what, index: 1 }));
        assert!(state.apply(&mut weights, &[0.1]).is_err());
        assert_eq!((state, weights), (before, [1.0, 2.0]));
    }
}

#[test]
fn optimisers_are_read_from_recipes_and_checked() {
    let text = r#"{"kind":"fedadam","learning_rate":0.1,"beta1":0.9,"beta2":0.99,"epsilon":0.001}"#;
    let optimiser: ServerOptimiser = serde_json::from_str(text).unwrap();
    assert_eq!(optimiser.validate(), Ok(()));
    assert_eq!(serde_json::to_string(&optimiser).unwrap(), text);
    for unreadable in [
        r#"{"kind":"fedavg","learning_rate":1,"momentum":0.9}"#,
        r#"{"kind":"fedprox","learning_rate":1}"#,
        r#"{"kind":"fedavgm","learning_rate":1}"#,
    ] {
        assert!(
            serde_json::from_str::<ServerOptimiser>(unreadable).is_err(),
            "{unreadable}"
        );
    }
    for (optimiser, named) in [
        (
            ServerOptimiser::FedAvg { learning_rate: 0.0 },
            "learning_rate",
        ),
        (
            ServerOptimiser::FedAvgM {
                learning_rate: 1.0,
                momentum: 1.0,
            },
            "momentum",
        ),
        (
            ServerOptimiser::FedAvgM {
                learning_rate: 1.0,
                momentum: f32::NAN,
            },
            "momentum",
        ),
    ] {
        let refused = OptimiserState::new(optimiser, 1).unwrap_err();
        assert!(matches!(refused, OptimiserError::BadConstant { field, .. } if field == named));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_state_or_a_typed_error(
        kind in 0usize..6,
        dimension in 0u64..4,
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut bytes = b"TRBOPTS1".to_vec();
        bytes.push(kind as u8);
        bytes.extend_from_slice(&dimension.to_le_bytes());
        bytes.extend_from_slice(&body);
        for optimiser in all_optimisers() {
            let state = OptimiserState::from_bytes(optimiser, dimension as usize, &bytes);
            if let Ok(state) = state {
                prop_assert_eq!(state.to_bytes(), bytes.clone());
            }
            prop_assert!(OptimiserState::from_bytes(optimiser, usize::MAX, &body).is_err());
        }
    }
}
