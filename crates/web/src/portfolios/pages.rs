//! The overview of all portfolios, and the form that creates one.

use actix_web::web::Data;
use chrono::Months;
use domain::allocation::Allocation;
use domain::calendar::exchange_date;
use domain::composition::tenths_of_percent;
use domain::{Money, PortfolioId, PortfolioKind, PortfolioRef, Timestamp, UserId, Valuation};
use serde::{Deserialize, Serialize};
use services::books::overview::Overview;
use services::books::portfolios::{OpenPortfolio, PortfolioSummary};
use services::books::sharing::PortfolioAccess;
use services::books::valuation::ValuedPortfolio;
use services::{FieldError, Services};

use super::settings::with_new_key;
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::shell::chart;
use crate::shell::chart::Spark;
use crate::shell::form::{FormView, refusal, typed_number};
use crate::shell::format;
use crate::shell::format::{Delta, Figure, Moment};
use crate::shell::layout::Nav;
use crate::shell::links::see_other;
use crate::shell::render::{PageResult, Shell};

/// A portfolio as all its pages show it.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    /// The portfolio's part of an address: its id, or its link key for a reader who used the link.
    pub id: String,
    /// Whether the reader is the owner, who sees forms.
    pub is_own: bool,
    pub name: String,
    pub description: String,
    pub opened: Moment,
    /// When it was archived and became read-only.
    pub archived: Option<Moment>,
    /// Whether it records trades made elsewhere and takes imports.
    pub is_record: bool,
}

impl From<&PortfolioSummary> for Named {
    fn from(portfolio: &PortfolioSummary) -> Self {
        Self {
            id: portfolio.id.to_string(),
            is_own: true,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            opened: format::day(portfolio.created_at),
            archived: portfolio.archived_at.map(format::day),
            is_record: portfolio.kind == PortfolioKind::Record,
        }
    }
}

impl Named {
    /// The portfolio as the reader with this access sees it.
    pub fn to_reader(portfolio: &PortfolioSummary, access: &PortfolioAccess) -> Self {
        Self { id: access.address.to_string(), is_own: access.is_owner, ..Self::from(portfolio) }
    }
}

/// Gain since the portfolio was opened: realized and unrealized gains, and dividends.
pub(crate) fn total_gain(valuation: &Valuation) -> Money {
    valuation.total_gain()
}

/// The sum of all deposits. Withdrawals are not subtracted.
pub(crate) fn deposits(flows: &[(Timestamp, Money)]) -> Money {
    flows.iter().map(|(_, amount)| amount).filter(|amount| amount.is_positive()).sum()
}

pub(crate) fn ratio(part: &Money, whole: &Money) -> Option<f64> {
    whole.is_positive().then(|| part.to_f64() / whole.to_f64())
}

#[derive(Serialize)]
struct ListView {
    portfolios: Vec<PortfolioRow>,
    total: Total,
    allocations: Vec<AllocationView>,
    archived: Vec<Archived>,
    form: FormView,
}

#[derive(Serialize)]
struct PortfolioRow {
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

/// The allocation of all portfolios together.
#[derive(Serialize)]
struct AllocationView {
    id: &'static str,
    title: &'static str,
    parts: Vec<Part>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    weight: String,
    bar: String,
}

/// A portfolio that was reset, with the cash that it had at the end.
#[derive(Serialize)]
struct Archived {
    portfolio: Named,
    cash: String,
}

#[derive(Serialize)]
struct Total {
    figure: Figure,
    value: String,
    today: Delta,
    today_percent: Option<Delta>,
    gain: Delta,
    gain_percent: Option<Delta>,
    twr: Option<Delta>,
    /// The first day of `twr`.
    twr_since: String,
    cash: String,
    cash_weight: String,
    positions: String,
}

/// The maximum number of archived portfolios on the page.
const MAX_ARCHIVED: usize = 200;

fn new_portfolio_form(services: &Services) -> FormView {
    FormView::new("new").with("cash_balance", format::money(services.books().starting_cash()))
}

/// How many parts of an allocation are listed by name. The others are added up.
const MAX_PARTS: usize = 8;

async fn list_view(services: &Services, user: UserId, form: FormView) -> Result<ListView, services::Error> {
    let overview = services.books().overview(user).await?;
    let year_ago = exchange_date(services.market().now()).checked_sub_months(Months::new(12));
    let mut rows = Vec::with_capacity(overview.portfolios.len());
    for result in &overview.portfolios {
        let ValuedPortfolio { portfolio, valuation, .. } = &result.valued;
        let snapshots =
            services.books().snapshots(PortfolioRef::new(user, portfolio.id), year_ago, None).await?;
        let mut values: Vec<f64> = snapshots.iter().map(|row| row.total_value.to_f64()).collect();
        values.push(valuation.total_value.to_f64());
        rows.push(PortfolioRow {
            id: portfolio.id,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            spark: chart::spark("up to one year", &values),
            value: format::money(&valuation.total_value),
            today: format::gain(&valuation.day_change),
            today_percent: valuation.day_change_ratio().map(format::percent_gain),
            gain: format::gain(&valuation.total_gain()),
            gain_percent: result.gain_ratio().map(format::percent_gain),
            cash: format::money(&valuation.cash_balance),
            positions: format::count(valuation.holdings.len()),
        });
    }
    let positions: usize =
        overview.portfolios.iter().map(|result| result.valued.valuation.holdings.len()).sum();
    let value = &overview.allocation.total_value;
    let cash = &overview.allocation.cash;
    let total = Total {
        figure: format::figure(value),
        value: format::money(value),
        today: format::gain(&overview.day_change),
        today_percent: overview.day_change_ratio().map(format::percent_gain),
        gain: format::gain(&overview.total_gain),
        gain_percent: overview.gain_ratio().map(format::percent_gain),
        twr: overview.twr().map(format::percent_gain),
        twr_since: overview.twr_since().map_or_else(String::new, format::date),
        cash: format::money(&cash.market_value),
        cash_weight: format::share(cash.weight),
        positions: format::count(positions),
    };
    let archived = services.books().portfolios(user, true, None, MAX_ARCHIVED).await?.items;
    let archived = archived
        .iter()
        .rev()
        .map(|portfolio| Archived {
            portfolio: Named::from(portfolio),
            cash: format::money(&portfolio.cash_balance),
        })
        .collect();
    Ok(ListView { portfolios: rows, allocations: allocations(&overview), total, archived, form })
}

/// The allocation of the total by portfolio, by holding and by sector.
fn allocations(overview: &Overview) -> Vec<AllocationView> {
    let Allocation { total_value, cash, dividends_receivable, stocks, sectors } = &overview.allocation;
    let by_portfolio = overview.portfolios.iter().map(|result| {
        let name = result.valued.portfolio.name.clone();
        (name, ratio(&result.valued.valuation.total_value, total_value).unwrap_or(0.0))
    });
    let rest = || {
        let parts = [("Cash", cash.weight), ("Dividends receivable", dividends_receivable.weight)];
        parts.into_iter().map(|(name, weight)| (name.to_owned(), weight))
    };
    let by_stock = stocks.iter().map(|slice| (slice.of.to_string(), slice.weight)).chain(rest());
    let by_sector = sectors.iter().map(|slice| (slice.of.clone(), slice.weight)).chain(rest());
    vec![
        AllocationView { id: "by-portfolio", title: "By portfolio", parts: parts(by_portfolio) },
        AllocationView { id: "by-holding", title: "By holding", parts: parts(by_stock) },
        AllocationView { id: "by-sector", title: "By sector", parts: parts(by_sector) },
    ]
}

/// The parts in descending order. Small parts beyond the first few are added up.
fn parts(weights: impl Iterator<Item = (String, f64)>) -> Vec<Part> {
    let mut parts: Vec<(String, f64)> = weights.filter(|(_, weight)| *weight > 0.0).collect();
    parts.sort_by(|a, b| b.1.total_cmp(&a.1));
    if parts.len() > MAX_PARTS + 1 {
        let others = parts.split_off(MAX_PARTS);
        parts.push((format!("{} others", others.len()), others.iter().map(|(_, weight)| weight).sum()));
    }
    let weights: Vec<f64> = parts.iter().map(|(_, weight)| *weight).collect();
    let largest = weights.iter().copied().fold(0.0, f64::max);
    parts
        .into_iter()
        .zip(tenths_of_percent(&weights))
        .map(|((name, weight), tenths)| Part {
            name,
            weight: format::weight(tenths),
            bar: chart::percent(if largest > 0.0 { weight / largest * 100.0 } else { 0.0 }),
        })
        .collect()
}

pub async fn list(shell: Shell, signed: LoggedIn, state: Data<AppState>) -> PageResult {
    let form = with_new_key(shell.form(new_portfolio_form(&state.services)));
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
    /// `record`; anything else is for practice.
    #[serde(default)]
    kind: String,
    #[serde(default)]
    idempotency_key: String,
}

pub async fn open(
    shell: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
    Form(posted): Form<NewPortfolio>,
) -> PageResult {
    let form = FormView::new("new")
        .with("name", &posted.name)
        .with("cash_balance", &posted.cash_balance)
        .with("description", &posted.description)
        .with("kind", &posted.kind);
    let kind = posted.kind.parse().unwrap_or(PortfolioKind::Practice);
    let is_usual = posted.cash_balance.trim() == format::money(state.services.books().starting_cash());
    let cash_balance = match typed_number(&posted.cash_balance) {
        empty if empty.is_empty() => Ok(None),
        // The amount that the form offers is for practice.
        _ if is_usual && kind == PortfolioKind::Record => Ok(None),
        text => text.parse().map(Some),
    };
    let opened = match cash_balance {
        Ok(cash_balance) => {
            let NewPortfolio { name, description, idempotency_key, .. } = posted;
            let opening = OpenPortfolio { name, description, cash_balance };
            let key = idempotency_key.parse().ok();
            let books = state.services.books();
            books.open_portfolio_of_kind_once(signed.trader(), opening, kind, key).await
        }
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("cash_balance", error.to_string())])),
    };
    match opened {
        Ok(portfolio) => Ok(see_other(format!("/portfolios/{}", portfolio.value.id))),
        Err(error) => {
            let problem = refusal(error)?;
            shell.refuse("/portfolios#new", form.refused(&problem)).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_parts_are_added_up_and_the_weights_stay_whole() {
        let weights = (1..=10).map(|n| (format!("S{n}"), f64::from(n) / 55.0));
        let shown = parts(weights.chain([("None".to_owned(), 0.0)]));
        let names: Vec<&str> = shown.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["S10", "S9", "S8", "S7", "S6", "S5", "S4", "S3", "2 others"]);
        assert_eq!((shown[0].bar.as_str(), shown[8].weight.as_str()), ("100%", "5.4%"));
        let one_more = parts((1..=9).map(|n| (format!("S{n}"), f64::from(n) / 45.0)));
        assert_eq!(one_more.len(), 9, "one small part is not added up with nothing");
    }

    #[test]
    fn withdrawals_do_not_reduce_deposits() {
        let at = services::Clock::system().wall();
        let amount = |text: &str| (at, text.parse::<Money>().unwrap());
        let flows = [amount("100"), amount("-40"), amount("10")];
        assert_eq!(deposits(&flows), "110".parse().unwrap());
        assert_eq!(ratio(&"11".parse().unwrap(), &deposits(&flows)), Some(0.1));
        assert_eq!(ratio(&Money::zero(), &Money::zero()), None);
    }
}
