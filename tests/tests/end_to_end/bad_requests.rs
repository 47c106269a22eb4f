//! Invariant 10 for everything else that a client may ask.

use tonic::{Code, Status};
use tributary_model::{ModelFile, initialise};
use tributary_proto::v1::directive::Directive as Order;
use tributary_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use tributary_proto::v1::{
    AssignmentAbandoned, DeviceProfile, EnrolRequest, Heartbeat, RejectReason, SummaryReport, Vote,
    connect_request, device_event,
};

use crate::harness::hand::{enrolment, hands, open_stream, update};
use crate::harness::operator::assert_refusal;
use crate::harness::{Coordinator, Hand, Recipe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_bad_enrolments_are_refused_by_field() {
    let coordinator = Coordinator::start().await;
    let channel = coordinator.channel().await;
    let good = || enrolment("device", "eu");
    let profile = || good().profile.unwrap();
    let named = |name: String| EnrolRequest {
        profile: Some(DeviceProfile { name, ..profile() }),
        ..good()
    };
    let cases: Vec<(EnrolRequest, &str, &[&str])> = vec![
        (
            enrolment("", "eu"),
            "TRB-0101",
            &["device_id", "use 1 to 64 characters"],
        ),
        (
            enrolment("a/b", "eu"),
            "TRB-0101",
            &["device_id", "use 1 to 64 characters"],
        ),
        (
            enrolment(&"x".repeat(65), "eu"),
            "TRB-0101",
            &["device_id", "use 1 to 64 characters"],
        ),
        (
            enrolment("device", "e u"),
            "TRB-0101",
            &["region", "use 1 to 64 characters"],
        ),
        (
            EnrolRequest {
                token: Vec::new().into(),
                ..good()
            },
            "TRB-0100",
            &["token", "32"],
        ),
        (
            EnrolRequest {
                token: vec![0; 33].into(),
                ..good()
            },
            "TRB-0100",
            &["token", "32"],
        ),
        (
            EnrolRequest {
                profile: None,
                ..good()
            },
            "TRB-0100",
            &["profile", "hardware"],
        ),
        (
            named(String::new()),
            "TRB-0100",
            &["profile", "1 to 64 bytes"],
        ),
        (
            named("x".repeat(65)),
            "TRB-0100",
            &["profile", "1 to 64 bytes"],
        ),
        (
            EnrolRequest {
                tasks: vec!["t".to_owned(); 65],
                ..good()
            },
            "TRB-0100",
            &["profile", "64 tasks"],
        ),
    ];
    let mut client = EnrolmentServiceClient::new(channel.clone());
    for (request, stable, words) in cases {
        let refused = client.enrol(request).await.unwrap_err();
        assert_refusal(&refused, Code::InvalidArgument, stable, words);
    }
    assert_eq!(
        client.enrol(good()).await.unwrap().into_inner().region,
        "eu"
    );
    assert_eq!(
        client.enrol(good()).await.unwrap().into_inner().region,
        "eu"
    );
    let moved = enrolment("device", "us");
    let stolen = EnrolRequest {
        token: vec![9; 32].into(),
        ..good()
    };
    for request in [moved, stolen] {
        let refused = client.enrol(request).await.unwrap_err();
        let words = ["device_id", "choose another id"];
        assert_refusal(&refused, Code::AlreadyExists, "TRB-0211", &words);
    }
    let groups = coordinator.operator().await.fleet().await.groups;
    assert_eq!(groups.iter().map(|group| group.enrolled).sum::<u64>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_a_session_begins_with_a_hello_of_a_known_device() {
    let coordinator = Coordinator::start().await;
    let channel = coordinator.channel().await;
    let hand = Hand::enrol(&channel, "device", "eu").await;
    let heartbeat = || {
        let event = Some(device_event::Event::Heartbeat(Heartbeat {}));
        connect_request::Message::Event(tributary_proto::v1::DeviceEvent { event })
    };
    for first in [Some(heartbeat()), None] {
        let refused = open_stream(&channel, first).await.unwrap_err();
        assert_refusal(
            &refused,
            Code::InvalidArgument,
            "TRB-0100",
            &["no hello", "hello first"],
        );
    }
    let stranger = Hand {
        id: "stranger".to_owned(),
        ..hand.clone()
    };
    let thief = Hand {
        token: vec![0; 32].into(),
        ..hand.clone()
    };
    for hand in [&stranger, &thief] {
        let hello = connect_request::Message::Hello(hand.hello());
        let words = ["device_id", "enrol again"];
        let refused = open_stream(&channel, Some(hello)).await.unwrap_err();
        assert_refusal(&refused, Code::Unauthenticated, "TRB-0210", &words);
        let refused = hand.check_in(Vec::new()).await.unwrap_err();
        assert_refusal(&refused, Code::Unauthenticated, "TRB-0210", &words);
    }
    // on an open session, what does not fit is refused as an answer and the session goes on
    let mut session = hand.connect().await;
    session
        .say(connect_request::Message::Hello(hand.hello()))
        .await;
    expect_reject(session.order().await, RejectReason::Protocol);
    let vote = SummaryReport {
        monitor_id: "none-1-drift".to_owned(),
        window: 1,
        votes: vec![Vote {
            quantity_id: "prediction@x".to_owned(),
            ..Vote::default()
        }],
    };
    session.tell(device_event::Event::SummaryReport(vote)).await;
    expect_reject(session.order().await, RejectReason::BadVote);
    let abandoned = AssignmentAbandoned {
        run_id: "none-1".into(),
        round: 1,
        reason: "slow".into(),
        ..Default::default()
    };
    session
        .tell(device_event::Event::AssignmentAbandoned(abandoned))
        .await;
    expect_reject(session.order().await, RejectReason::UnknownRun);
    session
        .tell(device_event::Event::Heartbeat(Heartbeat {}))
        .await;

    let operator = coordinator.operator().await;
    let run = operator.start(&Recipe::new().rounds(1, 1)).await;
    let order = session.assignment().await;
    hand.counted(&order, &update(0)).await;
    operator.completed(&run).await;
}

fn expect_reject(order: Order, reason: RejectReason) {
    let Order::Reject(reject) = order else {
        panic!("expected {reason:?}, got {order:?}")
    };
    assert_eq!(reject.reason(), reason, "{reject:?}");
    assert!(!reject.message.is_empty());
}

fn model_file() -> Vec<u8> {
    let spec = serde_json::from_value::<tributary_model::ModelSpec>(serde_json::json!({
        "name": "imported",
        "input": [4],
        "layers": [
            {"kind": "dense", "units": 6},
            {"kind": "relu"},
            {"kind": "dense", "units": 2},
            {"kind": "softmax"},
        ],
    }));
    let spec = spec.unwrap();
    let weights = initialise(&spec.graph().unwrap(), [3; 32]);
    ModelFile { spec, weights }.to_bytes().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_damaged_model_files_are_refused_and_whole_ones_imported() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let good = model_file();
    let refuse = async |bytes: Vec<u8>, what: &str| {
        let refused: Status = match operator.import(bytes).await {
            Ok(model) => panic!("{what} was imported as {model:?}"),
            Err(status) => status,
        };
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0120", &[]);
        assert!(
            refused.message().len() > 20,
            "{what}: no sentence: {refused:?}"
        );
    };
    for length in [
        0,
        1,
        7,
        8,
        9,
        good.len() / 2,
        good.len() - 4,
        good.len() - 1,
    ] {
        refuse(
            good[..length].to_vec(),
            &format!("a file cut to {length} bytes"),
        )
        .await;
    }
    refuse(
        [good.as_slice(), &[0; 4]].concat(),
        "a file with bytes behind its end",
    )
    .await;
    refuse(vec![0xff; 1000], "noise").await;
    let mut not_a_number = good.clone();
    let end = not_a_number.len();
    not_a_number[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    refuse(not_a_number, "a file with NaN").await;
    assert!(operator.models().await.is_empty());

    let model = operator.import(good.clone()).await.unwrap();
    assert_eq!((model.name.as_str(), model.parameters), ("imported", 44));
    assert_eq!(operator.download(&model.digest, 0).await.unwrap(), good);
    assert_eq!(
        operator.import(good).await.unwrap(),
        model,
        "importing twice is harmless"
    );
    // a run may start from it
    let mut version = toml::Table::new();
    version.insert("version".to_owned(), model.digest.clone().into());
    let run = operator.start(&Recipe::new().set("model", version)).await;
    assert_eq!(
        operator.show(&run).await.run.unwrap().model_digest,
        model.digest
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_unknown_names_and_digests_are_refused_with_what_to_do() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let run_words = ["run", "tributary run ls"];
    for id in ["nothing-1", "tiny-99"] {
        let unknown = operator.try_show(id).await.unwrap_err();
        assert_refusal(&unknown, Code::NotFound, "TRB-0200", &run_words);
        let unknown = operator.stop(id).await.unwrap_err();
        assert_refusal(&unknown, Code::NotFound, "TRB-0200", &run_words);
    }
    for id in ["", "a b", &"x".repeat(100_000)] {
        let refused = operator.try_show(id).await.unwrap_err();
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0101", &["run_id"]);
        assert!(
            refused.message().len() < 1_000,
            "a refusal repeats what it was sent"
        );
    }
    for digest in ["", "abc", "zzzzzzzz", "0123456789"] {
        let refused = operator.try_model(digest).await.unwrap_err();
        assert_refusal(
            &refused,
            Code::NotFound,
            "TRB-0200",
            &["model", "tributary model ls"],
        );
    }
    let refused = operator.download("xyz", 0).await.unwrap_err();
    assert_refusal(
        &refused,
        Code::InvalidArgument,
        "TRB-0100",
        &["digest", "64 hex"],
    );
    let refused = operator.download(&"0".repeat(64), 0).await.unwrap_err();
    assert_refusal(&refused, Code::NotFound, "TRB-0510", &["check the digest"]);
    let model = operator.import(model_file()).await.unwrap();
    let length = model_file().len() as u64;
    for offset in [length + 1, u64::MAX] {
        let refused = operator.download(&model.digest, offset).await.unwrap_err();
        assert_refusal(
            &refused,
            Code::InvalidArgument,
            "TRB-0100",
            &["offset", "at most"],
        );
    }
    assert!(
        operator
            .download(&model.digest, length)
            .await
            .unwrap()
            .is_empty()
    );
    let tail = operator.download(&model.digest, length - 8).await.unwrap();
    assert_eq!(
        tail,
        model_file()[length as usize - 8..],
        "a download resumes at any offset"
    );
    let long = operator
        .try_start(&Recipe::new().text(), &"k".repeat(129))
        .await
        .unwrap_err();
    assert_refusal(
        &long,
        Code::InvalidArgument,
        "TRB-0100",
        &["idempotency_key", "at most 128"],
    );
    let _devices = hands(&coordinator.channel().await, 1).await;
    assert_eq!(operator.fleet().await.groups.len(), 1);
}
