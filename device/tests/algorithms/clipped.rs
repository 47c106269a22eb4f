//! What a device says of its payload's length.

use tributary_proto::v1::TrainingPlan;

use crate::reference::norm;
use crate::stage::Stage;

#[tokio::test]
async fn a_device_says_whether_its_payload_was_within_the_clip_only_when_it_is_asked() {
    let stage = Stage::new().await;
    let start = stage.model.weights.clone();
    let plan = |clip, report_within_clip| TrainingPlan {
        clip,
        report_within_clip,
        ..stage.plan.clone()
    };
    let d = start.len();
    let whole = stage.round(1, &plan(100.0, false), &start, &[], d).await;
    assert!(!whole.header.within_clip, "nobody asked");
    // steps of full batches: every round has the same delta
    let length = norm(&whole.values);
    for (round, share, expected) in [(2, 1.001, true), (3, 0.999, false), (4, 50.0, true)] {
        let plan = plan(length * share, true);
        let sent = stage.round(round, &plan, &start, &[], d).await;
        assert_eq!(sent.header.within_clip, expected, "{share} of the norm");
    }
}
