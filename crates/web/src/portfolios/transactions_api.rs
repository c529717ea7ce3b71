//! The journal as JSON.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::calendar::EXCHANGE_ZONE;
use domain::journal::BookedTerms;
use domain::{
    DecimalText, Money, OrderId, PerShare, Price, Quantity, Symbol, Timestamp, TransactionFilter,
    TransactionId, TransactionType,
};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::transactions::{Cursor, NamedEntry};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::api::{Items, limit, parse};
use crate::http::input::Query;
use crate::http::portfolio_access::ReadAccess;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::stocks::corporate_actions::sentence;
use crate::trading::order_json::Receipt;

/// A line of the journal.
#[derive(Serialize, ToSchema)]
pub struct Transaction {
    id: i64,
    #[schema(value_type = Option<String>, format = "uuid")]
    order_id: Option<OrderId>,
    symbol: Option<Symbol>,
    #[schema(value_type = enums::TransactionType)]
    transaction_type: TransactionType,
    /// Only for a trade.
    #[schema(value_type = Option<enums::Side>)]
    side: Option<&'static str>,
    /// Positive for both sides. For a split the shares after it, for a dividend the shares that it is paid for, for a
    /// close-out the shares given up.
    quantity: Option<Quantity>,
    price: Option<Price>,
    commission: Money,
    /// The signed effect on cash.
    amount: Money,
    realized_pnl: Option<Money>,
    timestamp: Timestamp,
    receipt: Option<Receipt>,
    /// For a split `3:2`: three new shares for each two old ones. For an exchange: new shares and shares given up.
    split_ratio: Option<String>,
    /// For a split the shares before it, for an exchange the shares given up.
    quantity_before: Option<Quantity>,
    /// For a dividend US dollars per share, for a close-out the cash for each share given up.
    #[schema(value_type = Option<DecimalText>)]
    per_share: Option<PerShare>,
    /// Only for dividends, splits and close-outs: when they took effect.
    effective_at: Option<Timestamp>,
    /// Only for dividends, splits and close-outs: a sentence about it.
    description: Option<String>,
}

impl From<NamedEntry> for Transaction {
    fn from(NamedEntry { entry, symbol }: NamedEntry) -> Self {
        let terms = entry.action.as_ref().map(|action| &action.terms);
        let (split_ratio, quantity_before) = match terms {
            Some(BookedTerms::Split { ratio, before }) => (Some(ratio.to_string()), Some(before.clone())),
            Some(BookedTerms::ClosedOut { ratio, .. }) => (ratio.map(|ratio| ratio.to_string()), None),
            Some(BookedTerms::Exchanged { ratio, given }) => (Some(ratio.to_string()), Some(given.clone())),
            Some(BookedTerms::Dividend { .. }) | None => (None, None),
        };
        let per_share = match terms {
            Some(BookedTerms::Dividend { per_share }) => Some(per_share.clone()),
            Some(BookedTerms::ClosedOut { cash, .. }) => cash.clone(),
            Some(BookedTerms::Split { .. } | BookedTerms::Exchanged { .. }) | None => None,
        };
        let is_trade = matches!(entry.transaction_type, TransactionType::Buy | TransactionType::Sell);
        Self {
            split_ratio,
            quantity_before,
            per_share,
            effective_at: entry.action.as_ref().map(|action| action.effective_at),
            description: sentence(&entry),
            receipt: Receipt::from_entry(&entry),
            id: entry.id.map_or(0, |id| id.0),
            order_id: entry.order_id,
            symbol,
            transaction_type: entry.transaction_type,
            side: is_trade.then(|| entry.transaction_type.as_str()),
            quantity: entry.quantity,
            price: entry.price,
            commission: entry.commission,
            amount: entry.amount,
            realized_pnl: entry.realized_pnl,
            timestamp: entry.timestamp,
        }
    }
}

/// A filter for transactions, and a page.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Only transactions of this stock.
    #[param(value_type = Option<Symbol>)]
    pub symbol: Option<String>,
    /// Only transactions of this type.
    #[param(value_type = Option<enums::TransactionType>)]
    pub r#type: Option<String>,
    /// The first day (`2026-11-20`, New York) or instant (RFC 3339).
    #[param(value_type = Option<enums::DayOrInstant>)]
    pub from: Option<String>,
    /// The last day or instant.
    #[param(value_type = Option<enums::DayOrInstant>)]
    pub to: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<String>,
    /// `next_cursor` of the previous page.
    pub cursor: Option<String>,
}

const MOMENT: &str = "write a day like 2026-11-20 or an instant like 2026-11-20T15:00:00Z";

/// Whether both databases can store and compare the day.
fn is_ordinary(day: NaiveDate) -> bool {
    (1..=9998).contains(&day.year())
}

/// The text of a field; `None` if it is missing or empty.
fn given(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// Reads an instant, or a day as its start in New York. With `day_after` the result is just after the instant or day.
fn moment(field: &'static str, text: Option<&str>, day_after: bool) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let refused = || Problem::invalid(vec![FieldError::new(field, MOMENT)]);
    if let Ok(at) = text.parse::<DateTime<Utc>>() {
        if !is_ordinary(at.date_naive()) {
            return Err(refused());
        }
        let tick = if day_after { chrono::TimeDelta::microseconds(1) } else { chrono::TimeDelta::zero() };
        return Ok(Some(Timestamp::new(at) + tick));
    }
    let day: Option<NaiveDate> = parse(field, Some(text), MOMENT)?;
    if !day.is_some_and(is_ordinary) {
        return Err(refused());
    }
    let day = if day_after { day.and_then(|day| day.succ_opt()) } else { day };
    let start = day.and_then(|day| day.and_hms_opt(0, 0, 0)?.and_local_timezone(EXCHANGE_ZONE).earliest());
    Ok(start.map(|at| at.with_timezone(&Utc).into()))
}

/// Refuses parameters without a value.
pub fn refuse_empty(texts: &[(&'static str, &Option<String>)]) -> Result<(), Problem> {
    let empty = texts.iter().filter(|(_, text)| text.is_some() && given(text.as_ref()).is_none());
    let errors: Vec<FieldError> =
        empty.map(|(field, _)| FieldError::new(field, "is empty: leave it out")).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

impl Wanted {
    /// # Errors
    /// 422 for a symbol, type, day or instant that cannot be read.
    pub fn filter(&self) -> Result<TransactionFilter, Problem> {
        Ok(TransactionFilter {
            symbol: parse("symbol", given(self.symbol.as_ref()), "write a symbol like AAPL")?,
            transaction_type: parse(
                "type",
                given(self.r#type.as_ref()),
                "must be deposit, withdrawal, buy, sell, dividend, split, fee, reversal, close_out or exchange",
            )?,
            from: moment("from", given(self.from.as_ref()), false)?,
            until: moment("to", given(self.to.as_ref()), true)?,
        })
    }

    /// Refuses empty parameters, which only forms may send.
    fn not_empty(&self) -> Result<(), Problem> {
        let texts = [
            ("symbol", &self.symbol),
            ("type", &self.r#type),
            ("from", &self.from),
            ("to", &self.to),
            ("cursor", &self.cursor),
        ];
        refuse_empty(&texts)
    }

    /// # Errors
    /// 422 if it is not a whole number from 1 to 200.
    pub fn page_limit(&self) -> Result<usize, Problem> {
        limit(self.limit.as_deref())
    }

    /// # Errors
    /// 422 if it is not the cursor of a page.
    pub fn page_cursor(&self) -> Result<Option<Cursor>, Problem> {
        let hint = "send `next_cursor` of the previous page";
        let Some(text) = given(self.cursor.as_ref()) else { return Ok(None) };
        let (at, id) = text.split_once('-').unwrap_or((text, ""));
        let at: Option<i64> = parse("cursor", Some(at), hint)?;
        let id: Option<i64> = parse("cursor", Some(id), hint)?;
        let at = at.and_then(DateTime::from_timestamp_micros).map(Timestamp::from);
        let cursor = at.zip(id.map(TransactionId));
        cursor.map(Some).ok_or_else(|| Problem::invalid(vec![FieldError::new("cursor", hint)]))
    }
}

/// A cursor as text.
pub fn cursor_text((at, id): Cursor) -> String {
    format!("{}-{id}", at.utc().timestamp_micros())
}

/// List the transactions of a portfolio, newest first.
#[utoipa::path(
    get, path = "/api/v1/portfolios/{id}/transactions", tag = "portfolios", operation_id = "listTransactions",
    params(("id" = i64, Path), Wanted),
    responses((status = 200, description = "A page of transactions", body = Items<Transaction>)),
)]
pub async fn list(
    access: ReadAccess,
    wanted: Query<Wanted>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    wanted.not_empty()?;
    let (filter, before, limit) = (wanted.filter()?, wanted.page_cursor()?, wanted.page_limit()?);
    let page = state.services.books().transactions(access.portfolio, filter, before, limit).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(cursor_text),
        items: page.items.into_iter().map(Transaction::from).collect(),
    }))
}
