//! The writer thread of the embedded store: group commit.
//!
//! Commits wait in one queue. The thread takes all that wait, checks each, writes them as one
//! transaction, syncs once, and answers them together; under load a sync is shared by many commits,
//! and an idle store answers after one. The queue is bounded in bytes by a semaphore whose permits
//! travel with the requests.
//!
//! A full disk refuses the group and changes nothing; later commits are tried again. After any other
//! failed write or sync nobody knows what reached the disk, so the thread stops writing: the group
//! and every later call get [`StoreError::Unavailable`].

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::embedded::shared::Shared;
use crate::{Batch, CommitFuture, CommitReceipt, MAX_BATCH_BYTES, StoreError};

/// Most batches that share a sync, and bytes of queue permits after which no more are taken.
const GROUP: usize = 256;
const GROUP_PERMITS: usize = MAX_BATCH_BYTES / PERMIT_BYTES;
/// Room in the queue, in permits of 1 KiB: four of the largest batches.
const QUEUE_PERMITS: usize = 4 * MAX_BATCH_BYTES / PERMIT_BYTES;
const PERMIT_BYTES: usize = 1024;
/// What an operation occupies beside its key and value, roughly.
const OPERATION_BYTES: usize = 96;

type Answer = Result<CommitReceipt, StoreError>;

enum Message {
    Commit(Request),
    Stop,
}

struct Request {
    batch: Batch,
    answer: oneshot::Sender<Answer>,
    /// Gives its room in the queue back when the request is dropped.
    room: OwnedSemaphorePermit,
}

/// The handle of the writer thread. Dropping it commits what is queued and ends the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: UnboundedSender<Message>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(shared, requests))
            .map_err(|error| StoreError::from_io("starting the writer thread", &error))?;
        let room = Arc::new(Semaphore::new(QUEUE_PERMITS));
        Ok(Self {
            queue,
            room,
            thread: Some(thread),
        })
    }

    pub(crate) fn commit(&self, batch: Batch) -> CommitFuture {
        let (queue, room) = (self.queue.clone(), Arc::clone(&self.room));
        Box::pin(async move {
            batch.validate()?;
            let permits = permits(&batch);
            let closed = |_| StoreError::Closed;
            let permit = room.acquire_many_owned(permits).await.map_err(closed)?;
            let (answer, answered) = oneshot::channel();
            let request = Request {
                batch,
                answer,
                room: permit,
            };
            queue
                .send(Message::Commit(request))
                .map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.room.close();
        // both fail only if the thread is gone already
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Room that a valid batch takes in the queue; never more than the queue has.
fn permits(batch: &Batch) -> u32 {
    let bytes = batch.size() + batch.len() * OPERATION_BYTES;
    let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, QUEUE_PERMITS);
    u32::try_from(permits).unwrap_or(u32::MAX)
}

fn run(shared: Arc<Shared>, mut requests: UnboundedReceiver<Message>) {
    let _end = End {
        shared: Arc::clone(&shared),
    };
    let mut group = Vec::with_capacity(GROUP);
    while let Some(message) = requests.blocking_recv() {
        let mut next = Some(message);
        let mut room = 0;
        while let Some(message) = next {
            match message {
                Message::Commit(request) => {
                    room += request.room.num_permits();
                    group.push(request);
                }
                // what is queued is still delivered
                Message::Stop => requests.close(),
            }
            next = if group.len() < GROUP && room < GROUP_PERMITS {
                requests.try_recv().ok()
            } else {
                None
            };
        }
        commit_group(&shared, &mut group);
    }
}

/// Commits the group and answers. Leaves `group` empty.
fn commit_group(shared: &Shared, group: &mut Vec<Request>) {
    let batches: Vec<&Batch> = group.iter().map(|request| &request.batch).collect();
    let answers = shared.commit(&batches);
    for (request, answer) in group.drain(..).zip(answers) {
        // the caller may have stopped waiting
        let _ = request.answer.send(answer);
    }
}

/// What happens when the thread ends, be it by a panic inside the engine.
struct End {
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.stop(StoreError::Unavailable {
                reason: "the writer panicked".to_owned(),
            });
        }
        if self.shared.available().is_err() {
            // closing sled flushes, and after a failed write that flush can wait for ever; the
            // process has to end anyway before the folder can be opened again
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}
