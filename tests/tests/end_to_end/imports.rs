//! Importing hostile files costs their sender's time only.

use std::time::Duration;

use tonic::{Code, Status};
use tributary_proto::v1::ImportModelRequest;
use tributary_proto::v1::control_service_client::ControlServiceClient;

use crate::harness::Coordinator;
use crate::harness::operator::assert_refusal;
use crate::harness::raw::page;

/// A safetensors file whose header is a long list of metadata.
fn hostile(bytes: usize) -> Vec<u8> {
    let mut header = b"{\"__metadata__\":{\"0\":\"a\"".to_vec();
    let mut number = 1;
    while header.len() < bytes {
        header.extend_from_slice(format!(",\"{number}\":\"a\"").as_bytes());
        number += 1;
    }
    header.extend_from_slice(b"}}");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(&header);
    file
}

async fn import(coordinator: &Coordinator, file: Vec<u8>) -> Status {
    let mut control = ControlServiceClient::new(coordinator.channel().await);
    let request = ImportModelRequest {
        safetensors: file.into(),
    };
    control.import_model(request).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_headers_are_refused_unread_and_hold_nobody_up() {
    let coordinator = Coordinator::start().await;
    let file = hostile(24 << 20);
    let imports = async {
        tokio::join!(
            import(&coordinator, file.clone()),
            import(&coordinator, file.clone()),
            import(&coordinator, file.clone()),
        )
    };
    let mut answered = 0;
    let probes = async {
        loop {
            assert_eq!(page(coordinator.admin(), "/readyz").await.0, 200);
            coordinator.operator().await.fleet().await;
            answered += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let refused = tokio::select! {
        (a, b, c) = imports => [a, b, c],
        () = probes => unreachable!("probes go on"),
    };
    // parsed among the other calls, such headers stopped them all until they were done; how long calls take
    // meanwhile is measured by the program `slow-calls`
    assert!(answered > 0, "nobody was answered while the files arrived");
    for status in refused {
        if status.code() == Code::ResourceExhausted {
            // it waited long enough for the others
            assert_refusal(
                &status,
                Code::ResourceExhausted,
                "TRB-0220",
                &["try again in"],
            );
            continue;
        }
        let words = ["header", "at most 1048576"];
        assert_refusal(&status, Code::InvalidArgument, "TRB-0120", &words);
    }
    assert!(coordinator.operator().await.models().await.is_empty());
}
