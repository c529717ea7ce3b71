//! The demonstration: an account with three public portfolios that were traded over five years. The ordinary use cases
//! create it with a clock that is moved from session to session. Its books are the same as those of a user who traded
//! in these years.

mod candidates;
mod schedule;

use crate::accounts::actor::{PortfolioControl, Trader};
use chrono::{Months, NaiveDate, TimeDelta};
use domain::{
    Attached, OrderFilter, OrderSize, OrderTerms, PlaceOrder, PortfolioId, Session, Side, Symbol,
    TimeInForce, Timestamp, UserId, Visibility,
};

use crate::accounts::register::Registration;
use crate::accounts::secret;
use crate::books::portfolios::{CashDirection, OpenPortfolio, PortfolioUpdate};
use crate::books::snapshots::IdRange;
use crate::error::{Error, Result};
use crate::jobs::newest_settled_session;
use crate::{Clock, Services};
use candidates::Candidates;
use schedule::{PLANS, Plan, Step, StepKind};

/// The record of the demonstration until it is complete; then the record names the account.
const UNFINISHED: &str = "unfinished";
const USERNAME: &str = "demo";
const EMAIL: &str = "demo@example.invalid";
/// The default length of the demonstration's history, in months.
pub const MONTHS: u32 = 60;
/// The market time from a close until its snapshot is taken, the same as for a worker.
const AFTER_CLOSE: TimeDelta = TimeDelta::minutes(20);
/// The most open orders that are canceled in one step.
const MAX_OPEN_ORDERS: usize = 50;
/// The number of sessions whose snapshots are taken together. They span fewer days than the job looks back for
/// corporate actions, so that no action is missed, and few enough for a single request for closing prices.
const SESSIONS_AT_ONCE: usize = 25;
/// The market time from an order until working orders meet the prices.
const AFTER_ORDER: TimeDelta = TimeDelta::minutes(1);

/// The result of creating the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demonstration {
    pub owner: UserId,
    pub portfolios: Vec<PortfolioId>,
    pub first_on: NaiveDate,
    pub last_on: NaiveDate,
    pub sessions: usize,
}

/// The clock with which the demonstration is created: it starts `months` months before `end`.
pub fn demonstration_clock(end: Timestamp, months: u32) -> Clock {
    let start = end.utc().checked_sub_months(Months::new(months)).unwrap_or(end.utc());
    Clock::manual(start.into())
}

impl Services {
    /// Creates the demonstration account and its portfolios, traded from the time of this process's clock (see
    /// [`demonstration_clock`]) to `end`. `progress` receives the number of sessions done and their total.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the database already has portfolios, or the market has too few stocks. Otherwise only when
    /// the database fails.
    pub async fn make_demonstration(
        &self,
        end: Timestamp,
        mut progress: impl FnMut(usize, usize) + Send,
    ) -> Result<Demonstration> {
        self.check_empty().await?;
        let clock = &self.market.clock;
        let first = self.market.calendar.booking_session(clock.now());
        let last = self.market.calendar.last_closed(end - AFTER_CLOSE);
        let sessions: Vec<Session> = self.market.calendar.sessions(first.date, last.date).collect();
        let candidates = Candidates::find(self, &sessions, end).await?;

        clock.set(middle(&first));
        self.books().record_demonstration(UNFINISHED).await?;
        let password = secret::random();
        let registration = Registration {
            username: USERNAME.into(),
            email: EMAIL.into(),
            password: password.into(),
            first_name: String::new(),
            last_name: String::new(),
        };
        let owner = self.accounts().create_user(registration, false).await?.id;
        let trader = Trader::on_behalf_of(owner);
        let mut made = Vec::with_capacity(PLANS.len());
        for plan in &PLANS {
            made.push(self.open_planned(trader, plan).await?);
        }
        let mut steps = schedule::steps(&sessions, &candidates).into_iter().peekable();
        let mut done = 0;
        for block in sessions.chunks(SESSIONS_AT_ONCE) {
            for session in block {
                clock.set(middle(session));
                let mut is_traded = false;
                while let Some(step) = steps.next_if(|step| step.session <= done) {
                    if !is_traded {
                        self.corporate_actions().learn_corporate_actions().await?;
                        self.corporate_actions().apply_corporate_actions().await?;
                    }
                    self.take_step(trader.portfolio(made[step.portfolio]), &step).await?;
                    is_traded = true;
                }
                if is_traded {
                    clock.set(clock.now() + AFTER_ORDER);
                    self.trading().match_orders().await?;
                }
                done += 1;
            }
            self.close_sessions(block).await?;
            progress(done, sessions.len());
        }
        self.finish_demonstration(owner, last.date).await?;
        Ok(Demonstration {
            owner,
            portfolios: made,
            first_on: first.date,
            last_on: last.date,
            sessions: sessions.len(),
        })
    }

    /// Does the work of a worker after these sessions: matches working orders with the prices up to the last close, and
    /// takes the snapshots of every session. Taking a snapshot late does not change its result.
    async fn close_sessions(&self, sessions: &[Session]) -> Result<()> {
        let Some(last) = sessions.last() else { return Ok(()) };
        self.market.clock.set(last.closes_at + AFTER_CLOSE);
        self.trading().match_orders().await?;
        for session in sessions {
            self.books().take_snapshots(session.date, IdRange::ALL, |_| true).await?;
        }
        Ok(())
    }

    async fn open_planned(&self, trader: Trader, plan: &Plan) -> Result<PortfolioId> {
        let opening = OpenPortfolio {
            name: plan.name.to_owned(),
            description: plan.description.to_owned(),
            cash_balance: Some(plan.starting_cash()),
        };
        let id = self.books().open_portfolio(trader, opening).await?.id;
        let update = PortfolioUpdate {
            visibility: Some(Visibility::Public),
            benchmark: plan.benchmark.parse().ok(),
            ..PortfolioUpdate::default()
        };
        Ok(self.books().change_portfolio(trader.portfolio(id), update).await?.id)
    }

    /// Rejects a database with portfolios: a clock that starts years ago would change their past.
    async fn check_empty(&self) -> Result<()> {
        let why = match self.books().recorded_demonstration().await? {
            Some(record) if record == UNFINISHED => {
                "contains an incomplete demonstration; delete the database and create the demonstration again"
            }
            _ if self.books().has_portfolios().await? => {
                "has portfolios already; create the demonstration in a new database, like sqlite://data/demo.db"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid("database", why))
    }

    /// Executes a step. If the portfolio cannot execute it at current prices, for example for lack of cash, the step is
    /// skipped.
    async fn take_step(&self, portfolio: PortfolioControl, step: &Step) -> Result<()> {
        let taken = match &step.kind {
            StepKind::Deposit(amount) => {
                self.books().move_cash(portfolio, CashDirection::Deposit, amount.clone()).await.map(drop)
            }
            StepKind::Withdrawal(amount) => {
                self.books().move_cash(portfolio, CashDirection::Withdrawal, amount.clone()).await.map(drop)
            }
            StepKind::Buy(symbol, notional) => {
                let order = market_order(symbol, Side::Buy, OrderSize::Notional(notional.clone()));
                self.trading().place_order(portfolio, order).await.map(drop)
            }
            StepKind::Sell(symbol, percent) => {
                let order = market_order(symbol, Side::Sell, OrderSize::OfPosition(percent.clone()));
                self.trading().place_order(portfolio, order).await.map(drop)
            }
            StepKind::BuyBelow(symbol, notional, percent) => {
                let Some(limit) = self.stocks().quote(symbol).await?.price.lowered(percent) else {
                    return Ok(());
                };
                let order = PlaceOrder {
                    terms: OrderTerms::Limit { limit },
                    time_in_force: TimeInForce::Gtc,
                    ..market_order(symbol, Side::Buy, OrderSize::Notional(notional.clone()))
                };
                self.trading().place_order(portfolio, order).await.map(drop)
            }
            StepKind::CancelOpen => {
                let open = OrderFilter { open: Some(true), ..OrderFilter::default() };
                let orders =
                    self.trading().orders(portfolio.reference(), open, None, MAX_OPEN_ORDERS).await?.items;
                for open in orders {
                    self.trading().cancel_order(portfolio, open.order.id).await?;
                }
                Ok(())
            }
            StepKind::Reinvest(symbol) => {
                let cash = self.books().portfolio(portfolio.reference()).await?.buying_power;
                let notional = schedule::reinvested(&cash);
                let Some(notional) = notional else { return Ok(()) };
                let order = market_order(symbol, Side::Buy, OrderSize::Notional(notional));
                self.trading().place_order(portfolio, order).await.map(drop)
            }
        };
        match taken {
            Err(Error::OrderRejected(_) | Error::InsufficientCash { .. } | Error::TradingHalted { .. }) => {
                Ok(())
            }
            taken => taken,
        }
    }

    /// Records the account of the demonstration, and that all sessions have snapshots, so that the worker continues
    /// from there.
    async fn finish_demonstration(&self, owner: UserId, last: NaiveDate) -> Result<()> {
        let wall = self.market.clock.wall();
        let settled = newest_settled_session(&self.market, wall).date;
        debug_assert!(settled >= last, "Invariant: the clock stands after the last close: {settled} {last}");
        self.books().record_demonstration(&owner.to_string()).await?;
        self.jobs().plan_snapshots_of(last).await?;
        for run in self.jobs().due_runs().await? {
            self.jobs().run_job(run.id, "demonstration").await?;
        }
        Ok(())
    }
}

/// The middle of a session, when orders fill in every trading mode.
fn middle(session: &Session) -> Timestamp {
    session.opens_at + (session.closes_at - session.opens_at) / 2
}

fn market_order(symbol: &Symbol, side: Side, size: OrderSize) -> PlaceOrder {
    PlaceOrder {
        symbol: symbol.clone(),
        side,
        size,
        terms: OrderTerms::Market,
        time_in_force: TimeInForce::Day,
        attached: Attached::Nothing,
        client_order_id: None,
    }
}
