//! The two steps of the trade ticket, and the receipt.

use actix_web::web::{Data, Path};
use domain::{
    DecimalError, FillRule, JournalEntry, Money, OrderId, OrderSize, OrderType, PlaceOrder, PortfolioId,
    Receipt, Side, Symbol, TimeInForce, Timestamp, TransactionType,
};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::orders::{OrderPreview, OrderWithFills};
use uuid::Uuid;

use super::accounts::refusal;
use super::portfolios::{Named, TicketFields, ticket_refused};
use super::typed_number;
use crate::AppState;
use crate::chart;
use crate::extract::{Form, Signed};
use crate::format::{self, Delta, Moment};
use crate::problem::{PageError, Problem};
use crate::render::{Badge, Nav, PageResult, Shell, query, see_other, source_name};

/// Reads the ticket, or tells all that is wrong with it.
fn command(fields: &TicketFields, client_order_id: Option<String>) -> Result<PlaceOrder, Problem> {
    let mut wrong = Vec::new();
    let mut refuse = |field, message: String| wrong.push(FieldError::new(field, message));
    let symbol = fields.symbol.parse::<Symbol>().map_err(|error| refuse("symbol", error.to_string())).ok();
    let side = fields.side.parse::<Side>().map_err(|error| refuse("side", error)).ok();
    let number = typed_number(&fields.quantity);
    let size = match fields.unit.as_str() {
        "notional" => match number.parse::<Money>() {
            Ok(notional) if notional.is_positive() => Ok(OrderSize::Notional(notional)),
            Ok(_) => Err("must be more than zero".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        _ => number.parse().map(OrderSize::Quantity).map_err(|error| match error {
            DecimalError::OutOfRange { .. } => "must be more than zero and at most 1,000,000,000".to_owned(),
            other => other.to_string(),
        }),
    };
    let size = size.map_err(|message| refuse("quantity", message)).ok();
    match (symbol, side, size) {
        (Some(symbol), Some(side), Some(size)) => Ok(PlaceOrder {
            symbol,
            side,
            size,
            order_type: OrderType::Market,
            time_in_force: TimeInForce::Day,
            client_order_id,
        }),
        _ => Err(Problem::invalid(wrong)),
    }
}

/// A refusal of an order at the field of the ticket that it is about.
fn at_its_field(error: services::Error) -> Result<Problem, PageError> {
    use services::Error;
    let field = match &error {
        Error::UnknownSymbol(_) | Error::NotTradable { .. } | Error::NoPrice { .. } => "symbol",
        Error::OrderRejected(domain::OrderRejected::NoFreshPrice { as_of }) => {
            let text = format!(
                "the newest price is of {} and too old to trade on: try again when there is a newer one",
                format::day_and_minute(*as_of).text
            );
            return Ok(Problem::invalid(vec![FieldError::new("symbol", text)]));
        }
        Error::OrderRejected(domain::OrderRejected::InsufficientBuyingPower { required, available }) => {
            let missing = required.clone() - available;
            let text = format!(
                "this costs {} and {} is there to spend: {} is missing",
                format::money(required),
                format::money(available),
                format::money(&missing)
            );
            return Ok(Problem::invalid(vec![FieldError::new("quantity", text)]));
        }
        Error::OrderRejected(domain::OrderRejected::InsufficientShares { required, available }) => {
            let text = format!(
                "you hold {}, and this would sell {}",
                format::quantity(available),
                format::quantity(required)
            );
            return Ok(Problem::invalid(vec![FieldError::new("quantity", text)]));
        }
        Error::OrderRejected(_) => "quantity",
        _ => return refusal(error),
    };
    Ok(Problem::invalid(vec![FieldError::new(field, error.to_string())]))
}

#[derive(Serialize)]
struct PreviewView {
    portfolio: Named,
    side: String,
    buys: bool,
    symbol: Symbol,
    company: String,
    quantity: String,
    /// As ordered, when by money.
    notional: String,
    /// `6 COST`, or `COST for 500.00`.
    what: String,
    price: String,
    gross: String,
    commission: String,
    /// Without sign: to pay, or to receive.
    amount: String,
    realized: Option<Delta>,
    cash_before: String,
    cash_after: String,
    quantity_before: String,
    quantity_after: String,
    weight_before: String,
    weight_after: String,
    bar_before: String,
    bar_after: String,
    average_after: String,
    sentence: String,
    notes: Vec<String>,
    hidden: Vec<Hidden>,
    change_href: String,
}

#[derive(Serialize)]
struct Hidden {
    name: &'static str,
    value: String,
}

/// More of the portfolio than this in one stock is worth a remark.
const HEAVY: f64 = 0.5;

pub async fn preview(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(fields): Form<TicketFields>,
) -> PageResult {
    let (user, id, services) = (signed.account.id, *id, &state.services);
    let previewed = match command(&fields, None) {
        Ok(command) => {
            let size = command.size.clone();
            services
                .preview_order(user, id, command)
                .await
                .map_err(at_its_field)
                .map(|preview| (preview, size))
        }
        Err(problem) => Err(Ok(problem)),
    };
    let (preview, size) = match previewed {
        Ok(previewed) => previewed,
        Err(refused) => return ticket_refused(shell, services, user, id, &fields, &refused?).await,
    };
    let portfolio = services.portfolio(user, id).await?;
    let valuation = services.valuation(user, id).await?.valuation;
    let weight_before = valuation
        .holdings
        .iter()
        .find(|holding| holding.stock_id == preview.stock.id)
        .map_or(0.0, |holding| valuation.weight(&holding.market_value));
    let view = preview_view(&shell, Named::from(&portfolio), &preview, &size, weight_before, &fields);
    let title = format!("Preview: {} {}", view.side.to_lowercase(), view.what);
    shell.show("order-preview.html", Nav::Portfolio, title, &view)
}

fn preview_view(
    shell: &Shell,
    portfolio: Named,
    preview: &OrderPreview,
    size: &OrderSize,
    weight_before: f64,
    fields: &TicketFields,
) -> PreviewView {
    let OrderPreview { stock, fill, .. } = preview;
    let buys = fill.side == Side::Buy;
    let symbol = &stock.listing.symbol;
    let quantity = format::quantity(&fill.quantity);
    let amount = format::money(&preview.amount.abs());
    let price = format::price(&fill.price);
    let origin = price_origin(&fill.receipt, shell.now());
    let sentence = match buys {
        true => format!(
            "You would buy {quantity} {symbol} at about {price}, {origin}, for {amount}. {} of cash would stay.",
            format::money(&preview.cash_after)
        ),
        false => format!(
            "You would sell {quantity} {symbol} at about {price}, {origin}, for {amount}. You would have {} of \
             cash then.",
            format::money(&preview.cash_after)
        ),
    };
    let mut notes = Vec::new();
    if buys && preview.weight_after > HEAVY {
        notes.push(format!("{symbol} would be {} of the portfolio.", format::share(preview.weight_after)));
    }
    if fill.receipt.rule == FillRule::Last {
        notes.push(
            "The price source gives no bid and ask; the order fills at its last price, which may be a past close."
                .to_owned(),
        );
    }
    if !buys && preview.quantity_after.is_zero() {
        notes.push(format!("This sells all {symbol} there is."));
    }
    let (notional, what) = match size {
        OrderSize::Quantity(_) => (String::new(), format!("{quantity} {symbol}")),
        OrderSize::Notional(notional) => {
            (format::money(notional), format!("{symbol} for {}", format::money(notional)))
        }
    };
    let hidden = |name, value: &str| Hidden { name, value: value.to_owned() };
    // The longer of both bars fills three quarters, so that a full portfolio does not look like half of one.
    let bar = |weight: f64| chart::percent(weight.clamp(0.0, 1.0) * 100.0);
    PreviewView {
        side: format::capitalised(fill.side.as_str()),
        buys,
        company: stock.listing.company_name.clone(),
        notional,
        what,
        price,
        gross: format::money(&fill.gross()),
        commission: format::money(&preview.commission),
        amount,
        realized: preview.realized_pnl.as_ref().map(format::gain),
        cash_before: format::money(&preview.cash_before),
        cash_after: format::money(&preview.cash_after),
        quantity_before: format::quantity(&preview.quantity_before),
        quantity_after: format::quantity(&preview.quantity_after),
        weight_before: format::share(weight_before),
        weight_after: format::share(preview.weight_after),
        bar_before: bar(weight_before.min(preview.weight_after)),
        bar_after: bar(preview.weight_after.max(weight_before)),
        average_after: preview.average_buy_price_after.as_ref().map_or_else(String::new, format::average),
        sentence,
        notes,
        hidden: vec![
            hidden("symbol", symbol.as_str()),
            hidden("side", fill.side.as_str()),
            hidden("quantity", &fields.quantity),
            hidden("unit", if matches!(size, OrderSize::Notional(_)) { "notional" } else { "shares" }),
            hidden("client_order_id", &Uuid::now_v7().to_string()),
        ],
        change_href: format!(
            "/portfolios/{}{}#ticket",
            portfolio.id,
            query(&[
                ("symbol", symbol.as_str()),
                ("side", fill.side.as_str()),
                ("quantity", &fields.quantity),
                ("unit", &fields.unit)
            ])
        ),
        quantity,
        symbol: symbol.clone(),
        portfolio,
    }
}

/// `the ask of 15:31:07 New York`.
pub(super) fn price_origin(receipt: &Receipt, now: Timestamp) -> String {
    let rule = match receipt.rule {
        FillRule::Ask => "ask",
        FillRule::Bid => "bid",
        FillRule::Last => "last price",
    };
    format!("the {rule} of {}", format::second_seen_at(receipt.quoted_at, now).text)
}

#[derive(Deserialize)]
pub struct Confirmed {
    #[serde(flatten)]
    fields: TicketFields,
    client_order_id: String,
}

pub async fn place(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(Confirmed { fields, client_order_id }): Form<Confirmed>,
) -> PageResult {
    let (user, id, services) = (signed.account.id, *id, &state.services);
    let placed = match command(&fields, Some(client_order_id)) {
        Ok(command) => services.place_order(user, id, command).await.map_err(at_its_field),
        Err(problem) => Err(Ok(problem)),
    };
    match placed {
        Ok(placed) => Ok(see_other(format!("/portfolios/{id}/orders/{}", placed.order.order.id))),
        Err(refused) => ticket_refused(shell, services, user, id, &fields, &refused?).await,
    }
}

#[derive(Serialize)]
struct ReceiptView {
    portfolio: Named,
    status: String,
    heading: String,
    symbol: Symbol,
    sentences: Vec<String>,
    facts: Vec<Fact>,
    realized: Option<Delta>,
    filled: Moment,
    id: String,
}

#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
    badge: Option<Badge>,
}

pub async fn receipt(
    shell: Shell,
    signed: Signed,
    path: Path<(PortfolioId, String)>,
    state: Data<AppState>,
) -> PageResult {
    let (portfolio_id, order_id) = path.into_inner();
    let (user, services) = (signed.account.id, &state.services);
    let order_id = order_id.parse().map(OrderId).map_err(|_| Problem::not_found())?;
    let found = services.order(user, portfolio_id, order_id).await?;
    let portfolio = services.portfolio(user, portfolio_id).await?;
    let stock = services.stock(&found.order.symbol).await?;
    let view = receipt_view(Named::from(&portfolio), &stock.listing.company_name, &found);
    let title = format!("Receipt: {}", view.heading.to_lowercase());
    shell.show("order-receipt.html", Nav::Portfolio, title, &view)
}

fn receipt_view(portfolio: Named, company: &str, found: &OrderWithFills) -> ReceiptView {
    let OrderWithFills { order, fills } = found;
    let verb = past(order.side);
    let quantity = format::quantity(&order.filled_quantity);
    let mut facts = vec![
        fact("Status", format!("{}, {quantity}", format::capitalised(order.status.as_str()))),
        fact("Order type", "Market".to_owned()),
    ];
    if let OrderSize::Notional(notional) = &order.size {
        facts.push(fact("Ordered", format!("for {} USD", format::money(notional))));
    }
    if let Some(receipt) = fills.first().and_then(|fill| fill.receipt.as_ref()) {
        facts.push(fact("Rule", rule(order.side, receipt.rule).to_owned()));
        let badge =
            receipt.source.0.starts_with("simulated").then(|| Badge::of(domain::Freshness::Simulated));
        facts.push(Fact { label: "Source", value: receipt.source.0.clone(), badge });
        facts.push(fact("Quote time", format::second_seen_at(receipt.quoted_at, order.filled_at).text));
    }
    let commission: Money = fills.iter().map(|fill| &fill.commission).sum();
    facts.push(fact("Commission", format::money(&commission)));
    ReceiptView {
        portfolio,
        status: order.status.as_str().to_owned(),
        heading: format!("{verb} {quantity} {company}"),
        symbol: order.symbol.clone(),
        sentences: fills.iter().map(|fill| fill_sentence(fill, order.symbol.as_str())).collect(),
        facts,
        realized: fills
            .iter()
            .map(|fill| fill.realized_pnl.clone())
            .sum::<Option<Money>>()
            .as_ref()
            .map(format::gain),
        filled: format::day_and_second(order.filled_at),
        id: order.id.to_string(),
    }
}

fn fact(label: &'static str, value: String) -> Fact {
    Fact { label, value, badge: None }
}

fn past(side: Side) -> &'static str {
    match side {
        Side::Buy => "Bought",
        Side::Sell => "Sold",
    }
}

fn side_of(entry: &JournalEntry) -> Side {
    if entry.transaction_type == TransactionType::Sell { Side::Sell } else { Side::Buy }
}

/// The rule of a fill in words.
pub(super) fn rule(side: Side, rule: FillRule) -> &'static str {
    match (side, rule) {
        (Side::Buy, FillRule::Ask) => "market buy at the ask",
        (Side::Buy, _) => "market buy at the last price",
        (Side::Sell, FillRule::Bid) => "market sell at the bid",
        (Side::Sell, _) => "market sell at the last price",
    }
}

/// “Bought 10 AAPL at 189.42, the ask of 15:31:07 New York, 0.8 s old.” and where the money went.
pub(super) fn fill_sentence(entry: &JournalEntry, symbol: &str) -> String {
    let side = side_of(entry);
    let quantity = entry.quantity.as_ref().map(format::quantity).unwrap_or_default();
    let price = entry.price.as_ref().map(format::price).unwrap_or_default();
    let origin = entry.receipt.as_ref().map_or_else(String::new, |receipt| {
        let age = format::age(entry.timestamp - receipt.quoted_at);
        format!(", {}, {age} old", price_origin(receipt, entry.timestamp))
    });
    let amount = format::money(&entry.amount.abs());
    let cash = match side {
        Side::Buy => format!("{amount} left your cash."),
        Side::Sell => format!("{amount} came into your cash."),
    };
    format!("{} {quantity} {symbol} at {price}{origin}. {cash}", past(side))
}

/// `Rule: market buy at the ask. Source: the built-in market (simulated/sim-v1). Commission 0.00.`
pub(super) fn provenance(entry: &JournalEntry) -> String {
    let side = side_of(entry);
    entry.receipt.as_ref().map_or_else(String::new, |receipt| {
        format!(
            "Rule: {}. Source: {} ({}). Commission {}.",
            rule(side, receipt.rule),
            source_name(&receipt.source.0),
            receipt.source,
            format::money(&entry.commission)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::PriceSource;

    fn fields(symbol: &str, side: &str, quantity: &str, unit: &str) -> TicketFields {
        TicketFields {
            symbol: symbol.into(),
            side: side.into(),
            quantity: quantity.into(),
            unit: unit.into(),
        }
    }

    #[test]
    fn a_ticket_is_read_in_shares_or_in_money() {
        let shares = command(&fields(" aapl ", "buy", "1,000", "shares"), None).unwrap();
        assert_eq!(
            (shares.symbol.as_str(), shares.size),
            ("AAPL", OrderSize::Quantity("1000".parse().unwrap()))
        );
        let money = command(&fields("KO", "sell", "500.00", "notional"), None).unwrap();
        assert_eq!(money.size, OrderSize::Notional("500".parse().unwrap()));
    }

    #[test]
    fn all_that_is_wrong_with_a_ticket_is_told() {
        let problem = command(&fields("", "hold", "0", "shares"), None).unwrap_err();
        let wrong: Vec<&str> = problem.fields().iter().map(|error| error.field).collect();
        assert_eq!(wrong, ["symbol", "side", "quantity"]);
        assert!(command(&fields("KO", "buy", "-5", "notional"), None).is_err());
    }

    #[test]
    fn a_fill_is_told_in_a_sentence() {
        let at = |text: &str| -> Timestamp { text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().into() };
        let entry = JournalEntry {
            transaction_type: TransactionType::Buy,
            quantity: Some("10".parse().unwrap()),
            price: Some("189.42".parse().unwrap()),
            receipt: Some(Receipt {
                source: PriceSource("simulated/sim-v1".into()),
                quoted_at: at("2026-11-20T20:31:07Z"),
                rule: FillRule::Ask,
            }),
            ..JournalEntry::cash(PortfolioId(1), "-1894.20".parse().unwrap(), at("2026-11-20T20:31:07.840Z"))
        };
        assert_eq!(
            fill_sentence(&entry, "AAPL"),
            "Bought 10 AAPL at 189.42, the ask of 15:31:07 New York, 0.8 s old. 1,894.20 left your cash."
        );
        assert_eq!(
            provenance(&entry),
            "Rule: market buy at the ask. Source: the built-in market (simulated/sim-v1). Commission 0.00."
        );
    }
}
