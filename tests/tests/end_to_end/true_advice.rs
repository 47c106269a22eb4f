//! Refusals that once sent the reader the wrong way.

use tonic::Code;
use tributary_model::{ActivationRanges, quantise};

use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, Recipe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_and_a_pytorch_file_are_told_from_damaged_models_and_what_to_import_instead() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let probe = operator
        .start(&Recipe::new().set("regions", vec!["nowhere"]))
        .await;
    let digest = of(&operator.show(&probe).await).model_digest.clone();
    let file = operator.file(&digest).await;
    let graph = file.spec.graph().unwrap();
    let ranges = ActivationRanges::new(vec![(-1.0, 1.0); graph.shapes().len()]).unwrap();
    let build = quantise(&graph, &file.weights, &ranges).unwrap().to_bytes();
    let refused = operator.import(build).await.unwrap_err();
    let words = [
        "a build for devices",
        "import the version that it was made of",
    ];
    assert_refusal(&refused, Code::InvalidArgument, "TRB-0120", &words);

    // torch.save since 1.6, before, and of a bare dictionary
    let zip = b"PK\x03\x04\0\0\x08\x08archive/data.pkl".to_vec();
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    let bare = b"\x80\x02ccollections\nOrderedDict\nq\0)Rq\x01.".to_vec();
    for pickle in [zip, legacy, bare] {
        let refused = operator.import(pickle).await.unwrap_err();
        let words = [
            "PyTorch",
            "pickle",
            "state dict",
            "with safetensors",
            "metadata",
        ];
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0120", &words);
    }

    // a state dict that was saved as it says lacks the architecture, and the message names the key
    let header = br#"{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut state_dict = (header.len() as u64).to_le_bytes().to_vec();
    state_dict.extend_from_slice(header);
    state_dict.extend_from_slice(&1.0_f32.to_le_bytes());
    let refused = operator.import(state_dict).await.unwrap_err();
    let words = ["no metadata key", "architecture as JSON", "model export"];
    assert_refusal(&refused, Code::InvalidArgument, "TRB-0120", &words);
    assert_eq!(operator.models().await.len(), 1, "nothing was imported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_of_the_loss_is_told_that_devices_in_the_field_have_no_labels() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    for source in ["loss", "accuracy", "error"] {
        let mut quantity = toml::Table::new();
        quantity.insert("source".to_owned(), source.into());
        quantity.insert("edges".to_owned(), vec![1.0].into());
        let recipe = Recipe::private()
            .set("drift.interval_ms", 50)
            .set("drift.noise_votes", 2.0)
            .set("drift.quantities", vec![toml::Value::Table(quantity)]);
        let refused = operator.refused(&recipe.text()).await;
        let words = [
            "drift.quantities.source",
            source,
            "no labels",
            "prediction, confidence or feature:N",
        ];
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0110", &words);
    }
}
