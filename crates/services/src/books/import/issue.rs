//! What is wrong with rows of an import.

use chrono::NaiveDate;
use domain::{DecimalError, Money, Quantity, Symbol, Timestamp};
use thiserror::Error;

/// A problem of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowIssue {
    /// Line of the file, from 1; the names of the columns are the first.
    pub line: usize,
    /// The column by its usual name.
    pub column: Option<&'static str>,
    pub problem: RowProblem,
}

impl RowIssue {
    pub(super) fn new(line: usize, column: Option<&'static str>, problem: RowProblem) -> Self {
        Self { line, column, problem }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowProblem {
    #[error("the file contains a NUL byte; save it as text in UTF-8")]
    NulByte,
    #[error("the first line must name the columns, among them date and action; remove the lines above it")]
    Header,
    #[error(
        "the columns {one:?} and {other:?} both contain the {column}; remove one, or give it another name"
    )]
    SameColumns { column: &'static str, one: String, other: String },
    #[error("there is no row below the names of the columns")]
    NoRows,
    #[error("the row cannot be read; save the file as CSV in UTF-8")]
    Unreadable,
    #[error("a file may have {most} rows; split it, and import the older part first")]
    TooManyRows { most: usize },
    #[error("write a day like 2026-11-20, or a time like 2026-11-20 10:30 or 2026-11-20T15:30:00Z")]
    Date,
    #[error("{action:?} cannot be imported; use buy, sell, deposit or withdrawal")]
    Action { action: String },
    #[error(
        "a {kind} cannot be imported, because it was decided on the other installation; import the rows before it, and \
         ask your administrator to book it here"
    )]
    OnlyThere { kind: &'static str },
    #[error("{date:?} has two meanings; write the year first, like 2026-11-20")]
    DateOfTwoMeanings { date: String },
    #[error(
        "write a number like 1234.50 or 1234,50; the other numbers of the file have {mark:?} before the decimals"
    )]
    Notation { mark: char },
    #[error("{number} can mean {} or {}; write it without the comma, or with a point", number.replace(',', ""), number.replace(',', "."))]
    TwoMeanings { number: String },
    #[error("amounts are in US dollars, not in {currency}; convert the row, or remove it")]
    Currency { currency: String },
    #[error(
        "deposits and withdrawals are of cash; write shares that came from another account as a deposit and a buy"
    )]
    CashOnly,
    #[error("deposits and withdrawals have no fee; enter the amount that reached or left the account")]
    FeeOfCash,
    #[error("{0}")]
    Number(#[from] DecimalError),
    #[error("write a symbol like AAPL")]
    Symbol,
    #[error("enter a value above zero")]
    Missing,
    #[error("no stock has the symbol {0}")]
    UnknownSymbol(Symbol),
    #[error("{symbol} cannot be traded here: {reason}")]
    NotTradable { symbol: Symbol, reason: &'static str },
    #[error("there is no price for {0} at the moment, so its shares have no value; try again later")]
    NoPrice(Symbol),
    #[error("{symbol} has no price on or before this day; its first one is of {first_on}")]
    BeforeFirstPrice { symbol: Symbol, first_on: NaiveDate },
    #[error(
        "the price source does not tell splits and dividends of {symbol} before {first_on}; import newer rows, with the \
         shares held then as a buy"
    )]
    ActionsUnknown { symbol: Symbol, first_on: NaiveDate },
    #[error("{symbol} was delisted or closed out here on {on}; remove its rows")]
    Ended { symbol: Symbol, on: NaiveDate },
    #[error("this is in the future: it is {now} now")]
    Future { now: Timestamp },
    #[error(
        "the portfolio has transactions up to {newest}; import the whole history into a new portfolio that begins \
         without cash, or reset this one"
    )]
    OlderThanPortfolio { newest: Timestamp },
    #[error("not enough cash: {required} is needed and {available} is available; add the missing deposit")]
    NotEnoughCash { required: Money, available: Money },
    #[error("only {held} shares of {symbol} are held; add the missing buy")]
    NotHeld { symbol: Symbol, held: Quantity },
    #[error("the amount does not follow from quantity, price and fee: {expected} does")]
    Amount { expected: Money },
    #[error("fills of one order must be on one side of a split")]
    OrderAcrossSplit,
    #[error("the fills of one order must be of one stock and one side")]
    OrderOfSeveral,
    #[error("the amount or the balance is more than an account can hold")]
    OutOfBounds,
    #[error(
        "this installation's price source has no such {kind} of {symbol}; it books splits and dividends by itself, so \
         remove the row if that is right"
    )]
    NoSuchAction { kind: &'static str, symbol: Symbol },
    #[error(
        "this installation's price source has a {kind} of {symbol} on {on}, which the file lacks; export the whole \
         history, and use the same price source"
    )]
    ActionMissing { kind: &'static str, symbol: Symbol, on: NaiveDate },
}
