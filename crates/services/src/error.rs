//! The errors of the use cases.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::calendar::EXCHANGE_ZONE;
use domain::{Money, OrderRejected, OrderStatus, Quantity, Symbol, Timestamp, TradingHold};
use market_data::{CallLimit, QuoteError};
use persistence::StoreError;
use thiserror::Error;

pub type Result<T> = std::result::Result<T, Error>;

/// The error of one input field, in words for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    pub field: &'static str,
    pub message: String,
}

impl FieldError {
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}

/// An object that does not exist or belongs to another user. Callers cannot tell the two cases apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotFound {
    #[error("there is no such user")]
    User,
    #[error("there is no such session")]
    Session,
    #[error("there is no such token")]
    Token,
    #[error("there is no such portfolio")]
    Portfolio,
    #[error("the portfolio does not hold this stock")]
    Position,
    #[error("there is no such order")]
    Order,
    #[error("there is no such transaction")]
    Transaction,
    #[error("there is no such watchlist")]
    Watchlist,
    #[error("the stock is not on this watchlist")]
    WatchedStock,
    #[error("there is no such stock")]
    Stock,
    #[error("there is no such close-out")]
    CloseOut,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    NotFound(NotFound),
    #[error("some fields are invalid")]
    Invalid(Vec<FieldError>),
    /// Another user has the name or the address.
    #[error("another account has this {}", .0.iter().map(|error| error.field).collect::<Vec<_>>().join(" and "))]
    Taken(Vec<FieldError>),
    #[error(transparent)]
    OrderRejected(OrderRejected),
    /// The `client_order_id` was already used for a different order.
    #[error("that client_order_id was used for another order: choose a new one")]
    ClientOrderIdReused,
    /// The idempotency key was already used for a different request.
    #[error("that Idempotency-Key was used for another request: choose a new one")]
    IdempotencyKeyReused,
    /// Only an open order can be canceled or replaced.
    #[error("the order is already {status}")]
    OrderNotOpen { status: OrderStatus },
    /// The portfolio was archived by a reset and is read-only.
    #[error("the portfolio is archived and read-only")]
    Archived,
    /// The portfolio is for practice.
    #[error("the portfolio is for practice and takes no imports: open one that records trades")]
    NotARecord,
    /// The queue of the order desk is full.
    #[error("too many orders are waiting: try again in a moment")]
    Busy,
    #[error("you cannot withdraw {required}: {available} is available")]
    InsufficientCash { required: Money, available: Money },
    /// The portfolio has the shares, but open orders to sell have reserved them.
    #[error(
        "open orders reserve shares of {symbol}: {required} are to be sold and {available} are free; cancel these orders \
         first"
    )]
    SharesReserved { symbol: Symbol, required: Quantity, available: Quantity },
    #[error("no stock has the symbol {0}")]
    UnknownSymbol(Symbol),
    #[error("{symbol} cannot be traded here: {reason}")]
    NotTradable { symbol: Symbol, reason: &'static str },
    /// No orders are accepted in the stock for now.
    #[error("{symbol}: {hold}")]
    TradingHalted { symbol: Symbol, hold: Box<TradingHold> },
    #[error("no split of {0} waits for a price or is in doubt")]
    NoSplitInDoubt(Symbol),
    /// The server's clock is behind: either fills would be booked at a later time than their prices, or prices are
    /// dated in the future.
    #[error(
        "the server's clock is behind by {}: orders cannot be filled until the operator has corrected it; try again \
         later",
        in_words(*by)
    )]
    ClockBehind { by: TimeDelta },
    /// The source has no price, and no older price is stored.
    #[error("there is no price for {symbol} at the moment")]
    NoPrice { symbol: Symbol, retry_at: Option<Timestamp> },
    /// No price is stored, and the calls for new symbols are used up.
    #[error("there is no price for {symbol} yet: {limit}, and they are used up; try again at {}", in_new_york(*.retry_at))]
    CallsUsedUp { symbol: Symbol, limit: CallLimit, retry_at: Timestamp },
    /// The only available price differs too much from the last accepted one.
    #[error("there is no confirmed price for {symbol}: {cause}")]
    PriceUnconfirmed { symbol: Symbol, cause: QuoteError },
    /// The source cannot be called now.
    #[error("the price source does not answer at the moment")]
    SourceUnavailable { retry_at: Option<Timestamp> },
    /// The name, the address or the password is wrong, or the account is closed. Clients cannot tell these cases apart.
    #[error("the name or the password is wrong")]
    BadCredentials,
    #[error("too many failed attempts: wait a moment")]
    TooManyAttempts { retry_after: TimeDelta },
    /// Too many password checks are waiting.
    #[error("too many users are logging in at the moment: try again in a few seconds")]
    PasswordChecksBusy,
    /// The current password is wrong in a request to set a new one or to close the account.
    #[error("that is not the current password")]
    WrongPassword,
    #[error("the last administrator cannot be removed: make another user an administrator first")]
    LastAdmin,
    #[error("a user can have up to {0} portfolios")]
    TooManyPortfolios(usize),
    #[error("you have {0} open streams, which is the limit: close one first")]
    TooManyStreams(usize),
    /// The process has reached its limit of streams, or is shutting down.
    #[error("no more streams can be opened at the moment")]
    StreamsFull,
    /// The database did not confirm an order. The client can find out by this name whether it was placed.
    #[error("{source}")]
    OrderUnconfirmed { client_order_id: String, source: Box<Error> },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a background task ended unexpectedly")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<OrderRejected> for Error {
    fn from(refused: OrderRejected) -> Self {
        match refused {
            OrderRejected::NotOpen { status } => Self::OrderNotOpen { status },
            OrderRejected::Transition(fault) => Self::internal(fault),
            OrderRejected::PriceFromFuture { as_of, requested_at } => {
                Self::ClockBehind { by: as_of - requested_at }
            }
            other => Self::OrderRejected(other),
        }
    }
}

/// Formats a time like "00:05 on 21 November, New York time".
fn in_new_york(at: Timestamp) -> String {
    at.utc().with_timezone(&EXCHANGE_ZONE).format("%H:%M on %-d %B, New York time").to_string()
}

/// Formats a span in its largest unit, such as "40 days" or "1 hour".
fn in_words(span: TimeDelta) -> String {
    let units = [(span.num_days(), "day"), (span.num_hours(), "hour"), (span.num_minutes(), "minute")];
    let (count, unit) =
        units.into_iter().find(|(count, _)| *count > 0).unwrap_or((span.num_seconds(), "second"));
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

impl Error {
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// Adds the name of the order, if the order may have been placed or can be sent again.
    pub(crate) fn about_order(self, client_order_id: String) -> Self {
        match self {
            Self::Busy => Self::OrderUnconfirmed { client_order_id, source: Box::new(self) },
            Self::Store(ref cause) if cause.is_outage() => {
                Self::OrderUnconfirmed { client_order_id, source: Box::new(self) }
            }
            other => other,
        }
    }

    /// Converts the error of a source for a request about one symbol.
    pub(crate) fn from_quote(symbol: &Symbol, error: QuoteError) -> Self {
        match error {
            QuoteError::UnknownSymbol(symbol) => Self::UnknownSymbol(symbol),
            QuoteError::NotTradable { symbol, reason } => Self::NotTradable { symbol, reason },
            QuoteError::RateLimited { retry_at } => {
                Self::NoPrice { symbol: symbol.clone(), retry_at: retry_at.map(Timestamp::from) }
            }
            QuoteError::ClockAhead { by } => Self::ClockBehind { by },
            QuoteError::Unconfirmed(_) => Self::PriceUnconfirmed { symbol: symbol.clone(), cause: error },
            QuoteError::Upstream(_)
            | QuoteError::KeyRefused
            | QuoteError::NotCovered
            | QuoteError::Unreachable => Self::NoPrice { symbol: symbol.clone(), retry_at: None },
        }
    }

    /// Converts the error of a source for a search.
    pub(crate) fn from_search(error: QuoteError) -> Self {
        match error {
            QuoteError::RateLimited { retry_at } => {
                Self::SourceUnavailable { retry_at: retry_at.map(Timestamp::from) }
            }
            _ => Self::SourceUnavailable { retry_at: None },
        }
    }
}

/// Collects the errors of the input fields while they are parsed.
#[derive(Debug, Default)]
pub struct Fields(pub(crate) Vec<FieldError>);

impl Fields {
    /// Parses a field. If the text is invalid, adds an error and returns `None`.
    pub fn read<T: FromStr>(&mut self, field: &'static str, text: &str) -> Option<T>
    where
        T::Err: ToString,
    {
        text.parse().map_err(|error: T::Err| self.refuse(field, error.to_string())).ok()
    }

    pub fn check(&mut self, field: &'static str, ok: bool, message: &str) {
        if !ok {
            self.refuse(field, message);
        }
    }

    pub fn refuse(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// Returns the value that was built from the fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the errors of all fields.
    pub fn finish<T>(self, built: Option<T>) -> Result<T> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ => Err(Error::Invalid(self.0)),
        }
    }

    pub(crate) fn done(self) -> Result<()> {
        self.finish(Some(()))
    }
}
