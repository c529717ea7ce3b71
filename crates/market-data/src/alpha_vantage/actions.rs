//! Parses Alpha Vantage's splits and dividends.

use bigdecimal::BigDecimal;
use chrono::{Datelike, NaiveDate};
use domain::Symbol;
use serde_json::Value;

use super::wire::{Object, check_symbol, known, parse_date, text};
use crate::QuoteError;
use crate::corporate::{Dividend, Split};
use crate::plausible::unusable;

/// The longest number that is parsed; longer ones are invalid.
const MAX_DIGITS: usize = 24;

/// Parses a `SPLITS` answer, oldest first.
pub(super) fn splits(answer: &Object, asked: &Symbol) -> Result<Vec<Split>, QuoteError> {
    let mut splits = rows(answer, asked, |row| {
        let effective_on = date(row, "effective_date")?;
        let factor = number(&text(row, "split_factor"))?;
        // The provider reports a factor of one for events without an effect.
        if factor == 1 { Some(None) } else { Split::of_factor(effective_on, &factor).map(Some) }
    })?;
    splits.sort_by_key(|split| split.as_ref().map(|split| split.effective_on));
    Ok(splits.into_iter().flatten().collect())
}

/// Parses a `DIVIDENDS` answer, oldest first, including declared dividends that are not due yet.
pub(super) fn dividends(answer: &Object, asked: &Symbol) -> Result<Vec<Dividend>, QuoteError> {
    let mut dividends = rows(answer, asked, |row| {
        let pays_on = match known(text(row, "payment_date")) {
            Some(_) => Some(date(row, "payment_date")?),
            None => None,
        };
        Dividend::new(date(row, "ex_dividend_date")?, pays_on, number(&text(row, "amount"))?)
    })?;
    dividends.sort_by_key(|dividend| dividend.ex_on);
    Ok(dividends)
}

/// Parses the rows of an answer's table with `read`. Invalid rows are skipped; a table without a valid row is an
/// error.
fn rows<T>(
    answer: &Object,
    asked: &Symbol,
    read: impl Fn(&Object) -> Option<T>,
) -> Result<Vec<T>, QuoteError> {
    check_symbol(&text(answer, "symbol"), asked)?;
    let rows = answer.get("data").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| unusable("an answer without a table"))?;
    let good: Vec<T> = rows.iter().filter_map(|row| read(row.as_object()?)).collect();
    if good.is_empty() && !rows.is_empty() {
        return Err(unusable("a table without a usable row"));
    }
    if good.len() < rows.len() {
        let left_out = rows.len() - good.len();
        tracing::warn!(symbol = asked.as_str(), left_out, "skipped invalid splits or dividends");
    }
    Ok(good)
}

fn date(row: &Object, field: &str) -> Option<NaiveDate> {
    parse_date(&text(row, field)).ok().filter(|date| (1900..2200).contains(&date.year()))
}

fn number(text: &str) -> Option<BigDecimal> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.len() <= MAX_DIGITS).then(|| text.parse().ok()).flatten()
}
