//! A stock's new symbol, recorded on its page for administrators.

use actix_web::web::{Data, Path};
use domain::Symbol;
use serde::Deserialize;
use services::corporate_actions::renames::RenameRequest;
use services::{Error, FieldError};

use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::form::FormView;
use crate::shell::render::{PageResult, Shell};

pub(crate) const RENAME: &str = "rename";

#[derive(Deserialize)]
pub struct NewSymbol {
    #[serde(default)]
    to: String,
    #[serde(default)]
    company_name: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    reason: String,
}

pub async fn rename(
    shell: Shell,
    Admin(admin): Admin,
    symbol: Path<String>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<NewSymbol>,
) -> PageResult {
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let NewSymbol { to, company_name, on, reason } = posted;
    let back = format!("/admin/stocks/{symbol}#rename");
    let form = FormView::new(RENAME)
        .with("to", &to)
        .with("company_name", &company_name)
        .with("on", &on)
        .with("reason", &reason);
    let mut errors = Vec::new();
    let new = to.trim().parse::<Symbol>();
    if new.is_err() {
        errors.push(FieldError::new("to", "enter the new symbol, like META"));
    }
    let day = Some(on.trim()).filter(|on| !on.is_empty()).map(str::parse).transpose();
    if day.is_err() {
        errors.push(FieldError::new("on", "enter a day like 2026-11-23, or leave the field empty"));
    }
    let (Ok(to), Ok(on)) = (new, day) else {
        return shell.refuse(back, form.refused_fields(&errors)).await;
    };
    let request = RenameRequest {
        symbol: symbol.clone(),
        to,
        company_name: Some(company_name),
        on,
        reason,
        administrator: admin,
    };
    match state.services.corporate_actions().rename_stock(request).await {
        Ok(stock) => {
            let now = &stock.listing.symbol;
            Ok(shell
                .redirect_with_success(format!("/admin/stocks/{now}"), format!("{symbol} is now {now}."))
                .await)
        }
        Err(error @ Error::Invalid(_)) => shell.refuse(back, form.refused(&Problem::from(error))).await,
        Err(error) => Err(error.into()),
    }
}
