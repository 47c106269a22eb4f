//! Uploads that break the protocol, that break off, or that come late: each is answered with its reason.

use tonic::Code;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{AssignmentAbandoned, RejectReason, UploadHeader, device_event};

use crate::harness::hand::{bytes_of, chunk, hands, rejected, update};
use crate::harness::operator::{assert_refusal, of};
use crate::harness::raw::{Raw, framed};
use crate::harness::{Coordinator, Hand, Operator, Recipe, Session, within};

/// One device that was asked for one update.
struct Asked {
    coordinator: Coordinator,
    operator: Operator,
    run: String,
    hand: Hand,
    header: UploadHeader,
    bytes: Vec<u8>,
    _session: Session,
}

impl Asked {
    async fn start() -> Self {
        let coordinator = Coordinator::start().await;
        let operator = coordinator.operator().await;
        let mut devices = hands(&coordinator.channel().await, 1).await;
        let (hand, mut session) = devices.remove(0);
        let run = operator.start(&Recipe::new().rounds(1, 1)).await;
        let order = session.assignment().await;
        let bytes = update(0);
        Self {
            coordinator,
            operator,
            run,
            header: hand.header(&order, &bytes),
            hand,
            bytes,
            _session: session,
        }
    }

    fn header(&self) -> Part {
        Part::Header(self.header.clone())
    }

    /// The upload is resumed at `offset`, where it was broken off, is counted, and the run completes.
    async fn goes_on_at(&self, offset: usize) {
        let rest = vec![self.header(), chunk(offset as u64, &self.bytes[offset..])];
        let answers = self.hand.send(rest).await.unwrap();
        let [Answer::Accepted(accepted), Answer::Receipt(_)] = answers.as_slice() else {
            panic!("expected to go on and a receipt, got {answers:?}");
        };
        assert_eq!(accepted.offset, offset as u64);
        self.operator.completed(&self.run).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_uploads_that_break_the_protocol_are_refused_and_can_be_sent_again() {
    let asked = Asked::start().await;
    let (hand, bytes) = (&asked.hand, &asked.bytes);
    let header = || asked.header();
    let other = update(1);
    let too_many = [bytes.as_slice(), &[0]].concat();
    let cases: Vec<(Vec<Part>, RejectReason, &str)> = vec![
        (
            vec![chunk(0, bytes)],
            RejectReason::Protocol,
            "header first",
        ),
        (
            vec![header(), header()],
            RejectReason::Protocol,
            "send chunks",
        ),
        (
            vec![header(), chunk(1, bytes)],
            RejectReason::Protocol,
            "0 is next",
        ),
        (
            vec![header(), chunk(u64::MAX, bytes)],
            RejectReason::Protocol,
            "0 is next",
        ),
        (
            vec![header(), chunk(0, &bytes[..100]), chunk(120, &bytes[120..])],
            RejectReason::Protocol,
            "100 is next",
        ),
        (
            vec![header(), chunk(0, &bytes[..100]), chunk(50, &bytes[50..])],
            RejectReason::Protocol,
            "100 is next",
        ),
        (
            vec![header(), chunk(0, &too_many)],
            RejectReason::TooLarge,
            "announced",
        ),
        (
            vec![header(), chunk(0, &vec![1; 2 << 20])],
            RejectReason::TooLarge,
            "1 MiB",
        ),
        (
            vec![header(), chunk(0, &other)],
            RejectReason::WrongDigest,
            "digest",
        ),
    ];
    for (parts, reason, word) in cases {
        let mut answers = hand.send(parts).await.unwrap();
        let reject = rejected(answers.pop().unwrap(), reason);
        assert!(
            reject.message.contains(word),
            "{word:?} is missing in: {}",
            reject.message
        );
    }
    // an upload cut off in the middle is resumed where it ended
    let cut = hand.send(vec![header(), chunk(0, &bytes[..60])]).await;
    assert_eq!(cut.unwrap_err().code(), Code::Aborted);
    asked.goes_on_at(60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_never_ends_without_an_answer() {
    let asked = Asked::start().await;
    let (hand, bytes) = (&asked.hand, &asked.bytes);
    let header = || asked.header();

    let nothing = hand.send(Vec::new()).await.unwrap();
    let [answer] = <[Answer; 1]>::try_from(nothing).unwrap();
    rejected(answer, RejectReason::Protocol);

    // it is told how far it came, and goes on from there
    let half = bytes.len() / 2;
    for parts in [vec![header()], vec![header(), chunk(0, &bytes[..half])]] {
        let ended = hand.send(parts).await.unwrap_err();
        let words = ["begin it again"];
        assert_refusal(&ended, Code::Aborted, "TRB-0223", &words);
        assert_ne!(
            ended.metadata().get("tributary-retry-after-ms").unwrap(),
            "0"
        );
    }
    let garbage = async {
        let mut raw = Raw::connect(&asked.coordinator.endpoint()).await;
        let mut call = raw.begin("/tributary.v1.TransferService/Upload").await;
        let request = tributary_proto::v1::UploadRequest {
            part: Some(header()),
        };
        call.send(framed(&bytes_of(&request)), false);
        call.send(framed(&[0xff; 40]), true);
        call.status().await
    };
    let ended = within("the end of an upload", garbage).await;
    assert_refusal(
        &ended,
        Code::InvalidArgument,
        "TRB-0102",
        &["can't be read"],
    );

    asked.goes_on_at(half).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_late_updates_are_refused_and_the_run_goes_on_without_them() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, 3).await;
    let recipe = Recipe::new().rounds(2, 3).set("rounds.minimum", 1);
    let run = operator
        .start(&recipe.set("rounds.deadline_ms", 2_000))
        .await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    // one gives its assignment back and sends after all: its lease is gone
    let returned = AssignmentAbandoned {
        run_id: run.clone(),
        round: 1,
        reason: "battery".to_owned(),
        ..Default::default()
    };
    devices[2]
        .1
        .tell(device_event::Event::AssignmentAbandoned(returned))
        .await;
    operator
        .until(&run, "the drop", |shown| shown.rounds[0].dropped == 1)
        .await;
    let (hand, bytes) = (devices[2].0.clone(), update(2));
    let reject = hand
        .refused(
            hand.header(&orders[2], &bytes),
            &bytes,
            RejectReason::LeaseExpired,
        )
        .await;
    assert!(
        reject.message.contains("wait for the next assignment"),
        "{reject:?}"
    );
    // one is counted, one is late
    devices[0].0.counted(&orders[0], &update(0)).await;
    let shown = operator
        .until(&run, "the deadline", |shown| of(shown).round == 2)
        .await;
    assert_eq!(
        (shown.rounds[0].counted, shown.rounds[0].phase.as_str()),
        (1, "published")
    );
    let (hand, bytes) = (devices[1].0.clone(), update(1));
    let reject = hand
        .refused(
            hand.header(&orders[1], &bytes),
            &bytes,
            RejectReason::WrongRound,
        )
        .await;
    assert!(reject.message.contains("drop the update"), "{reject:?}");
    // the late device is welcome in the next round
    for (number, (hand, session)) in devices.iter_mut().enumerate() {
        let order = session.assignment().await;
        assert_eq!(order.round, 2);
        hand.counted(&order, &update(number as u64)).await;
    }
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, 4);
    // and an update for a run that is over is for no run
    let reject = hand
        .refused(
            hand.header(&orders[1], &bytes),
            &bytes,
            RejectReason::UnknownRun,
        )
        .await;
    assert!(reject.message.contains("the run is over"), "{reject:?}");
}
