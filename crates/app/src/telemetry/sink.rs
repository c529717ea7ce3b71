//! The output of log lines: a queue, and a thread that writes them. If the log cannot be written (a full disk, a
//! closed pipe, a pipe that is not read), lines are lost and counted; nothing else stops.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of queued lines. Further lines are dropped.
const QUEUE_LINES: usize = 8192;
/// The pause between two calls of `tick`.
const TICK: Duration = Duration::from_secs(1);

enum Message {
    /// A line for standard error.
    Line(Vec<u8>),
    /// A line for standard output.
    Announcement(Vec<u8>),
    /// Answered when all earlier messages are written.
    Flush(SyncSender<()>),
}

/// Accepts log lines without waiting and without failing.
#[derive(Clone)]
pub struct Sink {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Starts the thread that writes. It calls `tick` once per second, and more often while it writes much.
    pub fn start(tick: impl Fn() + Send + 'static) -> Self {
        let (stdout, stderr) = (copy_of(&io::stdout()), copy_of(&io::stderr()));
        Self::start_with(stdout, stderr, tick)
    }

    fn start_with(
        stdout: impl Write + Send + 'static,
        stderr: impl Write + Send + 'static,
        tick: impl Fn() + Send + 'static,
    ) -> Self {
        let (queue, messages) = sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let thread = std::thread::Builder::new().name("log".into());
        // Without the thread the queue is not read, and every line counts as dropped.
        let _ = thread.spawn(move || write_all(&messages, stdout, stderr, &counter, &tick));
        Self { queue, dropped }
    }

    /// The counter of lines that were lost since the start.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    fn send(&self, message: Message) {
        if self.queue.try_send(message).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes a line to standard output.
    pub fn print_line(&self, text: &str) {
        self.send(Message::Announcement(format!("{text}\n").into_bytes()));
    }

    /// Writes a line to standard error.
    pub fn print_error(&self, text: &str) {
        self.send(Message::Line(format!("{text}\n").into_bytes()));
    }

    /// Waits until all lines are written, at most for `within`.
    pub fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let (written, done) = sync_channel(1);
        // The queue may be full for a moment.
        while self.queue.try_send(Message::Flush(written.clone())).is_err() {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = done.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Duplicates the descriptor of a standard stream, because the standard library's handle has a lock that a blocked
/// writer would hold.
fn copy_of(stream: &impl AsFd) -> Box<dyn Write + Send> {
    match stream.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(io::sink()),
    }
}

fn write_all(
    messages: &Receiver<Message>,
    mut stdout: impl Write,
    mut stderr: impl Write,
    dropped: &AtomicU64,
    tick: &impl Fn(),
) {
    let mut ticked = Instant::now();
    let mut reported = 0;
    loop {
        let written = match messages.recv_timeout(TICK) {
            Ok(Message::Line(line)) => stderr.write_all(&line),
            Ok(Message::Announcement(line)) => stdout.write_all(&line),
            Ok(Message::Flush(done)) => {
                let _ = done.try_send(());
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if written.is_err() {
            dropped.fetch_add(1, Ordering::Relaxed);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            let lost = dropped.load(Ordering::Relaxed);
            if written.is_ok() && lost > reported {
                tracing::warn!(target: super::LOG, lines = lost - reported, "log lines were lost");
                reported = lost;
            }
            tick();
        }
    }
}

/// Collects one event's line, and sends it to the sink at the end.
pub struct LineWriter<'a> {
    sink: &'a Sink,
    line: Vec<u8>,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.sink.send(Message::Line(std::mem::take(&mut self.line)));
        }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { sink: self, line: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log(sink: &Sink, line: &str) {
        sink.make_writer().write_all(line.as_bytes()).unwrap();
    }

    #[test]
    fn lines_are_written_in_order_before_a_flush_returns() {
        let (out, err) = (Kept::default(), Kept::default());
        let sink = Sink::start_with(out.clone(), err.clone(), || {});
        log(&sink, "one\n");
        sink.print_line("ready");
        log(&sink, "two\n");
        sink.flush(PATIENCE);
        assert_eq!(*err.0.lock().unwrap(), b"one\ntwo\n");
        assert_eq!(*out.0.lock().unwrap(), b"ready\n");
        assert_eq!(sink.dropped().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let sink = Sink::start_with(Full, Full, || {});
        for _ in 0..3 {
            log(&sink, "lost\n");
        }
        sink.flush(PATIENCE);
        assert_eq!(sink.dropped().load(Ordering::Relaxed), 3);
    }

    #[test]
    fn an_unread_log_loses_lines_and_blocks_no_thread() {
        let (_unread, writer) = io::pipe().unwrap();
        let sink = Sink::start_with(io::sink(), writer, || {});
        let lines = 2 * QUEUE_LINES + 70_000 / 100;
        for _ in 0..lines {
            log(&sink, &"x".repeat(100));
        }
        assert!(sink.dropped().load(Ordering::Relaxed) > 0);
        sink.flush(Duration::from_millis(10));
    }
}
