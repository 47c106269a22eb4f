//! Why an assignment is given back, as the closed list of the protocol.

use tributary_proto::v1::{Assignment, DropReason};

use crate::agent::abandoned::Abandoned;
use crate::training::plan::LocalPlan;

/// Whether all that a device can give back was decided before it looked at its data, by a clock that is
/// no simulation's.
pub(crate) fn is_private(order: &Assignment) -> bool {
    let plan = LocalPlan::read(order).ok();
    plan.is_some_and(|plan| plan.is_private() && plan.seed.is_empty())
}

/// The kind of an abandonment: by the word for the coordinator, and where that is the general
/// `failed`, by what was counted on the device. In a run with privacy, which a device gives back only
/// for what it knew before it looked at its data, whatever has no kind of its own is one: it could not.
pub(crate) fn drop_reason(abandoned: &Abandoned, is_private: bool) -> DropReason {
    match (abandoned.reason, abandoned.because) {
        (_, "no_data" | "no_examples" | "refused") | ("slow", _) if is_private => {
            DropReason::Unable
        }
        ("stale", _) => DropReason::Unable,
        ("battery", _) => DropReason::Battery,
        ("network", _) => DropReason::Network,
        ("slow", _) => DropReason::Slow,
        ("limit", _) => DropReason::Limit,
        (_, "no_data" | "no_examples") => DropReason::NoData,
        (_, "refused") => DropReason::Refused,
        (_, "unknown_task") => DropReason::UnknownTask,
        (_, "model" | "input_width" | "classes") => DropReason::ModelMismatch,
        (_, "bad_plan" | "unknown_codec") => DropReason::Unsupported,
        _ if is_private => DropReason::Unable,
        _ => DropReason::TrainingFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::abandoned::{failed, unfit};

    #[test]
    fn what_failed_is_told_by_kind_and_the_old_words_keep_theirs() {
        let word = |reason| Abandoned {
            reason,
            ..failed(reason)
        };
        let drop_reason = |abandoned: &Abandoned| drop_reason(abandoned, false);
        assert_eq!(drop_reason(&word("slow")), DropReason::Slow);
        assert_eq!(drop_reason(&word("network")), DropReason::Network);
        assert_eq!(drop_reason(&word("stale")), DropReason::Unable);
        assert_eq!(drop_reason(&failed("no_examples")), DropReason::NoData);
        assert_eq!(drop_reason(&failed("model")), DropReason::ModelMismatch);
        assert_eq!(
            drop_reason(&failed("unknown_codec")),
            DropReason::Unsupported
        );
        let unfit = |because| unfit(because, String::new());
        assert_eq!(drop_reason(&unfit("unknown_task")), DropReason::UnknownTask);
        assert_eq!(
            drop_reason(&unfit("input_width")),
            DropReason::ModelMismatch
        );
        assert_eq!(drop_reason(&failed("crashed")), DropReason::TrainingFailed);
    }

    #[test]
    fn in_a_run_with_privacy_no_kind_is_one_that_data_may_be_behind() {
        let tells = [
            DropReason::Unspecified,
            DropReason::Slow,
            DropReason::NoData,
            DropReason::TrainingFailed,
            DropReason::Refused,
        ];
        let because = [
            "ticket_io",
            "answered",
            "crashed",
            "refused",
            "no_data",
            "no_examples",
            "model",
            "limit",
        ];
        for reason in [
            "failed",
            "slow",
            "stale",
            "network",
            "battery",
            "configuration",
        ] {
            for because in because {
                let abandoned = Abandoned {
                    reason,
                    ..failed(because)
                };
                let kind = drop_reason(&abandoned, true);
                assert!(!tells.contains(&kind), "{reason}, {because}: {kind:?}");
            }
        }
        assert_eq!(drop_reason(&failed("ticket_io"), true), DropReason::Unable);
    }
}
