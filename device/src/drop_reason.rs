//! Why an assignment is given back, as the closed list of the protocol.

use tributary_proto::v1::DropReason;

use crate::assignment::Abandoned;

/// The kind of an abandonment: by the word for the coordinator, and where that is the general
/// `failed`, by what was counted on the device.
pub(crate) fn drop_reason(abandoned: &Abandoned) -> DropReason {
    match (abandoned.reason, abandoned.because) {
        ("battery", _) => DropReason::Battery,
        ("network", _) => DropReason::Network,
        ("slow", _) => DropReason::Slow,
        ("limit", _) => DropReason::Limit,
        (_, "no_data" | "no_examples") => DropReason::NoData,
        (_, "refused") => DropReason::Refused,
        (_, "unknown_task") => DropReason::UnknownTask,
        (_, "model" | "input_width" | "classes") => DropReason::ModelMismatch,
        (_, "bad_plan" | "unknown_codec") => DropReason::Unsupported,
        _ => DropReason::TrainingFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::failed;

    #[test]
    fn what_failed_is_told_by_kind_and_the_old_words_keep_theirs() {
        let word = |reason| Abandoned {
            reason,
            ..failed(reason)
        };
        assert_eq!(drop_reason(&word("slow")), DropReason::Slow);
        assert_eq!(drop_reason(&word("network")), DropReason::Network);
        assert_eq!(drop_reason(&failed("no_examples")), DropReason::NoData);
        assert_eq!(drop_reason(&failed("model")), DropReason::ModelMismatch);
        assert_eq!(
            drop_reason(&failed("unknown_codec")),
            DropReason::Unsupported
        );
        let unfit = |because| crate::assignment::unfit(because, String::new());
        assert_eq!(drop_reason(&unfit("unknown_task")), DropReason::UnknownTask);
        assert_eq!(
            drop_reason(&unfit("input_width")),
            DropReason::ModelMismatch
        );
        assert_eq!(drop_reason(&failed("crashed")), DropReason::TrainingFailed);
    }
}
