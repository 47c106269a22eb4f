//! Receipts and duplicates name the update that was counted, whatever else a device sends.

use tokio::task::JoinSet;
use tributary_model::Digest;
use tributary_proto::v1::RejectReason;
use tributary_proto::v1::upload_response::Answer;

use crate::harness::hand::{hands, update};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Recipe};
use crate::invariant_1::expected;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_eight_different_uploads_of_one_device_one_is_counted_and_named_to_all() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let devices = hands(&coordinator.channel().await, 2).await;
    for trial in 0..12_u64 {
        let mut first = devices[0].0.connect().await;
        let mut second = devices[1].0.connect().await;
        let run = operator.start(&Recipe::new().rounds(1, 2)).await;
        let order = first.assignment().await;
        let mut tries = JoinSet::new();
        for number in 0..8 {
            let hand = devices[0].0.over(&coordinator.channel().await);
            let bytes = update(100 * trial + number);
            let header = hand.header(&order, &bytes);
            tries.spawn(async move {
                let sent = Digest::of(&bytes).to_string();
                loop {
                    match hand.upload_as(header.clone(), &bytes).await.unwrap() {
                        // on a busy machine it comes back later, as a device does
                        Answer::Reject(reject) if reject.reason() == RejectReason::Busy => {}
                        answer => return (sent, answer),
                    }
                }
            });
        }
        let (mut receipts, mut named) = (Vec::new(), Vec::new());
        while let Some(answered) = tries.join_next().await {
            match answered.unwrap() {
                (sent, Answer::Receipt(receipt)) => {
                    assert_eq!(receipt.digest, sent, "a receipt for other bytes");
                    assert_eq!(receipt.ticket.unwrap().digest, sent);
                    receipts.push(sent);
                }
                (sent, Answer::Reject(reject)) => {
                    assert_eq!(reject.reason(), RejectReason::Duplicate, "{reject:?}");
                    assert_ne!(reject.digest, sent);
                    assert_eq!(reject.ticket.unwrap().digest, reject.digest);
                    named.push(reject.digest);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(receipts.len(), 1, "trial {trial}");
        assert_eq!(named, vec![receipts[0].clone(); 7], "trial {trial}");
        // once more, with the same bytes and with others, the same is named
        let hand = &devices[0].0;
        for number in [0, 8] {
            let bytes = update(100 * trial + number);
            let reject = hand
                .refused(hand.header(&order, &bytes), &bytes, RejectReason::Duplicate)
                .await;
            assert_eq!(reject.digest, receipts[0]);
        }
        let counted = (0..8).map(|number| update(100 * trial + number));
        let mut counted = counted.filter(|bytes| Digest::of(bytes).to_string() == receipts[0]);
        let other = second.assignment().await;
        devices[1].0.counted(&other, &update(99)).await;
        let shown = operator.completed(&run).await;
        let base = operator.file(&order.model_digest).await;
        let published = operator.file(&of(&shown).model_digest).await;
        let released = expected(&base, &[counted.next().unwrap(), update(99)]);
        assert_eq!(published.weights, released, "trial {trial}");
    }
}
