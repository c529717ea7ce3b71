//! Logs: readable lines, or one JSON object per line.

mod json;
mod repeats;
mod sink;

use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;
use repeats::Repeats;
use sink::Sink;

/// The target of events about the log itself.
const LOG: &str = "log";
/// The default log filter.
const FILTER: &str = "info,actix_server=warn,apalis=warn,apalis_core=off";
/// How long the end of the process waits for the last lines to be written.
const LAST_LINES_WITHIN: Duration = Duration::from_millis(500);

struct Telemetry {
    sink: Sink,
    repeats: Repeats,
}

static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();

/// Starts writing log lines to standard error. `filter` is an [`EnvFilter`] that replaces the default.
pub fn init(format: LogFormat, filter: Option<&str>) {
    let filter = EnvFilter::new(filter.unwrap_or(FILTER));
    let repeats = Repeats::default();
    let sink = Sink::start({
        let repeats = repeats.clone();
        move || repeats.summarize(false)
    });
    let colors = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = fmt::layer().with_writer(sink.clone()).with_ansi(colors).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_filter(repeats.clone()).boxed(),
        LogFormat::Json => {
            lines.fmt_fields(JsonFields::new()).event_format(json::Json).with_filter(repeats.clone()).boxed()
        }
    };
    tracing_subscriber::registry().with(lines).with(filter).init();
    std::panic::set_hook(Box::new(log_panic));
    let _ = TELEMETRY.set(Telemetry { sink, repeats });
}

/// Logs a panic. The standard hook would block on a standard error that is not read.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = std::backtrace::Backtrace::capture();
    match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => {
            tracing::error!(location, panic = message, %backtrace, "a thread panicked");
        }
        _ => tracing::error!(location, panic = message, "a thread panicked"),
    }
}

/// Counts the log lines that were lost since the start.
pub fn dropped_lines() -> Arc<AtomicU64> {
    TELEMETRY.get().map(|telemetry| telemetry.sink.dropped()).unwrap_or_default()
}

/// Writes a line to standard output. Unlike `println!` it never panics, and it waits at most half a second.
pub fn print_line(text: &str) {
    if let Some(telemetry) = TELEMETRY.get() {
        telemetry.sink.print_line(text);
        telemetry.sink.flush(LAST_LINES_WITHIN);
    }
}

/// Writes a line to standard error without a log prefix.
pub fn print_error(text: &str) {
    match TELEMETRY.get() {
        Some(telemetry) => telemetry.sink.print_error(text),
        None => {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

/// Waits until the last lines are written, before the process ends.
pub fn flush() {
    if let Some(telemetry) = TELEMETRY.get() {
        telemetry.repeats.summarize(true);
        telemetry.sink.flush(LAST_LINES_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `%error` and `?error` would log only the outermost text.
    #[test]
    fn errors_are_always_logged_with_their_causes() {
        let crates = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let mut folders: Vec<_> =
            std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path().join("src")).collect();
        let (mut wrong, mut files) = (Vec::new(), 0);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files += 1;
                    let text = std::fs::read_to_string(&path).unwrap();
                    let lines = text.lines().filter(|line| {
                        let line = line.trim_start();
                        !line.starts_with("//") && ["%error", "?error"].iter().any(|way| mentions(line, way))
                    });
                    wrong.extend(lines.map(|line| format!("{}: {}", path.display(), line.trim())));
                }
            }
        }
        assert!(files > 100, "{files}");
        let advice = "write `error = &error as &dyn std::error::Error`";
        assert!(wrong.is_empty(), "{advice}:\n{}", wrong.join("\n"));
    }

    /// Whether the line has a field like this, outside of strings.
    fn mentions(line: &str, way: &str) -> bool {
        line.split([' ', '(', ',', ')']).any(|word| word == way)
    }
}
