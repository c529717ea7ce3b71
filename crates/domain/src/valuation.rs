//! The value of a portfolio at given prices, and its daily snapshot.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;

mod explained;

use crate::money::AveragePrice;
use crate::performance::{Table, Value, Workings};
use crate::{
    JournalEntry, Listing, Money, PortfolioId, Position, Price, Quantity, Quote, SplitRatio, StockId,
    Timestamp, TransactionType,
};

pub use explained::BookFigure;

/// A position at a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub stock_id: StockId,
    pub listing: Arc<Listing>,
    pub position: Position,
    /// The shares reserved by open orders; the others can be sold.
    pub reserved: Quantity,
    pub quote: Quote,
    /// `quantity × price`, half-even to the cent.
    pub market_value: Money,
    /// `market_value − cost_basis`.
    pub unrealized_pnl: Money,
    /// The gain since the previous close: for shares held at that close since the close, for shares bought later since
    /// their purchase. `None` if the previous close is unknown.
    pub day_change: Option<Money>,
}

impl Holding {
    pub fn average_buy_price(&self) -> Option<AveragePrice> {
        self.position.average_buy_price()
    }

    /// `unrealized_pnl / cost_basis`, a ratio; `None` when the cost is zero.
    pub fn unrealized_ratio(&self) -> Option<f64> {
        (!self.position.cost_basis.is_zero())
            .then(|| self.unrealized_pnl.to_f64() / self.position.cost_basis.to_f64())
    }
}

/// Cash, buying power and dividends receivable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cash {
    pub balance: Money,
    /// The balance less the cash reserved by open orders.
    pub buying_power: Money,
    pub dividends: Dividends,
}

/// Dividends of the portfolio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dividends {
    /// All dividends since the portfolio was opened, paid or not.
    pub total: Money,
    /// From the ex-date until the payment.
    pub receivable: Money,
    /// Dividends with ex-dates since the previous close: prices have fallen by these amounts.
    pub today: Vec<(StockId, Money)>,
}

impl Default for Dividends {
    fn default() -> Self {
        Self { total: Money::zero(), receivable: Money::zero(), today: Vec::new() }
    }
}

impl From<Money> for Cash {
    /// Cash without reservations.
    fn from(balance: Money) -> Self {
        Self { buying_power: balance.clone(), balance, dividends: Dividends::default() }
    }
}

/// A portfolio at current prices. Totals are sums of rounded parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valuation {
    pub cash_balance: Money,
    /// `cash_balance` less the cash reserved by open orders.
    pub buying_power: Money,
    pub positions_value: Money,
    /// `cash_balance + positions_value`.
    pub total_value: Money,
    /// Gain since the previous close, without deposits and withdrawals. Positions whose previous close is unknown are
    /// omitted.
    pub day_change: Money,
    pub unrealized_pnl: Money,
    /// The result of all sells since the portfolio was opened.
    pub realized_pnl: Money,
    /// All dividends since the portfolio was opened, paid or receivable.
    pub dividends: Money,
    /// Dividends that are owed and not paid yet; they are part of the total value.
    pub dividends_receivable: Money,
    /// The current positions, largest market value first.
    pub holdings: Vec<Holding>,
}

/// A stock that the portfolio holds or held, with its price. A stock that was sold before today needs no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    pub stock_id: StockId,
    pub listing: Arc<Listing>,
    pub position: Position,
    /// Shares reserved by open orders.
    pub reserved: Quantity,
    pub quote: Option<Quote>,
}

impl Valuation {
    /// Values cash and positions; `today` contains the journal entries since the previous close.
    pub fn new(
        cash: impl Into<Cash>,
        positions: impl IntoIterator<Item = Priced>,
        today: &[JournalEntry],
    ) -> Self {
        Self::with_steps(cash, positions, today, &mut Workings::off())
    }

    /// [`Valuation::new`], which also records the steps of the day change.
    fn with_steps(
        cash: impl Into<Cash>,
        positions: impl IntoIterator<Item = Priced>,
        today: &[JournalEntry],
        work: &mut Workings,
    ) -> Self {
        let positions = positions.into_iter();
        let mut changes = work.is_on().then(Vec::new);
        let trades = Trades::from_entries(today);
        let Cash { balance, buying_power, dividends } = cash.into();
        let mut valuation = Self {
            total_value: balance.clone() + &dividends.receivable,
            cash_balance: balance,
            buying_power,
            positions_value: Money::zero(),
            day_change: Money::zero(),
            unrealized_pnl: Money::zero(),
            realized_pnl: Money::zero(),
            dividends: dividends.total,
            dividends_receivable: dividends.receivable,
            holdings: Vec::with_capacity(positions.size_hint().1.unwrap_or(0)),
        };
        for Priced { stock_id, listing, position, reserved, quote } in positions {
            valuation.realized_pnl += &position.realized_pnl;
            let Some(quote) = quote else {
                debug_assert!(position.quantity.is_zero(), "Invariant: what is held has a price");
                continue;
            };
            let market_value = quote.price.times(&position.quantity);
            let unrealized_pnl = market_value.clone() - &position.cost_basis;
            let parts = trades.since_close(stock_id, &position.quantity, quote.previous_close.as_ref());
            let without = || dividends.today.iter().filter(|(of, _)| *of == stock_id).map(|(_, due)| due);
            let day_change = parts.as_ref().map(|parts| {
                let change = market_value.clone() - &parts.value_before + &parts.traded;
                without().fold(change, |sum, due| sum + due)
            });
            if let Some(change) = &day_change {
                valuation.day_change += change;
            }
            if let (Some(changes), Some(parts), Some(change)) = (&mut changes, parts, &day_change) {
                let owed: Money = without().sum();
                let amounts = [&parts.value_before, &market_value, &parts.traded, &owed, change];
                let row = amounts.map(|amount| Value::Money(amount.clone()));
                changes.push([vec![Value::Symbol(listing.symbol.clone())], row.to_vec()].concat());
            }
            if position.quantity.is_zero() {
                continue;
            }
            valuation.positions_value += &market_value;
            valuation.unrealized_pnl += &unrealized_pnl;
            valuation.holdings.push(Holding {
                stock_id,
                listing,
                position,
                reserved,
                quote,
                market_value,
                unrealized_pnl,
                day_change,
            });
        }
        work.input("stocks", "Stocks held, or traded since the previous close", || {
            Value::Table(Table::new(&explained::DAY_CHANGE_COLUMNS, changes.unwrap_or_default()))
        });
        valuation.total_value += &valuation.positions_value;
        valuation.holdings = largest_first(valuation.holdings);
        valuation
    }

    /// The portfolio's total gain: realized, unrealized and dividends. Commissions are part of costs and proceeds.
    pub fn total_gain(&self) -> Money {
        self.realized_pnl.clone() + &self.unrealized_pnl + &self.dividends
    }

    /// `amount / total_value`, a ratio; zero when the portfolio is empty.
    pub fn weight(&self, amount: &Money) -> f64 {
        if self.total_value.is_zero() { 0.0 } else { amount.to_f64() / self.total_value.to_f64() }
    }

    /// `day_change` divided by the value on which it was earned, a ratio; `None` if that was zero.
    pub fn day_change_ratio(&self) -> Option<f64> {
        let base = self.total_value.clone() - &self.day_change;
        base.is_positive().then(|| self.day_change.to_f64() / base.to_f64())
    }
}

/// Sorts indices: a holding is large, and sorting the holdings would move each of them many times.
fn largest_first(holdings: Vec<Holding>) -> Vec<Holding> {
    let mut places: Vec<usize> = (0..holdings.len()).collect();
    places.sort_by(|a, b| {
        let (a, b) = (&holdings[*a], &holdings[*b]);
        b.market_value.cmp(&a.market_value).then_with(|| a.listing.symbol.cmp(&b.listing.symbol))
    });
    let mut holdings: Vec<Option<Holding>> = holdings.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| holdings[place].take()).collect()
}

/// Shares and money moved by trades since the previous close, by stock.
struct Trades(HashMap<StockId, (Quantity, Quantity, Money)>);

impl Trades {
    /// Shares that were traded before a split are converted to the shares after it.
    fn from_entries(entries: &[JournalEntry]) -> Self {
        let mut trades = HashMap::new();
        let splits: Vec<(StockId, Timestamp, SplitRatio)> =
            entries.iter().filter_map(JournalEntry::split).collect();
        let in_new_shares = |stock: StockId, traded: &Quantity, at: Timestamp| {
            let later = splits.iter().filter(|(of, effective_at, _)| *of == stock && at < *effective_at);
            later.fold(traded.clone(), |shares, (_, _, ratio)| ratio.shares(&shares))
        };
        for entry in entries {
            let (Some(stock), Some(quantity)) = (entry.stock_id, &entry.quantity) else { continue };
            let (bought, sold, cash) =
                trades.entry(stock).or_insert_with(|| (Quantity::zero(), Quantity::zero(), Money::zero()));
            let quantity = || in_new_shares(stock, quantity, entry.timestamp);
            match entry.transaction_type {
                TransactionType::Buy | TransactionType::Exchange => *bought = bought.clone() + &quantity(),
                TransactionType::Sell | TransactionType::CloseOut => *sold = sold.clone() + &quantity(),
                // Prices from before a split are converted to new shares, so a split changes nothing.
                TransactionType::Split
                | TransactionType::Deposit
                | TransactionType::Withdrawal
                | TransactionType::Dividend
                | TransactionType::Fee
                | TransactionType::Reversal => continue,
            }
            *cash += &entry.amount;
        }
        Self(trades)
    }

    /// The value at the previous close, and the cash of later trades. `None` if that close is unknown.
    fn since_close(&self, stock: StockId, held: &Quantity, close: Option<&Price>) -> Option<SinceClose> {
        let trades = self.0.get(&stock);
        let before = match trades {
            Some((bought, sold, _)) => {
                Cow::Owned((held.clone() + sold).checked_sub(bought).unwrap_or_else(Quantity::zero))
            }
            None => Cow::Borrowed(held),
        };
        let value_before = match close {
            Some(close) => close.times(&before),
            None if before.is_zero() => Money::zero(),
            None => return None,
        };
        let traded = trades.map_or_else(Money::zero, |(_, _, cash)| cash.clone());
        Some(SinceClose { value_before, traded })
    }
}

/// The basis of a stock's change since the previous close.
struct SinceClose {
    /// The value at that close of the shares held then.
    value_before: Money,
    /// The cash of later trades; negative for purchases.
    traded: Money,
}

/// A portfolio at the close of a session. One row per portfolio and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub portfolio_id: PortfolioId,
    /// The session's date, the exchange's calendar day.
    pub date: NaiveDate,
    pub total_value: Money,
    pub cash_balance: Money,
    pub positions_value: Money,
    /// Dividends owed at the close and paid later.
    pub dividends_receivable: Money,
    /// Deposits less withdrawals since the previous session's close.
    pub net_flow: Money,
    /// Whether the snapshot was taken before the close or at older prices. A later run replaces a provisional snapshot.
    pub provisional: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Currency, Freshness, OrderId, PriceSource};
    use chrono::{TimeZone, Utc};

    pub(super) fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    pub(super) fn at() -> Timestamp {
        Utc.with_ymd_and_hms(2026, 11, 20, 19, 0, 0).unwrap().into()
    }

    pub(super) fn priced(
        id: i64,
        symbol: &str,
        quantity: &str,
        cost: &str,
        price: &str,
        close: Option<&str>,
    ) -> Priced {
        let symbol: crate::Symbol = symbol.parse().unwrap();
        let quantity = if quantity == "0" { Quantity::zero() } else { quantity.parse().unwrap() };
        Priced {
            stock_id: StockId(id),
            listing: Arc::new(Listing {
                symbol: symbol.clone(),
                company_name: String::new(),
                exchange: String::new(),
                sector: "Technology".into(),
                currency: Currency::Usd,
            }),
            position: Position { quantity, cost_basis: money(cost), realized_pnl: Money::zero() },
            reserved: Quantity::zero(),
            quote: Some(Quote {
                symbol,
                price: price.parse().unwrap(),
                bid: None,
                ask: None,
                previous_close: close.map(|text| text.parse().unwrap()),
                volume: None,
                as_of: at(),
                source: PriceSource::from("test"),
                freshness: Freshness::Simulated,
                stale: false,
            }),
        }
    }

    pub(super) fn trade(stock: i64, kind: TransactionType, quantity: &str, amount: &str) -> JournalEntry {
        JournalEntry {
            stock_id: Some(StockId(stock)),
            order_id: Some(OrderId(uuid::Uuid::nil())),
            transaction_type: kind,
            quantity: Some(quantity.parse().unwrap()),
            ..JournalEntry::cash(PortfolioId(1), money(amount), at())
        }
    }

    #[test]
    fn totals_add_rounded_parts() {
        let positions = vec![
            priced(1, "AAPL", "10", "1500", "160.00", Some("155.00")),
            priced(2, "MSFT", "0.333333333", "100", "400.00", Some("410.00")),
        ];
        let valuation = Valuation::new(money("1000"), positions, &[]);
        assert_eq!(valuation.positions_value, money("1733.33"));
        assert_eq!(valuation.total_value, money("2733.33"));
        assert_eq!(valuation.unrealized_pnl, money("133.33"));
        // 10 × 5.00; 133.33 − 136.67
        assert_eq!(valuation.day_change, money("46.66"));
        assert_eq!(valuation.holdings[0].listing.symbol.as_str(), "AAPL");
        let weights: f64 =
            valuation.holdings.iter().map(|holding| valuation.weight(&holding.market_value)).sum();
        assert!((weights + valuation.weight(&valuation.cash_balance) - 1.0).abs() < 1e-12);
    }

    /// 10 shares were held at a close of 155. Since then 5 were bought at 158 and 3 sold at 161; the price is now 160:
    /// 7 × 5 + 3 × 6 + 5 × 2 = 63.
    #[test]
    fn the_day_change_counts_todays_trades_from_their_price() {
        let today =
            [trade(1, TransactionType::Buy, "5", "-790"), trade(1, TransactionType::Sell, "3", "483")];
        let valuation =
            Valuation::new(money("0"), vec![priced(1, "AAPL", "12", "1", "160.00", Some("155.00"))], &today);
        assert_eq!(valuation.holdings[0].day_change, Some(money("63")));
    }

    #[test]
    fn a_stock_sold_out_today_still_counts_for_the_day() {
        let today = [trade(1, TransactionType::Sell, "10", "1600")];
        let valuation = Valuation::new(
            money("1600"),
            vec![priced(1, "AAPL", "0", "0", "170.00", Some("155.00"))],
            &today,
        );
        assert!(valuation.holdings.is_empty());
        assert_eq!((valuation.day_change, valuation.total_value), (money("50"), money("1600")));
    }

    #[test]
    fn without_a_previous_close_the_change_is_unknown_unless_bought_today() {
        let unknown = Valuation::new(money("0"), vec![priced(1, "AAPL", "1", "1", "160.00", None)], &[]);
        assert_eq!(unknown.holdings[0].day_change, None);
        let today = [trade(1, TransactionType::Buy, "1", "-158")];
        let bought = Valuation::new(money("0"), vec![priced(1, "AAPL", "1", "158", "160.00", None)], &today);
        assert_eq!(bought.holdings[0].day_change, Some(money("2")));
    }
}
