//! The user's trades, dividends and splits of a stock as marks on its interactive chart.

use chrono::NaiveDate;
use domain::calendar::exchange_date;
use domain::corporate_action::CorporateAction;
use domain::{Quote, TransactionType};
use serde::Serialize;
use services::books::transactions::NamedEntry;

use super::corporate_actions::sentence;
use super::own_trades::deal;
use crate::shell::format;

/// A mark on the day of a journal entry.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Mark {
    date: NaiveDate,
    /// The shape of the mark: `buy`, `sell`, `dividend` or `other`.
    kind: &'static str,
    /// Shown when the crosshair is on the day.
    text: String,
}

/// The newest price with its day.
#[derive(Serialize)]
struct LatestPrice {
    date: NaiveDate,
    price: String,
}

/// The marks as JSON, oldest first. Entries that changed neither shares nor cash have no mark.
pub fn marks_json<'a>(
    entries: impl Iterator<Item = &'a NamedEntry>,
    actions: &[CorporateAction],
    today: NaiveDate,
) -> String {
    let mut marks: Vec<Mark> = entries.filter_map(|line| mark(line, actions, today)).collect();
    marks.sort_by_key(|mark| mark.date);
    json(&marks)
}

/// The newest price and its day as JSON; empty without a price.
pub fn latest_json(quote: Option<&Quote>) -> String {
    let latest =
        |quote: &Quote| LatestPrice { date: exchange_date(quote.as_of), price: quote.price.to_string() };
    quote.map(|quote| json(&latest(quote))).unwrap_or_default()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("Invariant: dates and texts can be written as JSON")
}

fn mark(line: &NamedEntry, actions: &[CorporateAction], today: NaiveDate) -> Option<Mark> {
    let entry = &line.entry;
    let date = exchange_date(entry.timestamp);
    let (kind, text) = match entry.transaction_type {
        TransactionType::Buy => ("buy", deal(line, actions, today)?.title),
        TransactionType::Sell => ("sell", deal(line, actions, today)?.title),
        TransactionType::Dividend => ("dividend", format!("Dividend {}", format::money(&entry.amount))),
        TransactionType::Split
        | TransactionType::Reversal
        | TransactionType::CloseOut
        | TransactionType::Exchange => ("other", sentence(entry)?),
        TransactionType::Deposit | TransactionType::Withdrawal | TransactionType::Fee => return None,
    };
    Some(Mark { date, kind, text })
}
