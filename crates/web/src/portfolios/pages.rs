//! The overview of all portfolios, and opening one.

use actix_web::web::Data;
use chrono::Months;
use domain::calendar::exchange_date;
use domain::{Money, PortfolioId, Timestamp, UserId, Valuation};
use serde::{Deserialize, Serialize};
use services::books::portfolios::{OpenPortfolio, PortfolioSummary};
use services::books::valuation::ValuedPortfolio;
use services::{FieldError, Services};

use super::settings::with_new_key;
use crate::AppState;
use crate::http::extract::{Form, Signed};
use crate::shell::chart;
use crate::shell::chart::Spark;
use crate::shell::form::{FormView, refusal, typed_number};
use crate::shell::format;
use crate::shell::format::{Delta, Figure, Moment};
use crate::shell::render::{Nav, PageResult, Shell, see_other};

/// A portfolio as every page of it names it.
#[derive(Debug, Clone, Serialize)]
pub struct Named {
    pub id: PortfolioId,
    pub name: String,
    pub description: String,
    pub opened: Moment,
    /// Since when it can only be looked at.
    pub archived: Option<Moment>,
}

impl From<&PortfolioSummary> for Named {
    fn from(portfolio: &PortfolioSummary) -> Self {
        Self {
            id: portfolio.id,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            opened: format::day(portfolio.created_at),
            archived: portfolio.archived_at.map(format::day),
        }
    }
}

/// Gain since the portfolio was opened: all results, realized or not, and dividends.
pub(crate) fn total_gain(valuation: &Valuation) -> Money {
    valuation.total_gain()
}

/// What was paid in, whatever was taken out later.
pub(crate) fn deposits(flows: &[(Timestamp, Money)]) -> Money {
    flows.iter().map(|(_, amount)| amount).filter(|amount| amount.is_positive()).sum()
}

pub(crate) fn ratio(part: &Money, whole: &Money) -> Option<f64> {
    whole.is_positive().then(|| part.to_f64() / whole.to_f64())
}

#[derive(Serialize)]
struct ListView {
    portfolios: Vec<Row>,
    total: Total,
    archived: Vec<Archived>,
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

/// One that was reset: its cash is what was left.
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
    cash: String,
    cash_weight: String,
    positions: String,
}

/// More than anybody looks through.
const MOST_ARCHIVED: usize = 200;

fn new_portfolio_form(services: &Services) -> FormView {
    FormView::new("new").with("cash_balance", format::money(services.books().starting_cash()))
}

async fn list_view(services: &Services, user: UserId, form: FormView) -> Result<ListView, services::Error> {
    let valued = services.books().valuations(user).await?;
    let year_ago = exchange_date(services.market().now()).checked_sub_months(Months::new(12));
    let mut rows = Vec::with_capacity(valued.len());
    let (mut all_deposits, mut positions) = (Money::zero(), 0);
    for ValuedPortfolio { portfolio, valuation, .. } in &valued {
        let paid_in = deposits(&services.books().external_flows(user, portfolio.id).await?);
        let snapshots = services.books().snapshots(user, portfolio.id, year_ago, None).await?;
        let mut values: Vec<f64> = snapshots.iter().map(|row| row.total_value.to_f64()).collect();
        values.push(valuation.total_value.to_f64());
        let gain = total_gain(valuation);
        positions += valuation.holdings.len();
        rows.push(Row {
            id: portfolio.id,
            name: portfolio.name.clone(),
            description: portfolio.description.clone(),
            spark: chart::spark("up to one year", &values),
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
    let gain = sum(|valuation| &valuation.unrealized_pnl)
        + sum(|valuation| &valuation.realized_pnl)
        + sum(|valuation| &valuation.dividends);
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
    let archived = services.books().portfolios(user, true, None, MOST_ARCHIVED).await?.items;
    let archived = archived
        .iter()
        .rev()
        .map(|portfolio| Archived {
            portfolio: Named::from(portfolio),
            cash: format::money(&portfolio.cash_balance),
        })
        .collect();
    Ok(ListView { portfolios: rows, total, archived, form })
}

pub async fn list(shell: Shell, signed: Signed, state: Data<AppState>) -> PageResult {
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
    #[serde(default)]
    idempotency_key: String,
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
            let NewPortfolio { name, description, idempotency_key, .. } = posted;
            let opening = OpenPortfolio { name, description, cash_balance };
            let key = idempotency_key.parse().ok();
            state.services.books().open_portfolio_once(signed.account.id, opening, key).await
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
    fn what_was_taken_out_stays_paid_in() {
        let at = services::Clock::system().wall();
        let amount = |text: &str| (at, text.parse::<Money>().unwrap());
        let flows = [amount("100"), amount("-40"), amount("10")];
        assert_eq!(deposits(&flows), "110".parse().unwrap());
        assert_eq!(ratio(&"11".parse().unwrap(), &deposits(&flows)), Some(0.1));
        assert_eq!(ratio(&Money::zero(), &Money::zero()), None);
    }
}
