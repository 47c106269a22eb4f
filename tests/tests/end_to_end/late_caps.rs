//! Caps that are set while devices answer.

use tributary_proto::v1::{GetRunResponse, Round, SetPrivacyCapRequest};

use crate::harness::hand::{hands, update};
use crate::harness::{Coordinator, Recipe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_without_privacy_whose_devices_come_under_a_cap_meanwhile_is_given_up() {
    for recipe in [
        Recipe::new().rounds(1, 2),
        Recipe::private().rounds(1, 2).seeded(7),
    ] {
        let coordinator = Coordinator::start().await;
        let operator = coordinator.operator().await;
        let mut devices = hands(&coordinator.channel().await, 2).await;
        let run = operator.start(&recipe).await;
        let mut orders = Vec::new();
        for (_, session) in &mut devices {
            orders.push(session.assignment().await);
        }
        let cap = SetPrivacyCapRequest {
            epsilon: 8.0,
            delta: 1e-5,
            ..SetPrivacyCapRequest::default()
        };
        operator.control.clone().set_privacy_cap(cap).await.unwrap();
        for (number, (hand, _)) in devices.iter().enumerate() {
            hand.counted(&orders[number], &update(number as u64)).await;
        }
        let is_over = |round: &Round| !matches!(round.phase.as_str(), "collecting" | "sealing");
        let given_up = |shown: &GetRunResponse| shown.rounds.first().is_some_and(is_over);
        let shown = operator.until(&run, "the attempt's end", given_up).await;
        let reason = &shown.rounds[0].reason;
        for word in ["a cap was set while", "--allow-no-privacy"] {
            assert!(reason.contains(word), "{word:?} is missing in: {reason}");
        }
        assert_eq!(operator.models().await.len(), 1, "something was released");
        let accounts = operator.privacy(&run).await.accounts;
        assert!(accounts.iter().all(|account| account.charges == 0));
        for (_, session) in &mut devices {
            assert!(session.is_silent().await, "a capped device was asked");
        }
    }
}
