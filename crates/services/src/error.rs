//! Why a use case was refused or failed.

use std::str::FromStr;

use chrono::TimeDelta;
use domain::calendar::EXCHANGE_ZONE;
use domain::{Money, OrderRejected, OrderStatus, Quantity, Symbol, Timestamp, TradingHold};
use market_data::{CallLimit, QuoteError};
use persistence::StoreError;
use thiserror::Error;

pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with one field of the input, in words for the person who filled it in.
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

/// What does not exist or belongs to another user, which callers cannot tell apart.
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
    /// A name or an address that somebody else has.
    #[error("another account has this {}", .0.iter().map(|error| error.field).collect::<Vec<_>>().join(" and "))]
    Taken(Vec<FieldError>),
    #[error(transparent)]
    OrderRejected(OrderRejected),
    /// The same `client_order_id` came with another order before.
    #[error("that client_order_id was used for another order: choose a new one")]
    ClientOrderIdReused,
    /// The same idempotency key came with another request before.
    #[error("that Idempotency-Key was used for another request: choose a new one")]
    IdempotencyKeyReused,
    /// Only an open order can be canceled or replaced.
    #[error("the order is already {status}")]
    OrderNotOpen { status: OrderStatus },
    /// The portfolio was reset; what there was can only be looked at.
    #[error("the portfolio is archived and read-only")]
    Archived,
    /// More orders wait than can be taken in.
    #[error("too many orders are waiting: try again in a moment")]
    Busy,
    #[error("you cannot withdraw {required}: {available} is available")]
    InsufficientCash { required: Money, available: Money },
    /// The shares are there, and open orders are to sell them.
    #[error(
        "open orders reserve shares of {symbol}: {required} are to be sold and {available} are free; cancel these orders \
         first"
    )]
    SharesReserved { symbol: Symbol, required: Quantity, available: Quantity },
    #[error("no stock has the symbol {0}")]
    UnknownSymbol(Symbol),
    #[error("{symbol} cannot be traded here: {reason}")]
    NotTradable { symbol: Symbol, reason: &'static str },
    /// No orders are accepted in the stock for the time being.
    #[error("{symbol}: {hold}")]
    TradingHalted { symbol: Symbol, hold: Box<TradingHold> },
    #[error("no split of {0} waits for a price or is in doubt")]
    NoSplitInDoubt(Symbol),
    /// Fills would be booked at a time that is not that of their prices, or prices are dated after our time.
    #[error(
        "the server's clock is behind by {}: there are no newer prices and orders cannot be filled until it is set \
         right; try again later, or tell the operator",
        in_words(*by)
    )]
    ClockBehind { by: TimeDelta },
    /// The source has no price, and there is no older one either.
    #[error("there is no price for {symbol} at the moment")]
    NoPrice { symbol: Symbol, retry_at: Option<Timestamp> },
    /// There has never been a price, and the calls for asking are used up.
    #[error("there is no price for {symbol} yet: {limit}, and they are used up; try again at {}", in_new_york(*.retry_at))]
    CallsUsedUp { symbol: Symbol, limit: CallLimit, retry_at: Timestamp },
    /// The only price that the source tells is too far from the last accepted one to be used.
    #[error("there is no confirmed price for {symbol}: {cause}")]
    PriceUnconfirmed { symbol: Symbol, cause: QuoteError },
    /// The source cannot be asked just now.
    #[error("the price source does not answer at the moment")]
    SourceUnavailable { retry_at: Option<Timestamp> },
    /// Name, address or password are wrong, or the account is closed: not told apart.
    #[error("the name or the password is wrong")]
    BadCredentials,
    #[error("too many failed attempts: wait a moment")]
    TooManyAttempts { retry_after: TimeDelta },
    /// More passwords are to be checked than the machine can check in time.
    #[error("too many users are logging in at the moment: try again in a few seconds")]
    PasswordChecksBusy,
    /// The current password did not match when a new one was to be set or the account to be closed.
    #[error("that is not the current password")]
    WrongPassword,
    #[error("the last administrator cannot be removed: make another user an administrator first")]
    LastAdmin,
    #[error("a user can have up to {0} portfolios")]
    TooManyPortfolios(usize),
    #[error("you have {0} open streams, which is the limit: close one first")]
    TooManyStreams(usize),
    /// As many streams are open as this process takes, or it is about to end.
    #[error("no more streams can be opened at the moment")]
    StreamsFull,
    /// The database did not confirm an order. If it was placed, it is found by this name.
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
            OrderRejected::PriceFromFuture { as_of, asked_at } => Self::ClockBehind { by: as_of - asked_at },
            other => Self::OrderRejected(other),
        }
    }
}

/// "00:05 on 21 November, New York time"
fn in_new_york(at: Timestamp) -> String {
    at.utc().with_timezone(&EXCHANGE_ZONE).format("%H:%M on %-d %B, New York time").to_string()
}

/// A span with its largest unit: "40 days", "1 hour".
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

    /// Adds the order's name when the order may have been placed, or can be sent again.
    pub(crate) fn about_order(self, client_order_id: String) -> Self {
        match self {
            Self::Busy => Self::OrderUnconfirmed { client_order_id, source: Box::new(self) },
            Self::Store(ref cause) if cause.is_outage() => {
                Self::OrderUnconfirmed { client_order_id, source: Box::new(self) }
            }
            other => other,
        }
    }

    /// What a source's refusal means for a request about one symbol.
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

    /// What a source's refusal means for a search.
    pub(crate) fn from_search(error: QuoteError) -> Self {
        match error {
            QuoteError::RateLimited { retry_at } => {
                Self::SourceUnavailable { retry_at: retry_at.map(Timestamp::from) }
            }
            _ => Self::SourceUnavailable { retry_at: None },
        }
    }
}

/// Collects what is wrong with the fields of the input while they are read.
#[derive(Debug, Default)]
pub struct Fields(pub(crate) Vec<FieldError>);

impl Fields {
    /// The value of a field; `None` and an error if its text cannot be read.
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

    /// What was built from the fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that is wrong.
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
