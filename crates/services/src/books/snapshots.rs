//! Daily snapshots: every portfolio at the close of a session.
//!
//! Cash and shares are those at the close, however late the snapshot is taken: the effects of later journal lines are
//! undone. Prices are the closing prices of the session, stored in `price_bars`. A snapshot taken late, twice, or by
//! several workers therefore has the same result.

mod batch;

use std::collections::HashMap;

use chrono::{Days, NaiveDate, TimeDelta};
use domain::calendar::exchange_date;
use domain::period::{EARLIEST, LATEST};
use domain::share_basis::session_basis;
use domain::{AsTraded, Bar, Calendar, PortfolioId, Price, Session, Stock, StockId, Timestamp};
use market_data::Purpose;
use persistence::{StoreError, Tx, former_symbols, installation, jobs, portfolios, snapshots, stocks};

use serde::{Deserialize, Serialize};

use self::batch::{Batch, BooksWanted};
use crate::books::Books;
use crate::corporate_actions::splits::price_before_split;
use crate::corporate_actions::{ActionHistories, clear_stale, stale_since};
use crate::error::{Error, Result};
use crate::stocks::quotes::QuoteReader;

/// The name of a value in `installation`.
const LAST_FINAL_SNAPSHOT: &str = "last_final_snapshot";
/// The number of portfolios that are read in one transaction and written in another.
const BATCH: i64 = 2_500;
/// The same on SQLite, where orders wait while a batch is written.
const SMALL_BATCH: i64 = 500;
/// After this many sessions, the missing close of a delisted stock's last session is no longer expected.
const SESSIONS_TO_WAIT: usize = 10;
/// The number of later closes that show that a session without a close had no trade. One is not enough: the newest
/// close may be published first.
const LATER_CLOSES: usize = 2;
/// How far back the source is asked for the last close before a session without a trade.
const DAYS_BEFORE: Days = Days::new(30);
/// The most sessions whose snapshots are taken again in one run.
const MAX_SESSIONS: i64 = 50;

/// The portfolios with ids in `(after, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub after: PortfolioId,
    pub last: PortfolioId,
}

impl IdRange {
    pub const ALL: Self = Self { after: PortfolioId(0), last: PortfolioId(i64::MAX) };
}

/// The result of taking the snapshots of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotCount {
    pub portfolios: usize,
    /// Rows that are valued at older or not yet final prices.
    pub provisional: usize,
}

/// The newest session whose snapshots are valued at its closing prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalSnapshot {
    pub session: NaiveDate,
    /// Wall time at which the rows were written.
    pub taken_at: Timestamp,
}

/// The closing prices of one session, fetched when they are needed.
struct Prices {
    session: Session,
    /// The calendar of that session.
    calendar: Calendar,
    /// Whether current prices are used instead, because the session is not over.
    in_progress: bool,
    /// Whether only stored prices are used, for reading; a stock without a price is then left out.
    is_stored_only: bool,
    requested_at: Timestamp,
    /// The price of each stock, and whether it is older than the session.
    known: HashMap<StockId, (Price, bool)>,
}

impl Books {
    /// Writes the session's row for each portfolio of the range that existed before its close. For a session that is
    /// not over, the rows are provisional, at current prices. `progress` receives the number of rows written so far and
    /// returns whether to continue.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a day that has no session or is in the future.
    pub async fn take_snapshots(
        &self,
        date: NaiveDate,
        range: IdRange,
        mut progress: impl FnMut(usize) -> bool + Send,
    ) -> Result<SnapshotCount> {
        let now = self.market.now();
        if date > self.market.calendar.booking_session(now).date {
            return Err(Error::invalid("date", "that session has not begun yet"));
        }
        let calendar = self.market.book_calendar(&self.store).await?;
        let session = Some(date)
            .filter(|date| *date >= EARLIEST)
            .and_then(|date| calendar.session(date))
            .ok_or_else(|| Error::invalid("date", "the market has no session on that day"))?;
        let in_progress = session.closes_at > now;
        // Before the close, every journal line counts, including one at this very moment.
        let until = if in_progress { now + TimeDelta::microseconds(1) } else { session.closes_at };
        let previous_close = calendar.before(date).closes_at;
        if !in_progress {
            self.corporate_actions.catch_up_actions(session.opens_at).await?;
        }
        let calendar = calendar.on(date);
        let mut prices = Prices {
            session,
            calendar,
            in_progress,
            is_stored_only: false,
            requested_at: now,
            known: HashMap::new(),
        };
        let wanted = BooksWanted { until, flows_from: previous_close };
        let mut count = SnapshotCount::default();
        let mut after = range.after;
        let mut batch = self.read_batch(range, wanted).await?;
        while let Some(last) = batch.last() {
            // The next batch is read while this one is valued and written.
            let next = self.read_batch(IdRange { after: last, ..range }, wanted);
            let (next, saved) = tokio::join!(next, self.save_batch(batch, &mut prices));
            let (written, provisional) = match saved {
                // A portfolio was deleted after it was read: try again without it.
                Err(Error::Store(StoreError::MissingReference(_))) => {
                    batch = self.read_batch(IdRange { after, ..range }, wanted).await?;
                    continue;
                }
                saved => saved?,
            };
            after = last;
            count.portfolios += written;
            count.provisional += provisional;
            if !progress(count.portfolios) {
                break;
            }
            batch = next?;
        }
        if count.portfolios > count.provisional {
            self.note_final_snapshot(date).await?;
        }
        Ok(count)
    }

    /// The number of portfolios, archived ones included.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn portfolio_count(&self) -> Result<usize> {
        let count = self.store.read(|tx| portfolios::count(tx).map_err(Error::from)).await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Reads the next portfolios of the range.
    async fn read_batch(&self, range: IdRange, wanted: BooksWanted) -> Result<Batch> {
        let limit = if self.store.has_one_writer() { SMALL_BATCH } else { BATCH };
        self.store.read(move |tx| Batch::read(tx, range, wanted, limit)).await
    }

    /// Values the portfolios and writes their rows. Returns the number of rows, and the number of provisional rows.
    async fn save_batch(&self, batch: Batch, prices: &mut Prices) -> Result<(usize, usize)> {
        let mut missing = batch.stocks();
        missing.retain(|stock| !prices.known.contains_key(stock));
        self.price_stocks(prices, missing).await?;
        let rows = batch.snapshots(prices.session.date, prices);
        let (written, provisional) = (rows.len(), rows.iter().filter(|row| row.provisional).count());
        self.store.write(move |tx| snapshots::save(tx, &rows).map_err(Error::from)).await?;
        Ok((written, provisional))
    }

    /// Returns the stored prices that the snapshots of an ended session use. A stock without any price is left out.
    pub(super) async fn stored_closes(
        &self,
        calendar: Calendar,
        session: Session,
        stocks: Vec<StockId>,
    ) -> Result<HashMap<StockId, Price>> {
        let requested_at = self.market.now();
        let known = HashMap::new();
        let mut prices =
            Prices { session, calendar, in_progress: false, is_stored_only: true, requested_at, known };
        self.price_stocks(&mut prices, stocks).await?;
        Ok(prices.known.into_iter().map(|(stock, (price, _))| (stock, price)).collect())
    }

    async fn price_stocks(&self, prices: &mut Prices, missing: Vec<StockId>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let wanted = missing.clone();
        let (date, calendar) = (prices.session.date, prices.calendar);
        // Prices of other sessions are converted to the shares of this session.
        let basis = session_basis(calendar, date);
        let (stocks, older, histories) = self
            .store
            .read(move |tx| {
                let stocks = stocks::by_ids(tx, &wanted)?;
                let stored = stocks::closes_on(tx, &wanted, date)?;
                let older = older_prices(&stocks, stored, calendar);
                let times = older.values().map(|(_, price)| price.at()).chain([basis]);
                let (first, last) =
                    times.fold((basis, basis), |(first, last), at| (first.min(at), last.max(at)));
                Ok::<_, Error>((stocks, older, ActionHistories::between(tx, first, last)?))
            })
            .await?;
        if prices.in_progress {
            let found = self.stocks.latest_quotes_of(QuoteReader::Job, &stocks, prices.requested_at).await;
            for (stock, latest) in stocks.iter().zip(found) {
                prices.known.insert(stock.id, (latest?.quote.price, true));
            }
            return Ok(());
        }
        let mut older = older;
        let suspended = self.corporate_actions.undecided_splits().await?;
        for stock in stocks {
            // It is unknown whether closes after the split are in old or new shares: the snapshot is taken again once
            // the split is resolved.
            let split = suspended.iter().find(|known| {
                known.stock_id == stock.id
                    && known.effective_at <= basis
                    && known.hold(prices.requested_at).is_some_and(|hold| hold.is_halt())
            });
            if let Some(quote) =
                split.and_then(|known| price_before_split(&stock, known, self.market.quotes.source()))
            {
                prices.known.insert(stock.id, (histories.convert(stock.id, quote, basis).price, true));
                continue;
            }
            let (day, price) = match older.remove(&stock.id) {
                Some((day, price)) => (day, Some(histories.convert(stock.id, price, basis))),
                None => (None, None),
            };
            // After a delisting there are no further closes, so the close of the last session is used once it is known.
            // The snapshot run of that last session may still be in progress.
            let ended_on = stock.delisted_on.filter(|on| *on <= date);
            let last_session = ended_on.map(|on| calendar.before(on).date);
            if let Some(last) = last_session.filter(|last| day.is_none_or(|day| day < *last))
                && !prices.is_stored_only
                && let Some(close) = self.fetch_close(&stock, last, prices.requested_at).await?
            {
                let close = AsTraded::new(close, session_basis(calendar, last));
                prices.known.insert(stock.id, (histories.convert(stock.id, close, basis), false));
                continue;
            }
            let is_given_up = last_session.is_some_and(|last| {
                let today = exchange_date(prices.requested_at);
                calendar.sessions(last, today).count() > SESSIONS_TO_WAIT
            });
            let is_final = day == Some(date)
                || (day.is_some() && last_session.is_some() && (day >= last_session || is_given_up));
            let price = match price {
                Some(price) if is_final => (price, false),
                Some(price) if prices.is_stored_only => (price, true),
                None if prices.is_stored_only => continue,
                older => match self.fetch_close(&stock, date, prices.requested_at).await? {
                    Some(close) => (close, false),
                    None => match self.book_day_without_trade(&stock, date).await? {
                        Some(close) => (close, false),
                        None => (older.ok_or_else(|| no_price(&stock))?, true),
                    },
                },
            };
            prices.known.insert(stock.id, price);
        }
        Ok(())
    }

    /// Fetches the close of the session from the source and stores it; `None` when the source does not have it.
    async fn fetch_close(&self, stock: &Stock, date: NaiveDate, at: Timestamp) -> Result<Option<Price>> {
        // A source with scarce calls: the refresh fetches series in its own order, and all published closes are stored
        // already.
        if self.market.quotes.is_scarce() {
            return Ok(None);
        }
        let symbol = &stock.listing.symbol;
        let (id, asked) = (stock.id, symbol.clone());
        let has_symbol =
            self.store.read(move |tx| former_symbols::has_symbol(tx, id, &asked).map_err(Error::from));
        // After a rename, or when another company has the symbol, the answer would be empty or about another stock.
        if !has_symbol.await? {
            return Ok(None);
        }
        // Closes of the sessions around it show whether its close is late or there was no trade.
        let first = date.checked_sub_days(DAYS_BEFORE).unwrap_or(date);
        let last = self.market.calendar.last_closed(at).date;
        let purpose = Purpose::CloseOrNews;
        let bars = match self.market.quotes.daily_bars(purpose, symbol, first, last, at).await {
            Ok(bars) => bars,
            Err(error) => {
                tracing::warn!(%symbol, %date, error = &error as &dyn std::error::Error, "no closing price for the snapshot");
                return Ok(None);
            }
        };
        // A split that comes with the closes must be booked before one of these closes is used.
        if self.corporate_actions.record_observed_actions(std::slice::from_ref(stock)).await? > 0 {
            return Ok(None);
        }
        let (source, asked) = (self.market.quotes.source(), symbol.clone());
        self.store
            .write(move |tx| {
                stocks::save_bars_of(tx, (id, &asked), source.as_str(), &bars)?;
                // Another worker may have stored another answer first: the stored one counts.
                Ok(stocks::bars(tx, id, date, date)?.pop().map(|bar| bar.close))
            })
            .await
    }
}

impl Books {
    /// Stores a close for a session in which the stock did not trade. If the source has no close for the session but
    /// has closes of later sessions, there was no trade: the previous close, converted to the shares of the session, is
    /// stored with zero volume. Returns that close; `None` when the close may still come.
    async fn book_day_without_trade(&self, stock: &Stock, date: NaiveDate) -> Result<Option<Price>> {
        let (id, source, calendar) = (stock.id, self.market.quotes.source(), self.market.calendar);
        let Some(next) = date.succ_opt() else { return Ok(None) };
        let booked = self
            .store
            .write(move |tx| {
                let later = stocks::bars_from(tx, id, source.as_str(), next, LATEST)?;
                if later.len() < LATER_CLOSES {
                    return Ok(None);
                }
                let Some((_, day, close)) = stocks::closes_on(tx, &[id], date)?.pop() else {
                    return Ok(None);
                };
                let (from, to) = (session_basis(calendar, day), session_basis(calendar, date));
                let close =
                    ActionHistories::between(tx, from, to)?.convert(id, AsTraded::new(close, from), to);
                let [open, high, low] = [&close; 3].map(Price::clone);
                let bar = Bar { date, open, high, low, close: close.clone(), volume: 0 };
                stocks::save_bars(tx, id, source.as_str(), &[bar])?;
                Ok::<_, Error>(Some(close))
            })
            .await?;
        if booked.is_some() {
            tracing::info!(symbol = %stock.listing.symbol, %date, "a session without a trade: the close before counts");
        }
        Ok(booked)
    }

    /// Records that a session has final snapshots, unless a later session is recorded already.
    async fn note_final_snapshot(&self, session: NaiveDate) -> Result<()> {
        let taken_at = self.market.clock.wall();
        self.store
            .write(move |tx| {
                if last_final_snapshot(tx)?.is_some_and(|last| last.session > session) {
                    return Ok(());
                }
                let text =
                    serde_json::to_string(&FinalSnapshot { session, taken_at }).map_err(Error::internal)?;
                installation::set(tx, LAST_FINAL_SNAPSHOT, &text).map_err(Error::from)
            })
            .await
    }

    /// Takes snapshots again whose inputs became known late. Returns the number of sessions.
    ///
    /// # Errors
    /// Only when the database fails, or a price is missing.
    pub(crate) async fn take_snapshots_again(
        &self,
        alive: &mut (impl FnMut() -> bool + Send),
    ) -> Result<usize> {
        let (since, newest) = self
            .store
            .read(|tx| Ok::<_, Error>((stale_since(tx)?, jobs::newest_planned_session(tx)?)))
            .await?;
        let Some(since) = since else { return Ok(0) };
        let mut again = 0;
        if let Some(newest) = newest {
            let last = newest.min(self.market.calendar.last_closed(self.market.now()).date);
            let calendar = self.market.book_calendar(&self.store).await?;
            for session in calendar.sessions(since, last).collect::<Vec<_>>() {
                let mut going = true;
                let mut go_on = |_| {
                    going = alive();
                    going
                };
                self.take_snapshots(session.date, IdRange::ALL, &mut go_on).await?;
                if !going {
                    return Ok(again);
                }
                again += 1;
            }
        }
        self.store.write(move |tx| clear_stale(tx, since).map_err(Error::from)).await?;
        Ok(again)
    }

    /// Takes snapshots again that are still provisional although their session has closed and no run waits for it,
    /// oldest first. Rows become final without a command, even if the source answers late. Returns the number of
    /// sessions.
    pub(crate) async fn finalize_provisional(
        &self,
        alive: &mut (impl FnMut() -> bool + Send),
    ) -> Result<usize> {
        let newest = self.market.calendar.last_closed(self.market.now()).date;
        let dates = self
            .store
            .read(move |tx| {
                let mut dates = snapshots::provisional_dates(tx, newest, MAX_SESSIONS)?;
                let waiting = jobs::unfinished_sessions(tx)?;
                dates.retain(|date| !waiting.contains(date));
                Ok::<_, Error>(dates)
            })
            .await?;
        let mut taken = 0;
        for date in dates {
            let mut going = true;
            let mut go_on = |_| {
                going = alive();
                going
            };
            self.take_snapshots(date, IdRange::ALL, &mut go_on).await?;
            if !going {
                break;
            }
            taken += 1;
        }
        Ok(taken)
    }
}

/// Returns the newest session with final snapshots. Older databases have no such record; there it is the session of the
/// newest finished run.
pub(crate) fn last_final_snapshot(tx: &mut Tx<'_>) -> Result<Option<FinalSnapshot>> {
    if let Some(text) = installation::get(tx, LAST_FINAL_SNAPSHOT)? {
        return Ok(Some(serde_json::from_str(&text).map_err(Error::internal)?));
    }
    let run = jobs::newest_done(tx, jobs::SNAPSHOT_PORTFOLIOS)?;
    Ok(run.and_then(|run| Some(FinalSnapshot { session: run.key.parse().ok()?, taken_at: run.finished_at? })))
}

/// The newest stored close of each stock with the day of its session, or else its last price without a day.
fn older_prices(
    stocks: &[Stock],
    closes: Vec<(StockId, NaiveDate, Price)>,
    calendar: Calendar,
) -> HashMap<StockId, (Option<NaiveDate>, AsTraded<Price>)> {
    let last = stocks.iter().filter_map(|stock| {
        let last = stock.last.as_ref()?;
        Some((stock.id, (None, AsTraded::new(last.price.clone(), last.as_of))))
    });
    let closes = closes
        .into_iter()
        .map(|(id, day, close)| (id, (Some(day), AsTraded::new(close, session_basis(calendar, day)))));
    last.chain(closes).collect()
}

fn no_price(stock: &Stock) -> Error {
    Error::NoPrice { symbol: stock.listing.symbol.clone(), retry_at: None }
}
