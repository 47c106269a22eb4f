//! Codes, statuses and hints of every kind.

use tonic::Status;

use super::*;

#[test]
fn every_kind_has_its_code_its_status_and_its_hint() {
    let invalid = CoordinatorError::Invalid {
        field: "f",
        problem: String::new(),
        remedy: "r",
    };
    let id = "".parse::<tributary_proto::RunId>().unwrap_err();
    let blob = BlobError::NotFound {
        digest: tributary_model::Digest::of(b""),
    };
    let damaged = BlobError::Corrupt {
        digest: tributary_model::Digest::of(b""),
        found: tributary_model::Digest::of(b"x"),
        size: 1,
    };
    let full = BlobError::Full { needed: 1 };
    let spec = SpecError::TooLong { bytes: 2, limit: 1 };
    let store = StoreError::Encoding {
        message: String::new(),
    };
    let cases = [
        (invalid, "TRB-0100", Code::InvalidArgument, 0),
        (id.into(), "TRB-0101", Code::InvalidArgument, 0),
        (spec.into(), "TRB-0110", Code::InvalidArgument, 0),
        (
            CoordinatorError::Budget("b".to_owned()),
            "TRB-0130",
            Code::FailedPrecondition,
            0,
        ),
        (
            CoordinatorError::unknown("run", "x", "r"),
            "TRB-0200",
            Code::NotFound,
            0,
        ),
        (
            CoordinatorError::Unauthenticated,
            "TRB-0210",
            Code::Unauthenticated,
            0,
        ),
        (
            CoordinatorError::Taken("d".to_owned()),
            "TRB-0211",
            Code::AlreadyExists,
            0,
        ),
        (
            CoordinatorError::AtWork("d".to_owned()),
            "TRB-0212",
            Code::FailedPrecondition,
            5_000,
        ),
        (
            Reject::RunOver.into(),
            "TRB-0300",
            Code::FailedPrecondition,
            0,
        ),
        (store.into(), "TRB-0500", Code::Internal, 0),
        (
            StoreError::Halted {
                reason: String::new(),
            }
            .into(),
            "TRB-0520",
            Code::Unavailable,
            60_000,
        ),
        (blob.into(), "TRB-0510", Code::NotFound, 0),
        (
            CoordinatorError::SetAside {
                what: "run",
                name: "x".to_owned(),
                cause: "c".to_owned(),
                code: "TRB-0510",
            },
            "TRB-0530",
            Code::FailedPrecondition,
            0,
        ),
        (
            CoordinatorError::Misfit {
                run: "x".to_owned(),
                why: "w".to_owned(),
            },
            "TRB-0531",
            Code::Internal,
            0,
        ),
        (
            CoordinatorError::Crashed("a task"),
            "TRB-0610",
            Code::Internal,
            0,
        ),
        (
            CoordinatorError::Inconsistent("two truths"),
            "TRB-0611",
            Code::Internal,
            0,
        ),
        (
            CoordinatorError::Stopping,
            "TRB-0600",
            Code::Unavailable,
            1_000,
        ),
        (
            CoordinatorError::Entropy("no source".to_owned()),
            "TRB-0400",
            Code::Internal,
            0,
        ),
        (
            CoordinatorError::Unreadable("bytes".to_owned()),
            "TRB-0102",
            Code::InvalidArgument,
            0,
        ),
        (
            CoordinatorError::Busy {
                what: "too many",
                retry_after_ms: 1_500,
            },
            "TRB-0220",
            Code::ResourceExhausted,
            1_500,
        ),
        (damaged.into(), "TRB-0510", Code::DataLoss, 0),
        (full.into(), "TRB-0510", Code::Unavailable, 5_000),
    ];
    for (error, code, status_code, retry) in cases {
        let text = error.to_string();
        assert_eq!(
            (error.code(), error.retry_after_ms()),
            (code, retry),
            "{text}"
        );
        let status = Status::from(error);
        assert_eq!(status.code(), status_code, "{text}");
        assert_eq!(status.message(), format!("{text} [{code}]"));
        assert_eq!(status.metadata().get("tributary-code").unwrap(), code);
        let hint = status.metadata().get("tributary-retry-after-ms").unwrap();
        assert_eq!(hint.to_str().unwrap(), retry.to_string());
    }
}

#[test]
fn a_name_that_is_not_known_is_cut_before_it_is_repeated() {
    let error = CoordinatorError::unknown("run", &"\u{e9}".repeat(500), "look it up");
    assert!(error.to_string().chars().count() < 140);
}
