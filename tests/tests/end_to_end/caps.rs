//! One cap for all that is ever charged, and one reservation for all that will be.

use tonic::{Code, Status};
use tributary_proto::v1::{
    GetPrivacyResponse, MoveDeviceRequest, PrivacyCap, RunState, SetPrivacyCapRequest,
    StartRunRequest,
};

use crate::harness::hand::{Hand, hands, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::{Coordinator, Operator, Recipe};

/// Two rounds of both devices at z = 1: rho 0.5 each. Epsilon 8 at delta 1e-5 is rho 1.22.
fn one_rho() -> Recipe {
    let recipe = Recipe::private().set("privacy.noise_multiplier", 1.0);
    recipe.rounds(2, 2)
}

fn cap_of(epsilon: f64) -> SetPrivacyCapRequest {
    SetPrivacyCapRequest {
        epsilon,
        delta: 1e-5,
        ..SetPrivacyCapRequest::default()
    }
}

async fn set_cap(
    operator: &Operator,
    request: SetPrivacyCapRequest,
) -> Result<Vec<PrivacyCap>, Status> {
    let answer = operator.control.clone().set_privacy_cap(request).await?;
    Ok(answer.into_inner().caps)
}

async fn start_because(
    operator: &Operator,
    recipe: &Recipe,
    reason: &str,
) -> Result<String, Status> {
    let request = StartRunRequest {
        recipe: recipe.text(),
        allow_no_privacy: reason.to_owned(),
        ..StartRunRequest::default()
    };
    let started = operator.control.clone().start_run(request).await?;
    Ok(started.into_inner().run_id)
}

fn kinds(privacy: &GetPrivacyResponse) -> Vec<&str> {
    let decisions = privacy.decisions.iter();
    decisions.map(|decision| decision.kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_of_one_recipe_binds_the_next_run_that_names_none_even_over_a_crash() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let run = operator.start(&one_rho().set("privacy.epsilon", 8.0)).await;
    let held = operator.privacy(&run).await.reservations;
    assert_eq!(held.len(), 1, "{held:?}");
    assert!((1.0..1.001).contains(&held[0].parts[0].rho), "{held:?}");
    for _ in 1..=2 {
        for (number, (hand, session)) in devices.iter_mut().enumerate() {
            let order = session.assignment().await;
            hand.counted(&order, &update(number as u64)).await;
        }
    }
    operator.completed(&run).await;
    let refused = operator.refused(&one_rho().text()).await;
    let words = [
        "the cap of rho 1.2",
        "can't last",
        "remains",
        "tributary privacy cap --epsilon 10",
        "--delta 1e-5 --raise --reason TEXT",
    ];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    let refused = operator.refused(&one_rho().text()).await;
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    let privacy = operator.privacy("").await;
    assert!(
        privacy.reservations.is_empty(),
        "{:?}",
        privacy.reservations
    );
    assert_eq!(
        kinds(&privacy),
        ["lowered", "lowered"],
        "one for each region"
    );
    assert!(
        privacy
            .decisions
            .iter()
            .all(|one| one.run_id == run && one.unix_ms > 0)
    );
    // what is noisier fits into what remains
    let noisier = one_rho().set("privacy.noise_multiplier", 3.0);
    operator.start(&noisier).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_starts_at_once_can_not_both_take_what_is_left_and_a_stop_gives_it_back() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    set_cap(&operator, cap_of(8.0)).await.unwrap();
    let start = |_| {
        let operator = operator.clone();
        tokio::spawn(async move { operator.try_start(&one_rho().text(), "").await })
    };
    let mut started = Vec::new();
    for one in (0..6).map(start).collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(run) => started.push(run),
            Err(refused) => {
                let words = ["reserved by", "remains"];
                assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
            }
        }
    }
    let [run] = started.as_slice() else {
        panic!("{started:?}")
    };
    let coordinator = coordinator.crash_and_restart().await;
    let operator = coordinator.operator().await;
    operator.refused(&one_rho().text()).await;
    operator.stop(run).await.unwrap();
    operator
        .until(run, "its end", |shown| {
            of(shown).state() == RunState::Stopped
        })
        .await;
    // it is given back just after the run says that it is over
    let mut next = operator.try_start(&one_rho().text(), "").await;
    for _ in 0..100 {
        if next.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        next = operator.try_start(&one_rho().text(), "").await;
    }
    next.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cap_is_lowered_freely_and_raised_with_a_reason_alone() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let eu = |epsilon| SetPrivacyCapRequest {
        region: "eu".to_owned(),
        ..cap_of(epsilon)
    };
    set_cap(&operator, cap_of(8.0)).await.unwrap();
    set_cap(&operator, eu(4.0)).await.unwrap();
    set_cap(&operator, cap_of(6.0)).await.unwrap();
    for higher in [cap_of(7.0), eu(5.0), eu(7.0)] {
        let refused = set_cap(&operator, higher).await.unwrap_err();
        let words = ["above the cap that holds", "--raise --reason"];
        assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    }
    let raised = |request: SetPrivacyCapRequest, reason: &str| SetPrivacyCapRequest {
        raise: true,
        reason: reason.to_owned(),
        ..request
    };
    let silent = set_cap(&operator, raised(eu(5.0), " ")).await.unwrap_err();
    assert_refusal(&silent, Code::InvalidArgument, "TRB-0100", &["reason"]);
    let beyond = set_cap(&operator, raised(eu(7.0), "why"))
        .await
        .unwrap_err();
    let words = ["above", "--region"];
    assert_refusal(&beyond, Code::FailedPrecondition, "TRB-0130", &words);
    let lower = set_cap(&operator, raised(eu(3.0), "why"))
        .await
        .unwrap_err();
    assert_refusal(&lower, Code::FailedPrecondition, "TRB-0130", &["below"]);
    set_cap(&operator, raised(eu(5.0), "consent of May"))
        .await
        .unwrap();
    let caps = set_cap(&operator, raised(cap_of(9.0), "consent of June"))
        .await
        .unwrap();
    let coordinator = coordinator.crash_and_restart().await;
    let privacy = coordinator.operator().await.privacy("").await;
    assert_eq!(privacy.caps, caps, "as durable as the ledger");
    let shown: Vec<_> = caps
        .iter()
        .map(|cap| (cap.region.as_str(), cap.epsilon))
        .collect();
    assert_eq!(
        shown,
        [("", 9.0), ("eu", 9.0)],
        "without a region it is raised in all"
    );
    for cap in &caps {
        assert!(!cap.adjacency.is_empty() && !cap.mechanism.is_empty() && cap.rho > 0.0);
    }
    assert_eq!(
        kinds(&privacy),
        ["set", "set", "set", "raised", "raised", "raised"]
    );
    assert_eq!(privacy.decisions[3].reason, "consent of May");
    for field in ["epsilon", "delta"] {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut request = cap_of(1.0);
            match field {
                "epsilon" => request.epsilon = bad,
                _ => request.delta = bad,
            }
            let operator = coordinator.operator().await;
            let refused = set_cap(&operator, request).await.unwrap_err();
            assert_refusal(&refused, Code::InvalidArgument, "TRB-0100", &[field]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_privacy_on_capped_devices_needs_a_reason_that_is_kept() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    set_cap(&operator, cap_of(8.0)).await.unwrap();
    let bare = Recipe::new().rounds(1, 2);
    for recipe in [bare.clone(), one_rho().seeded(7)] {
        let refused = operator.refused(&recipe.text()).await;
        let words = ["under a cap", "--allow-no-privacy"];
        assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    }
    let private = start_because(&operator, &one_rho(), "why")
        .await
        .unwrap_err();
    assert_refusal(
        &private,
        Code::InvalidArgument,
        "TRB-0100",
        &["allow_no_privacy"],
    );
    assert!(operator.runs().await.is_empty());
    let mut devices = hands(&coordinator.channel().await, 2).await;
    let run = start_because(&operator, &bare, "public data of a museum")
        .await
        .unwrap();
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        hand.counted(&order, &update(number as u64)).await;
    }
    operator.completed(&run).await;
    let coordinator = coordinator.crash_and_restart().await;
    let privacy = coordinator.operator().await.privacy("").await;
    let kept = privacy.decisions.last().unwrap();
    assert_eq!(
        (
            kept.kind.as_str(),
            kept.run_id.as_str(),
            kept.reason.as_str()
        ),
        ("without-privacy", run.as_str(), "public data of a museum")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_under_a_cap_needs_an_end_and_its_windows_are_reserved_with_the_run() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    // 2 quantities at 2 votes of noise: rho 0.25 a window
    let monitored = one_rho()
        .set("privacy.noise_multiplier", 2.0)
        .set("privacy.epsilon", 8.0)
        .set("drift.interval_ms", 50)
        .set("drift.noise_votes", 2.0)
        .set("drift.quantities", crate::invariant_7::quantities());
    let endless = operator.refused(&monitored.text()).await;
    let words = ["drift.windows is missing", "3 windows would fit"];
    assert_refusal(&endless, Code::FailedPrecondition, "TRB-0130", &words);
    let many = monitored.clone().set("drift.windows", 4);
    let refused = operator.refused(&many.text()).await;
    let words = ["drift windows 1.0", "plan 3 windows"];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
    assert!(
        operator.privacy("").await.caps.is_empty(),
        "a refused run lowers no cap"
    );
    let fits = monitored.set("drift.windows", 3);
    let run = operator.start(&fits).await;
    let held = operator.privacy(&run).await.reservations.remove(0);
    let parts: Vec<_> = held
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.rho))
        .collect();
    assert_eq!(parts.len(), 2);
    assert!(parts[1] == ("windows", 0.75), "{parts:?}");
    // what is reserved for windows to come is not there for another run
    let other = one_rho().set("privacy.noise_multiplier", 1.5);
    let refused = operator.refused(&other.text()).await;
    assert_refusal(
        &refused,
        Code::FailedPrecondition,
        "TRB-0130",
        &["reserved by tiny-1"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_without_end_takes_nothing_of_what_a_later_cap_leaves_to_others() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let endless = one_rho()
        .set("drift.interval_ms", 50)
        .set("drift.noise_votes", 2.0)
        .set("drift.quantities", crate::invariant_7::quantities());
    let run = operator.start(&endless).await;
    set_cap(&operator, cap_of(8.0)).await.unwrap();
    let refused = operator.refused(&one_rho().text()).await;
    let stop = format!("tributary monitor stop {run}-drift");
    let words = ["without end", &stop];
    assert_refusal(&refused, Code::FailedPrecondition, "TRB-0130", &words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_moved_away_or_enrolled_later_is_under_the_cap_of_its_region_too() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let channel = coordinator.channel().await;
    // d-0 is in eu, d-1 in us
    let mut devices = hands(&channel, 2).await;
    let eu = SetPrivacyCapRequest {
        region: "eu".to_owned(),
        ..cap_of(8.0)
    };
    set_cap(&operator, eu).await.unwrap();
    let move_to = |device: &str, region: &str| MoveDeviceRequest {
        device_id: device.to_owned(),
        region: region.to_owned(),
    };
    let mut control = operator.control.clone();
    control.move_device(move_to("d-0", "us")).await.unwrap();
    // rho 2 for a round is more than epsilon 8 allows: us has no cap, but d-0 brought its own along
    let us = |recipe: Recipe| recipe.rounds(1, 1).set("regions", vec!["us"]);
    let costly = operator.refused(&us(Recipe::private()).text()).await;
    let words = ["the cap of rho 1.2", "can't last"];
    assert_refusal(&costly, Code::FailedPrecondition, "TRB-0130", &words);
    // without privacy the others are asked alone
    let run = operator.start(&us(Recipe::new())).await;
    let order = devices[1].1.assignment().await;
    assert_eq!(order.run_id, run);
    assert!(devices[0].1.is_silent().await, "a capped device was asked");
    devices[1].0.counted(&order, &update(1)).await;
    operator.completed(&run).await;
    // whoever comes into eu is under its cap
    let refused = Recipe::private().rounds(1, 1).set("regions", vec!["eu"]);
    let refused = operator.refused(&refused.text()).await;
    assert_refusal(
        &refused,
        Code::FailedPrecondition,
        "TRB-0130",
        &["can't last"],
    );
    let late = Hand::enrol(&channel, "d-9", "eu").await;
    let mut session = late.connect().await;
    let fits = one_rho().rounds(2, 1).set("regions", vec!["eu"]);
    let run = operator.start(&fits).await;
    for _ in 1..=2 {
        let order = session.assignment().await;
        late.counted(&order, &update(9)).await;
    }
    operator.completed(&run).await;
    let refused = operator.refused(&fits.text()).await;
    assert_refusal(
        &refused,
        Code::FailedPrecondition,
        "TRB-0130",
        &["can't last"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_privacy_that_waits_since_a_cap_was_set_says_why_and_what_helps() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let _devices = hands(&coordinator.channel().await, 2).await;
    // a third device is missing
    let run = operator.start(&Recipe::new().rounds(1, 3)).await;
    set_cap(&operator, cap_of(8.0)).await.unwrap();
    let told = |shown: &_| of(shown).reason.contains("take no part in a run without");
    let shown = operator.until(&run, "the cause", told).await;
    let reason = &of(&shown).reason;
    assert!(reason.contains("--allow-no-privacy REASON"), "{reason}");
}
