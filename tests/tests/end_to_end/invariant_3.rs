//! No release without its charge.

use tonic::Code;
use tributary_proto::v1::watch_response::Event;
use tributary_proto::v1::{RunState, WatchRequest};

use crate::harness::hand::{hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, Recipe, fleet, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_no_release_without_its_charge() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = fleet::devices("eu", 4)
        .into_iter()
        .chain(fleet::devices("us", 4));
    let fleet = fleet::start(&coordinator.endpoint(), 2, devices.collect());
    fleet.wait_connected(8).await;
    let watch = WatchRequest {
        run_id: String::new(),
    };
    let mut events = operator
        .control
        .clone()
        .watch(watch)
        .await
        .unwrap()
        .into_inner();
    let run = operator.start(&Recipe::private().rounds(4, 8)).await;
    let mut published = 0;
    while published < 4 {
        let event = within("a published round", events.message())
            .await
            .unwrap()
            .unwrap();
        let Some(Event::Round(changed)) = event.event else {
            continue;
        };
        let round = changed.round.unwrap();
        published += 1;
        assert_eq!(
            (round.round, round.phase.as_str()),
            (published, "published")
        );
        let account = operator.privacy(&run).await.accounts.remove(0);
        assert!(
            account.charges >= u64::from(published),
            "released before it was charged"
        );
        assert!(account.spend.unwrap().rho >= round.privacy.unwrap().rho);
    }
    let shown = operator.completed(&run).await;
    let account = operator.privacy(&run).await.accounts.remove(0);
    assert_eq!((account.kind.as_str(), account.charges), ("training", 4));
    let spend = of(&shown).privacy.clone().unwrap();
    // all 8 devices were in all 4 rounds: rho = 4 x bound^2 / (2 x (z x 2^20)^2), z = 0.5, where the
    // bound is 2^20 steps and half a step for each of sqrt(44) coordinates, so 8 and a little more
    assert!((8.0..8.001).contains(&spend.rho), "{spend:?}");
    assert_eq!(
        spend.rho,
        operator.privacy("").await.worst_device.unwrap().rho
    );
    assert_eq!(spend.adjacency, "zero-out-one-device");
    assert!(
        !spend.not_private && spend.delta == 1e-5 && spend.epsilon > 8.0,
        "{spend:?}"
    );

    // the ledger is as durable as the model
    drop(fleet);
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    assert_eq!(
        operator.privacy("").await.worst_device.unwrap().rho,
        spend.rho
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_a_plan_that_passes_the_cap_is_refused_before_devices_are_asked() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let recipe = || Recipe::private().rounds(20, 2).set("privacy.epsilon", 8.0);
    let refused = operator.refused(&recipe().text()).await;
    let words = [
        "privacy.epsilon",
        "can't last",
        "20 rounds",
        "privacy.noise_multiplier",
    ];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    assert!(operator.runs().await.is_empty() && operator.models().await.is_empty());
    for (_, session) in &mut devices {
        assert!(
            session.is_silent().await,
            "a device was asked to work for a refused run"
        );
    }
    // the remedy that the sentence names is one; z = 8 costs rho 1/128 a round
    let good = recipe().set("privacy.noise_multiplier", 8.0).rounds(2, 2);
    let run = operator.start(&good).await;
    for round in 1..=2 {
        for (number, (hand, session)) in devices.iter_mut().enumerate() {
            let order = session.assignment().await;
            assert_eq!(order.round, round);
            hand.counted(&order, &update(number as u64)).await;
        }
    }
    operator.completed(&run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_3_what_one_run_spent_the_next_one_can_not_spend_again() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    // rho 1.22 is epsilon 8 at delta 1e-5; z = 1 costs rho 0.5 a round
    let recipe = || {
        let recipe = Recipe::private().set("privacy.noise_multiplier", 1.0);
        recipe.rounds(2, 2).set("privacy.epsilon", 8.0)
    };
    let run = operator.start(&recipe()).await;
    for _ in 1..=2 {
        for (number, (hand, session)) in devices.iter_mut().enumerate() {
            let order = session.assignment().await;
            hand.counted(&order, &update(number as u64)).await;
        }
    }
    let shown = operator.completed(&run).await;
    let spent = of(&shown).privacy.clone().unwrap();
    assert!(
        (1.0..1.001).contains(&spent.rho) && spent.epsilon <= 8.0,
        "{spent:?}"
    );
    let remaining = operator.privacy(&run).await.accounts[0].remaining_rho;
    assert!((0.2..0.25).contains(&remaining), "{remaining}");
    let refused = operator.refused(&recipe().text()).await;
    let words = ["privacy.epsilon", "remains", "privacy.noise_multiplier"];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    // devices that have not spent anything are not refused for those that have
    let elsewhere = recipe().set("regions", vec!["ap"]).rounds(1, 1);
    let other = operator.start(&elsewhere).await;
    assert_eq!(of(&operator.show(&other).await).state(), RunState::Running);
}
