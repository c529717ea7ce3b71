//! The trades in the demonstration and their times.

use chrono::{Datelike, NaiveDate};
use domain::{Money, Percent, Session, Symbol};

use super::candidates::Candidates;

/// The settings with which a portfolio is opened.
pub(super) struct Plan {
    pub name: &'static str,
    pub description: &'static str,
    /// The symbol of the portfolio's benchmark.
    pub benchmark: &'static str,
    starting_dollars: i64,
}

impl Plan {
    pub fn starting_cash(&self) -> Money {
        dollars(self.starting_dollars)
    }
}

const SAVINGS: usize = 0;
const DIVIDENDS: usize = 1;
const CONVICTION: usize = 2;

pub(super) const PLANS: [Plan; 3] = [
    Plan {
        name: "Savings plan",
        description: "Two funds and one stock, bought every month from a deposit.",
        benchmark: "SPY",
        starting_dollars: 5_000,
    },
    Plan {
        name: "Dividend income",
        description: "Stocks that pay dividends. The dividends are reinvested every quarter.",
        benchmark: "SPY",
        starting_dollars: 50_000,
    },
    Plan {
        name: "High conviction",
        description: "Most of the money in one volatile stock, which fell deeply.",
        benchmark: "QQQ",
        starting_dollars: 30_000,
    },
];

/// The amount of cash that a reinvestment leaves.
const CASH_KEPT: i64 = 200;
/// The smallest amount that is reinvested.
const MIN_REINVESTED: i64 = 200;

/// One action in one of the portfolios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The index of the session, from 0.
    pub session: usize,
    /// The index of the plan.
    pub portfolio: usize,
    pub kind: StepKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepKind {
    Deposit(Money),
    Withdrawal(Money),
    Buy(Symbol, Money),
    /// Sells a percentage of the held shares.
    Sell(Symbol, Percent),
    /// Places a limit order this percentage below the price, good until canceled.
    BuyBelow(Symbol, Money, Percent),
    /// Cancels all open orders.
    CancelOpen,
    /// Buys with the remaining cash.
    Reinvest(Symbol),
}

fn dollars(amount: i64) -> Money {
    Money::from_cents(amount * 100)
}

fn percent(whole: u8) -> Percent {
    whole.to_string().parse().expect("Invariant: a whole number is a percentage")
}

/// The amount of cash to reinvest; `None` when it is too small.
pub(super) fn reinvested(cash: &Money) -> Option<Money> {
    let left = cash.clone() - &dollars(CASH_KEPT);
    (left >= dollars(MIN_REINVESTED)).then_some(left)
}

/// All steps, ordered by session.
pub(super) fn steps(sessions: &[Session], candidates: &Candidates) -> Vec<Step> {
    let mut steps = savings(sessions, candidates);
    steps.extend(dividends(sessions, candidates));
    steps.extend(conviction(sessions, candidates));
    // The sort is stable: steps of the same session keep their order.
    steps.sort_by_key(|step| step.session);
    steps
}

/// The first session of each month, after the first month.
fn months(sessions: &[Session]) -> Vec<(usize, NaiveDate)> {
    let dates = sessions.iter().map(|session| session.date);
    let pairs = dates.clone().zip(dates.skip(1)).enumerate();
    pairs
        .filter(|(_, (day, next))| day.month() != next.month())
        .map(|(at, (_, next))| (at + 1, next))
        .collect()
}

fn savings(sessions: &[Session], candidates: &Candidates) -> Vec<Step> {
    let (broad, technology) = (&candidates.broad, &candidates.technology);
    let stock = candidates.split.as_ref().unwrap_or(broad);
    let mut steps = Vec::new();
    let mut add = |session, kind| steps.push(Step { session, portfolio: SAVINGS, kind });
    add(0, StepKind::Buy(broad.clone(), dollars(3_000)));
    add(0, StepKind::Buy(technology.clone(), dollars(1_200)));
    add(0, StepKind::Buy(stock.clone(), dollars(600)));
    let months = months(sessions);
    for (session, day) in &months {
        add(*session, StepKind::Deposit(dollars(600)));
        add(*session, StepKind::Buy(broad.clone(), dollars(350)));
        add(*session, StepKind::Buy(technology.clone(), dollars(150)));
        if day.month() % 3 == 1 {
            add(*session, StepKind::Buy(stock.clone(), dollars(250)));
        }
    }
    // The purchase of a car, late enough that there is money for it.
    if let Some((session, _)) = months.get(months.len() * 7 / 10) {
        add(*session, StepKind::Sell(broad.clone(), percent(30)));
        add(*session + 1, StepKind::Withdrawal(dollars(4_000)));
    }
    steps
}

fn dividends(sessions: &[Session], candidates: &Candidates) -> Vec<Step> {
    let payers = &candidates.dividend_payers;
    let mut steps = Vec::new();
    let mut add = |session, kind| steps.push(Step { session, portfolio: DIVIDENDS, kind });
    for payer in payers {
        add(1, StepKind::Buy(payer.clone(), dollars(6_500)));
    }
    let quarters = months(sessions).into_iter().filter(|(_, day)| day.month() % 3 == 1);
    for (number, (session, _)) in quarters.enumerate() {
        let Some(payer) = payers.get(number % payers.len().max(1)) else { continue };
        add(session, StepKind::Reinvest(payer.clone()));
        // After three years, one of the stocks is replaced by another.
        if number == 12 {
            add(session, StepKind::Sell(payer.clone(), Percent::hundred()));
            add(session + 1, StepKind::Reinvest(candidates.broad.clone()));
        }
    }
    steps
}

fn conviction(sessions: &[Session], candidates: &Candidates) -> Vec<Step> {
    let fallen = &candidates.fallen;
    let mut steps = Vec::new();
    let mut add = |session, kind| steps.push(Step { session, portfolio: CONVICTION, kind });
    // Most shares are bought shortly before the fall, some earlier, so that there is a gain to show first.
    let bought = fallen.peak.saturating_sub(60).max(2);
    add(bought, StepKind::Buy(fallen.symbol.clone(), dollars(20_000)));
    for symbol in &candidates.volatile {
        add(2, StepKind::Buy(symbol.clone(), dollars(4_000)));
        add(3, StepKind::BuyBelow(symbol.clone(), dollars(800), percent(3)));
    }
    add(10, StepKind::CancelOpen);
    // Half of the shares are sold at a loss near the low; later a deposit pays for a second attempt.
    let sold = fallen.trough + 10;
    let again = fallen.trough + (sessions.len().saturating_sub(fallen.trough)) / 3;
    add(sold, StepKind::Sell(fallen.symbol.clone(), percent(50)));
    add(again, StepKind::Deposit(dollars(6_000)));
    add(again, StepKind::Buy(fallen.symbol.clone(), dollars(5_000)));
    if let Some(symbol) = candidates.volatile.first() {
        add(again + 90, StepKind::Sell(symbol.clone(), percent(50)));
    }
    steps
}

#[cfg(test)]
mod tests {
    use domain::Calendar;

    use super::*;

    #[test]
    fn each_month_begins_with_its_first_session() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let sessions: Vec<Session> = Calendar::Xnys.sessions(day("2026-10-29"), day("2027-01-05")).collect();
        let found: Vec<String> = months(&sessions).iter().map(|(_, on)| on.to_string()).collect();
        assert_eq!(found, ["2026-11-02", "2026-12-01", "2027-01-04"]);
        assert_eq!(sessions[months(&sessions)[0].0].date, day("2026-11-02"));
    }

    #[test]
    fn a_reinvestment_leaves_some_cash() {
        assert_eq!(reinvested(&dollars(1_000)), Some(dollars(800)));
        assert_eq!(reinvested(&dollars(399)), None);
    }
}
