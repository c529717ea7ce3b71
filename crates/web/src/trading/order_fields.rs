//! Parses an order from the texts of JSON or a form into a command, or reports each problem.

use std::str::FromStr;

use domain::instrument::MalformedSymbol;
use domain::{
    Attached, DecimalError, Money, OrderClass, OrderSize, OrderTerms, OrderType, Percent, PlaceOrder, Price,
    ReplaceOrder, Side, StopLoss, Symbol, TimeInForce, Trail, UnknownWord,
};

/// A field that cannot be parsed, under its name in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadField {
    pub field: &'static str,
    pub issue: OrderTextIssue,
}

/// Why the text of a field cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderTextIssue {
    Word(UnknownWord),
    Symbol(MalformedSymbol),
    Decimal(DecimalError),
    NotionalNotPositive,
    NoSize,
    /// The order has both a quantity and a notional.
    TwoSizes,
    NoLimitPrice,
    NoStopPrice,
    NoTrail,
    /// The trailing stop has both an amount and a percentage.
    TwoTrails,
    /// The order has a price that its type does not allow.
    NotOfType(OrderType),
    TakeProfitOfSimple,
    StopLossOfSimple,
    /// A bracket lacks a take-profit or a stop-loss.
    IncompleteBracket,
    TakeProfitOfOco,
    OcoWithoutStopLoss,
    OtoWithBothExits,
    OtoWithoutExit,
    /// A replacement that changes nothing.
    NothingToChange,
}

impl From<UnknownWord> for OrderTextIssue {
    fn from(cause: UnknownWord) -> Self {
        Self::Word(cause)
    }
}

impl From<MalformedSymbol> for OrderTextIssue {
    fn from(cause: MalformedSymbol) -> Self {
        Self::Symbol(cause)
    }
}

impl From<DecimalError> for OrderTextIssue {
    fn from(cause: DecimalError) -> Self {
        Self::Decimal(cause)
    }
}

/// The texts of an order; `None` for omitted fields.
#[derive(Debug, Clone, Default)]
pub struct OrderFields<'a> {
    pub symbol: &'a str,
    pub side: &'a str,
    pub order_type: &'a str,
    pub quantity: Option<&'a str>,
    pub notional: Option<&'a str>,
    pub time_in_force: Option<&'a str>,
    pub limit_price: Option<&'a str>,
    pub stop_price: Option<&'a str>,
    pub trail_price: Option<&'a str>,
    pub trail_percent: Option<&'a str>,
    pub order_class: Option<&'a str>,
    pub take_profit: Option<&'a str>,
    pub stop_loss: Option<&'a str>,
    pub stop_loss_limit: Option<&'a str>,
    pub client_order_id: Option<&'a str>,
    /// Whether the order sells all shares held, instead of a `quantity` or `notional`.
    pub sells_all: bool,
}

/// Parses fields and collects their problems.
#[derive(Default)]
struct Reading(Vec<UnreadField>);

impl Reading {
    fn refuse(&mut self, field: &'static str, issue: impl Into<OrderTextIssue>) {
        self.0.push(UnreadField { field, issue: issue.into() });
    }

    fn read<T: FromStr>(&mut self, field: &'static str, text: &str) -> Option<T>
    where
        T::Err: Into<OrderTextIssue>,
    {
        text.parse().map_err(|error: T::Err| self.refuse(field, error)).ok()
    }

    fn optional<T: FromStr>(&mut self, field: &'static str, text: Option<&str>) -> Option<T>
    where
        T::Err: Into<OrderTextIssue>,
    {
        text.and_then(|text| self.read(field, text))
    }

    /// Reads a price that is required.
    fn needed<T: FromStr>(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        missing: OrderTextIssue,
    ) -> Option<T>
    where
        T::Err: Into<OrderTextIssue>,
    {
        match text {
            Some(text) => self.read(field, text),
            None => {
                self.refuse(field, missing);
                None
            }
        }
    }

    fn trail(&mut self, price: Option<&str>, percent: Option<&str>) -> Option<Trail> {
        match (price, percent) {
            (Some(price), None) => self.read("trail_price", price).map(Trail::Price),
            (None, Some(percent)) => self.read("trail_percent", percent).map(Trail::Percent),
            (Some(_), Some(_)) => {
                self.refuse("trail_percent", OrderTextIssue::TwoTrails);
                None
            }
            (None, None) => None,
        }
    }
}

impl OrderFields<'_> {
    /// # Errors
    /// All problems of the fields.
    pub fn read(&self) -> Result<PlaceOrder, Vec<UnreadField>> {
        let mut reading = Reading::default();
        let symbol: Option<Symbol> = reading.read("symbol", self.symbol);
        let side: Option<Side> = reading.read("side", self.side);
        let time_in_force: Option<TimeInForce> =
            reading.read("time_in_force", self.time_in_force.unwrap_or("day"));
        let size = self.size(&mut reading);
        let terms = self.terms(&mut reading);
        let attached = self.attached(&mut reading);
        let command = (|| {
            Some(PlaceOrder {
                symbol: symbol?,
                side: side?,
                size: size?,
                terms: terms?,
                time_in_force: time_in_force?,
                attached: attached?,
                client_order_id: self.client_order_id.map(ToOwned::to_owned),
            })
        })();
        match command {
            Some(command) if reading.0.is_empty() => Ok(command),
            _ => Err(reading.0),
        }
    }

    fn size(&self, reading: &mut Reading) -> Option<OrderSize> {
        if self.sells_all {
            return Some(OrderSize::OfPosition(Percent::hundred()));
        }
        match (self.quantity, self.notional) {
            (Some(quantity), None) => reading.read("quantity", quantity).map(OrderSize::Quantity),
            (None, Some(notional)) => {
                let money: Money = reading.read("notional", notional)?;
                if !money.is_positive() {
                    reading.refuse("notional", OrderTextIssue::NotionalNotPositive);
                    return None;
                }
                Some(OrderSize::Notional(money))
            }
            (None, None) => {
                reading.refuse("quantity", OrderTextIssue::NoSize);
                None
            }
            (Some(_), Some(_)) => {
                reading.refuse("notional", OrderTextIssue::TwoSizes);
                None
            }
        }
    }

    fn terms(&self, reading: &mut Reading) -> Option<OrderTerms> {
        let order_type: OrderType = reading.read("type", self.order_type)?;
        let takes = |field: &str| match field {
            "limit_price" => matches!(order_type, OrderType::Limit | OrderType::StopLimit),
            "stop_price" => matches!(order_type, OrderType::Stop | OrderType::StopLimit),
            _ => order_type == OrderType::TrailingStop,
        };
        for (field, text) in [
            ("limit_price", self.limit_price),
            ("stop_price", self.stop_price),
            ("trail_price", self.trail_price),
            ("trail_percent", self.trail_percent),
        ] {
            if text.is_some() && !takes(field) {
                reading.refuse(field, OrderTextIssue::NotOfType(order_type));
            }
        }
        const LIMIT: OrderTextIssue = OrderTextIssue::NoLimitPrice;
        const STOP: OrderTextIssue = OrderTextIssue::NoStopPrice;
        match order_type {
            OrderType::Market => Some(OrderTerms::Market),
            OrderType::Limit => {
                Some(OrderTerms::Limit { limit: reading.needed("limit_price", self.limit_price, LIMIT)? })
            }
            OrderType::Stop => {
                Some(OrderTerms::Stop { stop: reading.needed("stop_price", self.stop_price, STOP)? })
            }
            OrderType::StopLimit => {
                let stop = reading.needed("stop_price", self.stop_price, STOP);
                let limit = reading.needed("limit_price", self.limit_price, LIMIT);
                Some(OrderTerms::StopLimit { stop: stop?, limit: limit? })
            }
            OrderType::TrailingStop => {
                if self.trail_price.is_none() && self.trail_percent.is_none() {
                    reading.refuse("trail_price", OrderTextIssue::NoTrail);
                }
                Some(OrderTerms::TrailingStop { trail: reading.trail(self.trail_price, self.trail_percent)? })
            }
        }
    }

    fn attached(&self, reading: &mut Reading) -> Option<Attached> {
        let class: OrderClass = reading.read("order_class", self.order_class.unwrap_or("simple"))?;
        let take_profit: Option<Price> = reading.optional("take_profit", self.take_profit);
        let stop: Option<Price> = reading.optional("stop_loss", self.stop_loss);
        let limit: Option<Price> = reading.optional("stop_loss_limit", self.stop_loss_limit);
        let stop_loss = stop.map(|stop| StopLoss { stop, limit });
        let mut refuse = |field, issue: OrderTextIssue| {
            reading.refuse(field, issue);
            None
        };
        let wrong_before = (self.take_profit.is_some() && take_profit.is_none())
            || (self.stop_loss.is_some() && stop_loss.is_none());
        if self.stop_loss.is_none() && self.stop_loss_limit.is_some() {
            return refuse("stop_loss", OrderTextIssue::NoStopPrice);
        }
        match (class, take_profit, stop_loss) {
            _ if wrong_before => None,
            (OrderClass::Simple, None, None) => Some(Attached::Nothing),
            (OrderClass::Simple, Some(_), _) => refuse("take_profit", OrderTextIssue::TakeProfitOfSimple),
            (OrderClass::Simple, None, Some(_)) => refuse("stop_loss", OrderTextIssue::StopLossOfSimple),
            (OrderClass::Bracket, Some(take_profit), Some(stop_loss)) => {
                Some(Attached::Bracket { take_profit, stop_loss })
            }
            (OrderClass::Bracket, None, _) => refuse("take_profit", OrderTextIssue::IncompleteBracket),
            (OrderClass::Bracket, _, None) => refuse("stop_loss", OrderTextIssue::IncompleteBracket),
            (OrderClass::Oco, None, Some(stop_loss)) => Some(Attached::Oco { stop_loss }),
            (OrderClass::Oco, Some(_), _) => refuse("take_profit", OrderTextIssue::TakeProfitOfOco),
            (OrderClass::Oco, None, None) => refuse("stop_loss", OrderTextIssue::OcoWithoutStopLoss),
            (OrderClass::Oto, Some(take_profit), None) => Some(Attached::OtoTakeProfit { take_profit }),
            (OrderClass::Oto, None, Some(stop_loss)) => Some(Attached::OtoStopLoss { stop_loss }),
            (OrderClass::Oto, Some(_), Some(_)) => refuse("order_class", OrderTextIssue::OtoWithBothExits),
            (OrderClass::Oto, None, None) => refuse("take_profit", OrderTextIssue::OtoWithoutExit),
        }
    }
}

/// The texts of a replacement. A field that is `None` keeps its value.
#[derive(Debug, Clone, Default)]
pub struct ReplaceFields<'a> {
    pub quantity: Option<&'a str>,
    pub limit_price: Option<&'a str>,
    pub stop_price: Option<&'a str>,
    pub trail_price: Option<&'a str>,
    pub trail_percent: Option<&'a str>,
    pub time_in_force: Option<&'a str>,
    pub client_order_id: Option<&'a str>,
}

impl ReplaceFields<'_> {
    /// # Errors
    /// All problems of the fields, or that the replacement changes nothing.
    pub fn read(&self) -> Result<ReplaceOrder, Vec<UnreadField>> {
        let mut reading = Reading::default();
        let changes = ReplaceOrder {
            quantity: reading.optional("quantity", self.quantity),
            limit_price: reading.optional("limit_price", self.limit_price),
            stop_price: reading.optional("stop_price", self.stop_price),
            trail: reading.trail(self.trail_price, self.trail_percent),
            time_in_force: reading.optional("time_in_force", self.time_in_force),
            client_order_id: self.client_order_id.map(ToOwned::to_owned),
        };
        let nothing = ReplaceOrder { client_order_id: changes.client_order_id.clone(), ..Default::default() };
        if reading.0.is_empty() && changes == nothing {
            reading.refuse("body", OrderTextIssue::NothingToChange);
        }
        if reading.0.is_empty() { Ok(changes) } else { Err(reading.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKET: OrderFields<'_> = OrderFields {
        symbol: "aapl",
        side: "buy",
        order_type: "market",
        quantity: Some("1"),
        notional: None,
        time_in_force: None,
        limit_price: None,
        stop_price: None,
        trail_price: None,
        trail_percent: None,
        order_class: None,
        take_profit: None,
        stop_loss: None,
        stop_loss_limit: None,
        client_order_id: None,
        sells_all: false,
    };

    fn wrong(fields: &OrderFields<'_>) -> Vec<&'static str> {
        match fields.read() {
            Ok(command) => panic!("was read as {command:?}"),
            Err(fields) => fields.iter().map(|unread| unread.field).collect(),
        }
    }

    #[test]
    fn each_type_has_the_prices_it_needs_and_no_others() {
        assert_eq!(MARKET.read().unwrap().terms, OrderTerms::Market);
        assert_eq!(wrong(&OrderFields { limit_price: Some("5"), ..MARKET }), ["limit_price"]);
        assert_eq!(wrong(&OrderFields { order_type: "limit", ..MARKET }), ["limit_price"]);
        assert_eq!(wrong(&OrderFields { order_type: "stop_limit", ..MARKET }), ["stop_price", "limit_price"]);
        assert_eq!(wrong(&OrderFields { order_type: "trailing_stop", ..MARKET }), ["trail_price"]);
        let both = OrderFields {
            order_type: "trailing_stop",
            trail_price: Some("1"),
            trail_percent: Some("1"),
            ..MARKET
        };
        assert_eq!(wrong(&both), ["trail_percent"]);
        let stop = OrderFields { order_type: "stop", stop_price: Some("9.50"), ..MARKET };
        assert_eq!(stop.read().unwrap().terms, OrderTerms::Stop { stop: "9.5".parse().unwrap() });
    }

    #[test]
    fn order_groups_are_read_with_all_legs() {
        let bracket = OrderFields {
            order_class: Some("bracket"),
            take_profit: Some("20"),
            stop_loss: Some("10"),
            stop_loss_limit: Some("9.90"),
            ..MARKET
        };
        let Attached::Bracket { stop_loss, .. } = bracket.read().unwrap().attached else {
            panic!("no bracket")
        };
        assert_eq!(stop_loss.limit, Some("9.9".parse().unwrap()));
        assert_eq!(wrong(&OrderFields { take_profit: None, ..bracket.clone() }), ["take_profit"]);
        assert_eq!(wrong(&OrderFields { order_class: None, ..bracket.clone() }), ["take_profit"]);
        assert_eq!(wrong(&OrderFields { order_class: Some("oto"), ..bracket.clone() }), ["order_class"]);
        assert_eq!(wrong(&OrderFields { stop_loss: Some("x"), ..bracket }), ["stop_loss"]);
    }

    #[test]
    fn a_replacement_has_to_change_something() {
        assert!(ReplaceFields::default().read().is_err());
        assert!(ReplaceFields { client_order_id: Some("a"), ..Default::default() }.read().is_err());
        let limit = ReplaceFields { limit_price: Some("9"), ..Default::default() };
        assert_eq!(limit.read().unwrap().limit_price, Some("9".parse().unwrap()));
    }
}
