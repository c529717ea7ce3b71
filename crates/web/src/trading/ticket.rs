//! The order ticket: its fields from a form or a link, parsing them into a command, and showing the form.

use std::fmt::Display;

use domain::{
    OrderClass, OrderType, PlaceOrder, PortfolioId, PortfolioRef, Price, Quantity, Side, Symbol, TimeInForce,
    TradingMode, TradingRules, Valuation,
};
use serde::{Deserialize, Serialize};
use services::{Error, FieldError, Services};

use crate::http::problem::{PageError, Problem};
use crate::shell::form::{FormView, refusal, typed_number};
use crate::shell::format;
use crate::shell::links::{Choice, query};
use crate::stocks::price_pace;
use crate::trading::order_fields::OrderFields;
use crate::trading::words::pages as words;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TicketFields {
    pub symbol: String,
    pub side: String,
    pub quantity: String,
    /// `shares` or `notional`.
    pub unit: String,
    pub r#type: String,
    pub time_in_force: String,
    pub limit_price: String,
    pub stop_price: String,
    pub trail: String,
    /// `amount` or `percent`.
    pub trail_unit: String,
    pub take_profit: String,
    pub stop_loss: String,
    pub stop_loss_limit: String,
}

/// The id of the ticket's form.
pub const TICKET: &str = "ticket";
/// The value of the quantity that sells all shares held.
const ALL: &str = "all";
/// The maximum length of a value, in characters. All valid values are shorter.
const LONGEST_VALUE: usize = 40;

impl TicketFields {
    /// Cuts long values so that they fit into an address. A mark at the end prevents a cut value from being read as
    /// another valid one.
    pub fn bounded(mut self) -> Self {
        for text in [
            &mut self.symbol,
            &mut self.side,
            &mut self.quantity,
            &mut self.unit,
            &mut self.r#type,
            &mut self.time_in_force,
            &mut self.limit_price,
            &mut self.stop_price,
            &mut self.trail,
            &mut self.trail_unit,
            &mut self.take_profit,
            &mut self.stop_loss,
            &mut self.stop_loss_limit,
        ] {
            if text.chars().count() > LONGEST_VALUE {
                *text = text.chars().take(LONGEST_VALUE).chain(['…']).collect();
            }
        }
        self
    }

    fn is_by_money(&self) -> bool {
        self.unit == "notional"
    }

    fn is_by_percent(&self) -> bool {
        self.trail_unit == "percent"
    }

    /// Whether the quantity is the word for all shares held.
    fn sells_all(&self) -> bool {
        self.side() == Side::Sell && !self.is_by_money() && self.quantity.trim().eq_ignore_ascii_case(ALL)
    }

    fn side(&self) -> Side {
        self.side.parse().unwrap_or(Side::Buy)
    }

    fn order_type(&self) -> OrderType {
        self.r#type.parse().unwrap_or(OrderType::Market)
    }

    /// The non-empty fields of the chosen type and side, as pairs of name and value. Other fields are left out: the
    /// user may have entered a price before choosing another type.
    pub fn pairs(&self) -> Vec<(&'static str, &str)> {
        let kind = self.order_type();
        let limit = matches!(kind, OrderType::Limit | OrderType::StopLimit);
        let stop = matches!(kind, OrderType::Stop | OrderType::StopLimit);
        let trail = kind == OrderType::TrailingStop;
        let buys = self.side != Side::Sell.as_str();
        [
            ("symbol", &self.symbol, true),
            ("side", &self.side, true),
            ("quantity", &self.quantity, true),
            ("unit", &self.unit, true),
            ("type", &self.r#type, true),
            ("time_in_force", &self.time_in_force, true),
            ("limit_price", &self.limit_price, limit),
            ("stop_price", &self.stop_price, stop),
            ("trail", &self.trail, trail),
            ("trail_unit", &self.trail_unit, trail),
            ("take_profit", &self.take_profit, buys),
            ("stop_loss", &self.stop_loss, true),
            ("stop_loss_limit", &self.stop_loss_limit, true),
        ]
        .into_iter()
        .map(|(name, text, belongs)| (name, text.trim(), belongs))
        .filter(|(_, text, belongs)| *belongs && !text.is_empty())
        .map(|(name, text, _)| (name, text))
        .collect()
    }

    /// A link to the ticket with these values. `quantity` replaces the quantity.
    pub fn link(&self, portfolio: impl Display, quantity: Option<&str>) -> String {
        let mut pairs = self.pairs();
        if let Some(quantity) = quantity {
            pairs.retain(|(name, _)| !matches!(*name, "quantity" | "unit"));
            pairs.push(("quantity", quantity));
        }
        format!("/portfolios/{portfolio}{}#ticket", query(&pairs))
    }

    /// # Errors
    /// All problems of the ticket, by field.
    pub fn read(&self, client_order_id: Option<&str>) -> Result<PlaceOrder, Problem> {
        let pairs = self.pairs();
        let text = |name: &str| pairs.iter().find(|(one, _)| *one == name).map(|(_, text)| *text);
        let number = |name: &str| text(name).map(typed_number);
        let quantity = number("quantity").unwrap_or_default();
        let trail = number("trail").unwrap_or_default();
        let trails = self.order_type() == OrderType::TrailingStop;
        let (limit, stop) = (number("limit_price"), number("stop_price"));
        let (profit, loss) = (number("take_profit"), number("stop_loss"));
        let loss_limit = number("stop_loss_limit");
        let class = match (self.side(), &profit, &loss) {
            (_, None, None) => OrderClass::Simple,
            (Side::Sell, _, _) => OrderClass::Oco,
            (Side::Buy, Some(_), Some(_)) => OrderClass::Bracket,
            (Side::Buy, _, _) => OrderClass::Oto,
        };
        let read = OrderFields {
            symbol: text("symbol").unwrap_or_default(),
            side: text("side").unwrap_or_default(),
            order_type: text("type").unwrap_or(OrderType::Market.as_str()),
            quantity: (!self.is_by_money()).then_some(&*quantity),
            notional: self.is_by_money().then_some(&*quantity),
            time_in_force: text("time_in_force"),
            limit_price: limit.as_deref(),
            stop_price: stop.as_deref(),
            trail_price: (trails && !self.is_by_percent()).then_some(&*trail),
            trail_percent: (trails && self.is_by_percent()).then_some(&*trail),
            order_class: Some(class.as_str()),
            take_profit: profit.as_deref(),
            stop_loss: loss.as_deref(),
            stop_loss_limit: loss_limit.as_deref(),
            client_order_id,
            sells_all: self.sells_all(),
        }
        .read();
        read.map_err(|fields| words::unread(&fields))
    }
}

/// Converts an error about an order to a problem at the form's field.
///
/// # Errors
/// The error itself if it is not about a field.
pub fn at_its_field(error: Error) -> Result<Problem, PageError> {
    let told = |field, text: String| Ok(Problem::invalid(vec![FieldError::new(field, text)]));
    match &error {
        Error::UnknownSymbol(_)
        | Error::NotTradable { .. }
        | Error::TradingHalted { .. }
        | Error::NoPrice { .. }
        | Error::CallsUsedUp { .. }
        | Error::PriceUnconfirmed { .. } => told("symbol", error.to_string()),
        Error::OrderRejected(reason) => Ok(words::rejected(reason)),
        _ => refusal(error),
    }
}

/// An option of a select element.
#[derive(Debug, Serialize)]
pub struct Entry {
    pub value: &'static str,
    pub label: &'static str,
    pub current: bool,
}

/// The options for the time in force.
pub fn time_in_force_options(current: TimeInForce) -> Vec<Entry> {
    TimeInForce::ALL
        .iter()
        .map(|one| Entry { value: one.as_str(), label: words::good(*one), current: *one == current })
        .collect()
}

/// The order ticket with its values.
#[derive(Serialize)]
pub struct Ticket {
    pub form: FormView,
    pub side: &'static str,
    pub unit: &'static str,
    types: Vec<Entry>,
    goods: Vec<Entry>,
    trail_unit: &'static str,
    /// Whether the section for take-profit and stop-loss is open.
    exits: bool,
    /// The price on the other side of the book: `ask 258.42`.
    touch: String,
    most: Option<Choice>,
    /// When the exchange opens; empty if it is open or if orders also fill while it is closed.
    opens: String,
    /// A note about how often limit and stop orders are matched; empty if this is often enough.
    pace: String,
}

/// The ticket of a portfolio, with marked errors.
pub async fn ticket(
    services: &Services,
    portfolio: PortfolioRef,
    valuation: &Valuation,
    fields: &TicketFields,
    refused: Option<&FormView>,
) -> Ticket {
    let side = fields.side();
    let mut form = FormView::new(TICKET)
        .with("symbol", fields.symbol.trim().to_uppercase())
        .with("quantity", fields.quantity.trim())
        .with("limit_price", fields.limit_price.trim())
        .with("stop_price", fields.stop_price.trim())
        .with("trail", fields.trail.trim())
        .with("take_profit", fields.take_profit.trim())
        .with("stop_loss", fields.stop_loss.trim())
        .with("stop_loss_limit", fields.stop_loss_limit.trim());
    if let Some(refused) = refused {
        form = FormView { values: form.values, ..refused.clone() };
    }
    let (mut touch, mut most) = (String::new(), None);
    if let Ok(symbol) = fields.symbol.parse::<Symbol>() {
        match services.stocks().quote_for(Some(portfolio.user), &symbol).await.map(|latest| latest.quote) {
            Ok(quote) => {
                let (price, rule) = quote.touch(side);
                touch = format!("{} {}", rule.as_str(), format::price(price));
                let quantity = match side {
                    Side::Buy => {
                        let limit = typed_number(&fields.limit_price).parse().ok();
                        let limit = limit.filter(|_| fields.order_type() == OrderType::Limit);
                        affordable(
                            valuation,
                            &limit.unwrap_or_else(|| price.clone()),
                            services.trading().rules().of_portfolio(portfolio.id),
                        )
                    }
                    Side::Sell => sellable(valuation, &symbol),
                };
                most = quantity.filter(|quantity| !quantity.is_zero()).map(|quantity| Choice {
                    label: format!("max {}", format::quantity(&quantity)),
                    href: match side {
                        Side::Sell if holds_exactly(valuation, &symbol, &quantity) => {
                            fields.link(portfolio.id, Some(ALL))
                        }
                        _ => fields.link(portfolio.id, Some(&quantity.to_string())),
                    },
                    current: false,
                });
            }
            Err(_) => touch = "no price".to_owned(),
        }
    }
    let pace = price_pace::note_on_orders(services).await;
    let kind = fields.order_type();
    let exits = ["take_profit", "stop_loss", "stop_loss_limit"];
    Ticket {
        side: side.as_str(),
        unit: if fields.is_by_money() { "notional" } else { "shares" },
        types: OrderType::ALL
            .iter()
            .map(|one| Entry { value: one.as_str(), label: words::type_name(*one), current: *one == kind })
            .collect(),
        goods: time_in_force_options(fields.time_in_force.parse().unwrap_or(TimeInForce::Day)),
        trail_unit: if fields.is_by_percent() { "percent" } else { "amount" },
        exits: exits.iter().any(|name| !form.value(name).is_empty() || form.errors.contains_key(*name)),
        touch,
        most,
        opens: opens(services, portfolio.id),
        pace,
        form,
    }
}

/// When the exchange opens: `09:30 on Mon, 23 Nov`. Empty if it is open or if orders also fill while it is closed.
fn opens(services: &Services, portfolio: PortfolioId) -> String {
    let (rules, now) = (services.trading().rules().of_portfolio(portfolio), services.market().now());
    if rules.mode == TradingMode::Practice || rules.calendar.session_at(now).is_some() {
        return String::new();
    }
    format::instant_ahead(rules.calendar.next_open(now).opens_at, now)
}

fn sellable(valuation: &Valuation, symbol: &Symbol) -> Option<Quantity> {
    let holding = valuation.holdings.iter().find(|holding| holding.listing.symbol == *symbol)?;
    holding.position.quantity.checked_sub(&holding.reserved)
}

/// Whether the portfolio holds exactly this quantity of the stock.
fn holds_exactly(valuation: &Valuation, symbol: &Symbol, quantity: &Quantity) -> bool {
    let mut holdings = valuation.holdings.iter();
    holdings.any(|holding| holding.listing.symbol == *symbol && holding.position.quantity == *quantity)
}

/// How many whole shares the buying power pays for at this price, including slippage and commission.
fn affordable(valuation: &Valuation, price: &Price, rules: &TradingRules) -> Option<Quantity> {
    let price = rules.slipped(Side::Buy, price);
    let all = whole_shares(&valuation.buying_power.buys(&price))?;
    let commission = rules.commission.charged_for(&all, &price.times(&all));
    whole_shares(&(valuation.buying_power.clone() - &commission).buys(&price))
}

fn whole_shares(quantity: &Quantity) -> Option<Quantity> {
    let text = quantity.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    // `None` for a number that is too large to be an order's quantity.
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Attached, OrderSize, OrderTerms, Trail};

    fn fields(pairs: &[(&str, &str)]) -> TicketFields {
        let query = serde_urlencoded::to_string(pairs).unwrap();
        serde_urlencoded::from_str(&query).unwrap()
    }

    /// A ticket with the fields `more` beside symbol, side and quantity.
    fn ticket(side: &str, more: &[(&str, &str)]) -> TicketFields {
        fields(
            &[&[("symbol", "AAPL"), ("side", side), ("quantity", "10"), ("unit", "shares")], more].concat(),
        )
    }

    fn wrong(fields: &TicketFields) -> Vec<&'static str> {
        let problem = fields.read(None).unwrap_err();
        problem.fields().iter().map(|error| error.field).collect()
    }

    #[test]
    fn a_ticket_is_read_in_shares_or_in_money() {
        let shares =
            fields(&[("symbol", " aapl "), ("side", "buy"), ("quantity", "1,000"), ("unit", "shares")]);
        let shares = shares.read(None).unwrap();
        assert_eq!(
            (shares.symbol.as_str(), shares.size, shares.terms),
            ("AAPL", OrderSize::Quantity("1000".parse().unwrap()), OrderTerms::Market)
        );
        let money =
            fields(&[("symbol", "KO"), ("side", "sell"), ("quantity", "500.00"), ("unit", "notional")]);
        assert_eq!(money.read(None).unwrap().size, OrderSize::Notional("500".parse().unwrap()));
    }

    #[test]
    fn all_problems_of_a_ticket_are_reported_at_its_fields() {
        assert_eq!(wrong(&fields(&[("side", "hold"), ("quantity", "0")])), ["symbol", "side", "quantity"]);
        let money = [("symbol", "KO"), ("side", "buy"), ("quantity", "-5"), ("unit", "notional")];
        assert_eq!(wrong(&fields(&money)), ["quantity"]);
        assert_eq!(wrong(&ticket("buy", &[("type", "limit")])), ["limit_price"]);
        assert_eq!(wrong(&ticket("buy", &[("type", "stop_limit")])), ["stop_price", "limit_price"]);
        for unit in ["amount", "percent"] {
            let trailing = ticket("sell", &[("type", "trailing_stop"), ("trail", "x"), ("trail_unit", unit)]);
            assert_eq!(wrong(&trailing), ["trail"]);
        }
        assert_eq!(wrong(&ticket("buy", &[("type", "iceberg")])), ["type"]);
        assert_eq!(wrong(&ticket("buy", &[("stop_loss_limit", "120")])), ["stop_loss"]);
        assert_eq!(
            wrong(&ticket("buy", &[("stop_loss", "130"), ("stop_loss_limit", "x")])),
            ["stop_loss_limit"]
        );
    }

    #[test]
    fn prices_of_another_order_type_are_ignored() {
        let typed = [("limit_price", "140"), ("stop_price", "x"), ("trail", "5"), ("trail_unit", "percent")];
        let of = |kind: &str| ticket("buy", &[&[("type", kind)], &typed[..]].concat());
        assert_eq!(of("market").read(None).unwrap().terms, OrderTerms::Market);
        let limit = OrderTerms::Limit { limit: "140".parse().unwrap() };
        assert_eq!(of("limit").read(None).unwrap().terms, limit);
        let trail = Trail::Percent("5".parse().unwrap());
        assert_eq!(of("trailing_stop").read(None).unwrap().terms, OrderTerms::TrailingStop { trail });
        assert_eq!(wrong(&of("stop")), ["stop_price"]);
        assert_eq!(
            of("limit").link(PortfolioId(7), None),
            "/portfolios/7?symbol=AAPL&side=buy&quantity=10&unit=shares&type=limit&limit_price=140#ticket"
        );
    }

    #[test]
    fn exits_make_a_bracket_a_pair_or_an_entry_with_one_exit() {
        let (profit, loss) = (("take_profit", "170"), ("stop_loss", "130"));
        let attached = |side: &str, more: &[(&str, &str)]| ticket(side, more).read(None).unwrap().attached;
        assert_eq!(attached("buy", &[]), Attached::Nothing);
        assert!(matches!(attached("buy", &[profit, loss]), Attached::Bracket { .. }));
        assert!(matches!(attached("buy", &[profit]), Attached::OtoTakeProfit { .. }));
        assert!(matches!(attached("buy", &[loss]), Attached::OtoStopLoss { .. }));
        let pair = [("type", "limit"), ("limit_price", "160"), loss];
        assert!(matches!(attached("sell", &pair), Attached::Oco { .. }));
        // The take-profit remained from before the user changed the side.
        assert_eq!(attached("sell", &[profit]), Attached::Nothing);
    }

    #[test]
    fn order_issues_are_reported_at_the_fields_of_the_ticket() {
        let stop = [("type", "stop"), ("stop_price", "160")];
        for (side, unit, more, field) in [
            ("buy", "shares", [&stop[..], &[("time_in_force", "ioc")]].concat(), "time_in_force"),
            ("buy", "notional", stop.to_vec(), "quantity"),
            ("sell", "shares", vec![("stop_loss", "130")], "type"),
            ("buy", "shares", vec![("stop_loss", "130"), ("time_in_force", "fok")], "time_in_force"),
        ] {
            let fields = TicketFields { unit: unit.into(), ..ticket(side, &more) };
            let issues = fields.read(None).unwrap().issues();
            let told = words::unfit(&issues);
            assert_eq!(told.fields().iter().map(|error| error.field).collect::<Vec<_>>(), [field]);
        }
    }

    #[test]
    fn affordable_shares_are_whole_and_include_all_costs() {
        assert_eq!(whole_shares(&"62.999999999".parse().unwrap()), "62".parse().ok());
        assert_eq!(whole_shares(&"0.5".parse().unwrap()), None);
        let valuation = Valuation::new("1000.00".parse::<domain::Money>().unwrap(), Vec::new(), &[]);
        let mut rules = TradingRules::practice(domain::Calendar::AroundTheClock);
        let price: Price = "100".parse().unwrap();
        assert_eq!(affordable(&valuation, &price, &rules).unwrap().to_string(), "10");
        rules.commission.per_order = "1.00".parse().unwrap();
        assert_eq!(affordable(&valuation, &price, &rules).unwrap().to_string(), "9");
        rules.slippage = Some("20".parse().unwrap());
        assert_eq!(affordable(&valuation, &price, &rules).unwrap().to_string(), "8");
    }
}
