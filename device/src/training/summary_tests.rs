//! Votes against values that can be worked out by hand.

use tributary_drift::{Binning, Role};
use tributary_model::{Graph, LayerSpec, ModelSpec};
use tributary_proto::v1::QuantitySpec;

use super::*;
use crate::training::quantities::check_quantities;

/// Three inputs, three layers' outputs counted from the input.
fn graph() -> Graph {
    let layers = serde_json::from_value::<Vec<LayerSpec>>(serde_json::json!([
        {"kind": "dense", "units": 3},
        {"kind": "softmax"},
    ]))
    .unwrap();
    let spec = ModelSpec {
        name: "test".to_owned(),
        input: vec![3],
        layers,
    };
    spec.graph().unwrap()
}

fn asked(spec: QuantitySpec) -> Result<(Quantity, Source), SummaryError> {
    Ok(check_quantities(&[spec], &graph())?.remove(0))
}

fn spec(name: &str, source: &str, edges: &[f64], classes: usize) -> QuantitySpec {
    let binning = if edges.is_empty() {
        Binning::Classes(classes)
    } else {
        Binning::Edges(edges.to_vec())
    };
    let quantity = Quantity::new(name, Role::default(), binning).unwrap();
    QuantitySpec {
        quantity_id: quantity.id().to_string(),
        source: source.to_owned(),
        edges: edges.to_vec(),
        bins: quantity.bins() as u32,
    }
}

fn observation() -> Observation<'static> {
    Observation {
        input: &[0.5, -2.0, f32::NAN],
        probabilities: &[0.2, 0.7, 0.1],
        magnitudes: vec![2.0, 0.0, 8.0],
    }
}

#[test]
fn each_source_falls_into_the_bin_worked_out_by_hand() {
    let cases = [
        (spec("p", "prediction", &[], 3), 1),
        (spec("c", "confidence", &[0.5, 0.6, 0.8], 0), 2),
        (spec("f", "feature:0", &[0.0, 0.5, 1.0], 0), 2), // an edge belongs to the bin above it
        (spec("f", "feature:1", &[0.0, 0.5, 1.0], 0), 0), // underflow
        (spec("f", "feature:2", &[0.0, 0.5, 1.0], 0), 4), // missing
        (spec("a", "activation:0", &[0.0, 1.0, 2.0], 0), 2), // log2 2 = 1
        (spec("a", "activation:1", &[0.0, 1.0, 2.0], 0), 0), // log2 0 is below every edge
        (spec("a", "activation:2", &[0.0, 1.0, 2.0], 0), 3), // overflow
    ];
    for (spec, bin) in cases {
        let (quantity, source) = asked(spec).unwrap();
        assert_eq!(
            quantity.bin_of(observation().value(source)),
            bin,
            "{source:?}"
        );
    }
}

#[test]
fn a_vote_is_as_long_for_every_bin_and_when_it_is_blank() {
    use prost::Message as _;
    let (quantity, _) = asked(spec("f", "feature:0", &[0.0, 0.5, 1.0], 0)).unwrap();
    let blank = vote(&quantity, None);
    assert_eq!(blank.ballot, u32::MAX);
    for bin in [0, 1, 127, 128, 70_000] {
        let vote = vote(&quantity, Some(bin));
        assert_eq!(vote.ballot as usize, bin + 1);
        assert_eq!(vote.encoded_len(), blank.encoded_len(), "{bin}");
    }
}

#[test]
fn a_quantity_whose_bins_do_not_match_its_identity_gets_no_vote() {
    let mut other_edges = spec("c", "confidence", &[0.5, 0.6], 0);
    other_edges.edges[0] = 0.4;
    let mut other_bins = spec("p", "prediction", &[], 3);
    other_bins.bins = 7;
    for spec in [other_edges, other_bins] {
        assert!(matches!(asked(spec), Err(SummaryError::Identity { .. })));
    }
}

#[test]
fn an_unknown_source_or_an_index_outside_the_model_is_refused() {
    for name in [
        "loss",
        "feature:3",
        "activation:3",
        "feature:x",
        "activation:",
    ] {
        let error = asked(spec("q", name, &[0.5], 0)).unwrap_err();
        assert!(
            matches!(error, SummaryError::Source { .. }),
            "{name}: {error}"
        );
    }
}
