//! Narrower models keep their interface and stay usable.

use proptest::prelude::*;
use tributary_model::prune::prune_width;
use tributary_model::quant::{footprint, observe_ranges, quantise};
use tributary_model::{Batch, Engine, FastEngine, ModelError, ModelSpec, accuracy, initialise};

use crate::fixtures::{ALL, AVERAGED, CONVOLUTION, PERCEPTRON, trained};

fn shapes(spec: &ModelSpec) -> Vec<Vec<usize>> {
    spec.graph().unwrap().shapes().to_vec()
}

#[test]
fn pruning_narrows_hidden_layers_and_keeps_input_and_classes() {
    let model = trained(CONVOLUTION, 1);
    let (spec, params) = prune_width(&model.graph, &model.params, 0.5).unwrap();
    let graph = spec.graph().unwrap();
    assert_eq!(params.len(), graph.layout().len());
    let expected = [
        vec![3, 24],
        vec![4, 22],
        vec![4, 22],
        vec![4, 11],
        vec![6, 5],
        vec![6, 5],
    ];
    assert_eq!(shapes(&spec)[..6], expected);
    assert_eq!(shapes(&spec)[6..], [vec![30], vec![4], vec![4]]);

    let mut out = Vec::new();
    FastEngine::new(&graph)
        .predict(&params, &model.inputs, &mut out)
        .unwrap();
    assert!(out.iter().all(|value| value.is_finite()));
    let ranges = observe_ranges(&graph, &params, &model.inputs).unwrap();
    assert!(quantise(&graph, &params, &ranges).is_ok());
    assert!(footprint(&graph).unwrap().flash_bytes < footprint(&model.graph).unwrap().flash_bytes);
}

#[test]
fn pruning_units_without_influence_changes_no_prediction() {
    // Half of the units of every hidden layer get no outgoing weights, so they must be the ones
    // that go, and the outputs must stay.
    for (number, text) in [PERCEPTRON, CONVOLUTION, AVERAGED].into_iter().enumerate() {
        let model = trained(text, number as u8);
        let mut params = model.params.clone();
        let entries = &model.graph.layout().entries;
        let weights: Vec<_> = entries
            .iter()
            .filter(|entry| entry.shape.len() > 1)
            .collect();
        for entry in &weights[1..] {
            let axis = usize::from(entry.output_axis == 0);
            let inner: usize = entry.shape[axis + 1..].iter().product();
            let size = entry.shape[axis];
            for (position, value) in params[entry.range()].iter_mut().enumerate() {
                let input = position / inner % size;
                if input < size / 2 {
                    *value = 0.0;
                }
            }
        }
        let (spec, pruned) = prune_width(&model.graph, &params, 0.5).unwrap();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        FastEngine::new(&model.graph)
            .predict(&params, &model.inputs, &mut before)
            .unwrap();
        let graph = spec.graph().unwrap();
        FastEngine::new(&graph)
            .predict(&pruned, &model.inputs, &mut after)
            .unwrap();
        assert!(pruned.len() < params.len());
        for (a, b) in before.iter().zip(&after) {
            assert!((a - b).abs() < 1e-5, "{}: {a} {b}", spec.name);
        }
    }
}

#[test]
fn keeping_everything_keeps_the_model() {
    for (number, text) in ALL.into_iter().enumerate() {
        let model = trained(text, number as u8);
        let (spec, params) = prune_width(&model.graph, &model.params, 1.0).unwrap();
        assert_eq!((&spec, &params), (model.graph.spec(), &model.params));
    }
}

#[test]
fn light_pruning_of_a_trained_model_keeps_most_of_its_accuracy() {
    let model = trained(PERCEPTRON, 0);
    let (spec, params) = prune_width(&model.graph, &model.params, 0.75).unwrap();
    let graph = spec.graph().unwrap();
    let data = Batch {
        inputs: &model.inputs,
        labels: &model.labels,
    };
    let share = accuracy(&mut FastEngine::new(&graph), &params, data).unwrap();
    assert!(share > 0.8, "{share}");
}

#[test]
fn shares_out_of_range_are_refused() {
    let model = trained(PERCEPTRON, 0);
    for keep in [0.0, -0.5, 1.01, f32::NAN, f32::INFINITY] {
        let error = prune_width(&model.graph, &model.params, keep).unwrap_err();
        assert!(matches!(error, ModelError::PruneShare { .. }), "{keep}");
    }
    assert!(prune_width(&model.graph, &model.params[1..], 0.5).is_err());
    let mut params = model.params.clone();
    params[0] = f32::INFINITY;
    assert!(prune_width(&model.graph, &params, 0.5).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pruned_models_accept_the_same_input_and_give_finite_outputs(
        keep in 0.01_f32..=1.0,
        which in 0_usize..3,
        seed in any::<u8>(),
    ) {
        let graph = ModelSpec::from_json(ALL[which]).unwrap().graph().unwrap();
        let params = initialise(&graph, [seed; 32]);
        let (spec, pruned) = prune_width(&graph, &params, keep).unwrap();
        let narrow = spec.graph().unwrap();
        prop_assert_eq!(pruned.len(), narrow.layout().len());
        prop_assert_eq!((narrow.features(), narrow.classes()), (graph.features(), graph.classes()));
        let mut out = Vec::new();
        let input = vec![0.5; graph.features()];
        FastEngine::new(&narrow).predict(&pruned, &input, &mut out).unwrap();
        prop_assert!(out.len() == graph.classes() && out.iter().all(|value| value.is_finite()));
    }
}
