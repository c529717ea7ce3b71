//! Close-outs: an administrator ends all holdings of a delisted stock, for cash, for shares of another stock, or for
//! nothing.
//!
//! A close-out is a corporate action. It is stored once and applied to portfolios in batches like any other action, so
//! it can be interrupted and repeated. A close-out cannot be reversed: owners may have spent the cash and sold the new
//! shares.

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::close_out::Settlement;
use domain::{ActionId, CloseOut, KnownAction, Money, PerShare, Quantity, SplitRatio, Stock, Symbol};
use persistence::close_outs::{self, NewCloseOut};
use persistence::{Tx, corporate_actions as actions, installation, stocks};

use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::splits::checked_reason;
use crate::error::{Error, FieldError, NotFound, Result};
use crate::idempotency::{self, DecisionAuthor, Once, OnceRequest};
use crate::log_target::SECURITY;

/// What owners receive for their shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseOutTerms {
    Cash { per_share: PerShare },
    WriteOff,
    Exchange { into: Symbol, ratio: SplitRatio, cash: Option<PerShare> },
}

/// The unparsed fields of a form or of a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct CloseOutFields<'a> {
    /// `cash`, `write_off` or `exchange`
    pub kind: &'a str,
    pub cash: Option<&'a str>,
    pub into: Option<&'a str>,
    pub ratio: Option<&'a str>,
    pub on: Option<&'a str>,
}

impl CloseOutTerms {
    /// Parses the terms and the first day on which they apply.
    ///
    /// # Errors
    /// The errors of all invalid fields.
    pub fn parse(
        fields: CloseOutFields<'_>,
    ) -> std::result::Result<(Self, Option<NaiveDate>), Vec<FieldError>> {
        let given =
            |text: Option<&str>| text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let (cash, into, ratio, on) =
            (given(fields.cash), given(fields.into), given(fields.ratio), given(fields.on));
        let mut errors = Vec::new();
        let day = on.map(|on| on.parse::<NaiveDate>());
        if matches!(day, Some(Err(_))) {
            errors.push(FieldError::new("on", "enter a day like 2026-11-23, or leave the field empty"));
        }
        let amount = cash.as_deref().map(str::parse::<PerShare>);
        if let Some(Err(error)) = &amount {
            errors.push(FieldError::new("cash", format!("{error}: enter US dollars per share, like 54.20")));
        }
        let amount = amount.and_then(std::result::Result::ok);
        let mut left_out = |field, value: &Option<String>, of: &str| {
            if value.is_some() {
                errors.push(FieldError::new(field, format!("leave the field empty: {of} has none")));
            }
        };
        let terms = match fields.kind {
            "cash" => {
                left_out("into", &into, "a close-out for cash");
                left_out("ratio", &ratio, "a close-out for cash");
                if cash.is_none() {
                    errors.push(FieldError::new("cash", "enter US dollars per share, like 54.20"));
                }
                amount.map(|per_share| Self::Cash { per_share })
            }
            "write_off" => {
                left_out("cash", &cash, "a write-off");
                left_out("into", &into, "a write-off");
                left_out("ratio", &ratio, "a write-off");
                Some(Self::WriteOff)
            }
            "exchange" => {
                let into = into.as_deref().map(str::parse::<Symbol>).and_then(std::result::Result::ok);
                if into.is_none() {
                    errors.push(FieldError::new("into", "enter the symbol of the stock received, like META"));
                }
                let ratio = ratio.as_deref().map(str::parse::<SplitRatio>).and_then(std::result::Result::ok);
                if ratio.is_none() {
                    let message = "enter new and old shares, like 1:2 for one new share per two old ones";
                    errors.push(FieldError::new("ratio", message));
                }
                into.zip(ratio).map(|(into, ratio)| Self::Exchange { into, ratio, cash: amount })
            }
            _ => {
                errors.push(FieldError::new("kind", "must be cash, write_off or exchange"));
                None
            }
        };
        match terms {
            Some(terms) if errors.is_empty() => Ok((terms, day.and_then(std::result::Result::ok))),
            _ => Err(errors),
        }
    }
}

/// The expected effect of a close-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseOutPreview {
    pub stock: Stock,
    pub on: NaiveDate,
    pub portfolios: usize,
    /// Shares removed from portfolios.
    pub shares: Quantity,
    /// Cash paid to portfolios.
    pub cash: Money,
    /// Shares of the other stock added to portfolios, with its symbol.
    pub received: Option<(Symbol, Quantity)>,
    /// The cost basis of the removed shares.
    pub cost: Money,
    /// The realized gain or loss.
    pub realized: Money,
}

/// A stored close-out and the administrator's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneCloseOut {
    pub known: KnownAction,
    pub administrator: Option<String>,
    pub reason: Option<String>,
}

impl CorporateActions {
    /// Returns the effect that a close-out would have now, without changing anything.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`]; [`Error::Invalid`] as in [`CorporateActions::close_out`].
    pub async fn preview_close_out(
        &self,
        symbol: &Symbol,
        terms: &CloseOutTerms,
        on: Option<NaiveDate>,
    ) -> Result<CloseOutPreview> {
        let (stock, terms) = self.resolved(symbol, terms).await?;
        let (now, calendar) = (self.market.now(), self.market.calendar);
        self.store
            .read(move |tx| {
                let checked = check(tx, (&stock, &terms), on, (calendar, now))?;
                let mut preview = CloseOutPreview {
                    on: checked.on,
                    portfolios: 0,
                    shares: Quantity::zero(),
                    cash: Money::zero(),
                    received: None,
                    cost: Money::zero(),
                    realized: Money::zero(),
                    stock,
                };
                let mut received = Quantity::zero();
                for (_, position) in close_outs::held(tx, preview.stock.id)? {
                    let settled = Settlement::compute(&position, terms.cash(), terms.ratio());
                    preview.portfolios += 1;
                    preview.shares = preview.shares + &position.quantity;
                    preview.realized += &settled.realized(&position);
                    preview.cash += &settled.cash;
                    preview.cost += &position.cost_basis;
                    received = received + &settled.received;
                }
                preview.received = terms.into_stock().map(|(_, symbol)| (symbol.clone(), received));
                Ok::<_, Error>(preview)
            })
            .await
    }

    /// Closes out a delisted stock: replaces all shares by what `terms` define, at the opening of the session of `on`,
    /// or now. The close-out is applied to all portfolios before this returns; after a failure the next run of the job
    /// applies the rest. A repeated request with the same key returns the result of the first one.
    ///
    /// # Errors
    /// [`Error::UnknownSymbol`]; [`Error::Invalid`] without a reason, for a stock that is traded or was already closed
    /// out, for a day before the delisting or in the future, and for another stock that is not traded;
    /// [`Error::IdempotencyKeyReused`].
    pub async fn close_out(
        &self,
        symbol: &Symbol,
        terms: &CloseOutTerms,
        on: Option<NaiveDate>,
        reason: &str,
        author: DecisionAuthor,
    ) -> Result<Once<DoneCloseOut>> {
        let reason = checked_reason(reason)?;
        let (stock, resolved) = self.resolved(symbol, terms).await?;
        let day = on.map_or_else(|| "now".to_owned(), |on| on.to_string());
        let line = format!("close out {symbol} {terms:?} {day} {reason}");
        let request = OnceRequest::by(&author, line);
        let administrator = author.administrator;
        let (now, wall, calendar) = (self.market.now(), self.market.clock.wall(), self.market.calendar);
        let (named, name, kept) =
            (stock.listing.symbol.clone(), administrator.name().to_owned(), reason.clone());
        let done = idempotency::write_once(&self.store, move |tx| {
            let act = |tx: &mut Tx<'_>| {
                // The lock serializes the decisions of two administrators.
                installation::lock(tx)?;
                let Checked { on, effective_at } = check(tx, (&stock, &resolved), on, (calendar, now))?;
                let new = NewCloseOut {
                    stock_id: stock.id,
                    symbol: stock.listing.symbol.clone(),
                    terms: resolved,
                    on,
                    effective_at,
                    reason: kept,
                    administrator: name,
                };
                let id = close_outs::note(tx, &new, now, wall)?;
                let id = id.ok_or_else(|| closed_out_already(&new.symbol))?;
                Ok((done(tx, id)?, id.0))
            };
            request.carry_out(tx, wall, act, |tx, id| done(tx, ActionId(id)))
        })
        .await?;
        self.action_counter.increase();
        self.instruments.forget(&named);
        if !done.replayed {
            tracing::info!(
                target: SECURITY,
                event = "stock_closed_out",
                symbol = %named,
                close_out = %done.value.known.action.id,
                terms = ?terms,
                reason,
                administrator = administrator.name(),
                "an administrator closed a stock out"
            );
        }
        self.apply_corporate_actions().await?;
        Ok(done)
    }

    /// Returns the close-out of a stock, if it has one.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn close_out_of(&self, stock: &Stock) -> Result<Option<DoneCloseOut>> {
        let id = stock.id;
        self.store
            .read(move |tx| match close_outs::of_stock(tx, id)? {
                Some(known) => done(tx, known.id).map(Some),
                None => Ok(None),
            })
            .await
    }

    /// Returns the stock, and the terms with the other stock resolved. The source may be called for the other stock.
    async fn resolved(&self, symbol: &Symbol, terms: &CloseOutTerms) -> Result<(Stock, CloseOut)> {
        let stock = self.instruments.stored_stock(symbol).await?;
        let terms = match terms {
            CloseOutTerms::Cash { per_share } => CloseOut::Cash { per_share: per_share.clone() },
            CloseOutTerms::WriteOff => CloseOut::WriteOff,
            CloseOutTerms::Exchange { into, ratio, cash } => {
                let other = match self.instruments.stock(into).await {
                    Ok(other) => other,
                    Err(Error::UnknownSymbol(_) | Error::NotTradable { .. }) => {
                        return Err(Error::invalid("into", format!("no stock has the symbol {into}")));
                    }
                    Err(error) => return Err(error),
                };
                let (into, symbol) = (other.id, other.listing.symbol.clone());
                CloseOut::Exchange { into, symbol, ratio: *ratio, cash: cash.clone() }
            }
        };
        Ok((stock, terms))
    }
}

struct Checked {
    on: NaiveDate,
    effective_at: domain::Timestamp,
}

/// Checks that a stock can be closed out on these terms. Returns when the close-out takes effect: at the opening of the
/// given day's session, or now.
fn check(
    tx: &mut Tx<'_>,
    (stock, terms): (&Stock, &CloseOut),
    on: Option<NaiveDate>,
    (calendar, now): (domain::Calendar, domain::Timestamp),
) -> Result<Checked> {
    let symbol = &stock.listing.symbol;
    let delisted_on = stocks::by_ids(tx, &[stock.id])?.pop().and_then(|stock| stock.delisted_on);
    let Some(delisted_on) = delisted_on else {
        let message = match persistence::delistings::of_stock(tx, stock.id)? {
            Some(delisting) => {
                format!(
                    "{symbol} is traded until its delisting on {}: close it out on that day or later",
                    delisting.on
                )
            }
            None => format!("{symbol} is traded: confirm its delisting first"),
        };
        return Err(Error::invalid("symbol", message));
    };
    if close_outs::of_stock(tx, stock.id)?.is_some() {
        return Err(closed_out_already(symbol));
    }
    if let Some((into, symbol)) = terms.into_stock() {
        let other = stocks::by_ids(tx, &[into])?.pop();
        if into == stock.id || other.is_none_or(|other| other.delisted_on.is_some()) {
            let message = format!("{symbol} cannot be received: enter another stock that is traded");
            return Err(Error::invalid("into", message));
        }
    }
    let today = exchange_date(now);
    let Some(day) = on else { return Ok(Checked { on: today, effective_at: now }) };
    let session = calendar.sessions(day, day + Days::new(30)).next();
    match session.filter(|session| session.opens_at <= now) {
        None => Err(Error::invalid(
            "on",
            "is in the future: enter a day whose session has opened, or leave the field empty",
        )),
        Some(_) if day < delisted_on => {
            let message = format!("{symbol} was delisted on {delisted_on}: enter that day or a later one");
            Err(Error::invalid("on", message))
        }
        Some(session) => Ok(Checked { on: session.date, effective_at: session.opens_at }),
    }
}

fn closed_out_already(symbol: &Symbol) -> Error {
    Error::invalid("symbol", format!("{symbol} is already closed out"))
}

fn done(tx: &mut Tx<'_>, id: ActionId) -> Result<DoneCloseOut> {
    let known = actions::by_id(tx, id)?.ok_or(Error::NotFound(NotFound::CloseOut))?;
    let close_outs::Decision { administrator, reason } = close_outs::decision(tx, id)?.unwrap_or_default();
    Ok(DoneCloseOut { known, administrator, reason })
}
