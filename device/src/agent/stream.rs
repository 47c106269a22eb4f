//! What a device sends on its stream: hello first, then events, and heartbeats in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::Stream;
use tokio::sync::Notify;
use tokio::time::sleep;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tributary_proto::v1::connect_request::Message as Up;
use tributary_proto::v1::device_event::Event;
use tributary_proto::v1::{ConnectRequest, ConnectResponse, DeviceEvent, Heartbeat};

use crate::agent::core::Core;
use crate::state::randomness::uniform_below;

/// Until the coordinator names another interval.
const DEFAULT_HEARTBEAT_MS: u64 = 30_000;
/// Bytes set aside per direction. tonic's default of 8 KiB would be most of an idle agent's memory.
const BUFFER: usize = 512;
/// Encoded bytes after which the encoder yields.
const YIELD_AFTER: usize = 4096;

/// Control of one stream from the side that reads its answers.
#[derive(Debug)]
pub(crate) struct SessionControl {
    heartbeat_ms: AtomicU64,
    ended: AtomicBool,
    /// Wakes the sender when one of the two above changes.
    changed: Notify,
}

impl Default for SessionControl {
    fn default() -> Self {
        Self {
            heartbeat_ms: AtomicU64::new(DEFAULT_HEARTBEAT_MS),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl SessionControl {
    /// Takes over the coordinator's heartbeat interval, from the first heartbeat on; 0 keeps the
    /// default.
    pub(crate) fn set_heartbeat(&self, milliseconds: u64) {
        if milliseconds > 0
            && self.heartbeat_ms.swap(milliseconds, Ordering::Relaxed) != milliseconds
        {
            self.changed.notify_one();
        }
    }

    /// Ends the outgoing side, so that it takes no more events from the outbox.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// The outgoing side of a stream.
pub(crate) fn outbound(
    core: Arc<Core>,
    control: Arc<SessionControl>,
) -> impl Stream<Item = ConnectRequest> + Send + 'static {
    futures::stream::unfold(
        (core, control, false),
        |(core, control, greeted)| async move {
            let message = if greeted {
                next(&core, &control).await?
            } else {
                Up::Hello(core.hello())
            };
            Some((
                ConnectRequest {
                    message: Some(message),
                },
                (core, control, true),
            ))
        },
    )
}

/// The next event or heartbeat; `None` ends the stream.
async fn next(core: &Core, control: &SessionControl) -> Option<Up> {
    while !control.ended.load(Ordering::Acquire) {
        // between half the interval and the whole, so that a fleet's heartbeats spread out
        let interval = control.heartbeat_ms.load(Ordering::Relaxed);
        let wait = interval / 2 + uniform_below(&mut *core.rng(), interval / 2 + 1);
        tokio::select! {
            biased;
            // without this the first heartbeat would wait for the default interval: the sender
            // waits already when the welcome comes
            () = control.changed.notified() => {}
            event = core.outbox.next() => return event.map(Up::Event),
            () = sleep(Duration::from_millis(wait)) => {
                let heartbeat = DeviceEvent { event: Some(Event::Heartbeat(Heartbeat {})) };
                return Some(Up::Event(heartbeat));
            }
        }
    }
    None
}

/// The usual codec with small buffers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionCodec;

impl Codec for SessionCodec {
    type Encode = ConnectRequest;
    type Decode = ConnectResponse;
    type Encoder = ProstEncoder<ConnectRequest>;
    type Decoder = ProstDecoder<ConnectResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, YIELD_AFTER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, YIELD_AFTER))
    }
}
