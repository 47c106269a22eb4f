//! Long lists come in pages, and old versions go.

use tributary_proto::v1::{
    GetRunRequest, ListModelsRequest, ListRunsRequest, PinModelRequest, PruneModelsRequest,
};

use crate::harness::{Coordinator, Recipe, fleet};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_come_in_pages_that_put_together_are_the_whole() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 2));
    fleet.wait_connected(2).await;
    let run = operator.start(&Recipe::new().rounds(5, 2)).await;
    let whole = operator.completed(&run).await;
    assert_eq!(
        (whole.rounds.len(), whole.next_page_token.as_str()),
        (5, "")
    );
    let mut control = operator.control.clone();
    let (mut rounds, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = GetRunRequest {
            run_id: run.clone(),
            page_size: 2,
            page_token,
        };
        let page = control.get_run(request).await.unwrap().into_inner();
        assert!(page.rounds.len() <= 2);
        rounds.splice(0..0, page.rounds);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(rounds, whole.rounds);

    let (mut models, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListModelsRequest {
            limit: 4,
            page_token,
        };
        let page = control.list_models(request).await.unwrap().into_inner();
        models.extend(page.models);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(models, operator.models().await);
    assert_eq!(models.len(), 6);
    let wrong = ListRunsRequest {
        limit: 1,
        page_token: "nobody".to_owned(),
    };
    let refused = control.list_runs(wrong).await.unwrap_err();
    assert!(refused.message().starts_with("page_token"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_deletes_old_versions_with_their_bytes_and_the_run_goes_on_from_its_newest() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let fleet = fleet::start(&coordinator.endpoint(), 2, fleet::devices("eu", 2));
    fleet.wait_connected(2).await;
    let run = operator.start(&Recipe::new().rounds(5, 2)).await;
    let whole = operator.completed(&run).await;
    let digest = |round: usize| whole.rounds[round - 1].model_digest.clone();
    let mut control = operator.control.clone();
    let pin = PinModelRequest {
        digest: digest(1)[..12].to_owned(),
        pinned: true,
    };
    let pinned = control.pin_model(pin).await.unwrap().into_inner();
    assert!(pinned.model.unwrap().pinned);

    let asked = |delete| PruneModelsRequest {
        keep: 2,
        run_id: run.clone(),
        delete,
    };
    let goes = control
        .prune_models(asked(false))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        goes.all, 3,
        "the first model and those of rounds 2 and 3: {goes:?}"
    );
    operator.download(&digest(2), 0).await.unwrap();
    let gone = control
        .prune_models(asked(true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((gone.models, gone.bytes), (goes.models, goes.bytes));
    assert!(gone.bytes > 0);
    for round in [2, 3] {
        assert!(operator.download(&digest(round), 0).await.is_err());
    }
    for round in [1, 4, 5] {
        operator.download(&digest(round), 0).await.unwrap();
    }
    assert_eq!(operator.models().await.len(), 3);

    // a start finds everything that it needs
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let newest = operator.show(&run).await.run.unwrap().model_digest;
    assert_eq!(newest, digest(5));
    operator.download(&newest, 0).await.unwrap();
}
