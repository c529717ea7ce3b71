//! The page about a portfolio's composition: by holding, by sector, and how concentrated it is.

use actix_web::web::{Data, Query};
use domain::composition::{Composition, Concentration, ConcentrationLevel, tenths_of_percent};
use domain::{Holding, Valuation};
use serde::{Deserialize, Serialize};
use services::books::valuation::ValuedPortfolio;

use super::concentration;
use super::pages::Named;
use crate::AppState;
use crate::http::portfolio_access::PageAccess;
use crate::shell::chart::percent;
use crate::shell::chart::treemap;
use crate::shell::chart::treemap::{Cell, Frame};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::{Delta, Moment};
use crate::shell::heat;
use crate::shell::layout::Nav;
use crate::shell::links::Choice;
use crate::shell::render::{PageResult, Shell};

const RECEIVABLE: &str = "Dividends receivable";

#[derive(Debug, Default, Deserialize)]
pub struct CompositionQuery {
    #[serde(default)]
    color: String,
}

/// The figure that the colors of the treemap show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    Gain,
    Day,
}

impl Color {
    fn step(self) -> f64 {
        match self {
            Self::Gain => 0.08,
            Self::Day => 0.01,
        }
    }

    fn ratio_of(self, holding: &Holding) -> Option<f64> {
        match self {
            Self::Gain => holding.unrealized_ratio(),
            Self::Day => holding.quote.change_ratio(),
        }
    }
}

#[derive(Serialize)]
struct CompositionView {
    portfolio: Named,
    total: String,
    as_of: Moment,
    colors: Vec<Choice>,
    color_is: &'static str,
    color_step: String,
    maps: [Map; 2],
    /// Notes about weights above the user's limits.
    notes: Vec<String>,
    limits: Option<FormView>,
    holdings: Vec<CompositionRow>,
    sectors: Vec<Sector>,
    concentration: Vec<Fact>,
    concentration_note: String,
}

/// A treemap. There is one for wide screens and one of another shape for phones.
#[derive(Serialize)]
struct Map {
    /// `wide` or `phone`.
    screen: &'static str,
    cells: Vec<MapCell>,
}

#[derive(Serialize)]
struct MapCell {
    area: Cell,
    /// How many of the three lines fit into the cell: name, weight, and the figure that the color shows.
    lines: usize,
    /// The CSS class of the color.
    heat: &'static str,
    name: String,
    weight: String,
    color: String,
}

#[derive(Serialize)]
struct CompositionRow {
    /// Empty for cash and dividends receivable.
    symbol: String,
    name: String,
    sector: String,
    value: String,
    gain: Option<Delta>,
    weight: String,
    bar: String,
}

#[derive(Serialize)]
struct Sector {
    name: String,
    weight: String,
    bar: String,
}

#[derive(Serialize)]
struct Fact {
    label: &'static str,
    value: String,
}

pub async fn show(
    shell: Shell,
    access: PageAccess,
    asked: Query<CompositionQuery>,
    state: Data<AppState>,
) -> PageResult {
    let valued = state.services.books().valuation(access.portfolio).await?;
    let composition = Composition::from_valuation(&valued.valuation);
    let color = if asked.color == "day" { Color::Day } else { Color::Gain };
    let named = Named::to_reader(&valued.portfolio, &access);
    let mut view = view(named, &valued, &composition, color);
    if access.is_owner {
        let limits = state.services.books().concentration_limits(access.portfolio).await?;
        view.notes = limits.exceeded(&composition).iter().map(concentration::sentence).collect();
        view.limits = Some(shell.form(concentration::form(limits)));
    }
    let title = format!("Composition of {}", view.portfolio.name);
    shell.show("composition.html", Nav::Composition, title, &view)
}

fn view(
    portfolio: Named,
    valued: &ValuedPortfolio,
    composition: &Composition,
    color: Color,
) -> CompositionView {
    let ValuedPortfolio { valuation, valued_at, .. } = valued;
    // Holdings, cash, and dividends receivable if there are any. Rows and names have the same order.
    let receivable = Some(composition.dividends_receivable.weight).filter(|weight| *weight > 0.0);
    let stocks = composition.stocks.iter().map(|slice| slice.weight);
    let weights: Vec<f64> = stocks.chain([composition.cash.weight]).chain(receivable).collect();
    let tenths = tenths_of_percent(&weights);
    let newest = valuation.holdings.iter().map(|holding| holding.quote.as_of).max();
    let base = format!("/portfolios/{}/composition", portfolio.id);
    let colors = [("Color by gain", Color::Gain, "gain"), ("by today", Color::Day, "day")]
        .into_iter()
        .map(|(label, one, name)| Choice {
            label: label.to_owned(),
            href: format!("{base}?color={name}"),
            current: one == color,
        })
        .collect();
    CompositionView {
        total: format::money(&valuation.total_value),
        as_of: format::second_seen_at(newest.unwrap_or(*valued_at), *valued_at),
        colors,
        color_is: match color {
            Color::Gain => "unrealized gain",
            Color::Day => "the price’s change today",
        },
        color_step: format!("{:.0}%", color.step() * 100.0),
        maps: [("wide", treemap::WIDE), ("phone", treemap::PHONE)].map(|(screen, frame)| Map {
            screen,
            cells: cells(valuation, (&weights, &tenths), color, frame),
        }),
        notes: Vec::new(),
        limits: None,
        holdings: rows(valuation, &weights, &tenths),
        sectors: sectors(composition),
        concentration: composition
            .concentration
            .as_ref()
            .map_or_else(Vec::new, |measured| concentration_facts(valuation, measured)),
        concentration_note: composition
            .concentration
            .as_ref()
            .map_or_else(String::new, |measured| concentration_note(measured.level)),
        portfolio,
    }
}

/// The cells in descending order of weight, including cash.
fn cells(
    valuation: &Valuation,
    (weights, tenths): (&[f64], &[i64]),
    color: Color,
    frame: Frame,
) -> Vec<MapCell> {
    let mut order: Vec<usize> = (0..weights.len()).filter(|index| weights[*index] > 0.0).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    let sorted: Vec<f64> = order.iter().map(|index| weights[*index]).collect();
    order
        .into_iter()
        .zip(treemap::layout(&sorted, frame))
        .map(|(index, area)| {
            let holding = valuation.holdings.get(index);
            let ratio = holding.and_then(|holding| color.ratio_of(holding));
            let name = holding.map_or_else(
                || if index == valuation.holdings.len() { "Cash" } else { RECEIVABLE }.to_owned(),
                |holding| holding.listing.symbol.to_string(),
            );
            MapCell {
                lines: area.lines(&name),
                area,
                heat: ratio.map_or("h-0", |ratio| heat::class(ratio / color.step())),
                name,
                weight: format::weight(tenths[index]),
                color: ratio.map_or_else(String::new, |ratio| format::percent_gain(ratio).text),
            }
        })
        .collect()
}

fn rows(valuation: &Valuation, weights: &[f64], tenths: &[i64]) -> Vec<CompositionRow> {
    if valuation.holdings.is_empty() {
        return Vec::new();
    }
    let largest = weights.iter().copied().fold(0.0, f64::max);
    let bar = |index: usize| percent(if largest > 0.0 { weights[index] / largest * 100.0 } else { 0.0 });
    let mut rows: Vec<CompositionRow> = valuation
        .holdings
        .iter()
        .enumerate()
        .map(|(index, holding)| CompositionRow {
            symbol: holding.listing.symbol.to_string(),
            name: holding.listing.company_name.clone(),
            sector: holding.listing.sector.clone(),
            value: format::money(&holding.market_value),
            gain: holding.unrealized_ratio().map(format::percent_gain),
            weight: format::weight(tenths[index]),
            bar: bar(index),
        })
        .collect();
    let cash = rows.len();
    rows.push(CompositionRow {
        symbol: String::new(),
        name: "Cash".to_owned(),
        sector: String::new(),
        value: format::money(&valuation.cash_balance),
        gain: None,
        weight: format::weight(tenths[cash]),
        bar: bar(cash),
    });
    if let Some(tenths) = tenths.get(cash + 1) {
        rows.push(CompositionRow {
            symbol: String::new(),
            name: RECEIVABLE.to_owned(),
            sector: String::new(),
            value: format::money(&valuation.dividends_receivable),
            gain: None,
            weight: format::weight(*tenths),
            bar: bar(cash + 1),
        });
    }
    rows
}

fn sectors(composition: &Composition) -> Vec<Sector> {
    let mut parts: Vec<(String, f64)> =
        composition.sectors.iter().map(|slice| (slice.of.clone(), slice.weight)).collect();
    if composition.cash.weight > 0.0 {
        parts.push(("Cash".to_owned(), composition.cash.weight));
    }
    if composition.dividends_receivable.weight > 0.0 {
        parts.push((RECEIVABLE.to_owned(), composition.dividends_receivable.weight));
    }
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    let weights: Vec<f64> = parts.iter().map(|(_, weight)| *weight).collect();
    let largest = weights.iter().copied().fold(0.0, f64::max);
    parts
        .into_iter()
        .zip(tenths_of_percent(&weights))
        .map(|((name, weight), tenths)| Sector {
            name,
            weight: format::weight(tenths),
            bar: percent(if largest > 0.0 { weight / largest * 100.0 } else { 0.0 }),
        })
        .collect()
}

fn concentration_facts(valuation: &Valuation, measured: &Concentration) -> Vec<Fact> {
    let largest = valuation.holdings.first().map_or("", |holding| holding.listing.symbol.as_str());
    vec![
        Fact { label: "Largest holding", value: format!("{largest}, {}", format::share(measured.top_1)) },
        Fact { label: "Five largest", value: format::share(measured.top_5) },
        Fact { label: "HHI", value: format!("{:.3}", measured.herfindahl) },
        Fact { label: "Equivalent to", value: format!("{:.1} equal holdings", measured.effective_positions) },
    ]
}

fn concentration_note(level: ConcentrationLevel) -> String {
    let bounds = match level {
        ConcentrationLevel::Broad => "below 0.10",
        ConcentrationLevel::Moderate => "between 0.10 and 0.18",
        ConcentrationLevel::Concentrated => "above 0.18",
    };
    let level = format::capitalized(level.as_str());
    format!("{level}: {bounds}. Cash is not included, and a fund counts as one holding.")
}
