//! A portfolio's settings: cash, name, sharing, reset and deletion.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::{Money, PortfolioId, PortfolioRef};
use serde::{Deserialize, Serialize};
use services::books::portfolios::{CashDirection, PortfolioSummary};
use services::idempotency::Once;
use services::{FieldError, Services};
use uuid::Uuid;

use super::pages::Named;
use super::sharing::SharingView;
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::shell::form::{FormView, refusal, typed_number};
use crate::shell::format;
use crate::shell::layout::Nav;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
struct SettingsView {
    portfolio: Named,
    cash: String,
    direction: &'static str,
    cash_form: FormView,
    reset_form: FormView,
    name_form: FormView,
    sharing: SharingView,
    delete_form: FormView,
    delete_hint: String,
}

impl SettingsView {
    fn new(services: &Services, portfolio: &PortfolioSummary, shell: &Shell) -> Self {
        let cash_form = shell.form(FormView::new("cash"));
        let reset_form =
            FormView::new("reset").with("cash_balance", format::money(services.books().starting_cash()));
        let name_form =
            FormView::new("rename").with("name", &portfolio.name).with("description", &portfolio.description);
        Self {
            cash: format::money(&portfolio.cash_balance),
            reset_form: with_new_key(shell.form(reset_form)),
            direction: if cash_form.value("type") == WITHDRAWAL { WITHDRAWAL } else { "deposit" },
            cash_form: with_new_key(cash_form),
            name_form: shell.form(name_form),
            sharing: SharingView::new(portfolio, shell),
            delete_form: shell.form(FormView::new("remove")),
            delete_hint: format!(
                "Type {} to confirm. Orders, transactions and snapshots are deleted too. This cannot be undone.",
                portfolio.name
            ),
            portfolio: portfolio.into(),
        }
    }
}

/// Adds a new idempotency key, so that a form that is sent twice is carried out once.
pub fn with_new_key(form: FormView) -> FormView {
    form.with("idempotency_key", Uuid::now_v7().to_string())
}

const WITHDRAWAL: &str = "withdrawal";
const SETTINGS: &str = "portfolio-settings.html";

/// Redirects to the section whose form was refused. Returns 404 for another user's portfolio.
pub(super) async fn refuse(
    shell: &Shell,
    (services, portfolio): (&Services, PortfolioRef),
    section: &str,
    form: FormView,
) -> PageResult {
    services.books().portfolio(portfolio).await?;
    shell.refuse(format!("/portfolios/{}/settings#{section}", portfolio.id), form).await
}

pub async fn settings(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
) -> PageResult {
    let portfolio = state.services.books().portfolio(signed.portfolio(*id)).await?;
    let view = SettingsView::new(&state.services, &portfolio, &shell);
    shell.show(SETTINGS, Nav::Elsewhere, format!("{}: cash, name and sharing", portfolio.name), &view)
}

#[derive(Deserialize)]
pub struct NewName {
    name: String,
    #[serde(default)]
    description: String,
}

pub async fn rename(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewName>,
) -> PageResult {
    let id = *id;
    let (name, description) = (Some(posted.name.clone()), Some(posted.description.clone()));
    match state.services.books().update_portfolio(signed.trader().portfolio(id), name, description).await {
        Ok(portfolio) => Ok(shell
            .redirect_with_success(format!("/portfolios/{id}"), format!("{} is saved.", portfolio.name))
            .await),
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new("rename")
                .with("name", posted.name)
                .with("description", posted.description)
                .refused(&problem);
            refuse(&shell, (&state.services, signed.portfolio(id)), "name", form).await
        }
    }
}

#[derive(Deserialize)]
pub struct CashMovement {
    r#type: String,
    amount: String,
    #[serde(default)]
    idempotency_key: String,
}

pub async fn move_cash(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<CashMovement>,
) -> PageResult {
    let id = *id;
    let direction = match posted.r#type.as_str() {
        WITHDRAWAL => CashDirection::Withdrawal,
        _ => CashDirection::Deposit,
    };
    let moved = match typed_number(&posted.amount).parse::<Money>() {
        Ok(amount) => {
            let key = posted.idempotency_key.parse().ok();
            state.services.books().move_cash_once(signed.trader().portfolio(id), direction, amount, key).await
        }
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("amount", error.to_string())])),
    };
    match moved {
        Ok(moved) => {
            let entry = moved.value;
            let text = match direction {
                _ if moved.replayed => {
                    format!(
                        "{} was already booked. It was not booked a second time.",
                        format::money(&entry.amount.abs())
                    )
                }
                CashDirection::Deposit => format!("{} was deposited.", format::money(&entry.amount)),
                CashDirection::Withdrawal => format!("{} was withdrawn.", format::money(&entry.amount.abs())),
            };
            Ok(shell.redirect_with_success(format!("/portfolios/{id}"), text).await)
        }
        Err(error @ services::Error::Archived) => Ok(redirect_archived(&shell, id, &error).await),
        Err(error) => {
            let lacking = match &error {
                services::Error::InsufficientCash { available, .. } => {
                    Some(format!("you can withdraw up to {}", format::money(available)))
                }
                _ => None,
            };
            let problem = refusal(error)?;
            let form = FormView::new("cash").with("amount", posted.amount).with("type", posted.r#type);
            let form = match lacking {
                Some(text) => form.refused_at("amount", text),
                None => form.refused(&problem),
            };
            refuse(&shell, (&state.services, signed.portfolio(id)), "cash", form).await
        }
    }
}

/// Redirects to the page of a portfolio that is archived: it has no form to show again.
async fn redirect_archived(shell: &Shell, id: PortfolioId, error: &services::Error) -> HttpResponse {
    shell.redirect_with_error(format!("/portfolios/{id}"), format::sentence(&error.to_string())).await
}

#[derive(Deserialize)]
pub struct NewRun {
    #[serde(default)]
    cash_balance: String,
    #[serde(default)]
    idempotency_key: String,
}

/// Resets the portfolio and redirects to the new one.
pub async fn reset(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewRun>,
) -> PageResult {
    let id = *id;
    let cash_balance = match typed_number(&posted.cash_balance) {
        empty if empty.is_empty() => Ok(None),
        text => text.parse::<Money>().map(Some),
    };
    let begun = match cash_balance {
        Ok(cash_balance) => {
            let key = posted.idempotency_key.parse().ok();
            state
                .services
                .books()
                .reset_portfolio_once(signed.trader().portfolio(id), cash_balance, key)
                .await
        }
        Err(error) => Err(services::Error::Invalid(vec![FieldError::new("cash_balance", error.to_string())])),
    };
    match begun {
        Ok(Once { value: new, .. }) => {
            let text = format!(
                "{} was reset to {}. Its history is archived under All portfolios.",
                new.name,
                format::money(&new.cash_balance)
            );
            Ok(shell.redirect_with_success(format!("/portfolios/{}", new.id), text).await)
        }
        Err(error @ services::Error::Archived) => Ok(redirect_archived(&shell, id, &error).await),
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new("reset").with("cash_balance", posted.cash_balance).refused(&problem);
            refuse(&shell, (&state.services, signed.portfolio(id)), "reset", form).await
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
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<Confirmation>,
) -> PageResult {
    let id = *id;
    let portfolio = state.services.books().portfolio(signed.portfolio(id)).await?;
    if posted.confirm.trim() != portfolio.name {
        let wrong = FieldError::new("confirm", format!("enter {} exactly as shown", portfolio.name));
        let form = FormView::new("remove").with("confirm", posted.confirm).refused_fields(&[wrong]);
        return refuse(&shell, (&state.services, signed.portfolio(id)), "delete", form).await;
    }
    state.services.books().delete_portfolio(signed.trader().portfolio(id)).await?;
    Ok(shell.redirect_with_success("/portfolios", format!("{} is deleted.", portfolio.name)).await)
}
