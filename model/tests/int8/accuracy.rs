//! Integer inference against the float model it came from.

use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue};
use burn::tensor::{Device, Tensor};
use tributary_model::quant::scale::{quantise_weight, symmetric_weight_scale};
use tributary_model::quant::{
    ActivationRanges, Int8Scratch, QuantError, footprint, observe_ranges, quantise,
};
use tributary_model::{Engine, FastEngine, ModelError, ModelSpec, initialise};

use crate::fixtures::{ALL, PERCEPTRON, Trained, rng, signed_unit, trained};

/// The float model's class probabilities of the held-out examples.
fn float_predictions(model: &Trained) -> Vec<f32> {
    let mut probabilities = Vec::new();
    FastEngine::new(&model.graph)
        .predict(&model.params, &model.inputs, &mut probabilities)
        .unwrap();
    probabilities
}

fn largest(values: &[f32]) -> usize {
    (0..values.len())
        .max_by(|&a, &b| values[a].total_cmp(&values[b]))
        .unwrap()
}

#[test]
fn integer_model_agrees_with_its_float_model_on_the_class() {
    for (number, spec) in ALL.into_iter().enumerate() {
        let model = trained(spec, number as u8);
        let int8 = model.int8();
        let mut scratch = Int8Scratch::default();
        let probabilities = float_predictions(&model);
        let (features, classes) = (model.graph.features(), model.graph.classes());
        let examples = model.inputs.chunks_exact(features);
        let agreeing = examples
            .zip(probabilities.chunks_exact(classes))
            .filter(|(input, float)| {
                int8.predict(input, &mut scratch).unwrap().class == largest(float)
            })
            .count();
        let share = agreeing as f64 / model.labels.len() as f64;
        assert!(share >= 0.98, "{}: {share}", int8.name());
        // The classes must be worth agreeing on.
        let accuracy = int8
            .accuracy(&model.inputs, &model.labels, &mut scratch)
            .unwrap();
        assert!(accuracy > 0.8, "{}: {accuracy}", int8.name());
    }
}

#[test]
fn dequantised_scores_give_probabilities_close_to_the_float_model() {
    for (number, spec) in ALL.into_iter().enumerate() {
        let model = trained(spec, number as u8);
        let int8 = model.int8();
        let mut scratch = Int8Scratch::default();
        let probabilities = float_predictions(&model);
        let (features, classes) = (model.graph.features(), model.graph.classes());
        let mut total = 0.0;
        let examples = model.inputs.chunks_exact(features);
        for (input, float) in examples.zip(probabilities.chunks_exact(classes)) {
            let scores = int8.predict(input, &mut scratch).unwrap().scores;
            let own = int8.probabilities(scores);
            assert!((own.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            total += own
                .iter()
                .zip(float)
                .map(|(a, b)| (a - b).abs())
                .sum::<f32>();
        }
        let mean = total / probabilities.len() as f32;
        assert!(mean < 0.02, "{}: {mean}", int8.name());
    }
}

#[test]
fn integer_inference_repeats_to_the_bit_whatever_the_scratch_held() {
    let model = trained(ALL[1], 1);
    let int8 = model.int8();
    let input = &model.inputs[..model.graph.features()];
    let mut used = Int8Scratch::default();
    for example in model.inputs.chunks_exact(model.graph.features()).take(20) {
        int8.predict(example, &mut used).unwrap();
    }
    let mut fresh = Int8Scratch::default();
    assert_eq!(
        int8.predict(input, &mut used).unwrap(),
        int8.predict(input, &mut fresh).unwrap()
    );
}

#[test]
fn per_tensor_weights_agree_with_burns_symmetric_int8() {
    let mut rng = rng(7);
    let weights: Vec<f32> = (0..600).map(|_| signed_unit(&mut rng)).collect();
    let scheme = QuantScheme::default()
        .with_value(QuantValue::Q8S)
        .with_store(QuantStore::Native);
    let tensor = Tensor::<1>::from_floats(weights.as_slice(), &Device::flex());
    let oracle = tensor.quantize_dynamic(&scheme).dequantize().into_data();
    let oracle = oracle.as_slice::<f32>().unwrap();

    let scale = symmetric_weight_scale(weights.iter().copied()).unwrap();
    for (&weight, &expected) in weights.iter().zip(oracle) {
        let own = f64::from(quantise_weight(weight, scale)) * scale;
        assert!(
            (own - f64::from(expected)).abs() < 1e-3 * scale,
            "{weight}: {own} {expected}"
        );
    }
}

#[test]
fn footprint_known_before_training_is_that_of_the_trained_build() {
    for (number, spec) in ALL.into_iter().enumerate() {
        let model = trained(spec, number as u8);
        let int8 = model.int8();
        let known = footprint(&model.graph).unwrap();
        assert_eq!(known.flash_bytes, int8.to_bytes().len());
        assert_eq!(known.arena_bytes, int8.arena().bytes);
        assert_eq!(int8.arena().bytes, int8.arena().lower_bound);
    }
}

#[test]
fn model_with_dead_units_and_large_biases_still_classifies_alike() {
    // Unit 0 has no weights but a bias, unit 1 nothing at all, unit 2 a bias far above its weights.
    let spec = ModelSpec::perceptron("dead", 4, &[3], 2);
    let graph = spec.graph().unwrap();
    let mut params = initialise(&graph, [3; 32]);
    for input in 0..4 {
        params[input * 3..input * 3 + 2].fill(0.0);
        params[input * 3 + 2] *= 1e-9;
    }
    params[12..15].copy_from_slice(&[0.7, 0.0, 1.3]);
    let mut rng = rng(9);
    let inputs: Vec<f32> = (0..400).map(|_| signed_unit(&mut rng)).collect();
    let ranges = observe_ranges(&graph, &params, &inputs).unwrap();
    let int8 = quantise(&graph, &params, &ranges).unwrap();
    let mut float = Vec::new();
    FastEngine::new(&graph)
        .predict(&params, &inputs[..4], &mut float)
        .unwrap();
    let mut scratch = Int8Scratch::default();
    let scores = int8.predict(&inputs[..4], &mut scratch).unwrap().scores;
    let own = int8.probabilities(scores);
    assert!((own[0] - float[0]).abs() < 0.01, "{own:?} {float:?}");
}

#[test]
fn bad_input_to_the_quantiser_is_a_typed_error() {
    let model = trained(PERCEPTRON, 0);
    let count = model.ranges.ranges().len();

    let short = ActivationRanges::new(vec![(0.0, 1.0); count - 1]).unwrap();
    let error = quantise(&model.graph, &model.params, &short).unwrap_err();
    let expected = QuantError::RangeCount {
        expected: count,
        actual: count - 1,
    };
    assert!(matches!(error, ModelError::Quant(inner) if inner == expected));

    for range in [
        (f32::NAN, 1.0),
        (1.0, 0.0),
        (0.0, f32::INFINITY),
        (0.0, 1e-44),
    ] {
        let error = ActivationRanges::new(vec![(0.0, 1.0), range]).unwrap_err();
        assert!(
            matches!(error, QuantError::Range { index: 1, .. }),
            "{range:?}"
        );
    }
    assert!(serde_json::from_str::<ActivationRanges>("[[1.0,0.0]]").is_err());

    let mut params = model.params.clone();
    params[5] = f32::NAN;
    let error = quantise(&model.graph, &params, &model.ranges).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite { index: 5, .. }));
    let error = quantise(&model.graph, &params[1..], &model.ranges).unwrap_err();
    assert!(matches!(error, ModelError::WrongLength { .. }));

    // A first activation range ten orders of magnitude below the input's can't be rescaled.
    let mut ranges = model.ranges.ranges().to_vec();
    ranges[0] = (0.0, 1e12);
    ranges[2] = (0.0, 1e-2);
    let ranges = ActivationRanges::new(ranges).unwrap();
    let error = quantise(&model.graph, &model.params, &ranges).unwrap_err();
    let factor = matches!(
        error,
        ModelError::Quant(QuantError::Factor { index: 0, .. })
    );
    assert!(factor, "{error}");

    let early_softmax = r#"{"name":"early","input":[4],"layers":[
        {"kind":"softmax"},{"kind":"dense","units":2}]}"#;
    let graph = ModelSpec::from_json(early_softmax)
        .unwrap()
        .graph()
        .unwrap();
    let error = footprint(&graph).unwrap_err();
    let unsupported = matches!(
        error,
        ModelError::Quant(QuantError::Unsupported { index: 0, .. })
    );
    assert!(unsupported, "{error}");
}

#[test]
fn bad_input_to_inference_is_a_typed_error() {
    let model = trained(PERCEPTRON, 0);
    let int8 = model.int8();
    let mut scratch = Int8Scratch::default();
    let error = int8.predict(&[0.0; 39], &mut scratch).unwrap_err();
    assert!(matches!(
        error,
        ModelError::WrongLength {
            expected: 40,
            actual: 39,
            ..
        }
    ));
    let mut input = [0.0; 40];
    input[3] = f32::INFINITY;
    let error = int8.predict(&input, &mut scratch).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite { index: 3, .. }));
    assert!(observe_ranges(&model.graph, &model.params, &[]).is_err());
    assert!(observe_ranges(&model.graph, &model.params, &input).is_err());
    assert!(observe_ranges(&model.graph, &model.params, &[0.0; 41]).is_err());
}

#[test]
fn ranges_observed_in_parts_join_to_those_of_the_whole() {
    let model = trained(ALL[2], 2);
    let half = model.inputs.len() / 2;
    let observe = |inputs| observe_ranges(&model.graph, &model.params, inputs).unwrap();
    let joined = observe(&model.inputs[..half])
        .union(&observe(&model.inputs[half..]))
        .unwrap();
    assert_eq!(joined, observe(&model.inputs));
    let other = ActivationRanges::new(vec![(0.0, 1.0)]).unwrap();
    assert!(joined.union(&other).is_none());
}
