//! The search page for stocks, and the page of a stock.

use actix_web::web::{Data, Path, Query};
use chrono::NaiveDate;
use domain::HistoryRange;
use domain::calendar::exchange_date;
use domain::corporate_action::CorporateAction;
use domain::{Bar, Freshness, Listing, PortfolioId, Quote, Symbol, UserId};
use serde::{Deserialize, Serialize};
use services::stocks::coverage::Coverage;
use services::{Error, Services};

use super::chart_marks::{latest_json, marks_json};
use super::{coverage, price_pace};
use crate::AppState;
use crate::http::extract::LoggedIn;
use crate::http::problem::{PageError, Problem};
use crate::shell::badge::{Badge, source_name};
use crate::shell::chart;
use crate::shell::chart::{Chart, Line};
use crate::shell::format;
use crate::shell::format::{Delta, Figure, Moment};
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, range_choices, see_other};
use crate::shell::render::{PageResult, Shell};
use crate::stocks::corporate_actions::describe;
use crate::stocks::own_trades::{OwnPosition, OwnTradeRow, deal, held, holding, own_trades, row};

#[derive(Debug, Default, Deserialize)]
pub struct RangeQuery {
    #[serde(default)]
    range: String,
}

#[derive(Serialize)]
struct StockView {
    symbol: Symbol,
    name: String,
    identity: String,
    quote: Option<QuoteView>,
    /// Why there is no price.
    no_price: String,
    watching: Option<Choice>,
    /// The watchlists that do not contain the stock.
    lists: Vec<Option_>,
    ranges: Vec<Choice>,
    chart: Option<Chart>,
    chart_data: ChartData,
    average: String,
    positions: Vec<OwnPosition>,
    others: Vec<Other>,
    facts: Vec<Fact>,
    year: Option<Extremes>,
    /// Since when there are prices, if the chart or a longer one should begin earlier.
    covered: String,
    provenance: Vec<String>,
    /// A note about how often prices for open orders are updated; empty if this is often enough.
    pace: String,
    /// Announced actions first, then the newest.
    actions: Vec<ActionRow>,
    /// Whether the history contains a split.
    adjusted: bool,
    delisted: Option<String>,
    why_delisted: String,
    /// Why orders currently do not fill.
    hold: Option<String>,
    transactions: Vec<OwnTradeRow>,
}

/// The data of the interactive chart, as attributes for the script.
#[derive(Serialize)]
struct ChartData {
    /// The address from which the script loads the bars.
    source: String,
    /// The newest price with its day, as JSON; empty without one.
    latest: String,
    /// The average price of the only position; empty without one.
    average: String,
    /// Own trades, dividends and splits, as JSON.
    marks: String,
}

#[derive(Serialize)]
struct QuoteView {
    price: Figure,
    change: Option<Delta>,
    percent: Option<Delta>,
    badge: Badge,
    as_of: Moment,
    /// Why there is no newer price.
    why_stale: String,
}

/// An option of a select element.
#[derive(Serialize)]
struct Option_ {
    value: String,
    label: String,
}

/// A portfolio that does not hold this stock.
#[derive(Serialize)]
struct Other {
    id: PortfolioId,
    name: String,
}

#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
}

#[derive(Serialize)]
struct ActionRow {
    day: String,
    what: String,
    upcoming: bool,
}

#[derive(Serialize)]
struct Extremes {
    /// The range of the extremes: `52 weeks`, or since when there are prices.
    span: String,
    low: String,
    high: String,
    at: String,
}

/// The maximum number of transactions on the page.
const MAX_ROWS: usize = 12;

/// With more portfolios than this, not each has a button of its own.
const MAX_OTHERS: usize = 4;

/// The maximum number of past corporate actions on the page.
const MAX_ACTIONS: usize = 8;

pub async fn show(
    shell: Shell,
    signed: LoggedIn,
    symbol: Path<String>,
    asked: Query<RangeQuery>,
    state: Data<AppState>,
) -> PageResult {
    let (user, services) = (signed.account.id, &state.services);
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    // Before the stock is looked up, because the quote may reveal that another company has the symbol.
    let quoted = services.stocks().quote_for(Some(user), &symbol).await;
    let stock = services.instruments().stock_for(Some(user), &symbol).await?;
    if stock.listing.symbol != symbol {
        // The stock has a new symbol.
        return Ok(see_other(format!("/stocks/{}", stock.listing.symbol)));
    }
    let hold = services.corporate_actions().trading_hold(&stock).await?;
    let why_delisted =
        services.corporate_actions().delisting_of(&stock).await?.and_then(|delisting| delisting.reason);
    let (listing, delisted_on) = (stock.listing, stock.delisted_on);
    let actions = services.stocks().corporate_actions(&symbol).await?;
    let today = exchange_date(shell.now());
    let (quote, no_price, why_stale) = match quoted {
        Ok(latest) => (Some(latest.quote), String::new(), latest.why_stale.map(|why| why.to_string())),
        Err(
            error @ (Error::NoPrice { .. }
            | Error::CallsUsedUp { .. }
            | Error::PriceUnconfirmed { .. }
            | Error::ClockBehind { .. }),
        ) => (None, format::sentence(&error.to_string()), None),
        Err(error) => return Err(error.into()),
    };
    let range = HistoryRange::parse(&asked.range).unwrap_or(HistoryRange::Year);
    let (history, of_chart) = bars_of(services, user, &symbol, range).await?;
    let (year, of_year) = match range {
        HistoryRange::Year => (history.clone(), of_chart),
        _ => bars_of(services, user, &symbol, HistoryRange::Year).await?,
    };
    let known: Vec<Coverage> = [of_chart, of_year].into_iter().flatten().collect();
    let valued = services.books().valuations(user).await?;
    let trades = own_trades(services, user, &valued, &symbol).await?;
    let lists = services.watchlists().all(user).await?;
    let (on, off): (Vec<_>, Vec<_>) =
        lists.into_iter().partition(|list| list.items.iter().any(|item| item.stock.listing.symbol == symbol));

    let positions: Vec<OwnPosition> = valued.iter().filter_map(|valued| held(valued, &symbol)).collect();
    let mut others: Vec<Other> = valued
        .iter()
        .filter(|valued| positions.iter().all(|held| held.id != valued.portfolio.id))
        .map(|valued| Other { id: valued.portfolio.id, name: valued.portfolio.name.clone() })
        .collect();
    others.truncate(MAX_OTHERS);
    let single =
        match valued.iter().filter_map(|valued| holding(valued, &symbol)).collect::<Vec<_>>().as_slice() {
            [only] => only.average_buy_price(),
            _ => None,
        };
    let points = price_points(&history, quote.as_ref());
    let average = single.as_ref().map_or_else(String::new, format::average);
    let chart_data = ChartData {
        source: format!("/api/v1/stocks/{symbol}/history?range={}", range.as_str()),
        latest: latest_json(quote.as_ref()),
        average: single.as_ref().map(ToString::to_string).unwrap_or_default(),
        marks: marks_json(trades.iter().map(|trade| &trade.line), &actions, today),
    };
    let chart = chart::line(Line {
        id: "price",
        title: format!("{symbol}, price"),
        desc: description(&points),
        points: &points,
        level: single.as_ref().and_then(|average| average.to_string().parse().ok()),
        trades: trades.iter().filter_map(|trade| deal(&trade.line, &actions, today)).collect(),
        ..Line::default()
    });
    let view = StockView {
        name: listing.company_name.clone(),
        identity: identity(&listing),
        no_price,
        watching: on.first().map(|list| Choice {
            label: list.name.clone(),
            href: format!("/watchlist?list={}", list.id),
            current: true,
        }),
        lists: off.into_iter().map(|list| Option_ { value: list.id.to_string(), label: list.name }).collect(),
        ranges: range_choices(HistoryRange::ALL, Some(range), |name| {
            format!("/stocks/{symbol}?range={name}")
        }),
        chart,
        chart_data,
        average,
        positions,
        others,
        facts: quote.as_ref().map_or_else(Vec::new, |quote| facts(quote, year.last())),
        year: quote.as_ref().zip(of_year).and_then(|(quote, of_year)| extremes(&year, &of_year, quote)),
        covered: coverage::note(&known, today),
        provenance: provenance(services, quote.as_ref(), delisted_on.is_some()),
        pace: price_pace::note_on_orders(services).await,
        transactions: trades
            .iter()
            .take(MAX_ROWS)
            .map(|trade| row(trade, quote.as_ref(), &actions, today))
            .collect(),
        adjusted: history.first().is_some_and(|bar| {
            actions
                .iter()
                .any(|action| action.ratio().is_some() && bar.date < action.ex_on && action.ex_on <= today)
        }),
        delisted: delisted_on.map(format::date),
        why_delisted: why_delisted.map_or_else(|| "It is delisted.".to_owned(), |why| format::sentence(&why)),
        hold: hold.map(|hold| format::sentence(&hold.to_string())),
        actions: action_rows(&actions, today),
        quote: quote.map(|quote| QuoteView {
            price: format::figure(&quote.price),
            change: quote.change().as_ref().map(format::change),
            percent: quote.change_ratio().map(format::percent_gain),
            badge: Badge::of_quote(&quote),
            as_of: format::second_seen_at(quote.as_of, shell.now()),
            why_stale: why_stale.map_or_else(String::new, |why| format::sentence(&why)),
        }),
        symbol,
    };
    let title = format!("{}, {}", view.symbol, view.name);
    shell.with_charts().show("stock.html", Nav::Elsewhere, title, &view)
}

/// The bars of a range; empty if they are not available, so that the page is shown anyway.
async fn bars_of(
    services: &Services,
    user: UserId,
    symbol: &Symbol,
    range: HistoryRange,
) -> Result<(Vec<Bar>, Option<Coverage>), PageError> {
    match services.stocks().covered_history(Some(user), symbol, range).await {
        Ok((bars, coverage)) => Ok((bars, Some(coverage))),
        Err(
            Error::NoPrice { .. }
            | Error::CallsUsedUp { .. }
            | Error::PriceUnconfirmed { .. }
            | Error::ClockBehind { .. }
            | Error::SourceUnavailable { .. },
        ) => Ok((Vec::new(), None)),
        Err(error) => Err(error.into()),
    }
}

/// The closes, with the newest price as the point of today.
pub(crate) fn price_points(bars: &[Bar], quote: Option<&Quote>) -> Vec<(NaiveDate, f64)> {
    let mut points: Vec<(NaiveDate, f64)> = bars.iter().map(|bar| (bar.date, bar.close.to_f64())).collect();
    if let Some(quote) = quote {
        let day = exchange_date(quote.as_of);
        if points.last().is_none_or(|(last, _)| *last < day) {
            points.push((day, quote.price.to_f64()));
        }
    }
    points
}

/// The description of the line, for screen readers.
pub(crate) fn description(points: &[(NaiveDate, f64)]) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (low, high) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| {
        (low.min(*value), high.max(*value))
    });
    format!(
        "From {:.2} on {} to {:.2} on {}; low {low:.2}, high {high:.2}.",
        first.1,
        format::date(first.0),
        last.1,
        format::date(last.0)
    )
}

fn identity(listing: &Listing) -> String {
    [listing.symbol.as_str(), &listing.exchange, &listing.sector, listing.currency.code()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}

/// Announced corporate actions and the newest past ones, newest first.
fn action_rows(actions: &[CorporateAction], today: NaiveDate) -> Vec<ActionRow> {
    let row = |action: &CorporateAction| ActionRow {
        day: format::date(action.ex_on),
        what: describe(action),
        upcoming: action.ex_on > today,
    };
    let past = actions.iter().rev().filter(|action| action.ex_on <= today).take(MAX_ACTIONS);
    actions.iter().rev().filter(|action| action.ex_on > today).chain(past).map(row).collect()
}

fn facts(quote: &Quote, last_session: Option<&Bar>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut tell = |label, value: String| facts.push(Fact { label, value });
    if let (Some(bid), Some(ask)) = (&quote.bid, &quote.ask) {
        tell("Bid / ask", format!("{} / {}", format::price(bid), format::price(ask)));
    }
    if let Some(close) = &quote.previous_close {
        tell("Previous close", format::price(close));
    }
    if let Some(volume) = quote.volume {
        tell("Volume today", format::count(volume));
    }
    if let Some(bar) = last_session {
        let extremes = format!("{} / {}", format::price(&bar.low), format::price(&bar.high));
        tell("Low / high of the last session", extremes);
        tell("Volume of the last session", format::count(bar.volume));
    }
    facts
}

/// The lowest and the highest price of a year, including the newest price. If prices begin later, of a shorter time.
fn extremes(year: &[Bar], of_year: &Coverage, quote: &Quote) -> Option<Extremes> {
    let low = year.iter().map(|bar| &bar.low).min()?.min(&quote.price);
    let high = year.iter().map(|bar| &bar.high).max()?.max(&quote.price);
    Some(Extremes {
        span: coverage::span_of_year(of_year),
        low: format::price(low),
        high: format::price(high),
        at: chart::position_between(quote.price.to_f64(), low.to_f64(), high.to_f64()),
    })
}

fn provenance(services: &Services, quote: Option<&Quote>, is_delisted: bool) -> Vec<String> {
    let source =
        quote.map_or_else(|| services.market().price_source().to_string(), |quote| quote.source.to_string());
    let mut lines = match services.market().freshness() {
        Freshness::Simulated => vec![
            format!("The built-in market, {source}."),
            "It computes every price from a seed, the symbol and the time, so the same moment always has the same \
             price. The prices resemble those of a real market, but are not real."
                .to_owned(),
        ],
        Freshness::Realtime => vec![format!("{}, as trades happen.", source_name(&source))],
        Freshness::Delayed => vec![format!("{}, up to 20 minutes behind the market.", source_name(&source))],
        Freshness::EndOfDay => vec![
            format!("{}, the close of each session.", source_name(&source)),
            "Orders fill at the newest close that is published; the receipt names its day.".to_owned(),
        ],
    };
    lines.extend(quote.and_then(|quote| next_results(services, quote)));
    if is_delisted {
        lines.push("This is the last price: the stock is delisted.".to_owned());
    } else if quote.is_some_and(|quote| quote.stale) {
        lines.push(
            "This price is old: the source has no newer one. Orders wait for a newer price.".to_owned(),
        );
    }
    lines
}

/// When the company publishes its next quarterly results, if that is known.
fn next_results(services: &Services, quote: &Quote) -> Option<String> {
    let on = services.market().next_results_on(&quote.symbol)?;
    Some(format!("The next quarterly results move the price at the open of {}.", format::date(on)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_the_first_and_the_last_price() {
        let day = |n| NaiveDate::from_ymd_opt(2026, 11, n).unwrap();
        let points = [(day(1), 139.46), (day(2), 189.84), (day(3), 151.68)];
        assert_eq!(
            description(&points),
            "From 139.46 on 1 Nov 2026 to 151.68 on 3 Nov 2026; low 139.46, high 189.84."
        );
        assert_eq!(description(&[]), "");
    }
}
