//! Slow uploads hold what they sent, and nobody else up.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tributary_proto::v1::transfer_service_client::TransferServiceClient;
use tributary_proto::v1::upload_request::Part;
use tributary_proto::v1::upload_response::Answer;
use tributary_proto::v1::{Assignment, RejectReason, UploadRequest};

use crate::harness::hand::{chunk, encoded, hands};
use crate::harness::operator::of;
use crate::harness::{Coordinator, Hand, Recipe, within};

/// Inputs and units of one layer: a megaparameter, so that updates have 4 MB.
const SIDE: i64 = 1_024;
const PARAMETERS: usize = (SIDE * SIDE + SIDE + SIDE * 2 + 2) as usize;
const SLOW: usize = 18;
const HONEST: usize = 6;

/// A run whose round is met by the honest devices alone, while all are asked.
fn recipe() -> Recipe {
    let layers = r#"[
        { kind = "dense", units = 1024 },
        { kind = "relu" },
        { kind = "dense", units = 2 },
        { kind = "softmax" },
    ]"#;
    let layers: toml::Table = toml::from_str(&format!("layers = {layers}")).unwrap();
    Recipe::new()
        .set("model.input", vec![SIDE])
        .set("model.layers", layers["layers"].clone())
        .rounds(1, HONEST as i64)
        .set("rounds.over_selection", 4.0)
        .set("rounds.deadline_ms", 300_000)
}

fn update(number: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..PARAMETERS)
        .map(|index| ((index * 37 + number * 17) % 101) as f32 - 50.0)
        .collect();
    let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    encoded(
        &values
            .iter()
            .map(|value| value * 0.5 / norm)
            .collect::<Vec<_>>(),
    )
}

/// Announces an upload and sends the beginning of it; the rest one byte at a time, for ever.
async fn trickle(hand: &Hand, order: &Assignment, bytes: Bytes, begin: usize) -> mpsc::Sender<()> {
    let (parts, sent) = mpsc::channel(8);
    let mut client = TransferServiceClient::new(hand.channel.clone());
    let part = |part| UploadRequest { part: Some(part) };
    parts
        .send(part(Part::Header(hand.header(order, &bytes))))
        .await
        .unwrap();
    let opened = client.upload(ReceiverStream::new(sent)).await.unwrap();
    let mut answers = opened.into_inner();
    let first = within("an answer to the header", answers.message()).await;
    let first = first.unwrap().unwrap().answer.unwrap();
    let (stop, mut stopped) = mpsc::channel::<()>(1);
    if matches!(&first, Answer::Reject(reject) if reject.reason() == RejectReason::Busy) {
        return stop; // it does not matter how it is kept from the memory
    }
    assert!(matches!(first, Answer::Accepted(_)), "{first:?}");
    tokio::spawn(async move {
        let mut offset = 0;
        while offset < bytes.len() {
            let end = if offset < begin {
                begin.min(offset + (1 << 18))
            } else {
                offset + 1
            };
            let piece = part(chunk(offset as u64, &bytes[offset..end]));
            if parts.send(piece).await.is_err() {
                return;
            }
            offset = end;
            if offset >= begin {
                let pause = tokio::time::timeout(Duration::from_secs(1), stopped.recv());
                if pause.await.is_ok() {
                    return;
                }
            }
        }
    });
    // the answers are read, as any client does
    tokio::spawn(async move { while let Ok(Some(_)) = answers.message().await {} });
    stop
}

/// Slow devices send `begin` bytes of their updates at once; the honest ones must still finish.
async fn honest_devices_finish(begin: usize) {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let mut devices = hands(&coordinator.channel().await, SLOW + HONEST).await;
    let run = operator.start(&recipe()).await;
    let mut orders = Vec::new();
    for (_, session) in &mut devices {
        orders.push(session.assignment().await);
    }
    let slow_channel = coordinator.channel().await;
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let hand = devices[number].0.over(&slow_channel);
        let bytes = Bytes::from(update(number));
        assert!(bytes.len() > 4 << 20);
        slow.push(trickle(&hand, &orders[number], bytes, begin).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    for number in SLOW..SLOW + HONEST {
        let (hand, bytes) = (&devices[number].0, update(number));
        let counted = async {
            loop {
                // in chunks, as a device sends them; busy is answered by coming back
                let mut parts = vec![Part::Header(hand.header(&orders[number], &bytes))];
                let chunks = bytes.chunks(1 << 18).enumerate();
                parts.extend(chunks.map(|(at, piece)| chunk((at << 18) as u64, piece)));
                match hand.send(parts).await.unwrap().pop().unwrap() {
                    Answer::Receipt(_) => return,
                    Answer::Reject(reject) if reject.reason() == RejectReason::Busy => {}
                    other => panic!("{number}: {other:?}"),
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        within("an honest upload", counted).await;
    }
    let shown = operator.completed(&run).await;
    assert_eq!(of(&shown).contributions_total, HONEST as u64);
    assert_eq!(shown.rounds.len(), 1, "at the first attempt");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighteen_uploads_that_trickle_do_not_keep_honest_devices_from_finishing() {
    honest_devices_finish(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighteen_uploads_that_stall_before_their_last_bytes_do_not_keep_the_memory() {
    honest_devices_finish((4 << 20) - 100).await;
}
