//! The preview of an order: the second step of the order ticket, before the order is placed.
//!
//! The address of a preview has the fields of the ticket and the order's `client_order_id`. Reloading it shows the
//! preview of the same order, which is placed at most once even if it is confirmed several times.

use actix_web::web::{Data, Path, Query};
use domain::{Order, OrderSize, OrderStatus, PortfolioId, Side, Symbol, Timestamp, TradingRules};
use serde::{Deserialize, Serialize};
use services::trading::orders::OrderPreview;
use services::{Error, Services};
use uuid::Uuid;

use super::order_text;
use super::rows::address;
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::portfolios::overview::show_refused_ticket;
use crate::portfolios::pages::Named;
use crate::shell::chart;
use crate::shell::format;
use crate::shell::format::Delta;
use crate::shell::layout::Nav;
use crate::shell::links::{query, see_other};
use crate::shell::render::{PageResult, Shell};
use crate::trading::ticket::{TicketFields, at_its_field};
use crate::trading::words::pages as words;

#[derive(Serialize)]
struct PreviewView {
    portfolio: Named,
    heading: String,
    buys: bool,
    sentences: Vec<String>,
    /// Quantity and price: `6 × 947.52`.
    reckoned: String,
    gross: String,
    commission: String,
    /// Per share if it is known, otherwise the rate.
    slippage: String,
    /// The amount to pay or to receive, without sign.
    amount: String,
    realized: Option<Delta>,
    /// Whether the order fills completely at once. Otherwise the figures are for the time after its fills.
    at_once: bool,
    cash: String,
    buying_power: String,
    symbol: Symbol,
    held: String,
    weight: String,
    bar_before: String,
    bar_after: String,
    average_after: String,
    legs: Vec<Leg>,
    notes: Vec<String>,
    confirm: Vec<PreviewLine>,
    button: String,
    hint: String,
    hidden: Vec<Hidden>,
    change_href: String,
}

#[derive(Serialize)]
struct Leg {
    name: String,
    condition: String,
}

#[derive(Serialize)]
struct PreviewLine {
    label: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Hidden {
    name: &'static str,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PreviewedOrder {
    #[serde(flatten)]
    fields: TicketFields,
    client_order_id: String,
}

/// The target of the ticket: redirects to the preview of a new order.
pub async fn preview(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(fields): Form<TicketFields>,
) -> PageResult {
    match state.services.books().portfolio(signed.portfolio(*id)).await?.archived_at {
        None => Ok(see_other(preview_address(*id, fields))),
        Some(_) => {
            let over = format::sentence(&Error::Archived.to_string());
            Ok(shell.redirect_with_error(format!("/portfolios/{id}"), over).await)
        }
    }
}

/// The address of the preview, with a new client order id. The fragment scrolls to the ticket if the preview fails.
fn preview_address(portfolio: PortfolioId, fields: TicketFields) -> String {
    let (fields, name) = (fields.bounded(), Uuid::now_v7().to_string());
    let mut pairs = fields.pairs();
    pairs.push(("client_order_id", &name));
    format!("/portfolios/{portfolio}/orders/preview{}#ticket", query(&pairs))
}

pub async fn show(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    asked: Query<PreviewedOrder>,
    state: Data<AppState>,
) -> PageResult {
    let (wanted, id, services) = (signed.portfolio(*id), *id, &state.services);
    let PreviewedOrder { fields, client_order_id } = asked.into_inner();
    let portfolio = services.books().portfolio(wanted).await?;
    if portfolio.archived_at.is_some() {
        return Ok(see_other(format!("/portfolios/{id}")));
    }
    if client_order_id.parse::<Uuid>().is_err() {
        return Ok(see_other(preview_address(id, fields)));
    }
    if let Some(placed) = services.trading().order_by_client_id(wanted, &client_order_id).await? {
        return show_placed(shell, services, Named::from(&portfolio), &placed, &fields).await;
    }
    let previewed = match fields.read(None) {
        Ok(command) => services.trading().preview_order(wanted, command).await.map_err(at_its_field),
        Err(problem) => Err(Ok(problem)),
    };
    let preview = match previewed {
        Ok(preview) => preview,
        Err(refused) => return show_refused_ticket(shell, services, wanted, &fields, &refused?).await,
    };
    let valuation = services.books().valuation(wanted).await?.valuation;
    let weight_before = valuation
        .holdings
        .iter()
        .find(|holding| holding.stock_id == preview.stock.id)
        .map_or(0.0, |holding| valuation.weight(&holding.market_value));
    let now = shell.now();
    let rules = services.trading().rules().of_portfolio(id);
    let view = PreviewView::new(
        Named::from(&portfolio),
        (&preview, weight_before),
        (&fields, client_order_id),
        (rules, now),
    );
    let title = format!("Preview: {}", view.button);
    shell.show("order-preview.html", Nav::Portfolio, title, &view)
}

#[derive(Serialize)]
struct PlacedView {
    portfolio: Named,
    heading: String,
    /// The address of the order's page.
    order_href: String,
    /// The address of the ticket, filled in for another order like this one.
    again_href: String,
}

/// The page that replaces the preview of an order that was already placed.
async fn show_placed(
    shell: Shell,
    services: &Services,
    portfolio: Named,
    placed: &Order,
    fields: &TicketFields,
) -> PageResult {
    let company = services.instruments().stock(&placed.symbol).await?.listing.company_name.clone();
    let view = PlacedView {
        heading: order_text::intent(placed, &company),
        order_href: address(&portfolio.id, placed.id),
        again_href: fields.link(&portfolio.id, None),
        portfolio,
    };
    let title = format!("Already placed: {}", view.heading);
    shell.show("order-placed.html", Nav::Portfolio, title, &view)
}

impl PreviewView {
    fn new(
        portfolio: Named,
        (preview, weight_before): (&OrderPreview, f64),
        (fields, client_order_id): (&TicketFields, String),
        (rules, now): (&TradingRules, Timestamp),
    ) -> Self {
        let OrderPreview { stock, order, .. } = preview;
        let buys = order.side == Side::Buy;
        let symbol = &stock.listing.symbol;
        let arrow = |before: String, after: String| format!("{before} → {after}");
        // Both bars use the same scale: the whole track is the total value.
        let bar = |weight: f64| chart::percent(weight.clamp(0.0, 1.0) * 100.0);
        let mut hidden: Vec<Hidden> = fields
            .pairs()
            .into_iter()
            .map(|(name, value)| Hidden { name, value: value.to_owned() })
            .collect();
        hidden.push(Hidden { name: "client_order_id", value: client_order_id });
        Self {
            heading: order_text::intent(order, &stock.listing.company_name),
            buys,
            sentences: sentences(preview, now),
            reckoned: format!("{} × {}", format::quantity(&preview.quantity), format::price(&preview.price)),
            gross: format::money(&preview.gross),
            commission: format::money(&preview.commission),
            slippage: slippage(preview, rules),
            amount: format::money(&preview.amount.abs()),
            realized: preview.realized_pnl.as_ref().map(format::gain),
            at_once: order.status == OrderStatus::Filled,
            cash: arrow(format::money(&preview.cash_before), format::money(&preview.cash_after)),
            buying_power: arrow(
                format::money(&preview.buying_power_before),
                format::money(&preview.buying_power_after),
            ),
            symbol: symbol.clone(),
            held: arrow(
                format::quantity(&preview.quantity_before),
                format::quantity(&preview.quantity_after),
            ),
            weight: arrow(format::share(weight_before), format::share(preview.weight_after)),
            bar_before: bar(weight_before.min(preview.weight_after)),
            bar_after: bar(preview.weight_after.max(weight_before)),
            average_after: preview.average_buy_price_after.as_ref().map_or_else(String::new, format::average),
            legs: preview.legs.iter().map(leg).collect(),
            notes: preview.warnings().iter().filter_map(words::warning).collect(),
            confirm: confirm(preview),
            button: order_text::intent(order, symbol.as_str()),
            hint: hint(order),
            hidden,
            change_href: fields.link(&portfolio.id, None),
            portfolio,
        }
    }
}

fn leg(order: &Order) -> Leg {
    let (label, condition) = order_text::condition(order);
    Leg {
        name: format::capitalized(&order_text::kind(order)),
        condition: format!("{} {condition}", label.to_lowercase()),
    }
}

/// The preview in sentences: the part that would fill at once, and what the rest of the order would wait for.
fn sentences(preview: &OrderPreview, now: Timestamp) -> Vec<String> {
    let OrderPreview { order, stock, .. } = preview;
    let (symbol, buys) = (&stock.listing.symbol, order.side == Side::Buy);
    let verb = order.side.as_str();
    let mut lines = Vec::new();
    let filled = format::quantity(&order.filled_quantity);
    let price = format::price(&preview.price);
    let origin = preview.fill.as_ref().and_then(|fill| fill.receipt.as_ref()).map_or_else(
        || format!("the price of {}", format::second_seen_at(preview.quote.as_of, now).text),
        |receipt| order_text::price_origin(receipt, now),
    );
    let amount = format::money(&preview.amount.abs());
    let commission = match (preview.commission.is_positive(), buys) {
        (false, _) => "",
        (true, true) => " with the commission",
        (true, false) => " after the commission",
    };
    let power = format::money(&preview.buying_power_after);
    let nothing_filled = order.filled_quantity.is_zero();
    match (order.status, nothing_filled) {
        (OrderStatus::Filled, _) => lines.push(format!(
            "You would {verb} {filled} {symbol} at about {price}, {origin}, for {amount}{commission}. {}",
            match buys {
                true => format!("You would still have {power} of buying power."),
                false => format!("You would then have {power} of buying power."),
            }
        )),
        (_, false) => lines.push(format!(
            "You would {verb} {} {symbol} at once, at about {price}, {origin}.",
            order_text::quantity(order)
        )),
        (OrderStatus::Canceled, true) => lines.push(format!(
            "At the newest price, {}, nothing would fill: the order would be canceled at once.",
            format::price(&preview.quote.price)
        )),
        (_, true) => {}
    }
    if order.status.is_open() {
        let subject = if nothing_filled { "The order" } else { "The rest" };
        lines.push(format!(
            "{subject} would wait for {}{}.",
            order_text::waits_for(order, now),
            order_text::until(order, now)
        ));
        let keeps = match (buys, order.reserved_cash.is_positive()) {
            (true, true) => format!(
                "It would reserve {} of your cash; you would still have {power} of buying power.",
                format::money(&order.reserved_cash)
            ),
            (false, _) if !order.reserved_quantity.is_zero() => {
                format!("It would reserve {} of your shares.", format::quantity(&order.reserved_quantity))
            }
            _ => String::new(),
        };
        if !keeps.is_empty() {
            lines.push(keeps);
        }
    }
    if order.status == OrderStatus::Canceled && !nothing_filled {
        lines.push("The rest would be canceled.".to_owned());
    }
    lines
}

fn slippage(preview: &OrderPreview, rules: &TradingRules) -> String {
    let fill = preview.fill.as_ref();
    let known =
        fill.and_then(|fill| Some(fill.receipt.as_ref()?.slippage(preview.order.side, fill.price.as_ref()?)));
    match (known, &rules.slippage) {
        (Some(change), _) if !change.is_zero() => format!("{} a share", format::change(&change).text),
        (None, Some(percent)) if preview.order.terms.limit_price().is_none() => {
            format!("{percent}%, included")
        }
        _ => "none".to_owned(),
    }
}

fn confirm(preview: &OrderPreview) -> Vec<PreviewLine> {
    let OrderPreview { order, stock, .. } = preview;
    let line = |label, value: String| PreviewLine { label, value };
    let mut lines = vec![
        line("Side", format::capitalized(order.side.as_str())),
        line("Symbol", stock.listing.symbol.to_string()),
    ];
    match &order.size {
        OrderSize::Notional(notional) => {
            lines.push(line("For", format!("{} USD", format::money(notional))));
            lines.push(line("About", format!("{} shares", format::quantity(&preview.quantity))));
        }
        OrderSize::Quantity(whole) => lines.push(line("Quantity", format::quantity(whole))),
        OrderSize::OfPosition(percent) => lines.push(line("Quantity", format!("{percent}%"))),
    }
    lines.push(line("Type", words::type_name(order.order_type()).to_owned()));
    if let Some(limit) = order.terms.limit_price() {
        lines.push(line("Limit", format::price(limit)));
    }
    match (order.terms.stop_price(), order.terms.trail()) {
        (Some(stop), _) => lines.push(line("Stop", format::price(stop))),
        (None, Some(trail)) => {
            lines.push(line("Trail", order_text::distance(trail)));
            if let Some(stop) = order.stop_price() {
                lines.push(line("Stop now", format::price(&stop)));
            }
        }
        (None, None) => {}
    }
    lines.push(line("Time in force", words::good(order.time_in_force).to_owned()));
    lines
}

fn hint(order: &Order) -> String {
    let once = if order.side == Side::Buy { "buys" } else { "sells" };
    let price = match order.terms.limit_price() {
        Some(_) => "It never fills at a worse price than its limit.",
        None => "It fills at the current price, which may differ slightly.",
    };
    format!("Pressing twice {once} once. {price}")
}
