//! Queues between a session, which comes and goes, and the work, which goes on.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A bounded queue without slots set aside: an idle one costs a few dozen bytes, which matters
/// when thousands of agents share a process.
#[derive(Debug)]
pub struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    added: Notify,
    closed: AtomicBool,
    limit: usize,
}

impl<T> Queue<T> {
    /// An empty queue for at most `limit` items.
    pub fn new(limit: usize) -> Self {
        Self {
            items: Mutex::default(),
            added: Notify::new(),
            closed: AtomicBool::new(false),
            limit,
        }
    }

    fn items(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an item; gives it back when the queue is full.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut items = self.items();
        if items.len() >= self.limit {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        self.added.notify_one();
        Ok(())
    }

    /// Puts items back at the front, in their order, past the limit if need be.
    pub fn put_back(&self, returned: Vec<T>) {
        let mut items = self.items();
        for item in returned.into_iter().rev() {
            items.push_front(item);
        }
        drop(items);
        self.added.notify_one();
    }

    /// Takes everything at once.
    pub fn drain(&self) -> Vec<T> {
        std::mem::take(&mut *self.items()).into()
    }

    /// Takes the oldest item; waits for one. `None` once the queue is closed and empty.
    pub async fn next(&self) -> Option<T> {
        loop {
            let added = self.added.notified();
            {
                let mut items = self.items();
                if let Some(item) = items.pop_front() {
                    if items.is_empty() {
                        *items = VecDeque::new(); // an idle queue holds no memory
                    }
                    return Some(item);
                }
            }
            if self.is_closed() {
                return None;
            }
            added.await;
        }
    }

    /// Ends the queue: waiting readers get `None` once it is empty.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.added.notify_one();
        self.added.notify_waiters();
    }

    /// Whether the queue was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn items_come_out_in_order_and_the_end_is_seen() {
        let queue = Queue::new(3);
        for item in 0..3 {
            queue.push(item).unwrap();
        }
        assert_eq!(queue.push(9), Err(9));
        assert_eq!(queue.next().await, Some(0));
        queue.put_back(vec![7, 8]);
        assert_eq!(queue.drain(), [7, 8, 1, 2]);
        queue.close();
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test]
    async fn a_waiting_reader_wakes_up() {
        let queue = std::sync::Arc::new(Queue::new(1));
        let reader = std::sync::Arc::clone(&queue);
        let task = tokio::spawn(async move { (reader.next().await, reader.next().await) });
        tokio::task::yield_now().await;
        queue.push(1).unwrap();
        tokio::task::yield_now().await;
        queue.close();
        assert_eq!(task.await.unwrap(), (Some(1), None));
    }
}
