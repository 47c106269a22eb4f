//! What a device says of its payload's length.

use tributary_proto::v1::{ClipReport, TrainingPlan};

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
    let asked = whole.header.clip_report();
    assert_eq!(asked, ClipReport::Unspecified, "nobody asked");
    // steps of full batches: every round has the same delta
    let length = norm(&whole.values);
    let (within, above) = (ClipReport::Within, ClipReport::Above);
    for (round, share, expected) in [(2, 1.001, within), (3, 0.999, above), (4, 50.0, within)] {
        let plan = plan(length * share, true);
        let sent = stage.round(round, &plan, &start, &[], d).await;
        assert_eq!(sent.header.clip_report(), expected, "{share} of the norm");
    }
}
