//! The form that sets a portfolio's benchmark.

use actix_web::web::{Data, Path};
use domain::{PortfolioId, Symbol};
use serde::Deserialize;
use services::FieldError;
use services::books::portfolios::PortfolioUpdate;

use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::shell::form::{FormView, refusal};
use crate::shell::render::{PageResult, Shell};

/// The id of the form.
pub const FORM: &str = "benchmark";

#[derive(Deserialize)]
pub struct NewBenchmark {
    #[serde(default)]
    benchmark: String,
}

pub async fn choose(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewBenchmark>,
) -> PageResult {
    let (portfolio, id) = (signed.portfolio(*id), *id);
    let page = format!("/portfolios/{id}/performance");
    let changed = match posted.benchmark.trim().parse::<Symbol>() {
        Ok(symbol) => {
            let update = PortfolioUpdate { benchmark: Some(symbol), ..PortfolioUpdate::default() };
            state.services.books().change_portfolio(signed.trader().portfolio(id), update).await
        }
        Err(_) => {
            let wrong = FieldError::new("benchmark", "enter a symbol such as SPY");
            Err(services::Error::Invalid(vec![wrong]))
        }
    };
    match changed {
        Ok(portfolio) => {
            let text = format!("{} is compared with {} from now on.", portfolio.name, portfolio.benchmark);
            Ok(shell.redirect_with_success(page, text).await)
        }
        Err(error) => {
            let problem = refusal(error)?;
            // Returns 404 for another user's portfolio.
            state.services.books().portfolio(portfolio).await?;
            let form = FormView::new(FORM).with("benchmark", posted.benchmark).refused(&problem);
            shell.refuse(format!("{page}#{FORM}"), form).await
        }
    }
}
