//! Performance over time: a portfolio's snapshots, with the current value as the last point.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::performance::{Close, Performance, Period, WindowBooks};
use domain::period::{EARLIEST, LATEST};
use domain::{Money, PortfolioRef, Snapshot, StockId, Symbol, Timestamp};
use persistence::{snapshots, transactions};

use crate::books::Books;
use crate::books::cache::Version;
use crate::books::window_books::{BookRows, WindowEnd, session_of};
use crate::error::{Error, Result};
use crate::market::book_calendar::BookCalendar;

/// The days over which performance is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// A named period that ends today.
    Period(Period),
    /// From one day to another, both included. `None` leaves that end open.
    Dates { from: Option<NaiveDate>, to: Option<NaiveDate> },
}

impl Default for Window {
    fn default() -> Self {
        Self::Period(Period::All)
    }
}

impl Window {
    /// The first and the last day of the window, both included.
    fn days(self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate)> {
        let (first, last) = match self {
            Self::Period(period) => (period.first_day(today), today),
            Self::Dates { from, to } => (from, to.unwrap_or(today).min(today)),
        };
        if first.is_some_and(|first| first > last) {
            return Err(Error::invalid("from", "must not be after the end of the window"));
        }
        Ok((first.unwrap_or(EARLIEST).max(EARLIEST), last.max(EARLIEST)))
    }
}

/// The closes of a window.
pub(crate) struct WindowCloses {
    /// The last close before the window, if the portfolio is older.
    pub before: Option<Close>,
    /// The closes in the window, ordered by date.
    pub window: Vec<Close>,
    /// The moment of the last close if the window reaches today.
    pub measured_at: Timestamp,
    /// The books of the window, if the caller requested them.
    pub books: Option<WindowBooks>,
    /// The symbol of the portfolio's benchmark.
    pub benchmark: Symbol,
    /// For a window with books that ends now: the version that was read, and the dividends owed by stock.
    pub until_now: Option<(Version, BTreeMap<StockId, Money>)>,
}

/// The data of a window that is read in one transaction.
struct WindowRows {
    calendar: BookCalendar,
    before: Option<Close>,
    closes: Vec<Close>,
    flows: Vec<(Timestamp, Money)>,
    books: Option<BookRows>,
    reaches_today: bool,
    /// The version of the snapshots.
    snapshots: i64,
}

impl Books {
    /// Measures the window. If it reaches today, its last point is the current value.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio; [`Error::Invalid`] when the window ends before it begins.
    pub async fn performance(&self, portfolio: PortfolioRef, window: Window) -> Result<Performance> {
        let closes = self.window_closes(portfolio, window, false).await?;
        Ok(Performance::measure(closes.before.as_ref(), closes.window))
    }

    /// Reads the closes of a window. If it reaches today, the last close is the current value.
    pub(crate) async fn window_closes(
        &self,
        portfolio: PortfolioRef,
        window: Window,
        with_books: bool,
    ) -> Result<WindowCloses> {
        let current = self.market.calendar;
        // Value, flows and journal lines are read at the same moment. Otherwise a deposit in between would be in only
        // one of them.
        let (valued, rows) = self
            .valuation_with(portfolio, move |tx, now| {
                let today = current.booking_session(now).date;
                let (first, last) = window.days(today)?;
                let calendar = BookCalendar::load(tx, current)?;
                // The version is read before the rows: the rows may be newer than their version, but never older.
                let snapshots = snapshots::version(tx, portfolio.id)?;
                let before = snapshots::last_before(tx, portfolio.id, first)?.as_ref().map(close);
                let mut closes: Vec<Close> =
                    snapshots::window(tx, portfolio.id, first, last)?.iter().map(close).collect();
                let reaches_today = last == today;
                if reaches_today {
                    // The provisional row of the current session is older than the current value.
                    closes.retain(|close| close.date < today);
                }
                let books = match with_books {
                    true => {
                        let session = before.as_ref().and_then(|before| session_of(&calendar, before.date));
                        let start = session.map(|(_, session)| session.closes_at);
                        Some(BookRows::load(tx, portfolio, start)?)
                    }
                    false => None,
                };
                let flows = transactions::flows(tx, portfolio.id)?;
                Ok(WindowRows { calendar, before, closes, flows, books, reaches_today, snapshots })
            })
            .await?;
        let WindowRows { calendar, before, mut closes, flows, books, reaches_today, snapshots } = rows;
        let now = valued.valued_at;
        if reaches_today {
            let (date, total_value) =
                (current.booking_session(now).date, valued.valuation.total_value.clone());
            closes.push(Close { date, total_value, net_flow: Money::zero() });
        }
        book_flows(&calendar, before.as_ref(), &mut closes, &flows);
        let start = before.as_ref().map(|before| before.date);
        let end = match closes.last().map(|close| close.date).or(start) {
            _ if reaches_today => Some(WindowEnd::Now(&valued.valuation)),
            last => last.map(WindowEnd::Close),
        };
        let version = Version::new(portfolio.user, valued.portfolio.version, snapshots);
        let until_now =
            books.as_ref().filter(|_| reaches_today).map(|books| (version, books.receivable_now()));
        let books = match (books, end) {
            (Some(books), Some(end)) => Some(self.window_books(books, &calendar, start, end).await?),
            // The window ends before the portfolio begins.
            (Some(_), None) => Some(WindowBooks::default()),
            (None, _) => None,
        };
        Ok(WindowCloses {
            before,
            window: closes,
            measured_at: now,
            books,
            benchmark: valued.portfolio.benchmark,
            until_now,
        })
    }

    /// Returns the daily snapshots, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn snapshots(
        &self,
        portfolio: PortfolioRef,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<Vec<Snapshot>> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                let (from, to) = (from.unwrap_or(EARLIEST).max(EARLIEST), to.unwrap_or(LATEST).min(LATEST));
                snapshots::window(tx, portfolio.id, from, to).map_err(Error::from)
            })
            .await
    }

    /// Returns all deposits and withdrawals of a portfolio, oldest first, with their market time.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn external_flows(&self, portfolio: PortfolioRef) -> Result<Vec<(Timestamp, Money)>> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, portfolio)?;
                transactions::flows(tx, portfolio.id).map_err(Error::from)
            })
            .await
    }
}

/// Assigns to each day of the series the flows since the previous close in the series. If a snapshot is missing,
/// because its session has just closed or no run took it, its flows count for the next day.
pub(super) fn book_flows(
    calendar: &BookCalendar,
    before: Option<&Close>,
    closes: &mut [Close],
    flows: &[(Timestamp, Money)],
) {
    let is_before =
        |at: Timestamp, date| session_of(calendar, date).is_some_and(|(_, day)| at < day.closes_at);
    let is_old = |at| before.is_some_and(|before| is_before(at, before.date));
    let mut flows = flows.iter().skip_while(|(at, _)| is_old(*at)).peekable();
    for close in closes {
        let of_day = std::iter::from_fn(|| flows.next_if(|(at, _)| is_before(*at, close.date)));
        close.net_flow = of_day.map(|(_, amount)| amount).sum();
    }
}

pub(super) fn close(snapshot: &Snapshot) -> Close {
    Close {
        date: snapshot.date,
        total_value: snapshot.total_value.clone(),
        net_flow: snapshot.net_flow.clone(),
    }
}
