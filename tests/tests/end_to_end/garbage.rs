//! What no library would send is refused as what it is, and everything is answered.

use bytes::Bytes;
use tonic::Code;
use tributary_proto::v1::connect_request;

use crate::harness::Coordinator;
use crate::harness::operator::assert_refusal;
use crate::harness::raw::{Raw, calls, framed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_an_invalid_argument_on_every_call() {
    let coordinator = Coordinator::start().await;
    let mut raw = Raw::connect(&coordinator.endpoint()).await;
    let garbage: [(&str, Bytes); 5] = [
        ("bytes that are no message", framed(&[0xff; 40])),
        ("a message that is cut", framed(&[0x0a, 0x7f, 1, 2])),
        (
            "a compression that is none",
            Bytes::from_static(&[7, 0, 0, 0, 1, 0]),
        ),
        (
            "four gigabytes",
            Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]),
        ),
        (
            "a frame that is cut",
            Bytes::from_static(&[0, 0, 0, 0, 9, 1]),
        ),
    ];
    for (path, _) in calls() {
        for (what, bytes) in &garbage {
            let refused = raw.call(path, bytes.clone()).await;
            assert_eq!(
                refused.code(),
                Code::InvalidArgument,
                "{path}, {what}: {refused:?}"
            );
            assert_refusal(
                &refused,
                Code::InvalidArgument,
                "TRB-0102",
                &["can't be read"],
            );
        }
        // nothing at all
        let refused = raw.call(path, Bytes::new()).await;
        assert!(
            matches!(refused.code(), Code::InvalidArgument | Code::Ok),
            "{path}, nothing: {refused:?}"
        );
    }
    let unknown = raw
        .call("/tributary.v1.ControlService/Fly", framed(&[]))
        .await;
    assert_refusal(
        &unknown,
        Code::Unimplemented,
        "TRB-0104",
        &["does not know the call"],
    );
    // it serves as before
    assert!(coordinator.operator().await.runs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_turns_to_garbage_ends_with_the_reason() {
    let coordinator = Coordinator::start().await;
    let channel = coordinator.channel().await;
    let hand = crate::harness::Hand::enrol(&channel, "d-0", "eu").await;
    let hello = tributary_proto::v1::ConnectRequest {
        message: Some(connect_request::Message::Hello(hand.hello())),
    };
    let mut raw = Raw::connect(&coordinator.endpoint()).await;
    let mut call = raw
        .begin("/tributary.v1.OrchestrationService/Connect")
        .await;
    call.send(framed(&crate::harness::hand::bytes_of(&hello)), false);
    call.send(framed(&[0xff; 40]), false);
    let ended = call.status().await;
    assert_refusal(
        &ended,
        Code::InvalidArgument,
        "TRB-0102",
        &["can't be read"],
    );
}
