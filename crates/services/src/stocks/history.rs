//! Daily bars, corporate actions, and the prices of an interval of time.

use chrono::{Months, NaiveDate};
use domain::calendar::exchange_date;
use domain::{
    AsTraded, Bar, BarInterval, CorporateAction, Freshness, HistoryRange, PriceMove, Quote, SplitHistory,
    Stock, Symbol, Timestamp, UserId,
};
use market_data::Purpose;
use persistence::stocks;

use super::Stocks;
use super::quotes::{QuoteReader, no_price};
use crate::error::{Error, Result};
use crate::stocks::coverage::Coverage;

/// How far the whole history of an instrument goes back, for sources that have decades of it.
const ALL_YEARS: Months = Months::new(20 * 12);

/// The bars of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalHistory {
    /// The bars, oldest first.
    pub bars: Vec<Bar>,
    /// The coverage of the sessions from which the bars are made.
    pub coverage: Coverage,
    /// Whether all sessions of the last bar's week or month have closed.
    pub is_last_complete: bool,
}

impl Stocks {
    /// Returns the price moves of a stock in an interval, for working orders. A source with few calls is not called:
    /// its prices come from [`Stocks::refresh_quotes`], which requests these stocks first.
    pub(crate) async fn moves_of(
        &self,
        symbol: &Symbol,
        after: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<AsTraded<PriceMove>>> {
        if !self.market.quotes.is_scarce() {
            let moves = self.market.quotes.moves(symbol, after, until).await;
            return moves.map_err(|error| Error::from_quote(symbol, error));
        }
        let wanted = symbol.clone();
        let stock = self.store.read(move |tx| stocks::with_symbol(tx, &wanted).map_err(Error::from)).await?;
        let Some((stock, newest)) = stock
            .and_then(|stock| Some((self.kept_price(&stock, until)?.into_as_traded(), stock)))
            .map(|(quote, stock)| (stock, quote))
        else {
            return Err(no_price(symbol));
        };
        // Sessions whose closes came late are returned together.
        let (id, source) = (stock.id, newest.source.to_string());
        let (first, last) = (exchange_date(after), exchange_date(until));
        let bars = self
            .store
            .read(move |tx| Ok::<_, Error>(stocks::bars_from(tx, id, &source, first, last)?))
            .await?;
        let moves: Vec<AsTraded<PriceMove>> = bars
            .into_iter()
            .filter_map(|bar| {
                let as_of = self.market.calendar.session(bar.date)?.closes_at;
                let inside = after < as_of && as_of <= until;
                let quote = Quote {
                    price: bar.close,
                    previous_close: None,
                    volume: Some(bar.volume),
                    as_of,
                    stale: false,
                    ..newest.clone()
                };
                inside.then(|| PriceMove { quote, volume: None }.into())
            })
            .collect();
        // A late close may still come.
        if moves.is_empty() && newest.stale { Err(no_price(symbol)) } else { Ok(moves) }
    }

    /// Returns the corporate actions of a stock, oldest first: all past ones that the source reports, and announced
    /// ones.
    ///
    /// # Errors
    /// The same as [`Instruments::stock`](crate::market::instruments::Instruments::stock).
    pub async fn corporate_actions(&self, symbol: &Symbol) -> Result<Vec<CorporateAction>> {
        let stock = self.instruments.stock(symbol).await?;
        self.corporate_actions.actions_of(&stock, self.market.now()).await
    }

    /// Returns the daily bars of closed sessions, oldest first, converted to current shares, so that a split does not
    /// look like a fall.
    ///
    /// # Errors
    /// The errors of [`Instruments::stock`](crate::market::instruments::Instruments::stock); [`Error::NoPrice`] when
    /// the source fails and no bar is stored.
    pub async fn history(&self, symbol: &Symbol, range: HistoryRange) -> Result<Vec<Bar>> {
        self.history_for(None, symbol, range).await
    }

    /// Like [`Stocks::history`], for a user. A stock that is new here may cause a few calls to the source per user and
    /// day.
    ///
    /// # Errors
    /// The same as [`Stocks::history`].
    pub async fn history_for(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        range: HistoryRange,
    ) -> Result<Vec<Bar>> {
        Ok(self.covered_history(user, symbol, range).await?.0)
    }

    /// Like [`Stocks::history_for`], with the coverage of the range: with a free key, a provider may have only 100
    /// sessions.
    ///
    /// # Errors
    /// The same as [`Stocks::history_for`].
    pub async fn covered_history(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        range: HistoryRange,
    ) -> Result<(Vec<Bar>, Coverage)> {
        let history = self.history_by(user, symbol, range, BarInterval::Day).await?;
        Ok((history.bars, history.coverage))
    }

    /// Returns the bars of a range by day, week or month. The range is extended to the first day of an interval, so
    /// that every week or month is complete, except the last one.
    ///
    /// # Errors
    /// The same as [`Stocks::history`].
    pub async fn history_by(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        range: HistoryRange,
        interval: BarInterval,
    ) -> Result<IntervalHistory> {
        let mut stock = self.instruments.stock_for(user, symbol).await?;
        let now = self.market.now();
        let today = exchange_date(now);
        let first =
            range.first_day(today).unwrap_or_else(|| today.checked_sub_months(ALL_YEARS).unwrap_or(today));
        let first = interval.first_day(first);
        let mut bars = self.bars(user, &stock, first, today, now).await;
        // The answer with the bars may show that the symbol now belongs to another company.
        if self.market.quotes.limits().is_some()
            && self
                .corporate_actions
                .review_asked_company(&stock, matches!(bars, Err(Error::NotTradable { .. })))
                .await?
        {
            stock = self.instruments.stock_for(user, symbol).await?;
            bars = self.bars(user, &stock, first, today, now).await;
        }
        let bars = bars?;
        // Old splits come with old bars.
        self.corporate_actions.record_observed_actions(std::slice::from_ref(&stock)).await?;
        let actions = self.corporate_actions.actions_of(&stock, now).await?;
        let calendar = self.market.calendar;
        let bars = SplitHistory::of_actions(&actions, calendar).convert_bars(bars, calendar, now);
        let coverage = Coverage::from_bars(range, today, &bars, calendar);
        let is_last_complete = bars.last().is_none_or(|last| interval.is_complete(last.date, calendar, now));
        Ok(IntervalHistory { bars: interval.combine(bars), coverage, is_last_complete })
    }

    /// Returns bars from the source, or the stored ones if the source fails. For a source with few calls, stored bars
    /// come first.
    pub(crate) async fn bars(
        &self,
        user: Option<UserId>,
        stock: &Stock,
        first: NaiveDate,
        last: NaiveDate,
        at: Timestamp,
    ) -> Result<Vec<Bar>> {
        let (id, symbol, source) = (stock.id, &stock.listing.symbol, self.market.quotes.source());
        let has_ended = stock.delisted_on.is_some() && self.market.quotes.freshness() != Freshness::Simulated;
        let answer = match self.market.quotes.is_scarce() {
            // There is no further bar, and the symbol may belong to another company.
            _ if has_ended => Ok(None),
            // The price comes with the series.
            true => self.scarce_quote(QuoteReader::Waiting(user), stock, at).await.map(|_| None),
            false => {
                let answer =
                    self.market.quotes.daily_bars(Purpose::Interactive, symbol, first, last, at).await;
                answer.map(Some).map_err(|error| Error::from_quote(symbol, error))
            }
        };
        if let Ok(Some(bars)) = answer {
            return Ok(bars);
        }
        let stored = self
            .store
            .read(move |tx| Ok::<_, Error>(stocks::bars_from(tx, id, source.as_str(), first, last)?));
        match (stored.await?, answer) {
            // A stock that had a price is known, whatever the source answers now: it only has no history.
            (stored, Err(Error::UnknownSymbol(_) | Error::NotTradable { .. })) if stock.last.is_some() => {
                Ok(stored)
            }
            (stored, Err(error)) if stored.is_empty() => Err(error),
            (stored, _) => Ok(stored),
        }
    }
}
