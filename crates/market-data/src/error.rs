//! Errors of price sources.

use chrono::{DateTime, TimeDelta, Utc};
use domain::Symbol;
use domain::plausibility::UnconfirmedPrice;
use thiserror::Error;

/// Why a source gave no answer. It never contains an API key or a URL with one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuoteError {
    /// The source does not know the symbol.
    #[error("no stock has the symbol {0}")]
    UnknownSymbol(Symbol),
    /// The instrument exists but cannot be traded here, for `reason`.
    #[error("{symbol} cannot be traded here: {reason}")]
    NotTradable { symbol: Symbol, reason: &'static str },
    /// The source is not called now: it refuses calls, the allowed calls are used up, or calls are paused after
    /// failures.
    #[error("the price source does not accept more requests now")]
    RateLimited { retry_at: Option<DateTime<Utc>> },
    /// The source answered with an error of its own, or with an invalid value.
    #[error("the price source gave no usable answer: {0}")]
    Upstream(String),
    /// The source does not accept the API key.
    #[error("the price source does not accept the API key")]
    KeyRefused,
    /// The plan of the API key does not include the request.
    #[error("the API key does not cover this")]
    NotCovered,
    /// The price differs too much from the last accepted one.
    #[error(
        "the price source reports {}, far from the last price of {}: {}",
        .0.price, .0.accepted, .0.doubt.waits_for()
    )]
    Unconfirmed(Box<UnconfirmedPrice>),
    /// The answer is dated in the future of this server's clock. One of the two clocks is wrong, most likely the
    /// server's.
    #[error("the price source's clock is {} ahead of this server's: set the server's clock", in_words(*by))]
    ClockAhead { by: TimeDelta },
    /// No answer in time, or no connection.
    #[error("the price source cannot be reached")]
    Unreachable,
}

/// Formats a span in its largest whole unit, such as "2 minutes".
fn in_words(span: TimeDelta) -> String {
    let units = [(span.num_days(), "day"), (span.num_hours(), "hour"), (span.num_minutes(), "minute")];
    let (count, unit) =
        units.into_iter().find(|(count, _)| *count > 0).unwrap_or((span.num_seconds(), "second"));
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

impl QuoteError {
    /// The source's answer lacks a requested symbol.
    pub(crate) fn missing_answer() -> Self {
        Self::Upstream("an answer without the symbol asked for".to_owned())
    }
}
