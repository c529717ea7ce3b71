//! The home page: what Stockyard is, with real prices.

use actix_web::web::Data;
use domain::HistoryRange;
use domain::{Freshness, Quote, Symbol};
use serde::Serialize;
use services::Services;

use crate::AppState;
use crate::shell::chart;
use crate::shell::chart::{Chart, Line};
use crate::shell::format;
use crate::shell::format::{Delta, Figure, Moment};
use crate::shell::layout::Nav;
use crate::shell::render::{PageResult, Shell};
use crate::stocks::pages::price_points;

/// Stocks that the home page shows, only for the built-in market: calls to a real source are for users.
const SHOWN: [&str; 8] = ["SPY", "AAPL", "MSFT", "NVDA", "JPM", "KO", "XOM", "COST"];

#[derive(Serialize)]
struct HomeView {
    dateline: Moment,
    as_of: Moment,
    stocks: Vec<StockRow>,
    chart_of: Option<Shown>,
    chart: Option<Chart>,
    demonstration: Vec<DemonstrationRow>,
}

/// A portfolio of the demonstration.
#[derive(Serialize)]
struct DemonstrationRow {
    href: String,
    name: String,
    description: String,
}

#[derive(Serialize)]
struct StockRow {
    symbol: Symbol,
    price: String,
    percent: Option<Delta>,
}

#[derive(Serialize)]
struct Shown {
    symbol: Symbol,
    name: String,
    price: Figure,
    change: Option<Delta>,
    percent: Option<Delta>,
}

pub async fn index(shell: Shell, state: Data<AppState>) -> PageResult {
    let services = &state.services;
    let now = shell.now();
    let mut quotes = Vec::new();
    if services.market().freshness() == Freshness::Simulated {
        for symbol in SHOWN.iter().filter_map(|symbol| symbol.parse::<Symbol>().ok()) {
            // A stock that this market does not have is left out.
            quotes.extend(services.stocks().quote(&symbol).await.ok());
        }
    }
    let (chart_of, chart) = match quotes.first() {
        Some(quote) => drawn(services, quote).await,
        None => (None, None),
    };
    let demonstration = services.books().demonstration_portfolios().await?;
    let view = HomeView {
        demonstration: demonstration
            .into_iter()
            .map(|portfolio| DemonstrationRow {
                href: format!("/portfolios/{}", portfolio.id),
                name: portfolio.name,
                description: portfolio.description,
            })
            .collect(),
        dateline: format::dateline(now),
        as_of: format::second_seen_at(quotes.first().map_or(now, |quote| quote.as_of), now),
        stocks: quotes
            .iter()
            .map(|quote| StockRow {
                symbol: quote.symbol.clone(),
                price: format::price(&quote.price),
                percent: quote.change_ratio().map(format::percent_gain),
            })
            .collect(),
        chart_of,
        chart,
    };
    shell.show("home.html", Nav::Elsewhere, "A brokerage for practice", &view)
}

async fn drawn(services: &Services, quote: &Quote) -> (Option<Shown>, Option<Chart>) {
    let (Ok(stock), Ok(bars)) = (
        services.instruments().stock(&quote.symbol).await,
        services.stocks().history(&quote.symbol, HistoryRange::Year).await,
    ) else {
        return (None, None);
    };
    let points = price_points(&bars, Some(quote));
    let chart = chart::line(Line {
        id: "demo-chart",
        title: format!("{}, price over one year", quote.symbol),
        desc: crate::stocks::pages::description(&points),
        points: &points,
        ..Line::default()
    });
    let shown = Shown {
        symbol: quote.symbol.clone(),
        name: stock.listing.company_name.clone(),
        price: format::figure(&quote.price),
        change: quote.change().as_ref().map(format::change),
        percent: quote.change_ratio().map(format::percent_gain),
    };
    (Some(shown), chart)
}
