//! Specs, shape inference and random graphs.
#![allow(clippy::unwrap_used, clippy::type_complexity)] // a panic is how a test fails

mod nets;

use nets::{labelled_batch, spec};
use proptest::prelude::*;
use tributary_model::layers::{Conv1d, Dense, GlobalAveragePool, MaxPool1d, Relu, Softmax};
use tributary_model::{
    Batch, Engine, FastEngine, LayerError, LayerSpec, MAX_LAYERS, ModelError, ModelSpec, Role,
    initialise,
};

#[test]
fn json_of_every_kind_reads_back_and_defaults_are_written_out() {
    let json = r#"{"name":"net","input":[6,25],"layers":[
        {"kind":"conv1d","filters":8,"kernel":5},{"kind":"relu"},{"kind":"max_pool1d","size":2},
        {"kind":"flatten"},{"kind":"dense","units":7},{"kind":"softmax"}]}"#;
    let spec = ModelSpec::from_json(json).unwrap();
    let canonical = spec.to_canonical_json().unwrap();
    assert_eq!(
        canonical,
        concat!(
            r#"{"name":"net","input":[6,25],"layers":[{"kind":"conv1d","filters":8,"kernel":5,"#,
            r#""stride":1},{"kind":"relu"},{"kind":"max_pool1d","size":2,"stride":2},"#,
            r#"{"kind":"flatten"},{"kind":"dense","units":7},{"kind":"softmax"}]}"#
        )
    );
    assert_eq!(ModelSpec::from_json(&canonical).unwrap(), spec);
    assert_eq!(
        spec.digest().unwrap(),
        ModelSpec::from_json(json).unwrap().digest().unwrap()
    );
}

#[test]
fn the_kind_in_json_is_the_name_of_the_layers_file() {
    for graph in nets::every_net() {
        for layer in graph.layers() {
            let json = serde_json::to_value(layer).unwrap();
            assert_eq!(json["kind"], layer.kind());
        }
    }
}

#[test]
fn unknown_fields_kinds_and_types_are_refused() {
    for layers in [
        r#"[{"kind":"dense","units":2,"bias":true}]"#,
        r#"[{"kind":"relu","slope":1}]"#,
        r#"[{"kind":"max_pool1d","size":2,"pad":1}]"#,
        r#"[{"kind":"lstm","units":2}]"#,
        r#"[{"kind":"dense","units":-1}]"#,
        r#"[{"kind":"dense","units":"2"}]"#,
        r#"[{"kind":"dense"}]"#,
        r#"[{"units":2}]"#,
    ] {
        let json = format!(r#"{{"name":"n","input":[4],"layers":{layers}}}"#);
        assert!(
            matches!(ModelSpec::from_json(&json), Err(ModelError::Spec(_))),
            "{json}"
        );
    }
    let unknown = r#"{"name":"n","input":[4],"layers":[],"loss":"mse"}"#;
    assert!(matches!(
        ModelSpec::from_json(unknown),
        Err(ModelError::Spec(_))
    ));
}

#[test]
fn shapes_parameters_and_operations_of_a_convolutional_net_are_as_computed_by_hand() {
    let graph = &nets::conv_nets()[0];
    let shapes: Vec<&[usize]> = graph.shapes().iter().map(Vec::as_slice).collect();
    let expected: [&[usize]; 7] = [&[6, 25], &[8, 21], &[8, 21], &[8, 10], &[80], &[7], &[7]];
    assert_eq!(shapes, expected);
    // 8*6*5 + 8 + 80*7 + 7
    assert_eq!(graph.layout().len(), 815);
    // 8*6*5*21 + 80*7
    assert_eq!(graph.macs(), 5600);
    let entry = graph.layout().entry("0.conv1d.weight").unwrap();
    assert_eq!(
        (entry.role, entry.channels(), entry.output_axis),
        (Role::Weight, 8, 0)
    );
    let entry = graph.layout().entry("4.dense.weight").unwrap();
    assert_eq!(
        (entry.shape.as_slice(), entry.offset, entry.channels()),
        (&[80, 7][..], 248, 7)
    );
    assert_eq!(graph.layer_parameters(4), 248..815);
    assert_eq!(
        (graph.features(), graph.classes(), graph.trunk_len()),
        (150, 7, 5)
    );
}

#[test]
fn the_digest_of_a_layout_tells_shapes_and_personal_layers_apart() {
    let graph = ModelSpec::perceptron("a", 4, &[3], 2).graph().unwrap();
    let renamed = ModelSpec::perceptron("b", 4, &[3], 2).graph().unwrap();
    let wider = ModelSpec::perceptron("a", 4, &[4], 2).graph().unwrap();
    assert_eq!(graph.layout().digest(), renamed.layout().digest());
    assert_ne!(graph.layout().digest(), wider.layout().digest());
    let mut personal = graph.clone();
    assert_eq!(personal.mark_personal("2."), 2);
    assert_ne!(graph.layout().digest(), personal.layout().digest());
}

#[test]
fn a_layer_that_does_not_fit_is_named_with_the_reason() {
    let dense = || LayerSpec::from(Dense { units: 2 });
    let cases: Vec<(Vec<usize>, Vec<LayerSpec>, usize, fn(&LayerError) -> bool)> = vec![
        (vec![4], vec![Dense { units: 0 }.into()], 0, |e| {
            matches!(e, LayerError::Zero { field: "units" })
        }),
        (vec![2, 4], vec![Relu.into(), dense()], 1, |e| {
            matches!(e, LayerError::Rank { .. })
        }),
        (vec![2, 4], vec![Softmax.into()], 0, |e| {
            matches!(e, LayerError::Rank { .. })
        }),
        (vec![4], vec![GlobalAveragePool.into()], 0, |e| {
            matches!(e, LayerError::Rank { .. })
        }),
        (
            vec![2, 4],
            vec![
                Conv1d {
                    filters: 1,
                    kernel: 5,
                    stride: 1,
                }
                .into(),
            ],
            0,
            |e| {
                matches!(
                    e,
                    LayerError::WindowTooLong {
                        field: "kernel",
                        window: 5,
                        steps: 4
                    }
                )
            },
        ),
        (
            vec![2, 4],
            vec![
                Conv1d {
                    filters: 0,
                    kernel: 1,
                    stride: 1,
                }
                .into(),
            ],
            0,
            |e| matches!(e, LayerError::Zero { field: "filters" }),
        ),
        (
            vec![2, 4],
            vec![
                Conv1d {
                    filters: 1,
                    kernel: 1,
                    stride: 0,
                }
                .into(),
            ],
            0,
            |e| matches!(e, LayerError::Zero { field: "stride" }),
        ),
        (
            vec![2, 4],
            vec![MaxPool1d { size: 0, stride: 1 }.into()],
            0,
            |e| matches!(e, LayerError::Zero { field: "size" }),
        ),
        (
            vec![1 << 13],
            vec![Dense { units: 1 << 14 }.into()],
            0,
            |e| matches!(e, LayerError::TooLarge { .. }),
        ),
        (
            vec![1, 1 << 20],
            vec![
                Conv1d {
                    filters: 1,
                    kernel: 1 << 19,
                    stride: 1,
                }
                .into(),
            ],
            0,
            |e| matches!(e, LayerError::TooLarge { .. }),
        ),
    ];
    for (input, layers, at, expected) in cases {
        let error = spec(input, layers).graph().unwrap_err();
        assert!(
            matches!(&error, ModelError::Layer { index, source, .. } if *index == at && expected(source)),
            "{error}"
        );
    }
}

#[test]
fn models_outside_the_limits_are_refused() {
    let dense = |units| LayerSpec::from(Dense { units });
    let graph = |input: &[usize], layers| spec(input.to_vec(), layers).graph().unwrap_err();
    assert!(matches!(
        graph(&[4], vec![]),
        ModelError::LayerCount { count: 0, .. }
    ));
    let deep = vec![Relu.into(); MAX_LAYERS + 1];
    assert!(matches!(graph(&[4], deep), ModelError::LayerCount { .. }));
    for input in [&[][..], &[0], &[2, 0], &[2, 2, 2]] {
        assert!(matches!(
            graph(input, vec![dense(2)]),
            ModelError::InputShape { .. }
        ));
    }
    let not_classes = [vec![dense(1)], vec![Relu.into(), dense(1)]];
    for layers in not_classes {
        assert!(matches!(
            graph(&[4], layers),
            ModelError::NotAClassifier { .. }
        ));
    }
    let too_large = ModelError::TooLarge {
        what: "activations",
        count: 0,
        limit: 0,
    };
    let same =
        |error: &ModelError| std::mem::discriminant(error) == std::mem::discriminant(&too_large);
    assert!(same(&graph(&[usize::MAX], vec![dense(2)])));
    assert!(same(&graph(&[usize::MAX, usize::MAX], vec![Relu.into()])));
    assert!(same(&graph(&[1 << 26], vec![Relu.into()])));
    for name in ["", "a\nb", &"x".repeat(65)] {
        let mut spec = ModelSpec::perceptron("m", 2, &[], 2);
        spec.name = name.to_owned();
        assert!(matches!(spec.graph(), Err(ModelError::Name { .. })));
    }
}

fn any_size() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![8 => 0..9_usize, 1 => Just(usize::MAX), 1 => Just(1 << 40), 1 => 0..100_000_usize]
}

fn layer(size: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = LayerSpec> {
    prop_oneof![
        size.clone().prop_map(|units| Dense { units }.into()),
        (size.clone(), size.clone(), size.clone()).prop_map(|(filters, kernel, stride)| Conv1d {
            filters,
            kernel,
            stride
        }
        .into()),
        (size.clone(), size).prop_map(|(size, stride)| MaxPool1d { size, stride }.into()),
        Just(Relu.into()),
        Just(GlobalAveragePool.into()),
        Just(tributary_model::layers::Flatten.into()),
        Just(Softmax.into()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn shape_inference_never_panics(
        input in prop::collection::vec(any_size(), 0..4),
        layers in prop::collection::vec(layer(any_size()), 0..8),
    ) {
        let spec = spec(input, layers);
        if let Ok(graph) = spec.graph() {
            prop_assert_eq!(graph.shapes().len(), spec.layers.len() + 1);
            let total: usize = graph.layout().entries.iter().map(|entry| entry.len).sum();
            prop_assert_eq!(total, graph.layout().len());
        }
    }

    #[test]
    fn every_accepted_graph_runs_and_its_sizes_match(
        input in prop_oneof![
            (1..20_usize).prop_map(|features| vec![features]),
            (1..4_usize, 1..24_usize).prop_map(|(channels, steps)| vec![channels, steps]),
        ],
        mut layers in prop::collection::vec(layer(1..4_usize), 0..6),
        classes in 2..6_usize,
        examples in 1..5_usize,
    ) {
        layers.push(tributary_model::layers::Flatten.into());
        layers.push(Dense { units: classes }.into());
        let Ok(graph) = spec(input, layers).graph() else { return Ok(()) };
        let params = initialise(&graph, [5; 32]);
        let (inputs, labels) = labelled_batch(&graph, examples, 3);
        let mut engine = FastEngine::new(&graph);
        let mut lengths = vec![0; graph.shapes().len()];
        engine
            .visit_activations(&params, &inputs, &mut |index, values| lengths[index] = values.len())
            .unwrap();
        for (length, shape) in lengths.iter().zip(graph.shapes()) {
            prop_assert_eq!(*length, examples * shape.iter().product::<usize>());
        }
        let mut gradient = vec![f32::NAN; params.len()];
        let batch = Batch { inputs: &inputs, labels: &labels };
        let loss = engine.gradient(&params, batch, &mut gradient).unwrap();
        prop_assert!(loss >= 0.0 && gradient.iter().all(|value| value.is_finite()));
    }
}
