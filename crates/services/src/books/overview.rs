//! All portfolios of a user together.

use chrono::NaiveDate;
use domain::allocation::Allocation;
use domain::performance::{Analysis, Close, Settings, Workings, combined_closes, twr};
use domain::period::EARLIEST;
use domain::{Money, PortfolioId, Timestamp, UserId, Valuation};
use persistence::{Tx, snapshots, transactions};

use crate::books::Books;
use crate::books::performance::{book_flows, close};
use crate::books::valuation::ValuedPortfolio;
use crate::error::Result;
use crate::market::book_calendar::BookCalendar;

/// A portfolio with the sum of its deposits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioResult {
    pub valued: ValuedPortfolio,
    /// The sum of all deposits; withdrawals are not subtracted.
    pub deposits: Money,
}

impl PortfolioResult {
    /// The gain since the portfolio was opened as a share of its deposits, a ratio; `None` without deposits.
    pub fn gain_ratio(&self) -> Option<f64> {
        ratio(&self.valued.valuation.total_gain(), &self.deposits)
    }
}

/// The portfolios of a user that are not archived, and their sums. Sums add amounts that are already rounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// In the order they were opened.
    pub portfolios: Vec<PortfolioResult>,
    /// The allocation of all holdings together.
    pub allocation: Allocation,
    /// The gain since the previous close, without deposits and withdrawals.
    pub day_change: Money,
    /// The sum of realized and unrealized gains and dividends.
    pub total_gain: Money,
    pub deposits: Money,
    /// The analysis of all portfolios as one, from the first close of the oldest until now, without books and
    /// benchmark.
    pub together: Analysis,
    /// The market time of the prices.
    pub valued_at: Timestamp,
}

impl Overview {
    /// `day_change` as a share of the value it was earned on, a ratio; `None` when that value is zero.
    pub fn day_change_ratio(&self) -> Option<f64> {
        ratio(&self.day_change, &(self.allocation.total_value.clone() - &self.day_change))
    }

    /// `total_gain` as a share of all deposits, a ratio; `None` without deposits.
    pub fn gain_ratio(&self) -> Option<f64> {
        ratio(&self.total_gain, &self.deposits)
    }

    /// The time-weighted return of all portfolios as one since [`Overview::twr_since`], a ratio; `None` when no money
    /// was ever invested.
    pub fn twr(&self) -> Option<f64> {
        twr(&self.together.series, &mut Workings::off()).ok()
    }

    /// The first day on which one of the portfolios had money.
    pub fn twr_since(&self) -> Option<NaiveDate> {
        self.together.series.start_on()
    }
}

fn ratio(part: &Money, whole: &Money) -> Option<f64> {
    whole.is_positive().then(|| part.to_f64() / whole.to_f64())
}

/// The data that is read of a portfolio besides its positions.
struct History {
    /// The closes before today, oldest first.
    closes: Vec<Close>,
    /// All deposits and withdrawals, oldest first.
    flows: Vec<(Timestamp, Money)>,
}

impl History {
    fn load(tx: &mut Tx<'_>, id: PortfolioId, today: NaiveDate) -> Result<Self> {
        let mut closes: Vec<Close> = snapshots::window(tx, id, EARLIEST, today)?.iter().map(close).collect();
        // The provisional row of the current session is older than the current value.
        closes.retain(|close| close.date < today);
        Ok(Self { closes, flows: transactions::flows(tx, id)? })
    }

    fn deposits(&self) -> Money {
        self.flows.iter().map(|(_, amount)| amount).filter(|amount| amount.is_positive()).sum()
    }

    /// Returns all closes, with the current value as the last one.
    fn until_now(mut self, calendar: &BookCalendar, today: NaiveDate, now: &Valuation) -> Vec<Close> {
        let total_value = now.total_value.clone();
        self.closes.push(Close { date: today, total_value, net_flow: Money::zero() });
        book_flows(calendar, None, &mut self.closes, &self.flows);
        self.closes
    }
}

impl Books {
    /// Returns all portfolios of a user that are not archived, at the newest prices.
    ///
    /// # Errors
    /// [`crate::Error::NoPrice`] for a stock without any price.
    pub async fn overview(&self, user: UserId) -> Result<Overview> {
        let current = self.market.calendar;
        // Values, flows and closes are read at the same moment. Otherwise a deposit in between would be in only one of
        // them.
        let (valued, (calendar, today, histories)) = self
            .valuations_with(user, move |tx, ids, now| {
                let today = current.booking_session(now).date;
                let calendar = BookCalendar::load(tx, current)?;
                let histories: Vec<History> =
                    ids.iter().map(|id| History::load(tx, *id, today)).collect::<Result<_>>()?;
                Ok((calendar, today, histories))
            })
            .await?;
        let (mut portfolios, mut closes) = (Vec::new(), Vec::new());
        for (valued, history) in valued.into_iter().zip(histories) {
            let deposits = history.deposits();
            closes.push(history.until_now(&calendar, today, &valued.valuation));
            portfolios.push(PortfolioResult { valued, deposits });
        }
        let settings = Settings::new(current, self.config.risk_free);
        let valuations = || portfolios.iter().map(|portfolio| &portfolio.valued.valuation);
        Ok(Overview {
            allocation: Allocation::of(valuations()),
            day_change: valuations().map(|valuation| &valuation.day_change).sum(),
            total_gain: valuations().map(Valuation::total_gain).sum(),
            deposits: portfolios.iter().map(|portfolio| &portfolio.deposits).sum(),
            together: Analysis::new(None, &combined_closes(&closes), settings),
            valued_at: self.market.now(),
            portfolios,
        })
    }
}
