//! Stocks: finding them, their profile, price and history.

pub mod coverage;
pub mod key_features;
pub mod listings;
pub mod price_pace;
pub mod providers;
pub mod unconfirmed_prices;

use std::borrow::Borrow;
use std::sync::Arc;

use chrono::{Months, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::plausibility::UnconfirmedPrice;
use domain::{
    AsTraded, Bar, CorporateAction, CorporateActionKind, Freshness, HistoryRange, Listing, PUBLICATION,
    PriceMove, Quote, Session, SplitHistory, Stock, StockId, Symbol, Timestamp, TradingHold, UserId,
};
use market_data::{Catalogue, Pot, Purpose, QuoteError};
use persistence::corporate_actions as actions;
use persistence::{Store, StoreError, listings as stored_listings, stocks};

use crate::Market;
use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::splits::{is_contradicted, price_before_split};
use crate::error::{Error, Result};
use crate::market::instruments::{Instruments, last_known};
use crate::market::search_text::search_text;
use crate::stocks::coverage::Coverage;
use crate::stocks::price_pace::DuePrices;

/// What the whole history of an instrument means where the source has decades of it.
const ALL_YEARS: Months = Months::new(20 * 12);

/// The use cases of stocks. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Stocks {
    store: Store,
    market: Arc<Market>,
    instruments: Arc<Instruments>,
    corporate_actions: Arc<CorporateActions>,
}

impl Stocks {
    pub(crate) fn new(
        store: Store,
        market: Arc<Market>,
        instruments: Arc<Instruments>,
        corporate_actions: Arc<CorporateActions>,
    ) -> Self {
        Self { store, market, instruments, corporate_actions }
    }

    /// The same with more time for each call of the database.
    pub(crate) fn for_jobs(&self) -> Self {
        let (instruments, corporate_actions) =
            (Arc::new(self.instruments.for_jobs()), Arc::new(self.corporate_actions.for_jobs()));
        Self { store: self.store.for_jobs(), instruments, corporate_actions, market: self.market.clone() }
    }
}

impl Stocks {
    /// Makes the instruments of a source that lists them all known to the database. Safe to repeat.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn import_catalogue(&self) -> Result<()> {
        let Catalogue::Complete(mut listings) = self.market.quotes.catalogue(self.market.now()) else {
            return Ok(());
        };
        let renamed = self.renamed(&listings).await?;
        // Rows of several stocks are always written in the order of their symbols: nobody waits in a circle.
        listings.sort_by(|a, b| a.symbol.cmp(&b.symbol));
        self.store
            .write(move |tx| {
                for (stock, action, listing) in &renamed {
                    crate::corporate_actions::rename(tx, *stock, action, Some(listing))?;
                }
                let symbols: Vec<Symbol> = listings.iter().map(|listing| listing.symbol.clone()).collect();
                let known = stocks::by_symbols(tx, &symbols)?;
                for listing in
                    listings.iter().filter(|listing| known.iter().all(|stock| *stock.listing != **listing))
                {
                    stocks::upsert(tx, listing)?;
                }
                Ok(())
            })
            .await
    }

    /// Of symbols that the database does not have: stocks that it knows by another one, with how that came.
    async fn renamed(&self, listings: &[Listing]) -> Result<Vec<(StockId, CorporateAction, Listing)>> {
        let now = self.market.now();
        let known = self.store.read(|tx| stocks::all(tx).map_err(Error::from)).await?;
        let id_of = |symbol: &Symbol| {
            known.iter().find(|stock| stock.listing.symbol == *symbol).map(|stock| stock.id)
        };
        let mut renamed = Vec::new();
        if known.is_empty() {
            return Ok(renamed);
        }
        for listing in listings.iter().filter(|listing| id_of(&listing.symbol).is_none()) {
            let first = domain::period::EARLIEST;
            let actions = self
                .market
                .quotes
                .corporate_actions(&listing.symbol, first, exchange_date(now), now)
                .await
                .unwrap_or_default();
            renamed.extend(actions.into_iter().filter_map(|action| match &action.kind {
                CorporateActionKind::SymbolChange { to } if *to == listing.symbol => {
                    Some((id_of(&action.symbol)?, action, listing.clone()))
                }
                _ => None,
            }));
        }
        Ok(renamed)
    }

    /// Instruments whose symbol or name matches, best match first.
    ///
    /// # Errors
    /// [`Error::SourceUnavailable`] when the source has to be asked and does not answer; [`Error::Invalid`] for a text
    /// that is too long.
    pub async fn search_stocks(&self, query: &str, limit: usize) -> Result<Vec<Listing>> {
        let query = search_text(query)?;
        if query.is_empty() {
            return Ok(Vec::new());
        }
        if self.market.quotes.limits().is_some()
            && let Some(found) = self.search_locally(query.clone(), limit).await?
        {
            // Whoever searches a symbol is going to look at it: it gets its price with the next idle call.
            if let Some(exact) =
                found.iter().find(|listing| listing.symbol.as_str().eq_ignore_ascii_case(&query))
                && self.market.quotes.is_scarce()
            {
                self.instruments.stock(&exact.symbol).await?;
            }
            return Ok(found);
        }
        self.market.quotes.search(&query, limit, self.market.now()).await.map_err(Error::from_search)
    }

    /// In the table of listings; before it is filled, and where calls are few, among the stocks known here. `None`
    /// when the source is to be asked.
    async fn search_locally(&self, query: String, limit: usize) -> Result<Option<Vec<Listing>>> {
        let (source, most) = (self.market.quotes.source(), i64::try_from(limit).unwrap_or(i64::MAX));
        let is_scarce = self.market.quotes.is_scarce();
        self.store
            .read(move |tx| {
                if stored_listings::state(tx, source.as_str())?.is_some() {
                    return Ok(Some(stored_listings::search(tx, source.as_str(), &query, most)?));
                }
                if !is_scarce {
                    return Ok(None);
                }
                match stocks::page(tx, &query, None, most)? {
                    // Not to be taken for an answer: the table is still to come.
                    none if none.is_empty() => Err(Error::SourceUnavailable { retry_at: None }),
                    known => {
                        Ok(Some(known.into_iter().map(|stock| Arc::unwrap_or_clone(stock.listing)).collect()))
                    }
                }
            })
            .await
    }

    /// [`Stocks::quote_for`] nobody in particular.
    ///
    /// # Errors
    /// As there.
    pub async fn quote(&self, symbol: &Symbol) -> Result<Quote> {
        Ok(self.quote_for(None, symbol).await?.quote)
    }

    /// The newest price of a symbol. When the source fails, the last known one, marked stale, and why.
    ///
    /// # Errors
    /// As [`Instruments::stock_for`](crate::market::instruments::Instruments::stock_for), and [`Error::NoPrice`] when there has never been a price.
    pub async fn quote_for(&self, user: Option<UserId>, symbol: &Symbol) -> Result<LatestQuote> {
        Ok(self.priced_stock(user, symbol).await?.1)
    }

    /// The stock of a symbol and its newest price, both of the same company: the symbol may get another one while the source is
    /// being asked, or its answer may tell so.
    ///
    /// # Errors
    /// As [`Stocks::quote_for`].
    pub(crate) async fn priced_stock(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
    ) -> Result<(Stock, LatestQuote)> {
        let mut stock = self.instruments.stock_for(user, symbol).await?;
        let mut latest = self.latest_quote(user, &stock).await;
        if self.market.quotes.limits().is_some() {
            let is_denied = match &latest {
                Err(error) => matches!(error, Error::NotTradable { .. }),
                Ok(LatestQuote { why_stale: Some(StaleReason::Source(error)), .. }) => {
                    matches!(error, QuoteError::NotTradable { .. })
                }
                Ok(_) => false,
            };
            self.corporate_actions.review_asked_company(&stock, is_denied).await?;
            let wanted = stock.listing.symbol.clone();
            let holder = self.store.read(move |tx| stocks::called(tx, &wanted).map_err(Error::from)).await?;
            match holder.filter(|holder| holder.id == stock.id) {
                Some(same) => stock = same,
                None => {
                    stock = self.instruments.stock_for(user, symbol).await?;
                    latest = self.latest_quote(user, &stock).await;
                }
            }
        }
        Ok((stock, latest?))
    }

    async fn latest_quote(&self, user: Option<UserId>, stock: &Stock) -> Result<LatestQuote> {
        let now = self.market.now();
        let mut found = self.latest_of(Asker::User(user), std::slice::from_ref(stock), now, true).await;
        let mut latest = found.pop().unwrap_or_else(|| Err(no_price(&stock.listing.symbol)))?;
        // Another process may have seen the price that waits.
        if latest.quote.stale
            && !matches!(latest.why_stale, Some(StaleReason::Halted(_)))
            && self.market.quotes.limits().is_some()
            && let Some(waiting) = self.unconfirmed_price(&stock.listing.symbol).await?
        {
            latest.why_stale = Some(StaleReason::Source(QuoteError::Unconfirmed(Box::new(waiting.price))));
        }
        Ok(latest)
    }

    /// The newest prices of many stocks at market time `at`, in their order; of those the source fails for, the last
    /// known ones, marked stale. A source whose calls are few is not asked for what has a price, be it late: its turn
    /// comes.
    pub(crate) async fn quotes_of(&self, stocks: &[impl Borrow<Stock>], at: Timestamp) -> Vec<Result<Quote>> {
        let found = self.latest_of(Asker::Nobody, stocks, at, false).await;
        found.into_iter().map(|latest| latest.map(|latest| latest.quote)).collect()
    }

    /// [`Stocks::quotes_of`] for a user, who may make the source be asked a few times a day for what is new here.
    pub(crate) async fn quotes_for_user(
        &self,
        user: UserId,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
    ) -> Vec<Result<Quote>> {
        let found = self.latest_of(Asker::User(Some(user)), stocks, at, false).await;
        found.into_iter().map(|latest| latest.map(|latest| latest.quote)).collect()
    }

    /// The price to value each stock at: its quote, or the last price of whatever source, marked stale. After an accepted
    /// change of the price source that is the old source's price, until the new one answers; no order fills at it.
    pub(crate) async fn valuation_quotes(
        &self,
        stocks: &[&Stock],
        at: Timestamp,
    ) -> Result<Vec<Option<Quote>>> {
        let mut quotes: Vec<Option<Quote>> =
            self.quotes_of(stocks, at).await.into_iter().map(Result::ok).collect();
        let missing = stocks.iter().zip(&quotes).filter(|(_, quote)| quote.is_none());
        let last = missing.filter_map(|(stock, _)| Some((stock.id, last_known(stock)?))).collect();
        let mut last = self.corporate_actions.in_shares_at(last, at).await?.into_iter();
        for (stock, quote) in stocks.iter().zip(&mut quotes) {
            if quote.is_none() && stock.last.is_some() {
                *quote = last.next();
            }
        }
        Ok(quotes)
    }

    async fn latest_of(
        &self,
        asker: Asker,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
        asks_when_late: bool,
    ) -> Vec<Result<LatestQuote>> {
        let mut latest = self.latest_as_traded(asker, stocks, at, asks_when_late).await;
        if let Err(error) = self.show_prices_before_splits(stocks, &mut latest).await {
            return every_one(error, stocks.len());
        }
        let mut traded = Vec::with_capacity(latest.len());
        let reasons: Vec<Result<Option<StaleReason>>> = stocks
            .iter()
            .zip(latest)
            .map(|(stock, latest)| {
                let LatestAsTraded { quote, why_stale } = latest?;
                traded.push((stock.borrow().id, quote));
                Ok(why_stale)
            })
            .collect();
        match self.corporate_actions.in_shares_at(traded, at).await {
            Ok(quotes) => {
                let mut quotes = quotes.into_iter();
                let mut with_quote = |why_stale| Some(LatestQuote { quote: quotes.next()?, why_stale });
                reasons.into_iter().filter_map(|reason| reason.map(&mut with_quote).transpose()).collect()
            }
            Err(error) => every_one(error, stocks.len()),
        }
    }

    /// While a split is suspended, nobody knows which shares newer prices are in: the last price before it is shown. The same
    /// holds for a price that contradicts a split and has not suspended it yet.
    async fn show_prices_before_splits(
        &self,
        stocks: &[impl Borrow<Stock>],
        latest: &mut [Result<LatestAsTraded>],
    ) -> Result<()> {
        let now = self.market.now();
        for known in self.corporate_actions.undecided_splits().await?.iter() {
            let Some(hold) = known.hold(now) else { continue };
            let id = known.stock_id;
            for (stock, latest) in stocks.iter().map(Borrow::borrow).zip(latest.iter_mut()) {
                if stock.id != id {
                    continue;
                }
                let has_first_price =
                    latest.as_ref().is_ok_and(|latest| latest.quote.at() >= known.effective_at);
                let is_wrong = match (&latest, hold.is_halt()) {
                    (_, true) => true,
                    (Ok(latest), false) if has_first_price => {
                        let all = self.store.read(move |tx| actions::of_stock(tx, id).map_err(Error::from));
                        is_contradicted(known, &SplitHistory::of_known(&all.await?), &latest.quote)
                    }
                    _ => false,
                };
                let source = self.market.quotes.source();
                if is_wrong && let Some(quote) = price_before_split(stock, known, source) {
                    *latest =
                        Ok(LatestAsTraded { quote, why_stale: Some(StaleReason::Halted(hold.clone())) });
                }
            }
        }
        Ok(())
    }

    async fn latest_as_traded(
        &self,
        asker: Asker,
        stocks: &[impl Borrow<Stock>],
        at: Timestamp,
        asks_when_late: bool,
    ) -> Vec<Result<LatestAsTraded>> {
        if stocks.is_empty() {
            return Vec::new();
        }
        let stocks = stocks.iter().map(Borrow::borrow);
        self.instruments.forget_prices_of_others(stocks.clone()).await;
        if self.market.quotes.is_scarce() {
            let mut found = Vec::with_capacity(stocks.len());
            for stock in stocks {
                found.push(self.scarce_quote(asker, stock, at, asks_when_late).await);
            }
            return found;
        }
        let asked = stocks.clone().filter(|stock| self.last_of_delisted(stock).is_none());
        let symbols: Vec<Symbol> = asked.map(|stock| stock.listing.symbol.clone()).collect();
        let is_new = stocks.clone().all(|stock| self.last_known(stock).is_none());
        let purpose = match asker {
            Asker::User(user) if is_new => Purpose::FirstSight { user },
            Asker::User(_) | Asker::Nobody => Purpose::Interactive,
        };
        let mut answers = self.market.quotes.quotes_in_order(purpose, &symbols, at).await.into_iter();
        stocks
            .map(|stock| match self.last_of_delisted(stock) {
                Some(last) => Ok(last),
                None => {
                    let answer = answers.next().unwrap_or(Err(QuoteError::Unreachable));
                    self.or_last_known(stock, answer)
                }
            })
            .collect()
    }

    /// The last price of a delisted stock. The source is not asked: it may know another company by that symbol now. The
    /// simulated market knows its delisted stocks.
    fn last_of_delisted(&self, stock: &Stock) -> Option<LatestAsTraded> {
        let on = stock.delisted_on.filter(|_| self.market.quotes.freshness() != Freshness::Simulated)?;
        let quote = self.last_known(stock)?;
        Some(LatestAsTraded { quote, why_stale: Some(StaleReason::Delisted(on)) })
    }

    /// The source's answer, or the last price with the reason why there is no newer one.
    fn or_last_known(
        &self,
        stock: &Stock,
        answer: std::result::Result<AsTraded<Quote>, QuoteError>,
    ) -> Result<LatestAsTraded> {
        let symbol = &stock.listing.symbol;
        match answer {
            Ok(quote) => {
                let why_stale = quote.as_traded().stale.then_some(StaleReason::NotPublished);
                Ok(LatestAsTraded { why_stale, quote })
            }
            Err(error) => match self.last_known(stock) {
                Some(quote) => {
                    tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "serving the last known price");
                    Ok(LatestAsTraded { quote, why_stale: Some(StaleReason::Source(error)) })
                }
                None => Err(Error::from_quote(symbol, error)),
            },
        }
    }

    /// The price in the database, after asking for a series if there is none, or none of the last session.
    async fn scarce_quote(
        &self,
        asker: Asker,
        stock: &Stock,
        at: Timestamp,
        asks_when_late: bool,
    ) -> Result<LatestAsTraded> {
        if let Some(last) = self.last_of_delisted(stock) {
            return Ok(last);
        }
        let kept = self.kept_price(stock, at);
        if let Some(quote) = kept.as_ref().filter(|quote| !quote.as_traded().stale || !asks_when_late) {
            let why_stale = quote.as_traded().stale.then_some(StaleReason::NotPublished);
            return Ok(LatestAsTraded { quote: quote.clone(), why_stale });
        }
        let symbol = &stock.listing.symbol;
        let user = match asker {
            Asker::User(user) => user,
            // Its turn comes with the next refresh: what many look at at once costs no calls.
            Asker::Nobody => return kept.map(LatestAsTraded::late).ok_or_else(|| no_price(symbol)),
        };
        let purpose = if kept.is_none() { Purpose::FirstSight { user } } else { Purpose::Interactive };
        let mut fetched = self.market.quotes.fetch_series(purpose, symbol, at).await;
        let mut limit = None;
        if let Err(QuoteError::RateLimited { .. }) = &fetched {
            limit = self.market.quotes.limits().and_then(|limits| limits.used_up(purpose));
            if limit.is_some() && self.idle_calls().await? > 0 {
                let idle = self.market.quotes.fetch_series(Purpose::Idle { user }, symbol, at).await;
                // What refused at first is told, not that there was no idle call either.
                if !matches!(idle, Err(QuoteError::RateLimited { .. })) {
                    fetched = idle;
                }
            }
        }
        let id = stock.id;
        let renewed = self.store.read(move |tx| Ok::<_, Error>(stocks::by_ids(tx, &[id])?.pop())).await?;
        match (renewed.and_then(|stock| self.kept_price(&stock, at)), fetched) {
            (Some(quote), fetched) => {
                let why = fetched.err().map_or(StaleReason::NotPublished, StaleReason::Source);
                Ok(LatestAsTraded { why_stale: quote.as_traded().stale.then_some(why), quote })
            }
            (None, Err(error)) => Err(match (limit, &error) {
                (Some(limit), QuoteError::RateLimited { retry_at: Some(retry_at) }) => {
                    Error::CallsUsedUp { symbol: symbol.clone(), limit, retry_at: (*retry_at).into() }
                }
                _ => Error::from_quote(symbol, error),
            }),
            (None, Ok(())) => Err(no_price(symbol)),
        }
    }

    /// How many of the day's calls are kept for jobs and will not be needed by them: before the close of the day one is
    /// kept for each stock in use, after it one for each whose close is still missing, and a few for news and the
    /// table of listings.
    async fn idle_calls(&self) -> Result<u32> {
        let Some(limits) = self.market.quotes.limits().filter(|limits| limits.per_day().is_some()) else {
            return Ok(0);
        };
        let budget = limits.budget().await.map_err(Error::internal)?;
        let scheduled = budget.pots.iter().find(|(pot, ..)| *pot == Pot::Scheduled);
        let left = scheduled.map_or(0, |(_, used, limit)| limit.saturating_sub(*used));
        if left == 0 {
            return Ok(0);
        }
        let now = self.market.now();
        let in_use = self.store.read(crate::market::demand::stocks_in_use).await?;
        let close_is_due = |session: Session| now < session.closes_at + PUBLICATION;
        let needed = match self.market.calendar.session(exchange_date(now)) {
            Some(session) if close_is_due(session) => in_use.len(),
            _ => in_use.iter().filter(|stock| self.is_late(stock, now)).count(),
        };
        let needed = u32::try_from(needed).unwrap_or(u32::MAX).saturating_add(KEPT_FOR_JOBS);
        Ok(left.saturating_sub(needed))
    }

    /// The price in the database, stale if a newer one should be there.
    fn kept_price(&self, stock: &Stock, at: Timestamp) -> Option<AsTraded<Quote>> {
        let quote = self.last_known(stock)?;
        let stale = self.market.quotes.is_stale(quote.as_traded(), at);
        Some(quote.map(|quote| Quote { stale, ..quote }))
    }

    /// Whether a newer price of the stock should be in the database. Of a delisted stock there is none.
    fn is_late(&self, stock: &Stock, at: Timestamp) -> bool {
        stock.delisted_on.is_none() && self.kept_price(stock, at).is_none_or(|quote| quote.as_traded().stale)
    }

    /// The price kept in the database as a quote, marked stale. One of another source is none: the deployment has
    /// changed over since, and its prices have nothing to do with these.
    fn last_known(&self, stock: &Stock) -> Option<AsTraded<Quote>> {
        last_known(stock).filter(|quote| quote.as_traded().source == self.market.quotes.source())
    }

    /// How a stock's price went, for working orders. A source whose calls are few is not asked for them: its prices
    /// come with [`Stocks::refresh_quotes`], which asks for these stocks first.
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
        let stock = self.store.read(move |tx| stocks::called(tx, &wanted).map_err(Error::from)).await?;
        let Some((stock, newest)) = stock
            .and_then(|stock| Some((self.kept_price(&stock, until)?.into_as_traded(), stock)))
            .map(|(quote, stock)| (stock, quote))
        else {
            return Err(no_price(symbol));
        };
        // Sessions that came late all come at once.
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
        // One that is late may still come.
        if moves.is_empty() && newest.stale { Err(no_price(symbol)) } else { Ok(moves) }
    }

    /// What is known of a stock's actions: all of the past that the source tells, and what is announced. Oldest first.
    ///
    /// # Errors
    /// As [`Instruments::stock`](crate::market::instruments::Instruments::stock).
    pub async fn corporate_actions(&self, symbol: &Symbol) -> Result<Vec<CorporateAction>> {
        let stock = self.instruments.stock(symbol).await?;
        self.corporate_actions.actions_of(&stock, self.market.now()).await
    }

    /// Daily bars of finished sessions, oldest first, told in the shares there are now: a split is no fall.
    ///
    /// # Errors
    /// As [`Instruments::stock`](crate::market::instruments::Instruments::stock); [`Error::NoPrice`] when the source fails and no bar is stored.
    pub async fn history(&self, symbol: &Symbol, range: HistoryRange) -> Result<Vec<Bar>> {
        self.history_for(None, symbol, range).await
    }

    /// As [`Stocks::history`] for a user, who may make the source be asked a few times a day for what is new here.
    ///
    /// # Errors
    /// As there.
    pub async fn history_for(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        range: HistoryRange,
    ) -> Result<Vec<Bar>> {
        Ok(self.covered_history(user, symbol, range).await?.0)
    }

    /// [`Stocks::history_for`], and how much of the range it covers: a free key of a provider has 100 sessions.
    ///
    /// # Errors
    /// As there.
    pub async fn covered_history(
        &self,
        user: Option<UserId>,
        symbol: &Symbol,
        range: HistoryRange,
    ) -> Result<(Vec<Bar>, Coverage)> {
        let mut stock = self.instruments.stock_for(user, symbol).await?;
        let now = self.market.now();
        let today = exchange_date(now);
        let first =
            range.first_day(today).unwrap_or_else(|| today.checked_sub_months(ALL_YEARS).unwrap_or(today));
        let mut bars = self.bars(user, &stock, first, today, now).await;
        // What came with the bars may tell that the symbol is another company's.
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
        // Splits of long ago come with the bars of then.
        self.corporate_actions.note_seen_actions(std::slice::from_ref(&stock)).await?;
        let actions = self.corporate_actions.actions_of(&stock, now).await?;
        let calendar = self.market.calendar;
        let bars = SplitHistory::of_actions(&actions, calendar).convert_bars(bars, calendar, now);
        let coverage = Coverage::of(range, today, &bars, calendar);
        Ok((bars, coverage))
    }

    /// From the source; where that fails, what is stored. Of a source whose calls are few it is the other way round.
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
            // There is no further bar, and the symbol may be another company's.
            _ if has_ended => Ok(None),
            // The price comes with the series.
            true => self.scarce_quote(Asker::User(user), stock, at, true).await.map(|_| None),
            false => {
                let answer = self.market.quotes.daily_bars(symbol, first, last, at).await;
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
            // A stock that had a price is not unknown, whatever the source says now: it has no history here.
            (stored, Err(Error::UnknownSymbol(_) | Error::NotTradable { .. })) if stock.last.is_some() => {
                Ok(stored)
            }
            (stored, Err(error)) if stored.is_empty() => Err(error),
            (stored, _) => Ok(stored),
        }
    }

    /// The newest prices for everything somebody holds or watches or has an open order for, kept for when the source
    /// is silent. A source whose calls are few is asked for `limit` series at most, the most urgent first.
    pub(crate) async fn refresh_quotes(&self, limit: usize) -> Result<String> {
        let now = self.market.now();
        if self.market.quotes.is_scarce() {
            let neglected = self.neglected_before(now);
            let stocks =
                self.store.read(move |tx| crate::market::demand::stocks_by_urgency(tx, neglected)).await?;
            return self.refresh_series(stocks, limit, now).await;
        }
        let DuePrices { mut stocks, in_use } = self.due_prices(now).await?;
        if self.market.quotes.limits().is_none() {
            stocks.sort_by_key(|stock| stock.last.as_ref().map(|last| last.as_of));
            stocks.truncate(limit);
        }
        self.instruments.forget_prices_of_others(stocks.iter()).await;
        let symbols: Vec<Symbol> = stocks.iter().map(|stock| stock.listing.symbol.clone()).collect();
        let found = self.market.quotes.quotes_in_order(Purpose::Scheduled, &symbols, now).await;
        let moved =
            stocks.iter().zip(&found).filter(|(stock, answer)| self.asks_for_news(stock, answer, now));
        let moved: Vec<Stock> = moved
            .map(|(stock, _)| stock.clone())
            .filter(|stock| !self.corporate_actions.has_seen_news(stock, now))
            .collect();
        self.corporate_actions.note_answers(&stocks, &found, now).await?;
        // The symbol of a delisted stock may be another company's by now.
        let priced = stocks.iter().zip(found).filter(|(stock, _)| stock.delisted_on.is_none());
        let mut quotes: Vec<(StockId, AsTraded<Quote>)> =
            priced.filter_map(|(stock, quote)| Some((stock.id, quote.ok()?))).collect();
        let refreshed = quotes.len();
        // Rows of several stocks are always written in the order of their symbols: nobody waits in a circle.
        quotes.sort_by(|(_, a), (_, b)| a.as_traded().symbol.cmp(&b.as_traded().symbol));
        self.store
            .write(move |tx| {
                for (id, quote) in &quotes {
                    stocks::save_last_price(tx, *id, quote.as_traded())?;
                }
                Ok::<_, Error>(())
            })
            .await?;
        if self.market.quotes.limits().is_some() {
            self.corporate_actions.review_seen_companies(&stocks).await?;
            self.corporate_actions.note_seen_actions(&stocks).await?;
            self.corporate_actions.learn_after_jumps(moved).await?;
        }
        Ok(format!("{refreshed} of {in_use} stocks refreshed"))
    }

    /// Whether a stock's price has moved so far that its source is asked at once whether shares were split. Of a price that
    /// stays unconfirmed it is asked in the first two minutes, and once an hour.
    fn asks_for_news(
        &self,
        stock: &Stock,
        answer: &std::result::Result<AsTraded<Quote>, QuoteError>,
        now: Timestamp,
    ) -> bool {
        match answer {
            Ok(quote) => self.last_known(stock).is_some_and(|last| {
                let change = quote.as_traded().price.change_ratio(&last.as_traded().price);
                change.is_some_and(|change| change.abs() > NEWS_AFTER)
            }),
            Err(QuoteError::Unconfirmed(waiting)) => {
                let minutes = (now - waiting.first_seen_at).num_minutes();
                minutes < 2 || minutes % 60 == 0
            }
            Err(_) => false,
        }
    }

    /// The table of listings has no sectors: stocks in use get theirs a few at a time, with what calls are left.
    async fn learn_sectors(&self, now: Timestamp) -> Result<()> {
        let stocks = self.store.read(crate::market::demand::stocks_in_use).await?;
        let nameless = stocks.into_iter().filter(|stock| stock.listing.sector.is_empty());
        for stock in nameless.take(PROFILES_AT_ONCE) {
            let known = stock.listing;
            let found = self.market.quotes.listing_for(Purpose::Scheduled, &known.symbol, now).await;
            let sector = match found {
                Ok(found) if !found.sector.is_empty() => found.sector,
                // It has none, and is not asked for one again.
                Ok(_) | Err(QuoteError::UnknownSymbol(_)) => NO_SECTOR.to_owned(),
                Err(error) => {
                    tracing::debug!(symbol = %known.symbol, error = &error as &dyn std::error::Error, "no profile");
                    continue;
                }
            };
            let id = stock.id;
            self.store
                .write(move |tx| stocks::set_sector(tx, id, &known.symbol, &sector).map_err(Error::from))
                .await?;
        }
        Ok(())
    }

    /// A series for a job.
    async fn fetch_patiently(&self, symbol: &Symbol, now: Timestamp) -> std::result::Result<(), QuoteError> {
        let quotes = &self.market.quotes;
        loop {
            let fetched = quotes.fetch_series(quotes.purpose_of_jobs(), symbol, now).await;
            if !self.market.may_ask_again(fetched.as_ref().err()).await {
                return fetched;
            }
        }
    }

    /// Gets the prices of stocks that were looked up and have none, with calls that the jobs do not need: so that they are
    /// there when somebody comes back. Answers how many.
    async fn warm_up(&self, now: Timestamp) -> Result<usize> {
        let (idle, source) = (self.idle_calls().await?.min(MOST_WARMED_UP), self.market.quotes.source());
        if idle == 0 {
            return Ok(0);
        }
        let wanted = self
            .store
            .read(move |tx| Ok::<_, Error>(stocks::without_price(tx, source.as_str(), idle.into())?))
            .await?;
        let mut warmed = 0;
        for stock in wanted {
            match self.fetch_patiently(&stock.listing.symbol, now).await {
                Ok(()) => warmed += 1,
                Err(QuoteError::RateLimited { .. }) => break,
                Err(error) => {
                    tracing::debug!(symbol = %stock.listing.symbol, error = &error as &dyn std::error::Error, "no series");
                }
            }
        }
        Ok(warmed)
    }

    /// What is left of a day's calls shortly before they are lost goes into news of splits and dividends.
    async fn learn_at_end_of_day(&self) -> Result<()> {
        let Some(limits) = self.market.quotes.limits().filter(|limits| limits.day_is_ending()) else {
            return Ok(());
        };
        let left = limits.budget().await.map_err(Error::internal)?.left().unwrap_or(0);
        self.corporate_actions.learn_with_leftover_calls((left / CALLS_FOR_NEWS) as usize).await
    }

    /// What is held or on order and has no later price has been passed over: it lacks two closes.
    fn neglected_before(&self, now: Timestamp) -> Timestamp {
        let calendar = self.market.calendar;
        let due = calendar.last_closed(now - PUBLICATION);
        calendar.before(due.date).closes_at
    }

    /// On the evening of a session its closes are published at some time. Until then every question is one too many.
    fn may_be_unpublished(&self, now: Timestamp) -> bool {
        let is_ending = self.market.quotes.limits().is_some_and(|limits| limits.day_is_ending());
        self.market.calendar.last_closed(now).date == exchange_date(now) && !is_ending
    }

    async fn refresh_series(&self, stocks: Vec<Stock>, limit: usize, now: Timestamp) -> Result<String> {
        let in_use = stocks.len();
        let again = self.corporate_actions.listed_again(&stocks).await?;
        let mut late: Vec<Stock> = stocks.into_iter().filter(|stock| self.is_late(stock, now)).collect();
        late.extend(again);
        let (mut asked, mut refusal) = (0, None);
        let mut fetched_of = Vec::new();
        let mut in_vain = self.may_be_unpublished(now).then_some(0);
        for stock in late.iter().take(limit) {
            if in_vain == Some(TRIED_IN_VAIN) {
                break;
            }
            match self.fetch_patiently(&stock.listing.symbol, now).await {
                Ok(()) => {
                    asked += 1;
                    fetched_of.push(stock.id);
                    if let Some(tried) = in_vain {
                        let id = stock.id;
                        let renewed =
                            self.store.read(move |tx| stocks::by_ids(tx, &[id]).map_err(Error::from));
                        let has_close = renewed.await?.iter().any(|stock| !self.is_late(stock, now));
                        in_vain = (!has_close).then_some(tried + 1);
                    }
                }
                // The others would be refused as well.
                Err(error @ QuoteError::RateLimited { .. }) => {
                    refusal = Some(error);
                    break;
                }
                Err(error) => {
                    tracing::warn!(symbol = %stock.listing.symbol, error = &error as &dyn std::error::Error, "no series")
                }
            }
        }
        if refusal.is_none() && in_vain != Some(TRIED_IN_VAIN) {
            self.learn_sectors(now).await?;
            asked += self.warm_up(now).await?;
            self.learn_at_end_of_day().await?;
        }
        let ids: Vec<StockId> = late.iter().map(|stock| stock.id).collect();
        let renewed = self.store.read(move |tx| stocks::by_ids(tx, &ids).map_err(Error::from)).await?;
        self.corporate_actions.take_back_priced(&renewed, now).await?;
        let has_jumped = |new: &&Stock| {
            let old = late.iter().find(|old| old.id == new.id).and_then(|old| old.last.as_ref());
            let both = old.zip(new.last.as_ref());
            let change = both.and_then(|(old, new)| new.price.change_ratio(&old.price));
            fetched_of.contains(&new.id) && change.is_some_and(|change| change.abs() > UNUSUAL_CHANGE)
        };
        self.corporate_actions
            .learn_after_jumps(renewed.iter().filter(has_jumped).cloned().collect())
            .await?;
        let still_late = renewed.iter().filter(|stock| self.is_late(stock, now)).count();
        let mut outcome =
            format!("{} of {in_use} stocks have the last close, {asked} asked for", in_use - still_late);
        if let Some(error) = refusal {
            outcome = format!("{outcome}; {error}");
        } else if in_vain == Some(TRIED_IN_VAIN) {
            outcome.push_str("; the last session's closes are not published yet");
        }
        Ok(outcome)
    }
}

/// A change from one minute's price to the next, as a ratio, after which the source is asked at once whether shares were
/// split.
const NEWS_AFTER: f64 = 0.20;
/// A change from one close to the next, as a ratio, after which the source is asked whether shares were split.
const UNUSUAL_CHANGE: f64 = 0.15;

/// Calls of a day that stay with the jobs besides one for each close: for news of two stocks and a table of listings.
const KEPT_FOR_JOBS: u32 = 3;
/// One for splits and one for dividends of a stock.
const CALLS_FOR_NEWS: u32 = 2;
/// After so many answers without the new close a refresh ends: it is not published yet.
const TRIED_IN_VAIN: u32 = 3;
/// Stocks that were looked up and get a price in one refresh.
const MOST_WARMED_UP: u32 = 5;
/// Profiles that one refresh asks for.
const PROFILES_AT_ONCE: usize = 2;
/// The sector of what has none.
const NO_SECTOR: &str = "Other";

/// The same failure for every stock that was asked about.
fn every_one<T>(error: Error, stocks: usize) -> Vec<Result<T>> {
    let cause = Arc::new(error);
    let failure = || Err(StoreError::Unavailable(Box::new(Arc::clone(&cause))).into());
    std::iter::repeat_with(failure).take(stocks).collect()
}

/// A price, and why there is no newer one if it is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestQuote {
    pub quote: Quote,
    pub why_stale: Option<StaleReason>,
}

/// Why there is no newer price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StaleReason {
    #[error("the price source has not given a newer price yet")]
    NotPublished,
    /// The source was asked, or may not be asked now.
    #[error("{}", told_of_known_stock(.0))]
    Source(QuoteError),
    /// Nobody knows which shares newer prices are in.
    #[error("{0}")]
    Halted(TradingHold),
    #[error("it was delisted on {0}: there are no newer prices")]
    Delisted(NaiveDate),
}

/// What a source's answer means for a stock that had a price: it may be a passing fault.
fn told_of_known_stock(error: &QuoteError) -> String {
    match error {
        QuoteError::UnknownSymbol(symbol) => {
            format!("the price source does not know {symbol} at the moment and will be asked again")
        }
        QuoteError::NotTradable { symbol, reason } => {
            format!("the price source says of {symbol} that {reason}, and will be asked again")
        }
        other => other.to_string(),
    }
}

impl StaleReason {
    /// The newer price that waits for its confirmation, if that is the reason.
    pub fn unconfirmed(&self) -> Option<&UnconfirmedPrice> {
        match self {
            Self::Source(QuoteError::Unconfirmed(waiting)) => Some(waiting),
            Self::Source(_) | Self::NotPublished | Self::Halted(_) | Self::Delisted(_) => None,
        }
    }

    /// By how much the source's clock is ahead of this server's, if that is the reason.
    pub(crate) fn clock_behind(&self) -> Option<TimeDelta> {
        match self {
            Self::Source(QuoteError::ClockAhead { by }) => Some(*by),
            Self::Source(_) | Self::NotPublished | Self::Halted(_) | Self::Delisted(_) => None,
        }
    }
}

/// Who wants a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A user, or an unknown one, who waits for this price.
    User(Option<UserId>),
    /// A valuation or a list: a source whose calls are few is not asked for it.
    Nobody,
}

/// [`LatestQuote`] before its price is converted to the shares of the moment.
struct LatestAsTraded {
    quote: AsTraded<Quote>,
    why_stale: Option<StaleReason>,
}

impl LatestAsTraded {
    /// A price for which no newer one is asked now.
    fn late(quote: AsTraded<Quote>) -> Self {
        let why_stale = quote.as_traded().stale.then_some(StaleReason::NotPublished);
        Self { quote, why_stale }
    }
}

fn no_price(symbol: &Symbol) -> Error {
    Error::NoPrice { symbol: symbol.clone(), retry_at: None }
}
