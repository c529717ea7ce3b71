//! The page of one portfolio: value, positions, orders and order ticket.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use actix_web::web::{Data, Query};
use domain::calendar::exchange_date;
use domain::composition::tenths_of_percent;
use domain::performance::Period;
use domain::{
    Freshness, Holding, Money, OrderFilter, PortfolioId, PortfolioRef, Price, Quantity, Side, Symbol,
    Valuation,
};
use serde::{Deserialize, Serialize};
use services::Services;
use services::books::performance::Window;
use services::books::sharing::PortfolioAccess;
use services::books::valuation::ValuedPortfolio;
use services::trading::OrderWithFills;

use super::flow_marks::FlowMarks;
use super::pages::{Named, deposits, ratio, total_gain};
use crate::AppState;
use crate::http::portfolio_access::PageAccess;
use crate::http::problem::Problem;
use crate::shell::chart;
use crate::shell::chart::{Chart, Line, Spark};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::{Delta, Figure, Moment};
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, query, range_choices};
use crate::shell::render::{PageResult, Shell};
use crate::shell::sparks::month_sparks;
use crate::stocks::coverage;
use crate::trading::pages::rows::{OpenRow, OrderRow, open_rows, order_rows, summary};
use crate::trading::ticket::{TICKET, Ticket, TicketFields, ticket};

/// The maximum number of open orders on the page. The page of orders shows all of them.
const MAX_OPEN: usize = 50;
const MAX_CLOSED: usize = 8;

/// The query of a portfolio's page.
#[derive(Debug, Default, Deserialize)]
pub struct OverviewQuery {
    #[serde(default)]
    range: String,
    #[serde(flatten)]
    ticket: TicketFields,
}

#[derive(Serialize)]
struct PortfolioView {
    portfolio: Named,
    /// The version of the portfolio that the page shows, for the script.
    version: i64,
    total: Figure,
    total_value: String,
    today: Delta,
    today_percent: Option<Delta>,
    gain: Delta,
    gain_percent: Option<Delta>,
    /// The deposits of which the gain is a percentage, for the script.
    deposits: String,
    cash: String,
    cash_weight: String,
    cash_bar: String,
    buying_power: String,
    /// Cash that open orders reserve.
    reserved: String,
    unrealized: Delta,
    unrealized_percent: Option<Delta>,
    realized: Delta,
    /// All dividends of the portfolio, including receivable ones; empty if there were none.
    dividends: String,
    receivable: String,
    receivable_weight: String,
    receivable_bar: String,
    ranges: Vec<Choice>,
    /// A note that the portfolio is younger than the chosen range; empty if it is not.
    covered: String,
    chart: Option<Chart>,
    /// The address from which the script loads the chart's data.
    chart_source: String,
    /// The portfolio's benchmark, which the script can add to the chart.
    benchmark: String,
    positions: String,
    as_of: Moment,
    stale: String,
    sparks: bool,
    holdings: Vec<HoldingRow>,
    open_orders: Vec<OpenRow>,
    open_summary: String,
    more_open: bool,
    closed_orders: Vec<OrderRow>,
    suggestions: Vec<Suggestion>,
    /// `None` for an archived portfolio and for readers who are not its owner.
    ticket: Option<Ticket>,
}

#[derive(Serialize)]
struct HoldingRow {
    symbol: Symbol,
    name: String,
    spark: Option<Spark>,
    quantity: String,
    /// The shares that open orders do not reserve; empty if none are reserved.
    sellable: String,
    average: String,
    last: String,
    today: Option<Delta>,
    value: String,
    weight: String,
    bar: String,
    gain: Delta,
    gain_percent: Option<Delta>,
}

#[derive(Serialize)]
struct Suggestion {
    symbol: Symbol,
    name: String,
    text: String,
    href: String,
}

pub async fn show(
    shell: Shell,
    access: PageAccess,
    asked: Query<OverviewQuery>,
    state: Data<AppState>,
) -> PageResult {
    let OverviewQuery { range, ticket: fields } = asked.into_inner();
    let range = range.parse().unwrap_or(Period::All);
    let refused = shell.refused_form(TICKET);
    let view = page_view(&state.services, &access, range, &fields, refused.as_ref()).await?;
    let title = view.portfolio.name.clone();
    shell.with_charts().show("portfolio.html", Nav::Portfolio, title, &view)
}

/// The page with the errors of the ticket. It takes the place of the preview, which cannot be shown.
pub async fn show_refused_ticket(
    shell: Shell,
    services: &Services,
    portfolio: PortfolioRef,
    fields: &TicketFields,
    problem: &Problem,
) -> PageResult {
    let refused = FormView::new(TICKET).refused(problem);
    let access = PortfolioAccess::of_owner(portfolio);
    let view = page_view(services, &access, Period::All, fields, Some(&refused)).await?;
    let title = view.portfolio.name.clone();
    shell.with_charts().show("portfolio.html", Nav::Portfolio, title, &view)
}

async fn page_view(
    services: &Services,
    access: &PortfolioAccess,
    range: Period,
    fields: &TicketFields,
    refused: Option<&FormView>,
) -> Result<PortfolioView, services::Error> {
    let ValuedPortfolio { portfolio, valuation, valued_at } =
        services.books().valuation(access.portfolio).await?;
    let flows = services.books().external_flows(access.portfolio).await?;
    let of = |open| OrderFilter { open: Some(open), ..OrderFilter::default() };
    let open = services.trading().orders(access.portfolio, of(true), None, MAX_OPEN).await?;
    let closed = services.trading().orders(access.portfolio, of(false), None, MAX_CLOSED).await?.items;
    let last = last_prices(services, &valuation, &open.items).await;
    let chart = value_chart(services, access.portfolio, &portfolio.name, range).await?;
    let gain = total_gain(&valuation);
    let sparks = month_sparks(services, valuation.holdings.iter().map(|row| &row.listing.symbol)).await;

    let mut weights: Vec<f64> =
        valuation.holdings.iter().map(|holding| valuation.weight(&holding.market_value)).collect();
    let (cash, receivable) = (weights.len(), weights.len() + 1);
    weights.push(valuation.weight(&valuation.cash_balance));
    weights.push(valuation.weight(&valuation.dividends_receivable));
    let tenths = tenths_of_percent(&weights);
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let bar = |weight: f64| chart::percent(if largest > 0.0 { weight / largest * 100.0 } else { 0.0 });
    let cost: Money = valuation.holdings.iter().map(|holding| &holding.position.cost_basis).sum();
    let holdings: Vec<HoldingRow> = valuation
        .holdings
        .iter()
        .zip(tenths.iter().zip(&weights))
        .map(|(holding, (tenths, weight))| {
            holding_row(holding, *tenths, bar(*weight), sparks.get(&holding.listing.symbol).cloned())
        })
        .collect();
    let stale: Vec<&str> = valuation
        .holdings
        .iter()
        .filter(|holding| holding.quote.stale)
        .map(|holding| holding.listing.symbol.as_str())
        .collect();
    let newest = valuation.holdings.iter().map(|holding| holding.quote.as_of).max();
    let active = access.is_owner && portfolio.archived_at.is_none();
    let suggestions = match active && valuation.holdings.is_empty() {
        true => suggestions(services, portfolio.id).await,
        false => Vec::new(),
    };
    let ticket = match active {
        true => Some(ticket(services, access.portfolio, &valuation, fields, refused).await),
        false => None,
    };
    let reserved = valuation.cash_balance.clone() - &valuation.buying_power;
    Ok(PortfolioView {
        total: format::figure(&valuation.total_value),
        total_value: format::money(&valuation.total_value),
        today: format::gain(&valuation.day_change),
        today_percent: valuation.day_change_ratio().map(format::percent_gain),
        gain: format::gain(&gain),
        gain_percent: ratio(&gain, &deposits(&flows)).map(format::percent_gain),
        deposits: deposits(&flows).to_string(),
        cash: format::money(&valuation.cash_balance),
        cash_weight: format::weight(tenths[cash]),
        cash_bar: bar(weights[cash]),
        buying_power: format::money(&valuation.buying_power),
        reserved: some_money(&reserved),
        unrealized: format::gain(&valuation.unrealized_pnl),
        unrealized_percent: ratio(&valuation.unrealized_pnl, &cost).map(format::percent_gain),
        realized: format::gain(&valuation.realized_pnl),
        dividends: some_money(&valuation.dividends),
        receivable: some_money(&valuation.dividends_receivable),
        receivable_weight: format::weight(tenths[receivable]),
        receivable_bar: bar(weights[receivable]),
        ranges: range_choices(Period::ALL, Some(range), |name| {
            format!("/portfolios/{}?range={name}", access.address)
        }),
        covered: coverage::note_on_portfolio(
            range,
            exchange_date(portfolio.created_at),
            exchange_date(services.market().now()),
        ),
        chart,
        chart_source: format!("/api/v1/portfolios/{}/performance?period={}", access.address, range.as_str()),
        benchmark: portfolio.benchmark.to_string(),
        positions: format::plural(holdings.len(), "position", "positions"),
        as_of: format::second_seen_at(newest.unwrap_or(valued_at), valued_at),
        stale: stale.join(", "),
        sparks: !sparks.is_empty(),
        holdings,
        open_summary: summary(&open.items, &reserved),
        open_orders: open_rows(&access.address, &open.items, &last, valued_at),
        more_open: open.next.is_some(),
        // Exits are rows of their own in this list.
        closed_orders: order_rows(&access.address, &closed, |_| false),
        suggestions,
        ticket,
        version: portfolio.version,
        portfolio: Named::to_reader(&portfolio, access),
    })
}

/// The amount, or an empty text for zero.
fn some_money(amount: &Money) -> String {
    if amount.is_zero() { String::new() } else { format::money(amount) }
}

/// The last prices of stocks with open orders. Prices of stocks that are not held are fetched only if calls cost
/// nothing.
async fn last_prices(
    services: &Services,
    valuation: &Valuation,
    open: &[OrderWithFills],
) -> HashMap<Symbol, Price> {
    let held = valuation.holdings.iter();
    let mut last: HashMap<Symbol, Price> =
        held.map(|holding| (holding.listing.symbol.clone(), holding.quote.price.clone())).collect();
    if services.market().freshness() == Freshness::Simulated {
        for OrderWithFills { order, .. } in open {
            if let Entry::Vacant(vacant) = last.entry(order.symbol.clone())
                && let Ok(quote) = services.stocks().quote(&order.symbol).await
            {
                vacant.insert(quote.price);
            }
        }
    }
    last
}

fn holding_row(holding: &Holding, tenths: i64, bar: String, spark: Option<Spark>) -> HoldingRow {
    HoldingRow {
        symbol: holding.listing.symbol.clone(),
        name: holding.listing.company_name.clone(),
        spark,
        quantity: format::quantity(&holding.position.quantity),
        sellable: match holding.position.quantity.checked_sub(&holding.reserved) {
            Some(left) if !holding.reserved.is_zero() => format::quantity(&left),
            _ => String::new(),
        },
        average: holding.average_buy_price().as_ref().map_or_else(String::new, format::average),
        last: format::price(&holding.quote.price),
        today: holding.day_change.as_ref().map(format::gain),
        value: format::money(&holding.market_value),
        weight: format::weight(tenths),
        bar,
        gain: format::gain(&holding.unrealized_pnl),
        gain_percent: holding.unrealized_ratio().map(format::percent_gain),
    }
}

async fn value_chart(
    services: &Services,
    portfolio: PortfolioRef,
    name: &str,
    range: Period,
) -> Result<Option<Chart>, services::Error> {
    let measured = services.books().performance(portfolio, Window::Period(range)).await?;
    let points: Vec<_> =
        measured.points.iter().map(|point| (point.close.date, point.close.total_value.to_f64())).collect();
    let flows = FlowMarks::new(&measured.points);
    let (Some(first), Some(last)) = (measured.points.first(), measured.points.last()) else {
        return Ok(None);
    };
    Ok(chart::line(Line {
        id: "equity",
        title: format!("Value of {name}"),
        desc: format!(
            "From {} on {} to {} on {}.{}",
            format::money(&first.close.total_value),
            format::date(first.close.date),
            format::money(&last.close.total_value),
            format::date(last.close.date),
            flows.sentence()
        ),
        points: &points,
        flows: flows.marks(),
        ..Line::default()
    }))
}

/// Orders suggested for an empty portfolio, at current prices.
async fn suggestions(services: &Services, id: PortfolioId) -> Vec<Suggestion> {
    let mut suggestions = Vec::new();
    if services.market().freshness() != Freshness::Simulated {
        return suggestions;
    }
    for (symbol, quantity) in [("VTI", "10"), ("AAPL", "5"), ("KO", "20")] {
        let (Ok(symbol), Ok(shares)) = (symbol.parse::<Symbol>(), quantity.parse::<Quantity>()) else {
            continue;
        };
        // A stock that this market does not have is left out.
        let (Ok(stock), Ok(quote)) =
            (services.instruments().stock(&symbol).await, services.stocks().quote(&symbol).await)
        else {
            continue;
        };
        let (price, _) = quote.touch(Side::Buy);
        suggestions.push(Suggestion {
            name: stock.listing.company_name.clone(),
            text: format!("{quantity} shares cost {}", format::money(&price.times(&shares))),
            href: format!(
                "/portfolios/{id}{}#ticket",
                query(&[("symbol", symbol.as_str()), ("quantity", quantity)])
            ),
            symbol,
        });
    }
    suggestions
}
