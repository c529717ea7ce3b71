//! The overview of all portfolios, the page of one, its cash and its name.

use std::collections::HashMap;

use actix_web::web::{Data, Path, Query};
use chrono::Months;
use domain::calendar::exchange_date;
use domain::composition::tenths_of_percent;
use domain::{Freshness, Holding, Money, PortfolioId, Quantity, Side, Symbol, Timestamp, UserId, Valuation};
use serde::{Deserialize, Serialize};
use services::orders::OrderWithFills;
use services::performance::Window;
use services::portfolios::{CashDirection, OpenPortfolio, PortfolioSummary};
use services::stocks::HistoryRange;
use services::valuation::ValuedPortfolio;
use services::{FieldError, Services};

use super::accounts::refusal;
use super::typed_number;
use crate::AppState;
use crate::chart::{self, Chart, Line, Spark};
use crate::extract::{Form, Signed};
use crate::format::{self, Delta, Figure, Moment};
use crate::problem::Problem;
use crate::render::{Choice, FormView, Nav, PageResult, Shell, done, query, range_choices, see_other};

/// A portfolio as every page of it names it.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    pub id: PortfolioId,
    pub name: String,
    pub description: String,
    pub opened: Moment,
}

impl From<&PortfolioSummary> for Named {
    fn from(portfolio: &PortfolioSummary) -> Self {
        Self {
            id: portfolio.id,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            opened: format::day(portfolio.created_at),
        }
    }
}

/// Gain since the portfolio was opened: all results, realised or not.
fn total_gain(valuation: &Valuation) -> Money {
    valuation.unrealized_pnl.clone() + &valuation.realized_pnl
}

/// What was paid in, whatever was taken out later.
fn deposits(flows: &[(Timestamp, Money)]) -> Money {
    flows.iter().map(|(_, amount)| amount).filter(|amount| amount.is_positive()).sum()
}

fn ratio(part: &Money, whole: &Money) -> Option<f64> {
    whole.is_positive().then(|| part.to_f64() / whole.to_f64())
}

#[derive(Serialize)]
struct ListView {
    portfolios: Vec<Row>,
    total: Total,
    form: FormView,
}

#[derive(Serialize)]
struct Row {
    id: PortfolioId,
    name: String,
    description: String,
    spark: Option<Spark>,
    value: String,
    today: Delta,
    today_percent: Option<Delta>,
    gain: Delta,
    gain_percent: Option<Delta>,
    cash: String,
    positions: String,
}

#[derive(Serialize)]
struct Total {
    figure: Figure,
    value: String,
    today: Delta,
    today_percent: Option<Delta>,
    gain: Delta,
    gain_percent: Option<Delta>,
    cash: String,
    cash_weight: String,
    positions: String,
}

fn new_portfolio_form(services: &Services) -> FormView {
    FormView::new("new").with("cash_balance", format::money(services.starting_cash()))
}

async fn list_view(services: &Services, user: UserId, form: FormView) -> Result<ListView, services::Error> {
    let valued = services.valuations(user).await?;
    let year_ago = exchange_date(services.market().now()).checked_sub_months(Months::new(12));
    let mut rows = Vec::with_capacity(valued.len());
    let (mut all_deposits, mut positions) = (Money::zero(), 0);
    for ValuedPortfolio { portfolio, valuation, .. } in &valued {
        let paid_in = deposits(&services.external_flows(user, portfolio.id).await?);
        let snapshots = services.snapshots(user, portfolio.id, year_ago, None).await?;
        let mut values: Vec<f64> = snapshots.iter().map(|row| row.total_value.to_f64()).collect();
        values.push(valuation.total_value.to_f64());
        let gain = total_gain(valuation);
        positions += valuation.holdings.len();
        rows.push(Row {
            id: portfolio.id,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            spark: chart::spark("one year", &values),
            value: format::money(&valuation.total_value),
            today: format::gain(&valuation.day_change),
            today_percent: valuation.day_change_ratio().map(format::percent_gain),
            gain: format::gain(&gain),
            gain_percent: ratio(&gain, &paid_in).map(format::percent_gain),
            cash: format::money(&valuation.cash_balance),
            positions: format::count(valuation.holdings.len()),
        });
        all_deposits += &paid_in;
    }
    let sum =
        |part: fn(&Valuation) -> &Money| -> Money { valued.iter().map(|row| part(&row.valuation)).sum() };
    let value = sum(|valuation| &valuation.total_value);
    let today = sum(|valuation| &valuation.day_change);
    let cash = sum(|valuation| &valuation.cash_balance);
    let gain = sum(|valuation| &valuation.unrealized_pnl) + sum(|valuation| &valuation.realized_pnl);
    let total = Total {
        figure: format::figure(&value),
        value: format::money(&value),
        today: format::gain(&today),
        today_percent: ratio(&today, &(value.clone() - &today)).map(format::percent_gain),
        gain: format::gain(&gain),
        gain_percent: ratio(&gain, &all_deposits).map(format::percent_gain),
        cash: format::money(&cash),
        cash_weight: format::share(ratio(&cash, &value).unwrap_or(0.0)),
        positions: format::count(positions),
    };
    Ok(ListView { portfolios: rows, total, form })
}

pub async fn list(shell: Shell, signed: Signed, state: Data<AppState>) -> PageResult {
    let form = new_portfolio_form(&state.services);
    let view = list_view(&state.services, signed.account.id, form).await?;
    shell.show("portfolios.html", Nav::Portfolios, "Portfolios", &view)
}

#[derive(Deserialize)]
pub struct NewPortfolio {
    name: String,
    #[serde(default)]
    cash_balance: String,
    #[serde(default)]
    description: String,
}

pub async fn open(
    shell: Shell,
    signed: Signed,
    state: Data<AppState>,
    Form(posted): Form<NewPortfolio>,
) -> PageResult {
    let form = FormView::new("new")
        .with("name", &posted.name)
        .with("cash_balance", &posted.cash_balance)
        .with("description", &posted.description);
    let cash_balance = match typed_number(&posted.cash_balance) {
        empty if empty.is_empty() => Ok(None),
        text => text.parse().map(Some),
    };
    let opened = match cash_balance {
        Ok(cash_balance) => {
            let NewPortfolio { name, description, .. } = posted;
            let opening = OpenPortfolio { name, description, cash_balance };
            state.services.open_portfolio(signed.account.id, opening).await
        }
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("cash_balance", error.to_string())])),
    };
    match opened {
        Ok(portfolio) => Ok(see_other(format!("/portfolios/{}", portfolio.id))),
        Err(error) => {
            let problem = refusal(error)?;
            let view = list_view(&state.services, signed.account.id, form.refused(&problem)).await?;
            shell.refuse(&problem, "portfolios.html", Nav::Portfolios, "Portfolios", &view)
        }
    }
}

/// What the page of a portfolio may be asked for.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    range: String,
    #[serde(default)]
    symbol: String,
    #[serde(default)]
    side: String,
    #[serde(default)]
    quantity: String,
    #[serde(default)]
    unit: String,
}

/// The trade ticket as it is filled in.
#[derive(Serialize)]
pub struct Ticket {
    pub form: FormView,
    pub side: &'static str,
    pub unit: &'static str,
    /// `ask 258.42`.
    touch: String,
    most: Option<Choice>,
}

/// The ticket's fields as posted, or as asked for by a link.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TicketFields {
    #[serde(default)]
    pub symbol: String,
    #[serde(default)]
    pub side: String,
    #[serde(default)]
    pub quantity: String,
    /// `shares` or `notional`.
    #[serde(default)]
    pub unit: String,
}

#[derive(Serialize)]
struct PortfolioView {
    portfolio: Named,
    total: Figure,
    total_value: String,
    today: Delta,
    today_percent: Option<Delta>,
    gain: Delta,
    gain_percent: Option<Delta>,
    cash: String,
    cash_weight: String,
    cash_bar: String,
    buying_power: String,
    unrealized: Delta,
    unrealized_percent: Option<Delta>,
    realized: Delta,
    ranges: Vec<Choice>,
    chart: Option<Chart>,
    positions: String,
    as_of: Moment,
    stale: String,
    sparks: bool,
    holdings: Vec<HoldingRow>,
    orders: Vec<OrderRow>,
    suggestions: Vec<Suggestion>,
    ticket: Ticket,
}

#[derive(Serialize)]
struct HoldingRow {
    symbol: Symbol,
    name: String,
    spark: Option<Spark>,
    quantity: String,
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
struct OrderRow {
    side: String,
    symbol: Symbol,
    status: String,
    quantity: String,
    price: String,
    amount: String,
    filled: Moment,
    href: String,
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
    signed: Signed,
    id: Path<PortfolioId>,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let Asked { range, symbol, side, quantity, unit } = asked.into_inner();
    let fields = TicketFields { symbol, side, quantity, unit };
    let range = HistoryRange::parse(&range).unwrap_or(HistoryRange::All);
    let view = page_view(&state.services, signed.account.id, *id, range, &fields, None).await?;
    let title = view.portfolio.name.clone();
    shell.show("portfolio.html", Nav::Portfolio, title, &view)
}

/// The page again with the ticket marked.
pub async fn ticket_refused(
    shell: Shell,
    services: &Services,
    user: UserId,
    id: PortfolioId,
    fields: &TicketFields,
    problem: &Problem,
) -> PageResult {
    let view = page_view(services, user, id, HistoryRange::All, fields, Some(problem)).await?;
    let title = view.portfolio.name.clone();
    shell.refuse(problem, "portfolio.html", Nav::Portfolio, title, &view)
}

async fn page_view(
    services: &Services,
    user: UserId,
    id: PortfolioId,
    range: HistoryRange,
    fields: &TicketFields,
    refused: Option<&Problem>,
) -> Result<PortfolioView, services::Error> {
    let ValuedPortfolio { portfolio, valuation, valued_at } = services.valuation(user, id).await?;
    let flows = services.external_flows(user, id).await?;
    let orders = services.orders(user, id, None, 8).await?.items;
    let chart = value_chart(services, user, &portfolio, range).await?;
    let gain = total_gain(&valuation);
    let sparks = month_sparks(services, valuation.holdings.iter().map(|row| &row.listing.symbol)).await;

    let mut weights: Vec<f64> =
        valuation.holdings.iter().map(|holding| valuation.weight(&holding.market_value)).collect();
    weights.push(valuation.weight(&valuation.cash_balance));
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
    let suggestions =
        if valuation.holdings.is_empty() { suggestions(services, id).await } else { Vec::new() };
    Ok(PortfolioView {
        total: format::figure(&valuation.total_value),
        total_value: format::money(&valuation.total_value),
        today: format::gain(&valuation.day_change),
        today_percent: valuation.day_change_ratio().map(format::percent_gain),
        gain: format::gain(&gain),
        gain_percent: ratio(&gain, &deposits(&flows)).map(format::percent_gain),
        cash: format::money(&valuation.cash_balance),
        cash_weight: tenths.last().map_or_else(String::new, |tenths| format::weight(*tenths)),
        cash_bar: bar(weights.last().copied().unwrap_or(0.0)),
        buying_power: format::money(valuation.buying_power()),
        unrealized: format::gain(&valuation.unrealized_pnl),
        unrealized_percent: ratio(&valuation.unrealized_pnl, &cost).map(format::percent_gain),
        realized: format::gain(&valuation.realized_pnl),
        ranges: range_choices(Some(range), |name| format!("/portfolios/{id}?range={name}")),
        chart,
        positions: format::plural(holdings.len(), "position", "positions"),
        as_of: format::second_seen_at(newest.unwrap_or(valued_at), valued_at),
        stale: stale.join(", "),
        sparks: !sparks.is_empty(),
        holdings,
        orders: orders.iter().map(|order| order_row(id, order)).collect(),
        suggestions,
        ticket: ticket(services, &portfolio, &valuation, fields, refused).await,
        portfolio: Named::from(&portfolio),
    })
}

fn holding_row(holding: &Holding, tenths: i64, bar: String, spark: Option<Spark>) -> HoldingRow {
    HoldingRow {
        symbol: holding.listing.symbol.clone(),
        name: holding.listing.company_name.clone(),
        spark,
        quantity: format::quantity(&holding.position.quantity),
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

fn order_row(portfolio: PortfolioId, OrderWithFills { order, fills }: &OrderWithFills) -> OrderRow {
    let amount: Money = fills.iter().map(|fill| &fill.amount).sum();
    OrderRow {
        side: format::capitalised(order.side.as_str()),
        symbol: order.symbol.clone(),
        status: format::capitalised(order.status.as_str()),
        quantity: format::quantity(&order.filled_quantity),
        price: format::price(&order.filled_price),
        amount: format::money(&amount),
        filled: format::day_and_minute(order.filled_at),
        href: format!("/portfolios/{portfolio}/orders/{}", order.id),
    }
}

/// The last month of each symbol, where asking costs nothing: a real source's requests are for prices.
pub async fn month_sparks<'a>(
    services: &Services,
    symbols: impl Iterator<Item = &'a Symbol>,
) -> HashMap<Symbol, Spark> {
    let mut sparks = HashMap::new();
    if services.freshness() != Freshness::Simulated {
        return sparks;
    }
    for symbol in symbols {
        let Ok(bars) = services.history(symbol, HistoryRange::Month).await else { continue };
        let closes: Vec<f64> = bars.iter().map(|bar| bar.close.to_f64()).collect();
        if let Some(spark) = chart::spark("30 days", &closes) {
            sparks.insert(symbol.clone(), spark);
        }
    }
    sparks
}

/// More deposits than this on one chart are drawn without their amounts.
const MOST_FLOW_LABELS: usize = 3;

async fn value_chart(
    services: &Services,
    user: UserId,
    portfolio: &PortfolioSummary,
    range: HistoryRange,
) -> Result<Option<Chart>, services::Error> {
    let measured = services.performance(user, portfolio.id, Window::Range(range)).await?;
    let points: Vec<_> =
        measured.points.iter().map(|point| (point.close.date, point.close.total_value.to_f64())).collect();
    let flows: Vec<_> =
        measured.points.iter().skip(1).filter(|point| !point.close.net_flow.is_zero()).collect();
    let named = flows.len() <= MOST_FLOW_LABELS;
    let flows = flows
        .into_iter()
        .map(|point| {
            let flow = &point.close.net_flow;
            let kind = if flow.is_negative() { "withdrawal" } else { "deposit" };
            let label = if named { format!("{kind} {}", format::money(&flow.abs())) } else { String::new() };
            (point.close.date, label)
        })
        .collect();
    let (Some(first), Some(last)) = (measured.points.first(), measured.points.last()) else {
        return Ok(None);
    };
    Ok(chart::line(Line {
        id: "equity",
        title: format!("Value of {}", portfolio.name),
        desc: format!(
            "From {} on {} to {} on {}.",
            format::money(&first.close.total_value),
            format::date(first.close.date),
            format::money(&last.close.total_value),
            format::date(last.close.date)
        ),
        points: &points,
        flows,
        ..Line::default()
    }))
}

/// Places to begin with an empty portfolio, at the market's prices.
async fn suggestions(services: &Services, id: PortfolioId) -> Vec<Suggestion> {
    let mut suggestions = Vec::new();
    if services.freshness() != Freshness::Simulated {
        return suggestions;
    }
    for (symbol, quantity) in [("VTI", "10"), ("AAPL", "5"), ("KO", "20")] {
        let (Ok(symbol), Ok(shares)) = (symbol.parse::<Symbol>(), quantity.parse::<Quantity>()) else {
            continue;
        };
        // One that this market does not have is left out.
        let (Ok(stock), Ok(quote)) = (services.stock(&symbol).await, services.quote(&symbol).await) else {
            continue;
        };
        let (price, _) = quote.touch(Side::Buy);
        suggestions.push(Suggestion {
            name: stock.listing.company_name,
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

async fn ticket(
    services: &Services,
    portfolio: &PortfolioSummary,
    valuation: &Valuation,
    fields: &TicketFields,
    refused: Option<&Problem>,
) -> Ticket {
    let side: Side = fields.side.parse().unwrap_or(Side::Buy);
    let unit = if fields.unit == "notional" { "notional" } else { "shares" };
    let mut form = FormView::new("ticket")
        .with("symbol", fields.symbol.trim().to_uppercase())
        .with("quantity", fields.quantity.trim());
    if let Some(problem) = refused {
        form = form.refused(problem);
    }
    let symbol: Option<Symbol> = fields.symbol.parse().ok();
    let (mut touch, mut most) = (String::new(), None);
    if let Some(symbol) = symbol {
        match services.quote(&symbol).await {
            Ok(quote) => {
                let (price, rule) = quote.touch(side);
                touch = format!("{} {}", rule.as_str(), format::price(price));
                let quantity = match side {
                    Side::Buy => whole_shares(&portfolio.cash_balance.buys(price)),
                    Side::Sell => valuation
                        .holdings
                        .iter()
                        .find(|holding| holding.listing.symbol == symbol)
                        .map(|holding| holding.position.quantity.clone()),
                };
                most = quantity.filter(|quantity| !quantity.is_zero()).map(|quantity| Choice {
                    label: format!("max {}", format::quantity(&quantity)),
                    href: format!(
                        "/portfolios/{}{}#ticket",
                        portfolio.id,
                        query(&[
                            ("symbol", symbol.as_str()),
                            ("side", side.as_str()),
                            ("quantity", &quantity.to_string())
                        ])
                    ),
                    current: false,
                });
            }
            Err(_) => touch = "no price".to_owned(),
        }
    }
    Ticket { form, side: side.as_str(), unit, touch, most }
}

fn whole_shares(quantity: &Quantity) -> Option<Quantity> {
    let text = quantity.to_string();
    let whole = text.split('.').next().unwrap_or_default();
    // More than an account can hold is no offer.
    whole.parse().ok()
}

#[derive(Serialize)]
struct SettingsView {
    portfolio: Named,
    cash: String,
    direction: &'static str,
    cash_form: FormView,
    name_form: FormView,
    delete_form: FormView,
    delete_hint: String,
}

impl SettingsView {
    fn new(portfolio: &PortfolioSummary) -> Self {
        Self {
            cash: format::money(&portfolio.cash_balance),
            direction: "deposit",
            cash_form: FormView::new("cash"),
            name_form: FormView::new("rename")
                .with("name", &portfolio.name)
                .with("description", &portfolio.description),
            delete_form: FormView::new("remove"),
            delete_hint: format!(
                "Type {} to confirm. Orders, transactions and snapshots go with it, at once and for good.",
                portfolio.name
            ),
            portfolio: portfolio.into(),
        }
    }
}

const SETTINGS: &str = "portfolio-settings.html";

fn settings_title(view: &SettingsView) -> String {
    format!("{}: cash and name", view.portfolio.name)
}

pub async fn settings(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
) -> PageResult {
    let portfolio = state.services.portfolio(signed.account.id, *id).await?;
    let view = SettingsView::new(&portfolio);
    shell.show(SETTINGS, Nav::Elsewhere, settings_title(&view), &view)
}

#[derive(Deserialize)]
pub struct NewName {
    name: String,
    #[serde(default)]
    description: String,
}

pub async fn rename(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewName>,
) -> PageResult {
    let (user, id) = (signed.account.id, *id);
    let (name, description) = (Some(posted.name.clone()), Some(posted.description.clone()));
    match state.services.update_portfolio(user, id, name, description).await {
        Ok(portfolio) => {
            Ok(done(shell.config(), format!("/portfolios/{id}"), format!("{} is saved.", portfolio.name)))
        }
        Err(error) => {
            let problem = refusal(error)?;
            let mut view = SettingsView::new(&state.services.portfolio(user, id).await?);
            view.name_form = FormView::new("rename")
                .with("name", posted.name)
                .with("description", posted.description)
                .refused(&problem);
            shell.refuse(&problem, SETTINGS, Nav::Elsewhere, settings_title(&view), &view)
        }
    }
}

#[derive(Deserialize)]
pub struct CashMovement {
    r#type: String,
    amount: String,
}

pub async fn move_cash(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<CashMovement>,
) -> PageResult {
    let (user, id) = (signed.account.id, *id);
    let direction = match posted.r#type.as_str() {
        "withdrawal" => CashDirection::Withdrawal,
        _ => CashDirection::Deposit,
    };
    let moved = match typed_number(&posted.amount).parse::<Money>() {
        Ok(amount) => state.services.move_cash(user, id, direction, amount).await,
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("amount", error.to_string())])),
    };
    match moved {
        Ok(entry) => {
            let text = match direction {
                CashDirection::Deposit => format!("{} is paid in.", format::money(&entry.amount)),
                CashDirection::Withdrawal => format!("{} is taken out.", format::money(&entry.amount.abs())),
            };
            Ok(done(shell.config(), format!("/portfolios/{id}"), text))
        }
        Err(error) => {
            let lacking = match &error {
                services::Error::InsufficientCash { available, .. } => {
                    Some(format!("{} is there to take out", format::money(available)))
                }
                _ => None,
            };
            let problem = refusal(error)?;
            let mut view = SettingsView::new(&state.services.portfolio(user, id).await?);
            let form = FormView::new("cash").with("amount", posted.amount);
            view.cash_form = match lacking {
                Some(text) => form.refused_at("amount", text),
                None => form.refused(&problem),
            };
            if direction == CashDirection::Withdrawal {
                view.direction = "withdrawal";
            }
            shell.refuse(&problem, SETTINGS, Nav::Elsewhere, settings_title(&view), &view)
        }
    }
}

#[derive(Deserialize)]
pub struct Confirmation {
    #[serde(default)]
    confirm: String,
}

pub async fn delete(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<Confirmation>,
) -> PageResult {
    let (user, id) = (signed.account.id, *id);
    let portfolio = state.services.portfolio(user, id).await?;
    if posted.confirm.trim() != portfolio.name {
        let wrong = FieldError::new("confirm", format!("write {} exactly as it stands here", portfolio.name));
        let problem = Problem::invalid(vec![wrong]);
        let mut view = SettingsView::new(&portfolio);
        view.delete_form = FormView::new("remove").with("confirm", posted.confirm).refused(&problem);
        return shell.refuse(&problem, SETTINGS, Nav::Elsewhere, settings_title(&view), &view);
    }
    state.services.delete_portfolio(user, id).await?;
    Ok(done(shell.config(), "/portfolios", format!("{} is deleted.", portfolio.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_stays_paid_in() {
        let at = services::Clock::system().wall();
        let amount = |text: &str| (at, text.parse::<Money>().unwrap());
        let flows = [amount("100"), amount("-40"), amount("10")];
        assert_eq!(deposits(&flows), "110".parse().unwrap());
        assert_eq!(ratio(&"11".parse().unwrap(), &deposits(&flows)), Some(0.1));
        assert_eq!(ratio(&Money::zero(), &Money::zero()), None);
    }

    #[test]
    fn the_most_one_can_buy_is_whole_shares() {
        assert_eq!(whole_shares(&"62.999999999".parse().unwrap()), "62".parse().ok());
        assert_eq!(whole_shares(&"0.5".parse().unwrap()), None);
    }
}
