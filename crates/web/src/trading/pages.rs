//! The pages of orders: the list, the page of one order, and the forms that place, change and cancel orders.

pub mod change;
pub mod order_text;
mod preview;
pub mod rows;

use actix_web::web::{Data, Path, Query};
use domain::{
    Calendar, Freshness, JournalEntry, Money, Order, OrderFilter, OrderId, OrderSize, OrderStatus,
    PortfolioId, PortfolioRef, Symbol, Timestamp, TradingMode,
};
use serde::{Deserialize, Serialize};
use services::accounts::actor::PortfolioControl;
use services::books::portfolios::PortfolioSummary;
use services::books::sharing::PortfolioAccess;
use services::trading::OrderWithFills;
use services::{Error, Services};

use super::ticket::{TICKET, TicketFields, at_its_field};
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::http::portfolio_access::PageAccess;
use crate::http::problem::Problem;
use crate::portfolios::pages::Named;
use crate::shell::badge::Badge;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::Delta;
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, Paging, query, see_other};
use crate::shell::render::{PageResult, Shell};
use crate::trading::words::pages as words;

pub use preview::{preview, show as show_preview};

use change::{CHANGE, ChangeFields, ChangeView};
use rows::{OrderRow, address, order_rows};

const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct OrdersPageQuery {
    status: String,
    symbol: String,
    cursor: String,
}

#[derive(Serialize)]
struct ListView {
    portfolio: Named,
    tabs: Vec<Choice>,
    /// The stock, if the list has only its orders.
    symbol: Option<Symbol>,
    all_href: String,
    rows: Vec<OrderRow>,
    cancelable: bool,
    paging: Paging,
}

pub async fn list(
    shell: Shell,
    access: PageAccess,
    asked: Query<OrdersPageQuery>,
    state: Data<AppState>,
) -> PageResult {
    let services = &state.services;
    let portfolio = services.books().portfolio(access.portfolio).await?;
    let open = match asked.status.as_str() {
        "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    };
    // An invalid symbol or cursor is ignored.
    let symbol: Option<Symbol> = asked.symbol.parse().ok();
    let before = asked.cursor.parse().ok().map(OrderId);
    let filter = OrderFilter { open, symbol: symbol.clone(), ..OrderFilter::default() };
    let page = match services.trading().orders(access.portfolio, filter.clone(), before, PAGE).await {
        Err(services::Error::Invalid(_)) => {
            services.trading().orders(access.portfolio, filter, None, PAGE).await?
        }
        page => page?,
    };
    let base = format!("/portfolios/{}/orders", access.address);
    let named = symbol.as_ref().map_or("", Symbol::as_str);
    let status = open.map_or("", |open| if open { "open" } else { "closed" });
    let link = |status: &str, symbol: &str, cursor: &str| {
        format!("{base}{}", query(&[("status", status), ("symbol", symbol), ("cursor", cursor)]))
    };
    let tabs = [("All", ""), ("Open", "open"), ("Closed", "closed")].map(|(label, value)| Choice {
        label: label.to_owned(),
        href: link(value, named, ""),
        current: value == status,
    });
    let rows =
        order_rows(&access.address, &page.items, |leg| open.is_none_or(|open| leg.status.is_open() == open));
    let view = ListView {
        tabs: tabs.into(),
        all_href: link(status, "", ""),
        cancelable: access.is_owner && portfolio.archived_at.is_none(),
        paging: Paging {
            shown: rows.len(),
            older: page.next.map(|next| link(status, named, &next.to_string())),
            newest: before.map(|_| link(status, named, "")),
        },
        rows,
        symbol,
        portfolio: Named::to_reader(&portfolio, &access),
    };
    let title = format!("Orders of {}", view.portfolio.name);
    shell.show("orders.html", Nav::Portfolio, title, &view)
}

#[derive(Deserialize)]
pub struct Confirmed {
    #[serde(flatten)]
    fields: TicketFields,
    client_order_id: String,
}

pub async fn place(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(Confirmed { fields, client_order_id }): Form<Confirmed>,
) -> PageResult {
    let (portfolio, services) = (signed.portfolio(*id), &state.services);
    let fields = fields.bounded();
    let placed = match fields.read(Some(&client_order_id)) {
        Ok(command) => services.trading().place_order(signed.trader().portfolio(*id), command).await,
        Err(problem) => return refuse(&shell, services, portfolio, &fields, &problem).await,
    };
    match placed {
        Ok(placed) if placed.replayed => {
            let text = "This order was already placed. It was not placed a second time.";
            Ok(shell.redirect_with_success(address(*id, placed.order.order.id), text).await)
        }
        Ok(placed) => Ok(see_other(address(*id, placed.order.order.id))),
        Err(over @ Error::Archived) => Ok(shell
            .redirect_with_error(format!("/portfolios/{id}"), format::sentence(&over.to_string()))
            .await),
        Err(error) => refuse(&shell, services, portfolio, &fields, &at_its_field(error)?).await,
    }
}

/// Redirects to the ticket with its values and errors. Returns 404 for another user's portfolio.
async fn refuse(
    shell: &Shell,
    services: &Services,
    portfolio: PortfolioRef,
    fields: &TicketFields,
    problem: &Problem,
) -> PageResult {
    services.books().portfolio(portfolio).await?;
    shell.refuse(fields.link(portfolio.id, None), FormView::new(TICKET).refused(problem)).await
}

#[derive(Serialize)]
struct OrderView {
    portfolio: Named,
    status: String,
    heading: String,
    symbol: Symbol,
    sentences: Vec<String>,
    facts: Vec<Fact>,
    realized: Option<Delta>,
    id: String,
    legs: Vec<OrderRow>,
    links: Vec<Link>,
    cancelable: bool,
    change: Option<ChangeView>,
}

#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
    badge: Option<Badge>,
}

/// A link to another order: `It replaced` `another order`.
#[derive(Serialize)]
struct Link {
    text: &'static str,
    label: String,
    href: String,
}

const TEMPLATE: &str = "order.html";

pub async fn show(
    shell: Shell,
    access: PageAccess,
    path: Path<(String, String)>,
    state: Data<AppState>,
) -> PageResult {
    let (_, order) = path.into_inner();
    let services = &state.services;
    let found = services.trading().order(access.portfolio, order_id(&order)?).await?;
    let summary = services.books().portfolio(access.portfolio).await?;
    let refused = shell.refused_form(CHANGE);
    let view = order_view(services, &access, &summary, &found, (refused, shell.now())).await?;
    let title = format!("Order: {}", view.heading);
    shell.show(TEMPLATE, Nav::Portfolio, title, &view)
}

fn order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map(OrderId).map_err(|_| Problem::not_found())
}

/// Changes an open order by replacing it with a new one.
pub async fn replace(
    shell: Shell,
    signed: LoggedIn,
    path: Path<(PortfolioId, String)>,
    state: Data<AppState>,
    Form(posted): Form<ChangeFields>,
) -> PageResult {
    let (portfolio, order) = path.into_inner();
    let (services, order) = (&state.services, order_id(&order)?);
    let found = services.trading().order(signed.portfolio(portfolio), order).await?;
    let control = signed.trader().portfolio(portfolio);
    let replaced = match posted.read(&found.order) {
        Ok(changes) => match services.trading().replace_order(control, order, changes).await {
            Err(gone @ (Error::OrderNotOpen { .. } | Error::Archived)) => {
                let text = format::sentence(&gone.to_string());
                return Ok(shell.redirect_with_error(address(portfolio, order), text).await);
            }
            replaced => replaced.map_err(at_its_field),
        },
        Err(problem) => Err(Ok(problem)),
    };
    let problem = match replaced {
        Ok(replaced) => {
            let new = address(portfolio, replaced.order.order.id);
            return Ok(shell
                .redirect_with_success(new, "The order was changed: this is the new order.")
                .await);
        }
        Err(refused) => refused?,
    };
    shell.refuse(format!("{}#{CHANGE}", address(portfolio, order)), posted.form().refused(&problem)).await
}

#[derive(Debug, Deserialize)]
pub struct Cancellation {
    /// The order's id, or `all`.
    cancel: String,
    /// The name of the list with the button, to return to it.
    #[serde(default)]
    back: String,
}

pub async fn cancel(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(Cancellation { cancel, back }): Form<Cancellation>,
) -> PageResult {
    let (control, id) = (signed.trader().portfolio(*id), *id);
    let back = match back.as_str() {
        "portfolio" => format!("/portfolios/{id}"),
        _ if back == "orders" || cancel == ALL => format!("/portfolios/{id}/orders?status=open"),
        _ => address(id, order_id(&cancel)?),
    };
    if cancel == ALL {
        return cancel_all(shell, &state.services, control, back).await;
    }
    let order = order_id(&cancel)?;
    match state.services.trading().cancel_order(control, order).await {
        Ok(canceled) => {
            let order = &canceled.order;
            let text = format!("{} is canceled.", order_text::intent(order, order.symbol.as_str()));
            Ok(shell.redirect_with_success(back, text).await)
        }
        Err(gone @ (Error::OrderNotOpen { .. } | Error::Archived)) => {
            Ok(shell.redirect_with_error(back, format::sentence(&gone.to_string())).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// The value of the form for all orders.
const ALL: &str = "all";

async fn cancel_all(
    shell: Shell,
    services: &Services,
    control: PortfolioControl,
    back: String,
) -> PageResult {
    let attempts = match services.trading().cancel_orders(control, None).await {
        Err(error @ Error::Archived) => {
            return Ok(shell.redirect_with_error(back, format::sentence(&error.to_string())).await);
        }
        attempts => attempts?,
    };
    let canceled = attempts.iter().filter(|attempt| attempt.failure.is_none()).count();
    let told = format!("{} canceled.", format::plural(canceled, "order", "orders"));
    match attempts.iter().find_map(|attempt| attempt.failure.as_ref()) {
        Some(failure) => {
            let failure = format::sentence(&failure.to_string());
            Ok(shell.redirect_with_error(back, format!("{told} Some could not be canceled: {failure}")).await)
        }
        None => Ok(shell.redirect_with_success(back, told).await),
    }
}

async fn order_view(
    services: &Services,
    access: &PortfolioAccess,
    portfolio: &PortfolioSummary,
    found: &OrderWithFills,
    (refused, now): (Option<FormView>, Timestamp),
) -> Result<OrderView, Error> {
    let OrderWithFills { order, fills, legs, hold } = found;
    let company = services.instruments().stock(&order.symbol).await?.listing.company_name.clone();
    let successor = match order.status {
        OrderStatus::Replaced => services.trading().successor(access.portfolio, order.id).await?,
        _ => None,
    };
    let link = |text, label: &str, id: Option<OrderId>| {
        id.map(|id| Link { text, label: label.to_owned(), href: address(&access.address, id) })
    };
    let links = [
        link("It was placed with", "its entry", order.parent_order_id),
        link("It replaced", "an earlier order", order.replaces),
        link("It was replaced by", "another order", successor),
    ];
    let can_change = access.is_owner && order.status.is_open() && portfolio.archived_at.is_none();
    let mut sentences: Vec<String> =
        fills.iter().map(|fill| order_text::fill_sentence(fill, order.symbol.as_str())).collect();
    sentences.extend(order_text::standing(order, now));
    sentences.extend(hold.as_ref().map(|hold| format::sentence(&hold.to_string())));
    let rules = services.trading().rules().of_portfolio(portfolio.id);
    if order.status.is_open()
        && rules.mode == TradingMode::Realistic
        && let Some(opening) = next_opening(rules.calendar, now)
    {
        sentences.push(format!("The exchange is closed; it opens {opening}."));
    }
    Ok(OrderView {
        portfolio: Named::to_reader(portfolio, access),
        status: order_text::status(order.status).to_lowercase(),
        heading: order_text::heading(order, &company),
        symbol: order.symbol.clone(),
        sentences,
        facts: facts(order, fills, now),
        realized: realized(fills).as_ref().map(format::gain),
        id: order.id.to_string(),
        legs: legs.iter().map(|leg| OrderRow::from_order(&access.address, leg, true)).collect(),
        links: links.into_iter().flatten().collect(),
        cancelable: can_change,
        change: ChangeView::for_order(portfolio.id, order, refused).filter(|_| can_change),
    })
}

fn next_opening(calendar: Calendar, now: Timestamp) -> Option<String> {
    let closed = calendar.session_at(now).is_none();
    closed.then(|| format::instant_ahead(calendar.next_open(now).opens_at, now))
}

fn realized(fills: &[JournalEntry]) -> Option<Money> {
    let results: Vec<&Money> = fills.iter().filter_map(|fill| fill.realized_pnl.as_ref()).collect();
    (!results.is_empty()).then(|| results.into_iter().sum())
}

fn facts(order: &Order, fills: &[JournalEntry], now: Timestamp) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut tell = |label, value: String, badge| facts.push(Fact { label, value, badge });
    let whole = match &order.size {
        OrderSize::Quantity(whole) => format::quantity(whole),
        OrderSize::Notional(notional) => format!("{} USD", format::money(notional)),
        OrderSize::OfPosition(percent) => format!("{percent}%"),
    };
    let filled = format::quantity(&order.filled_quantity);
    let status = match order.filled_quantity.is_zero() {
        true => order_text::status(order.status).to_owned(),
        false => format!("{}, {filled} of {whole}", order_text::status(order.status)),
    };
    tell("Status", status, None);
    let (label, condition) = order_text::condition(order);
    let time_in_force = words::good(order.time_in_force).to_lowercase();
    tell("Order type", format!("{}, {time_in_force}", words::type_name(order.order_type())), None);
    if !condition.is_empty() {
        tell(label, condition, None);
    }
    if let OrderSize::Notional(_) = &order.size {
        tell("Ordered", format!("for {whole}"), None);
    }
    if let (Some(price), true) = (&order.filled_price, fills.len() > 1) {
        tell("Average price", format::average_exact(price), None);
    }
    if let Some(receipt) = fills.first().and_then(|fill| fill.receipt.as_ref()) {
        tell("Rule", order_text::rule(order.side, receipt.rule), None);
        let badge = receipt.source.is_simulated().then(|| Badge::for_freshness(Freshness::Simulated));
        tell("Source", receipt.source.to_string(), badge);
        tell("Quote time", format::second_seen_at(receipt.quoted_at, order.submitted_at).text, None);
    }
    if !fills.is_empty() {
        tell("Commission", format::money(&order.commission), None);
    }
    let reserved = order_text::reserved(order);
    if !reserved.is_empty() {
        tell("Reserved", reserved, None);
    }
    tell("Placed", format::day_and_second(order.submitted_at).text, None);
    let ended = order.filled_at.map(|at| ("Filled", at)).or(order.canceled_at.map(|at| ("Ended", at)));
    if let Some((label, at)) = ended {
        tell(label, format::day_and_second(at).text, None);
    } else if let Some(end) = order.expires_at {
        let label = if order.time_in_force == domain::TimeInForce::Day { "Expires" } else { "Auction" };
        tell(label, format::close_ahead(end, now), None);
    }
    facts
}
