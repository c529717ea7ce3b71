//! How a portfolio did over time: its snapshots, and the moment as the last point.

use chrono::NaiveDate;
use domain::performance::{Close, Performance};
use domain::period::{EARLIEST, LATEST};
use domain::{Calendar, HistoryRange, Money, PortfolioId, Snapshot, Timestamp, UserId};
use persistence::{snapshots, transactions};

use crate::books::Books;
use crate::error::{Error, Result};
use crate::market::book_calendar::BookCalendar;

/// Which days are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    Range(HistoryRange),
    /// Both included; open where `None`.
    Dates {
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    },
}

impl Default for Window {
    fn default() -> Self {
        Self::Range(HistoryRange::All)
    }
}

/// The closes of a window.
pub(crate) struct WindowCloses {
    /// The last close before the window, if the portfolio is older.
    pub before: Option<Close>,
    /// In order of date.
    pub window: Vec<Close>,
    /// The moment of the last close when the window reaches today.
    pub measured_at: Timestamp,
}

impl Books {
    /// Measures the window, with the value of this moment as its last point when it reaches today.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio; [`Error::Invalid`] when the window ends before it begins.
    pub async fn performance(&self, user: UserId, id: PortfolioId, window: Window) -> Result<Performance> {
        let closes = self.window_closes(user, id, window).await?;
        Ok(Performance::measure(closes.before.as_ref(), closes.window))
    }

    /// Reads the closes of a window, with the value of this moment as the last one when it reaches today.
    pub(crate) async fn window_closes(
        &self,
        user: UserId,
        id: PortfolioId,
        window: Window,
    ) -> Result<WindowCloses> {
        // Value and flows of one moment: a deposit in between would be in one of them only.
        let (valued, flows) =
            self.valuation_with(user, id, move |tx| Ok(transactions::flows(tx, id)?)).await?;
        let now = valued.valued_at;
        let session = self.market.calendar.booking_session(now);
        let today = session.date;
        let (first, last) = match window {
            Window::Range(range) => (range.first_day(today), today),
            Window::Dates { from, to } => (from, to.unwrap_or(today).min(today)),
        };
        if first.is_some_and(|first| first > last) {
            return Err(Error::invalid("from", "must not be after the end of the window"));
        }
        let (first, last) = (first.unwrap_or(EARLIEST).max(EARLIEST), last.max(EARLIEST));
        let current = self.market.calendar;
        let (calendar, before, mut closes) = self
            .store
            .read(move |tx| {
                let calendar = BookCalendar::load(tx, current)?;
                let before = snapshots::last_before(tx, id, first)?.as_ref().map(close);
                let window = snapshots::window(tx, id, first, last)?;
                Ok::<_, Error>((calendar, before, window.iter().map(close).collect::<Vec<_>>()))
            })
            .await?;
        if last == today {
            // A provisional row of the session under way is older than this moment.
            closes.retain(|close| close.date < today);
            let total_value = valued.valuation.total_value;
            closes.push(Close { date: today, total_value, net_flow: Money::zero() });
        }
        book_flows(&calendar, before.as_ref(), &mut closes, &flows);
        Ok(WindowCloses { before, window: closes, measured_at: now })
    }

    /// The daily rows, oldest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn snapshots(
        &self,
        user: UserId,
        id: PortfolioId,
        from: Option<NaiveDate>,
        to: Option<NaiveDate>,
    ) -> Result<Vec<Snapshot>> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, id, user)?;
                let (from, to) = (from.unwrap_or(EARLIEST).max(EARLIEST), to.unwrap_or(LATEST).min(LATEST));
                snapshots::window(tx, id, from, to).map_err(Error::from)
            })
            .await
    }

    /// Deposits and withdrawals of a portfolio's life, oldest first, with their market time.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio.
    pub async fn external_flows(&self, user: UserId, id: PortfolioId) -> Result<Vec<(Timestamp, Money)>> {
        self.store
            .read(move |tx| {
                crate::books::portfolios::owned(tx, id, user)?;
                transactions::flows(tx, id).map_err(Error::from)
            })
            .await
    }
}

/// Gives each day of the series the flows since the close before it in the series: where rows are still
/// missing, because their session has just closed or nobody took them, the next day has theirs too.
fn book_flows(
    calendar: &BookCalendar,
    before: Option<&Close>,
    closes: &mut [Close],
    flows: &[(Timestamp, Money)],
) {
    // A row of a day without a session is from a market that was open around the clock.
    let session = |date| calendar.session(date).or_else(|| Calendar::AroundTheClock.session(date));
    let is_before = |at: Timestamp, date| session(date).is_some_and(|day| at < day.closes_at);
    let is_old = |at| before.is_some_and(|before| is_before(at, before.date));
    let mut flows = flows.iter().skip_while(|(at, _)| is_old(*at)).peekable();
    for close in closes {
        let of_day = std::iter::from_fn(|| flows.next_if(|(at, _)| is_before(*at, close.date)));
        close.net_flow = of_day.map(|(_, amount)| amount).sum();
    }
}

fn close(snapshot: &Snapshot) -> Close {
    Close {
        date: snapshot.date,
        total_value: snapshot.total_value.clone(),
        net_flow: snapshot.net_flow.clone(),
    }
}
