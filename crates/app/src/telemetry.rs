//! Logs: readable lines for people, or one JSON object a line.

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// `RUST_LOG` narrows or widens what is logged; ours from `info` on without it.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,apalis=warn,apalis_core=off"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).with_span_list(false).init(),
    }
}
