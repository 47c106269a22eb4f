//! Tests of the watch loader.

use super::super::PUBLIC_LIMIT;
use super::*;

#[test]
fn the_windows_are_those_of_the_reference_results() {
    let dataset = load(&WatchOptions::default()).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.len()), (3209, 1188));
    assert_eq!(
        (dataset.shape.as_slice(), dataset.features()),
        (&[6, 25][..], 150)
    );
    assert_eq!(dataset.train.inputs.len(), 3209 * 150);
    assert_eq!(dataset.users.len(), 20);
}

#[test]
fn every_user_has_training_and_test_windows_of_every_class() {
    let dataset = load(&WatchOptions::default()).unwrap();
    for (index, &user) in dataset.users.iter().enumerate() {
        assert_eq!(
            index as u32,
            2 * (user.subject - 1) + u32::from(user.side == Side::Left)
        );
        for samples in [
            dataset.train_of(|other| other == user),
            dataset.test_of(|other| other == user),
        ] {
            for class in 0..CLASSES as u32 {
                assert!(
                    samples.labels.contains(&class),
                    "{user:?} lacks class {class}"
                );
            }
        }
    }
}

#[test]
fn right_arm_training_channels_have_mean_zero_and_deviation_one() {
    let options = WatchOptions {
        pool: 1,
        ..WatchOptions::default()
    };
    let right = load(&options)
        .unwrap()
        .train_of(|user| user.side == Side::Right);
    for channel in 0..CHANNELS {
        let values: Vec<f64> = right
            .inputs
            .chunks_exact(600)
            .flat_map(|window| &window[channel * 100..][..100])
            .map(|&value| f64::from(value))
            .collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / values.len() as f64;
        assert!(
            mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-3,
            "{channel}: {mean} {variance}"
        );
    }
}

#[test]
fn public_constants_look_at_no_data() {
    let options = WatchOptions {
        normalisation: Normalisation::Public,
        ..WatchOptions::default()
    };
    let whole = load(&options).unwrap();
    let mut less = options;
    less.windowing.train_percent = 30;
    let part = load(&less).unwrap();
    assert_eq!(part.train.inputs[..150], whole.train.inputs[..150]);
    let limit = PUBLIC_LIMIT as f32;
    let limits = -limit..=limit;
    assert!(
        whole
            .train
            .inputs
            .iter()
            .all(|value| limits.contains(value))
    );
    assert!(
        whole.train.inputs.contains(&limit),
        "the limit is reached somewhere"
    );
}

#[test]
fn pooling_is_the_mean_of_neighbouring_steps() {
    let fine = load(&WatchOptions {
        pool: 1,
        ..WatchOptions::default()
    })
    .unwrap();
    let coarse = load(&WatchOptions::default()).unwrap();
    for (pooled, steps) in coarse
        .test
        .inputs
        .iter()
        .zip(fine.test.inputs.chunks_exact(4))
    {
        assert!((pooled - steps.iter().sum::<f32>() / 4.0).abs() < 1e-4);
    }
}

#[test]
fn a_pool_that_does_not_divide_the_window_is_refused() {
    for pool in [0, 3, 200] {
        let error = load(&WatchOptions {
            pool,
            ..WatchOptions::default()
        })
        .unwrap_err();
        assert!(
            matches!(error, DataError::Option { option: "pool", .. }),
            "{error}"
        );
    }
}

#[test]
fn a_truncated_or_foreign_archive_is_a_typed_error() {
    let options = WatchOptions::default();
    assert!(matches!(
        from_npz(b"not a zip", &options),
        Err(DataError::Foreign { .. })
    ));
    for cut in [1, 1000, ARCHIVE.len() / 2, ARCHIVE.len() - 1] {
        assert!(from_npz(&ARCHIVE[..ARCHIVE.len() - cut], &options).is_err());
    }
}
