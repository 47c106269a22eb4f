//! Stopping, readiness, and the standard services that tell of them.

use std::time::{Duration, Instant};

use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};
use tributary_proto::v1::WatchRequest;

use crate::harness::hand::{hands, update};
use crate::harness::operator::assert_refusal;
use crate::harness::raw::page;
use crate::harness::{Coordinator, Operator, Recipe, within};

const SERVICES: [&str; 4] = [
    "tributary.v1.ControlService",
    "tributary.v1.EnrolmentService",
    "tributary.v1.OrchestrationService",
    "tributary.v1.TransferService",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_sessions_with_a_word_and_a_hint_and_takes_about_a_second() {
    let mut coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let run = operator.start(&Recipe::new().rounds(2, 3)).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    devices[0].0.counted(&orders[0], &update(0)).await;
    let mut watching = operator
        .control
        .clone()
        .watch(WatchRequest::default())
        .await
        .unwrap()
        .into_inner();
    let begun = Instant::now();
    coordinator.stop().await;
    let took = begun.elapsed();
    // five seconds is what it took when it waited for devices to hang up
    assert!(took < Duration::from_secs(4), "{took:?}");
    for (_, session) in &mut devices {
        let status = within("the end of a session", session.end()).await;
        let words = ["stopping", "try again"];
        assert_refusal(&status, Code::Unavailable, "TRB-0600", &words);
        assert_ne!(
            status.metadata().get("tributary-retry-after-ms").unwrap(),
            "0"
        );
    }
    let last = async {
        loop {
            match watching.next().await {
                Some(Ok(_)) => {}
                Some(Err(status)) => return status,
                None => panic!("a watcher was not told"),
            }
        }
    };
    let last = within("the end of a watch", last).await;
    assert_refusal(&last, Code::Unavailable, "TRB-0600", &["stopping"]);

    // what had a receipt is there after the start
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let counted = operator.show(&run).await.rounds[0].counted;
    assert_eq!(counted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_of_every_service_and_of_the_whole() {
    let coordinator = Coordinator::start().await;
    let mut client = HealthClient::new(coordinator.channel().await);
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
        let mut watch = client.watch(request).await.unwrap().into_inner();
        let first = within("health", watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
    }
    let mut watch = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap();
    let admin = coordinator.admin();
    assert_eq!(page(admin, "/readyz").await.0, 200);
    let mut coordinator = coordinator;
    coordinator.stop().await;
    // told before the connection ends, or ended with it
    if let Ok(Some(last)) = within("health", watch.message()).await {
        assert_eq!(last.status(), ServingStatus::NotServing);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_answers_in_both_versions() {
    let coordinator = Coordinator::start().await;
    let channel = coordinator.channel().await;
    let mut names = Vec::new();
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(tokio_stream::iter([request]));
    let mut answers = answers.await.unwrap().into_inner();
    let answer = within("reflection", answers.message()).await.unwrap();
    if let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.unwrap().message_response
    {
        names.extend(list.service.into_iter().map(|service| service.name));
    }
    for service in SERVICES {
        assert!(
            names.iter().any(|name| name == service),
            "{service}: {names:?}"
        );
    }
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                SERVICES[0].to_owned(),
            ),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::iter([request]));
    let mut answers = answers.await.unwrap().into_inner();
    let answer = within("reflection", answers.message()).await.unwrap();
    assert!(
        matches!(
            answer.unwrap().message_response,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "the older reflection does not know the service"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_page_called_as_grpc_says_where_grpc_is_spoken() {
    let coordinator = Coordinator::start().await;
    let admin = format!("http://{}", coordinator.admin());
    let operator = Operator::new(crate::harness::channel(&admin).await);
    let refused = operator.try_show("tiny-1").await.unwrap_err();
    let address = coordinator.endpoint();
    let words = ["admin page", address.as_str()];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0105", &words);
    assert_eq!(
        page(coordinator.admin(), "/livez").await,
        (200, "ok\n".to_owned())
    );
}
