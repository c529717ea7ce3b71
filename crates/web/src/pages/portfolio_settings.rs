//! A portfolio's cash and name, beginning anew, deleting.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::{Money, PortfolioId};
use serde::{Deserialize, Serialize};
use services::portfolios::{CashDirection, PortfolioSummary};
use services::{FieldError, Services};

use super::accounts::refusal;
use super::portfolios::Named;
use super::typed_number;
use crate::AppState;
use crate::extract::{Form, Signed};
use crate::form::FormView;
use crate::format;
use crate::problem::Problem;
use crate::render::{Nav, PageResult, Shell, done, not_done};

#[derive(Serialize)]
struct SettingsView {
    portfolio: Named,
    cash: String,
    direction: &'static str,
    cash_form: FormView,
    reset_form: FormView,
    name_form: FormView,
    delete_form: FormView,
    delete_hint: String,
}

impl SettingsView {
    fn new(services: &Services, portfolio: &PortfolioSummary) -> Self {
        Self {
            cash: format::money(&portfolio.cash_balance),
            reset_form: FormView::new("reset").with("cash_balance", format::money(services.starting_cash())),
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
    let view = SettingsView::new(&state.services, &portfolio);
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
            let mut view = SettingsView::new(&state.services, &state.services.portfolio(user, id).await?);
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
        Err(error @ services::Error::Archived) => Ok(over(&shell, id, &error)),
        Err(error) => {
            let lacking = match &error {
                services::Error::InsufficientCash { available, .. } => {
                    Some(format!("{} is there to take out", format::money(available)))
                }
                _ => None,
            };
            let problem = refusal(error)?;
            let mut view = SettingsView::new(&state.services, &state.services.portfolio(user, id).await?);
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

/// Of one that is archived there is no form to show again.
fn over(shell: &Shell, id: PortfolioId, error: &services::Error) -> HttpResponse {
    not_done(shell.config(), format!("/portfolios/{id}"), format::sentence(&error.to_string()))
}

#[derive(Deserialize)]
pub struct NewRun {
    #[serde(default)]
    cash_balance: String,
}

/// Begins anew, and goes to the portfolio that takes the old one's place.
pub async fn reset(
    shell: Shell,
    signed: Signed,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewRun>,
) -> PageResult {
    let (user, id) = (signed.account.id, *id);
    let cash_balance = match typed_number(&posted.cash_balance) {
        empty if empty.is_empty() => Ok(None),
        text => text.parse::<Money>().map(Some),
    };
    let begun = match cash_balance {
        Ok(cash_balance) => state.services.reset_portfolio(user, id, cash_balance).await,
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("cash_balance", error.to_string())])),
    };
    match begun {
        Ok(new) => {
            let text = format!(
                "{} begins anew with {}. What there was is archived under All portfolios.",
                new.name,
                format::money(&new.cash_balance)
            );
            Ok(done(shell.config(), format!("/portfolios/{}", new.id), text))
        }
        Err(error @ services::Error::Archived) => Ok(over(&shell, id, &error)),
        Err(error) => {
            let problem = refusal(error)?;
            let mut view = SettingsView::new(&state.services, &state.services.portfolio(user, id).await?);
            view.reset_form =
                FormView::new("reset").with("cash_balance", posted.cash_balance).refused(&problem);
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
        let mut view = SettingsView::new(&state.services, &portfolio);
        view.delete_form = FormView::new("remove").with("confirm", posted.confirm).refused(&problem);
        return shell.refuse(&problem, SETTINGS, Nav::Elsewhere, settings_title(&view), &view);
    }
    state.services.delete_portfolio(user, id).await?;
    Ok(done(shell.config(), "/portfolios", format!("{} is deleted.", portfolio.name)))
}
