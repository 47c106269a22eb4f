//! Why an assignment came to nothing.

use serde::{Deserialize, Serialize};
use tributary_proto::v1;

/// Why a device is not in a round that it was asked for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Not stated, or under privacy not told apart.
    #[default]
    NotStated,
    /// The device saves its battery.
    Battery,
    /// The model could not be fetched, or the update not sent.
    Network,
    /// The device would not be done in time.
    Slow,
    /// Its own record of participations says no.
    Limit,
    /// It holds no data of the task.
    UnknownTask,
    /// The model does not fit its data.
    ModelMismatch,
    /// It does not know a part of the plan, or its owner does not allow it.
    Unsupported,
    /// It has no examples now.
    NoData,
    /// Training failed.
    TrainingFailed,
    /// Its lease ended without an answer.
    Expired,
    /// Its update was refused.
    Refused,
    /// It went away and its lease ended.
    ConnectionLost,
    /// Something failed before it looked at its data, or it has answered already.
    Unable,
}

impl DropReason {
    /// Every reason, in the order of the protocol's list.
    pub const ALL: [Self; 14] = [
        Self::NotStated,
        Self::Battery,
        Self::Network,
        Self::Slow,
        Self::Limit,
        Self::UnknownTask,
        Self::ModelMismatch,
        Self::Unsupported,
        Self::NoData,
        Self::TrainingFailed,
        Self::Expired,
        Self::Refused,
        Self::ConnectionLost,
        Self::Unable,
    ];

    /// What a device says: the kind, or from one that only knows the word, what the word means.
    pub fn stated(abandoned: &v1::AssignmentAbandoned) -> Self {
        match (abandoned.kind(), abandoned.reason.as_str()) {
            (v1::DropReason::Unspecified, "battery") => Self::Battery,
            (v1::DropReason::Unspecified, "network") => Self::Network,
            (v1::DropReason::Unspecified, "slow") => Self::Slow,
            (v1::DropReason::Unspecified, "limit") => Self::Limit,
            (v1::DropReason::Unspecified, "failed") => Self::TrainingFailed,
            (v1::DropReason::Unspecified, "stale") => Self::Unable,
            // only the coordinator knows these
            (v1::DropReason::Expired | v1::DropReason::ConnectionLost, _) => Self::NotStated,
            (kind, _) => {
                let known = Self::ALL.get(kind as usize);
                known.copied().unwrap_or_default()
            }
        }
    }

    /// The same on the wire.
    pub fn wire(self) -> v1::DropReason {
        // the two lists have one order; a test compares their names
        v1::DropReason::try_from(self as i32).unwrap_or_default()
    }

    /// True when the device's data may be behind it, the number of its examples included. Under
    /// privacy such a reason is neither told nor used: what a device says of this kind counts as silence.
    pub fn may_tell_of_data(self) -> bool {
        matches!(
            self,
            Self::NotStated | Self::Slow | Self::NoData | Self::TrainingFailed | Self::Refused
        )
    }

    /// True for what a simulation draws anew for each round in virtual time: it says nothing of the
    /// rounds to come.
    pub fn is_of_the_round(self) -> bool {
        matches!(self, Self::Battery | Self::Network | Self::Slow)
    }

    /// For people: `model mismatch`.
    pub fn words(self) -> String {
        let name = self.wire().as_str_name();
        match self {
            Self::NotStated => "not stated".to_owned(),
            _ => name
                .trim_start_matches("DROP_REASON_")
                .to_lowercase()
                .replace('_', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_list_is_the_protocols() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let name = reason.wire().as_str_name();
            let own = serde_json::to_string(&reason).unwrap();
            let own = own.trim_matches('"').to_uppercase();
            let expected = match reason {
                DropReason::NotStated => "DROP_REASON_UNSPECIFIED".to_owned(),
                _ => format!("DROP_REASON_{own}"),
            };
            assert_eq!(name, expected);
        }
        let beyond = i32::try_from(DropReason::ALL.len()).unwrap();
        assert!(
            v1::DropReason::try_from(beyond).is_err(),
            "one is missing here"
        );
    }

    #[test]
    fn a_device_states_a_kind_or_an_old_word_and_never_what_only_the_coordinator_knows() {
        let said = |kind: v1::DropReason, reason: &str| {
            DropReason::stated(&v1::AssignmentAbandoned {
                kind: kind.into(),
                reason: reason.to_owned(),
                ..Default::default()
            })
        };
        use v1::DropReason as Wire;
        assert_eq!(said(Wire::Unspecified, "limit"), DropReason::Limit);
        assert_eq!(said(Wire::Unspecified, "stale"), DropReason::Unable);
        assert_eq!(said(Wire::Unable, "failed"), DropReason::Unable);
        assert_eq!(said(Wire::Unspecified, "other"), DropReason::NotStated);
        assert_eq!(
            said(Wire::ModelMismatch, "failed"),
            DropReason::ModelMismatch
        );
        assert_eq!(said(Wire::Expired, "slow"), DropReason::NotStated);
        let unknown = v1::AssignmentAbandoned {
            kind: 99,
            ..Default::default()
        };
        assert_eq!(DropReason::stated(&unknown), DropReason::NotStated);
    }
}
