//! What a person asks for: an order, and what became of it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::money::{AveragePrice, ExactAmount};
use crate::{
    FillTotals, Money, OrderField, OrderId, OrderIssue, Percent, PortfolioId, Price, Quantity, StockId,
    Symbol, Timestamp,
};

/// A text is none of the words that a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be {}", .expected.join(" or "))]
pub struct UnknownWord {
    pub expected: &'static [&'static str],
}

macro_rules! keywords {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? })+) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
        #[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl FromStr for $name {
            type Err = crate::order::UnknownWord;

            fn from_str(text: &str) -> Result<Self, crate::order::UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::order::UnknownWord { expected: &[$($word),+] }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+ };
}
pub(crate) use keywords;

keywords! {
    Side { Buy = "buy", Sell = "sell" }

    OrderType {
        /// Fills at the market's price.
        Market = "market",
        /// Fills at its limit or better.
        Limit = "limit",
        /// Becomes a market order when the market reaches its stop.
        Stop = "stop",
        /// Becomes a limit order when the market reaches its stop.
        StopLimit = "stop_limit",
        /// A stop that follows the market's best price at a distance.
        TrailingStop = "trailing_stop",
    }

    /// How long an order works.
    TimeInForce {
        /// Until the session's close.
        Day = "day",
        /// Until it is canceled.
        Gtc = "gtc",
        /// Fills what it can at once; the rest is canceled.
        Ioc = "ioc",
        /// Fills in full at once or is canceled.
        Fok = "fok",
        /// At the first price of the next session, or not at all.
        Opg = "opg",
        /// At the session's closing price, or not at all.
        Cls = "cls",
    }

    /// How orders belong together.
    OrderClass {
        Simple = "simple",
        /// An entry with two exits: a take-profit and a stop-loss. They work once the entry has ended, for what it
        /// bought; one cancels the other.
        Bracket = "bracket",
        /// Two exits for shares already held; one cancels the other.
        Oco = "oco",
        /// An entry with one exit.
        Oto = "oto",
    }

    OrderStatus {
        /// An exit that waits for its entry.
        Held = "held",
        Accepted = "accepted",
        PartiallyFilled = "partially_filled",
        Filled = "filled",
        Canceled = "canceled",
        Expired = "expired",
        /// Accepted, and later found impossible to fill: cash or shares did not suffice at the price.
        Rejected = "rejected",
        Replaced = "replaced",
    }
}

impl OrderStatus {
    /// Whether something can still become of it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Held | Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether prices fill it.
    pub fn is_working(self) -> bool {
        matches!(self, Self::Accepted | Self::PartiallyFilled)
    }

    /// Whether a status may follow another. What has ended stays as it is; what has filled in part is not accepted
    /// again; an exit that waits can begin to work or end without a fill.
    pub fn may_become(self, next: Self) -> bool {
        use OrderStatus::{Accepted, Canceled, Expired, Filled, Held, PartiallyFilled, Rejected, Replaced};
        match self {
            Held => matches!(next, Accepted | Canceled | Expired | Replaced),
            Accepted | PartiallyFilled => {
                matches!(next, PartiallyFilled | Filled | Canceled | Expired | Rejected | Replaced)
            }
            Filled | Canceled | Expired | Rejected | Replaced => false,
        }
    }
}

/// How much to trade: shares, or the money to spend or to raise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderSize {
    Quantity(Quantity),
    /// Positive; becomes a quantity at the fill's price, rounded down to nine decimals. Commission comes on top.
    Notional(Money),
    /// A percentage of the shares held, rounded down to nine decimals; 100 is all of them, without a rest. Of sells
    /// only. It becomes a quantity when the order is placed: no order in the books has this size.
    OfPosition(Percent),
}

/// How far a trailing stop stays behind the best price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trail {
    /// Per share.
    Price(Price),
    Percent(Percent),
}

/// The type of an order with the prices it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderTerms {
    Market,
    Limit { limit: Price },
    Stop { stop: Price },
    StopLimit { stop: Price, limit: Price },
    TrailingStop { trail: Trail },
}

impl OrderTerms {
    pub fn order_type(&self) -> OrderType {
        match self {
            Self::Market => OrderType::Market,
            Self::Limit { .. } => OrderType::Limit,
            Self::Stop { .. } => OrderType::Stop,
            Self::StopLimit { .. } => OrderType::StopLimit,
            Self::TrailingStop { .. } => OrderType::TrailingStop,
        }
    }

    pub fn limit_price(&self) -> Option<&Price> {
        match self {
            Self::Limit { limit } | Self::StopLimit { limit, .. } => Some(limit),
            Self::Market | Self::Stop { .. } | Self::TrailingStop { .. } => None,
        }
    }

    /// The fixed stop; a trailing one depends on the order's `high_water_price`.
    pub fn stop_price(&self) -> Option<&Price> {
        match self {
            Self::Stop { stop } | Self::StopLimit { stop, .. } => Some(stop),
            Self::Market | Self::Limit { .. } | Self::TrailingStop { .. } => None,
        }
    }

    pub fn trail(&self) -> Option<&Trail> {
        match self {
            Self::TrailingStop { trail } => Some(trail),
            _ => None,
        }
    }

    /// The price at which an entry is expected to trade: its limit, else its stop. `None` where only the market tells.
    pub(crate) fn entry_price(&self) -> Option<&Price> {
        self.limit_price().or_else(|| self.stop_price())
    }

    /// Whether it waits for the market to reach a stop first.
    pub fn is_stop(&self) -> bool {
        matches!(self, Self::Stop { .. } | Self::StopLimit { .. } | Self::TrailingStop { .. })
    }

    fn canonical(&self) -> String {
        let or_none = |price: Option<&Price>| price.map_or_else(|| "-".to_owned(), ToString::to_string);
        let trail = match self.trail() {
            Some(Trail::Price(price)) => format!(" trail={price}"),
            Some(Trail::Percent(percent)) => format!(" trail={percent}%"),
            None => String::new(),
        };
        let (limit, stop) = (or_none(self.limit_price()), or_none(self.stop_price()));
        format!("{} limit={limit} stop={stop}{trail}", self.order_type())
    }
}

/// An exit that limits a loss: a stop, or a stop with a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopLoss {
    pub stop: Price,
    pub limit: Option<Price>,
}

impl StopLoss {
    fn terms(&self) -> OrderTerms {
        let stop = self.stop.clone();
        match self.limit.clone() {
            Some(limit) => OrderTerms::StopLimit { stop, limit },
            None => OrderTerms::Stop { stop },
        }
    }
}

/// The orders that come with an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Attached {
    #[default]
    Nothing,
    Bracket {
        take_profit: Price,
        stop_loss: StopLoss,
    },
    /// Beside a limit order, which is the take-profit.
    Oco {
        stop_loss: StopLoss,
    },
    OtoTakeProfit {
        take_profit: Price,
    },
    OtoStopLoss {
        stop_loss: StopLoss,
    },
}

impl Attached {
    pub fn class(&self) -> OrderClass {
        match self {
            Self::Nothing => OrderClass::Simple,
            Self::Bracket { .. } => OrderClass::Bracket,
            Self::Oco { .. } => OrderClass::Oco,
            Self::OtoTakeProfit { .. } | Self::OtoStopLoss { .. } => OrderClass::Oto,
        }
    }

    /// What is wrong with the exits of an entry at that price.
    pub(crate) fn issues_around(&self, entry: &Price) -> Vec<OrderIssue> {
        let (profit, loss) = match self {
            Self::Nothing | Self::Oco { .. } => (None, None),
            Self::Bracket { take_profit, stop_loss } => (Some(take_profit), Some(stop_loss)),
            Self::OtoTakeProfit { take_profit } => (Some(take_profit), None),
            Self::OtoStopLoss { stop_loss } => (None, Some(stop_loss)),
        };
        let profit = profit.filter(|profit| *profit <= entry).map(|profit| {
            OrderIssue::TakeProfitNotAboveEntry { take_profit: profit.clone(), entry: entry.clone() }
        });
        let loss = loss.filter(|loss| loss.stop >= *entry).map(|loss| OrderIssue::StopLossNotBelowEntry {
            stop_loss: loss.stop.clone(),
            entry: entry.clone(),
        });
        profit.into_iter().chain(loss).collect()
    }

    /// What the legs are, the take-profit first.
    pub(crate) fn legs(&self) -> Vec<OrderTerms> {
        let limit = |limit: &Price| OrderTerms::Limit { limit: limit.clone() };
        match self {
            Self::Nothing => vec![],
            Self::Bracket { take_profit, stop_loss } => vec![limit(take_profit), stop_loss.terms()],
            Self::Oco { stop_loss } | Self::OtoStopLoss { stop_loss } => vec![stop_loss.terms()],
            Self::OtoTakeProfit { take_profit } => vec![limit(take_profit)],
        }
    }
}

/// The command to place an order, already well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    pub symbol: Symbol,
    pub side: Side,
    pub size: OrderSize,
    pub terms: OrderTerms,
    pub time_in_force: TimeInForce,
    pub attached: Attached,
    /// Names the order within its portfolio, so that a retried request is answered and not repeated.
    pub client_order_id: Option<String>,
}

impl PlaceOrder {
    /// The request in one canonical line: two requests are the same exactly when their lines are.
    pub fn canonical(&self) -> String {
        let size = match &self.size {
            OrderSize::Quantity(quantity) => format!("quantity={quantity}"),
            OrderSize::Notional(notional) => format!("notional={notional}"),
            OrderSize::OfPosition(percent) => format!("position={percent}%"),
        };
        let mut line =
            format!("{} {} {size} {} {}", self.side, self.symbol, self.terms.canonical(), self.time_in_force);
        for leg in self.attached.legs() {
            line.push_str(&format!(" {}({})", self.attached.class(), leg.canonical()));
        }
        line
    }

    /// The rules that the order breaks, whatever the portfolio and the market are like. Empty when it breaks none.
    pub fn issues(&self) -> Vec<OrderIssue> {
        let mut issues = Vec::new();
        let mut check = |ok: bool, issue| {
            if !ok {
                issues.push(issue);
            }
        };
        let plain = matches!(self.terms, OrderTerms::Market | OrderTerms::Limit { .. });
        let patient = matches!(self.time_in_force, TimeInForce::Day | TimeInForce::Gtc);
        check(plain || patient, OrderIssue::StopTimeInForce(self.time_in_force));
        let by_money = matches!(self.size, OrderSize::Notional(_));
        check(plain || !by_money, OrderIssue::StopByNotional);
        if self.attached.class() != OrderClass::Simple {
            check(patient, OrderIssue::LinkedTimeInForce(self.time_in_force));
            check(!by_money, OrderIssue::LinkedByNotional);
        }
        let of_position = matches!(self.size, OrderSize::OfPosition(_));
        check(!of_position || self.side == Side::Sell, OrderIssue::BuyByPartOfPosition);
        let crossed = |take_profit: &Price, stop_loss: &StopLoss| OrderIssue::ExitsCrossed {
            field: OrderField::StopLoss,
            take_profit: take_profit.clone(),
            stop_loss: stop_loss.stop.clone(),
        };
        match &self.attached {
            Attached::Nothing => {}
            Attached::Oco { stop_loss } => {
                check(self.side == Side::Sell, OrderIssue::BuyOco);
                match &self.terms {
                    OrderTerms::Limit { limit } => check(stop_loss.stop < *limit, crossed(limit, stop_loss)),
                    terms => check(false, OrderIssue::OcoWithoutLimit(terms.order_type())),
                }
            }
            Attached::Bracket { .. } | Attached::OtoTakeProfit { .. } | Attached::OtoStopLoss { .. } => {
                check(self.side == Side::Buy, OrderIssue::SellWithEntryExits);
            }
        }
        if let Attached::Bracket { take_profit, stop_loss } = &self.attached {
            check(stop_loss.stop < *take_profit, crossed(take_profit, stop_loss));
        }
        if let Some(entry) = self.terms.entry_price() {
            issues.extend(self.attached.issues_around(entry));
        }
        issues
    }
}

/// What a replacement changes; `None` leaves it as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaceOrder {
    /// The shares still to be traded; what has filled stays with the order that is replaced.
    pub quantity: Option<Quantity>,
    pub limit_price: Option<Price>,
    pub stop_price: Option<Price>,
    pub trail: Option<Trail>,
    pub time_in_force: Option<TimeInForce>,
    pub client_order_id: Option<String>,
}

impl ReplaceOrder {
    /// In one canonical line, as [`PlaceOrder::canonical`].
    pub fn canonical(&self, id: OrderId) -> String {
        format!("replace {id} {self:?}")
    }

    /// The order's terms with the changes.
    ///
    /// # Errors
    /// When the order's type has no such price.
    pub fn terms(&self, old: &OrderTerms) -> Result<OrderTerms, Vec<OrderIssue>> {
        let (mut terms, order_type) = (old.clone(), old.order_type());
        let mut issues = Vec::new();
        if let Some(new) = &self.limit_price {
            match &mut terms {
                OrderTerms::Limit { limit } | OrderTerms::StopLimit { limit, .. } => *limit = new.clone(),
                _ => issues.push(OrderIssue::NoLimitToChange(order_type)),
            }
        }
        if let Some(new) = &self.stop_price {
            match &mut terms {
                OrderTerms::Stop { stop } | OrderTerms::StopLimit { stop, .. } => *stop = new.clone(),
                _ => issues.push(OrderIssue::NoStopToChange(order_type)),
            }
        }
        if let Some(new) = &self.trail {
            match &mut terms {
                OrderTerms::TrailingStop { trail } => *trail = new.clone(),
                _ => issues.push(OrderIssue::NoTrailToChange(order_type)),
            }
        }
        if issues.is_empty() { Ok(terms) } else { Err(issues) }
    }
}

/// A change of status that cannot be: a fault of the program, never of its user.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("an order that is {from} cannot become {to}")]
pub struct IllegalTransition {
    pub from: OrderStatus,
    pub to: OrderStatus,
}

/// An order in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub portfolio_id: PortfolioId,
    pub stock_id: StockId,
    pub symbol: Symbol,
    pub client_order_id: Option<String>,
    pub side: Side,
    pub size: OrderSize,
    pub terms: OrderTerms,
    pub time_in_force: TimeInForce,
    pub order_class: OrderClass,
    /// Of a leg: the order it came with.
    pub parent_order_id: Option<OrderId>,
    /// The order whose place this one took.
    pub replaces: Option<OrderId>,
    pub status: OrderStatus,
    /// When the market reached the stop.
    pub triggered_at: Option<Timestamp>,
    /// Of a trailing stop: the best price seen, the highest for a sell and the lowest for a buy.
    pub high_water_price: Option<Price>,
    /// Cash kept for the fills to come; zero for sells and for what has ended.
    pub reserved_cash: Money,
    /// Shares kept for the fills to come. Of two exits for the same shares only the first keeps them.
    pub reserved_quantity: Quantity,
    /// In the shares that there are now, or were when it ended: a split while it is open changes it, as it changes the
    /// shares still to be traded.
    pub filled_quantity: Quantity,
    /// The sum of quantity × price over its fills, not rounded. What they booked is this rounded half-even to the cent.
    pub filled_amount: ExactAmount,
    /// Per share, the average of its fills to six decimals, rounded toward the limit; `None` before the first.
    pub filled_price: Option<AveragePrice>,
    /// Of all its fills.
    pub commission: Money,
    pub submitted_at: Timestamp,
    /// Prices up to here have been looked at.
    pub last_matched_at: Timestamp,
    /// When it was filled in full.
    pub filled_at: Option<Timestamp>,
    /// When it ended without being filled in full: canceled, expired, rejected or replaced.
    pub canceled_at: Option<Timestamp>,
    /// When a `day` order ends. Of `opg` and `cls` the instant of the opening or the close they are for.
    pub expires_at: Option<Timestamp>,
    /// Why it was rejected, a sentence.
    pub reject_reason: Option<String>,
}

impl Order {
    /// The one place where a status changes.
    ///
    /// # Errors
    /// When the status may not follow; the order is unchanged then.
    pub fn become_status(&mut self, to: OrderStatus, at: Timestamp) -> Result<(), IllegalTransition> {
        if !self.status.may_become(to) {
            return Err(IllegalTransition { from: self.status, to });
        }
        self.status = to;
        match to {
            OrderStatus::Filled => self.filled_at = Some(at),
            OrderStatus::Held | OrderStatus::Accepted | OrderStatus::PartiallyFilled => {}
            OrderStatus::Canceled | OrderStatus::Expired | OrderStatus::Rejected | OrderStatus::Replaced => {
                self.canceled_at = Some(at);
            }
        }
        if !to.is_open() {
            self.reserved_cash = Money::zero();
            self.reserved_quantity = Quantity::zero();
        }
        Ok(())
    }

    pub fn order_type(&self) -> OrderType {
        self.terms.order_type()
    }

    /// What its fills add up to.
    pub fn fill_totals(&self) -> FillTotals {
        FillTotals {
            quantity: self.filled_quantity.clone(),
            exact: self.filled_amount.clone(),
            amount: self.filled_amount.rounded(),
            price: self.filled_price.clone(),
        }
    }

    pub(crate) fn set_fill_totals(&mut self, totals: FillTotals) {
        self.filled_quantity = totals.quantity;
        self.filled_amount = totals.exact;
        self.filled_price = totals.price;
    }

    /// The fewest shares that a fill takes where liquidity is limited, unless less is left to fill or the volume of
    /// [`crate::matching::LIQUIDITY_WINDOW`] has left no more: 1 % of the order at that price, and at least one share.
    pub(crate) fn minimum_fill(&self, price: &Price) -> Quantity {
        let ordered = match &self.size {
            OrderSize::Quantity(quantity) => quantity.clone(),
            OrderSize::Notional(notional) => notional.buys(price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        };
        ordered.hundredth().max(Quantity::one())
    }

    /// Shares still to be traded, at `price` where the order is by money.
    pub fn remaining(&self, price: &Price) -> Quantity {
        match &self.size {
            OrderSize::Quantity(_) => self.unfilled(),
            OrderSize::Notional(notional) => self.filled_amount.rest_buys(notional, price),
            OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// Shares still to be traded of an order that is sized in shares; of one by money the price would decide.
    pub fn unfilled(&self) -> Quantity {
        match &self.size {
            OrderSize::Quantity(quantity) => {
                quantity.checked_sub(&self.filled_quantity).unwrap_or_else(Quantity::zero)
            }
            OrderSize::Notional(_) | OrderSize::OfPosition(_) => Quantity::zero(),
        }
    }

    /// Where a stop triggers: fixed, or behind the best price seen so far. `None` for orders without a stop, and for
    /// a trailing one that has seen no price yet.
    pub fn stop_price(&self) -> Option<Price> {
        if let Some(stop) = self.terms.stop_price() {
            return Some(stop.clone());
        }
        let (trail, water) = (self.terms.trail()?, self.high_water_price.as_ref()?);
        match (self.side, trail) {
            (Side::Sell, Trail::Price(distance)) => water.less(distance),
            (Side::Sell, Trail::Percent(percent)) => water.lowered(percent),
            (Side::Buy, Trail::Price(distance)) => Some(water.plus(distance)),
            (Side::Buy, Trail::Percent(percent)) => Some(water.raised(percent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_stays_as_it_is() {
        for from in OrderStatus::ALL.iter().filter(|status| !status.is_open()) {
            for to in OrderStatus::ALL {
                assert!(!from.may_become(*to), "{from} became {to}");
            }
        }
        for from in OrderStatus::ALL.iter().filter(|status| status.is_open()) {
            assert!(from.may_become(OrderStatus::Canceled) && from.may_become(OrderStatus::Replaced));
            assert!(!from.may_become(OrderStatus::Held));
        }
        assert!(!OrderStatus::PartiallyFilled.may_become(OrderStatus::Accepted));
        assert!(!OrderStatus::Held.may_become(OrderStatus::Filled));
    }

    fn command() -> PlaceOrder {
        PlaceOrder {
            symbol: "AAPL".parse().unwrap(),
            side: Side::Buy,
            size: OrderSize::Quantity("1".parse().unwrap()),
            terms: OrderTerms::Market,
            time_in_force: TimeInForce::Day,
            attached: Attached::Nothing,
            client_order_id: None,
        }
    }

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn loss(stop: &str) -> StopLoss {
        StopLoss { stop: price(stop), limit: None }
    }

    fn fields(command: &PlaceOrder) -> Vec<&'static str> {
        command.issues().iter().map(|issue| issue.field().as_str()).collect()
    }

    #[test]
    fn what_does_not_go_together_is_told_by_field() {
        assert!(command().issues().is_empty());
        let stop = OrderTerms::Stop { stop: price("10") };
        let ioc = PlaceOrder { terms: stop.clone(), time_in_force: TimeInForce::Ioc, ..command() };
        assert_eq!(fields(&ioc), ["time_in_force"]);
        let by_money =
            PlaceOrder { terms: stop, size: OrderSize::Notional("5".parse().unwrap()), ..command() };
        assert_eq!(fields(&by_money), ["notional"]);
        let oco = PlaceOrder { attached: Attached::Oco { stop_loss: loss("10") }, ..command() };
        assert_eq!(fields(&oco), ["side", "type"]);
        let bracket = Attached::Bracket { take_profit: price("10"), stop_loss: loss("10") };
        let crossed = PlaceOrder { side: Side::Sell, attached: bracket, ..command() };
        assert_eq!(fields(&crossed), ["side", "stop_loss"]);
        let all = OrderSize::OfPosition("100".parse().unwrap());
        assert_eq!(fields(&PlaceOrder { size: all, ..command() }), ["quantity"]);
    }

    #[test]
    fn the_exits_of_an_entry_lie_on_either_side_of_it() {
        let bracket = |profit, stop| Attached::Bracket { take_profit: price(profit), stop_loss: loss(stop) };
        let profit = |text| Attached::OtoTakeProfit { take_profit: price(text) };
        let stop = |text| Attached::OtoStopLoss { stop_loss: loss(text) };
        let limit = OrderTerms::Limit { limit: price("100") };
        let stop_limit = OrderTerms::StopLimit { stop: price("99"), limit: price("100") };
        for (terms, attached, wrong) in [
            (limit.clone(), bracket("110", "90"), vec![]),
            (limit.clone(), bracket("99", "90"), vec!["take_profit"]),
            (limit.clone(), bracket("100", "90"), vec!["take_profit"]),
            (limit.clone(), bracket("110", "100"), vec!["stop_loss"]),
            (limit.clone(), profit("100.01"), vec![]),
            (limit.clone(), profit("99.99"), vec!["take_profit"]),
            (limit.clone(), stop("99.99"), vec![]),
            (limit, stop("100.01"), vec!["stop_loss"]),
            (stop_limit.clone(), bracket("99.50", "90"), vec!["take_profit"]),
            (stop_limit, bracket("101", "90"), vec![]),
            (OrderTerms::Stop { stop: price("100") }, bracket("101", "100"), vec!["stop_loss"]),
            // Of a market order the newest price decides, when it is placed.
            (OrderTerms::Market, bracket("2", "1"), vec![]),
        ] {
            let placed = PlaceOrder { terms, attached, ..command() };
            assert_eq!(fields(&placed), wrong, "{}", placed.canonical());
        }
    }

    #[test]
    fn two_requests_are_the_same_exactly_when_their_lines_are() {
        let limit = |text: &str| OrderTerms::Limit { limit: price(text) };
        let bracket = |stop: &str| Attached::Bracket { take_profit: price("20"), stop_loss: loss(stop) };
        let different = [
            command(),
            PlaceOrder { terms: limit("10"), ..command() },
            PlaceOrder { terms: limit("10.01"), ..command() },
            PlaceOrder { terms: OrderTerms::Stop { stop: price("10") }, ..command() },
            PlaceOrder { terms: OrderTerms::TrailingStop { trail: Trail::Price(price("10")) }, ..command() },
            PlaceOrder {
                terms: OrderTerms::TrailingStop { trail: Trail::Percent("10".parse().unwrap()) },
                ..command()
            },
            PlaceOrder { time_in_force: TimeInForce::Gtc, ..command() },
            PlaceOrder { attached: bracket("5"), ..command() },
            PlaceOrder { attached: bracket("6"), ..command() },
            PlaceOrder { attached: Attached::OtoStopLoss { stop_loss: loss("5") }, ..command() },
        ];
        for (i, one) in different.iter().enumerate() {
            for (j, other) in different.iter().enumerate() {
                assert_eq!(one.canonical() == other.canonical(), i == j, "{}", one.canonical());
            }
        }
        let spelled_otherwise = PlaceOrder { terms: limit("10.00"), ..command() };
        assert_eq!(spelled_otherwise.canonical(), different[1].canonical());
    }
}
