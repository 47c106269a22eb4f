//! A log that holds nobody up: lines wait in memory, within a number of bytes, and a thread of its own
//! writes them. A reader that pauses, a full disk or a closed pipe costs lines, never a panic or a task's time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes of lines that wait for a reader.
pub const WAITING_BYTES: usize = 1024 * 1024;

/// What makes of a number of lost lines the line that says so.
type Confession = fn(u64) -> String;

/// The way to the thread that writes.
#[derive(Debug, Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that found no room, or that could not be written.
    lost: u64,
    /// The thread holds lines that it has taken out.
    is_writing: bool,
}

impl LogQueue {
    /// A queue whose lines go to standard error.
    pub fn to_stderr(confession: Confession) -> Self {
        // with a descriptor of its own: std's lock on stderr would be held for as long as a write hangs
        let own = io::stderr().as_fd().try_clone_to_owned();
        match own {
            Ok(own) => Self::writing(File::from(own), confession),
            Err(_) => Self::writing(io::stderr(), confession),
        }
    }

    /// A queue whose lines go anywhere. Without a thread its lines are lost.
    fn writing(sink: impl Write + Send + 'static, confession: Confession) -> Self {
        let queue = Self {
            shared: Arc::default(),
        };
        let shared = queue.shared.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        // no thread, no log: the process is about to fail for the same reason
        let _ = thread.spawn(move || shared.write(sink, confession));
        queue
    }

    /// Takes a line, unless there is no room for it.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.bytes + line.len() > WAITING_BYTES {
            state.lost += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        self.shared.changed.notify_all();
    }

    /// Waits until all is written, or for that long.
    pub fn flush(&self, most: Duration) {
        let until = Instant::now() + most;
        let mut state = self.shared.lock();
        while state.is_writing || !state.lines.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines as they come, for ever.
    fn write(&self, mut sink: impl Write, confession: Confession) {
        let mut is_whole = true;
        loop {
            let (lines, lost) = self.next();
            let mut failed = 0;
            for line in lines {
                match put(&mut sink, &line, is_whole) {
                    Ok(()) => is_whole = true,
                    Err(_) => (is_whole, failed) = (false, failed + 1),
                }
            }
            if lost > 0 && put(&mut sink, confession(lost).as_bytes(), is_whole).is_err() {
                failed += lost;
                is_whole = false;
            }
            let mut state = self.lock();
            state.lost += failed;
            state.is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for lines; these, and how many were lost before them.
    fn next(&self) -> (VecDeque<Vec<u8>>, u64) {
        let mut state = self.lock();
        while state.lines.is_empty() {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        state.bytes = 0;
        let lost = std::mem::take(&mut state.lost);
        (std::mem::take(&mut state.lines), lost)
    }
}

/// Writes a line, after the end of one that was written in part.
fn put(sink: &mut impl Write, line: &[u8], is_whole: bool) -> io::Result<()> {
    if !is_whole {
        sink.write_all(b"\n")?;
    }
    sink.write_all(line)
}

/// One event on its way into the queue.
#[derive(Debug)]
pub struct Line<'a>(&'a LogQueue);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A reader that pauses, and fails while it is told to.
    #[derive(Clone, Default)]
    struct Sink {
        pause: Arc<Mutex<()>>,
        fails: Arc<Mutex<bool>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            drop(self.pause.lock().unwrap());
            if *self.fails.lock().unwrap() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn confession(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    fn text(sink: &Sink) -> String {
        String::from_utf8(sink.written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_reader_that_pauses_costs_lines_and_is_told_how_many() {
        let sink = Sink::default();
        let queue = LogQueue::writing(sink.clone(), confession);
        let paused = sink.pause.lock().unwrap();
        queue.push(b"first\n");
        let is_taken = || {
            let state = queue.shared.lock();
            state.is_writing && state.lines.is_empty()
        };
        while !is_taken() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let line = [b'x'; 1_024];
        for _ in 0..WAITING_BYTES / 1_024 + 7 {
            queue.push(&line);
        }
        let begun = Instant::now();
        queue.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < SOON);
        drop(paused);
        queue.flush(SOON);
        let told = text(&sink);
        assert!(told.starts_with("first\nx") && told.ends_with("x7 lost\n"));
        assert_eq!(told.len(), 6 + WAITING_BYTES + 7);
    }

    #[test]
    fn what_can_t_be_written_is_counted_and_lines_go_on_later() {
        let sink = Sink::default();
        let queue = LogQueue::writing(sink.clone(), confession);
        *sink.fails.lock().unwrap() = true;
        queue.push(b"one\n");
        queue.flush(SOON);
        queue.push(b"two\n");
        queue.flush(SOON);
        *sink.fails.lock().unwrap() = false;
        queue.push(b"three\n");
        queue.flush(SOON);
        assert_eq!(text(&sink), "\nthree\n2 lost\n");
    }
}
