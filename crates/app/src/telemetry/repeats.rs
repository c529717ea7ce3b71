//! Limits repeated warnings and errors: per minute the first few of a kind are logged, and then one line with the
//! number of suppressed ones.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

/// How many lines of one kind are logged per window.
const WRITTEN: u64 = 5;
/// The length of a window.
const WINDOW: Duration = Duration::from_secs(60);
/// The maximum number of kinds. Beyond it, all errors from one place in the code count as one kind.
const KINDS: usize = 1000;

/// A place in the code, and the error that was logged there.
type Kind = (Identifier, u64);

struct Window {
    start: Instant,
    level: Level,
    seen: u64,
    message: String,
    error: String,
}

/// Counters by kind, shared by clones.
#[derive(Clone)]
pub struct Repeats {
    windows: Arc<Mutex<HashMap<Kind, Window>>>,
    window: Duration,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { windows: Arc::default(), window: WINDOW }
    }
}

impl Repeats {
    /// Logs a line for each kind with suppressed lines whose window has ended, or with `all` for every kind.
    pub fn summarize(&self, all: bool) {
        let ended: Vec<Window> = {
            let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
            windows
                .extract_if(|_, window| all || window.start.elapsed() >= self.window)
                .map(|(_, window)| window)
                .collect()
        };
        for window in ended {
            let Some(suppressed) = window.seen.checked_sub(WRITTEN).filter(|count| *count > 0) else {
                continue;
            };
            let Window { message, error, .. } = &window;
            let within_s = window.start.elapsed().as_secs();
            if window.level == Level::ERROR {
                tracing::error!(target: super::LOG, suppressed, within_s, repeated = message, error, "repeats were not logged");
            } else {
                tracing::warn!(target: super::LOG, suppressed, within_s, repeated = message, error, "repeats were not logged");
            }
        }
    }

    fn is_written(&self, event: &Event<'_>) -> bool {
        let mut text = Text::default();
        event.record(&mut text);
        let mut hasher = DefaultHasher::new();
        text.error.hash(&mut hasher);
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let error = if windows.len() < KINDS { hasher.finish() } else { 0 };
        let window = windows.entry((event.metadata().callsite(), error)).or_insert_with(|| Window {
            start: Instant::now(),
            level: *event.metadata().level(),
            seen: 0,
            message: text.message,
            error: text.error,
        });
        window.seen += 1;
        window.seen <= WRITTEN
    }
}

/// The text of an event, which distinguishes kinds.
#[derive(Default)]
struct Text {
    message: String,
    error: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = format!("{value:?}"),
            _ => {}
        }
    }
}

/// Whether lines like this are limited: warnings and errors, except security events and events about the log.
fn is_limited(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::WARN
        && !matches!(metadata.target(), services::log_target::SECURITY | super::LOG)
}

impl<S: Subscriber> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        // `always` would skip `enabled`, which prepares each event for `event_enabled`.
        Interest::sometimes()
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        !is_limited(event.metadata()) || self.is_written(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use tracing_subscriber::Layer;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Log {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    /// The lines that are logged for the events of `log`.
    fn written(repeats: &Repeats, log: impl Fn()) -> Vec<String> {
        let lines = Log::default();
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(repeats.clone()));
        tracing::subscriber::with_default(subscriber, log);
        let text = lines.0.lock().unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn repeats_are_counted_instead_of_written() {
        let repeats = Repeats::default();
        let lines = written(&repeats, || {
            for _ in 0..100 {
                tracing::warn!(error = "no connection", "due runs were not distributed");
            }
            repeats.summarize(true);
        });
        assert_eq!(lines.len(), 6, "{lines:#?}");
        for part in ["suppressed=95", "due runs were not distributed", "no connection", "WARN"] {
            assert!(lines[5].contains(part), "{part}: {}", lines[5]);
        }
    }

    #[test]
    fn each_error_is_a_kind_of_its_own_until_there_are_too_many() {
        let fail = |error: usize| tracing::error!(error, "internal error");
        let lines = written(&Repeats::default(), || (0..50).for_each(fail));
        assert_eq!(lines.len(), 50);
        let repeats = Repeats::default();
        let lines = written(&repeats, || (0..3 * KINDS).for_each(fail));
        assert!((KINDS..KINDS + 10).contains(&lines.len()), "{}", lines.len());
        assert!(repeats.windows.lock().unwrap().len() <= KINDS + 1);
    }

    #[test]
    fn a_new_window_begins_when_the_last_one_is_summarized() {
        let repeats = Repeats { window: Duration::ZERO, ..Repeats::default() };
        let lines = written(&repeats, || {
            for _ in 0..3 {
                (0..10).for_each(|_| tracing::warn!("again"));
                repeats.summarize(false);
            }
        });
        assert_eq!(lines.len(), 3 * (5 + 1), "{lines:#?}");
        // Without suppressed lines there is no summary.
        assert!(written(&repeats, || repeats.summarize(false)).is_empty());
    }

    #[test]
    fn access_lines_and_security_events_are_always_written() {
        let lines = written(&Repeats::default(), || {
            for _ in 0..30 {
                tracing::info!("answered");
                tracing::warn!(target: services::log_target::SECURITY, event = "login_failed", "login failed");
            }
        });
        assert_eq!(lines.len(), 60);
    }
}
