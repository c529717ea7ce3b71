//! The commands to place and to replace an order.

use super::{Attached, OrderClass, OrderSize, OrderTerms, Side, StopLoss, TimeInForce, Trail};
use crate::{OrderField, OrderId, OrderIssue, Price, Quantity, Symbol};

/// The command to place an order. Each field is well-formed; [`PlaceOrder::issues`] checks whether the fields are
/// consistent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    pub symbol: Symbol,
    pub side: Side,
    pub size: OrderSize,
    pub terms: OrderTerms,
    pub time_in_force: TimeInForce,
    pub attached: Attached,
    /// The client's name for the order, unique in the portfolio: a repeated request returns the existing order instead
    /// of placing another one.
    pub client_order_id: Option<String>,
}

impl PlaceOrder {
    /// The request as one canonical line: equal requests have equal lines.
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

    /// The rules that the order breaks, independent of portfolio and market. Empty if it breaks none.
    ///
    /// ```
    /// use domain::{Attached, OrderSize, OrderTerms, PlaceOrder, Side, StopLoss, TimeInForce};
    ///
    /// let order = PlaceOrder {
    ///     symbol: "AAPL".parse()?,
    ///     side: Side::Buy,
    ///     size: OrderSize::Quantity("10".parse()?),
    ///     terms: OrderTerms::Limit { limit: "100.00".parse()? },
    ///     time_in_force: TimeInForce::Gtc,
    ///     attached: Attached::OtoStopLoss { stop_loss: StopLoss { stop: "101.00".parse()?, limit: None } },
    ///     client_order_id: None,
    /// };
    /// let fields: Vec<_> = order.issues().iter().map(|issue| issue.field().as_str()).collect();
    /// assert_eq!(fields, ["stop_loss"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

/// Changes to an open order; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplaceOrder {
    /// The shares to fill from now on. Earlier fills stay with the replaced order.
    pub quantity: Option<Quantity>,
    pub limit_price: Option<Price>,
    pub stop_price: Option<Price>,
    pub trail: Option<Trail>,
    pub time_in_force: Option<TimeInForce>,
    pub client_order_id: Option<String>,
}

impl ReplaceOrder {
    /// The request as one canonical line, like [`PlaceOrder::canonical`].
    pub fn canonical(&self, id: OrderId) -> String {
        format!("replace {id} {self:?}")
    }

    /// The order's terms with the changes.
    ///
    /// # Errors
    /// One issue for each changed price that the order type does not have.
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn inconsistent_fields_are_reported_by_field() {
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
    fn the_exits_must_be_on_both_sides_of_the_entry() {
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
            // For a market order this is decided by the newest price when the order is placed.
            (OrderTerms::Market, bracket("2", "1"), vec![]),
        ] {
            let placed = PlaceOrder { terms, attached, ..command() };
            assert_eq!(fields(&placed), wrong, "{}", placed.canonical());
        }
    }

    #[test]
    fn canonical_lines_are_equal_exactly_for_equal_requests() {
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
