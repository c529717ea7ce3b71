//! The form on the settings page that sets who may read a portfolio.

use actix_web::web::{Data, Path};
use domain::{PortfolioId, Visibility};
use serde::{Deserialize, Serialize};
use services::FieldError;
use services::books::portfolios::{PortfolioSummary, PortfolioUpdate};

use super::settings::refuse;
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::shell::form::{FormView, refusal};
use crate::shell::render::{PageResult, Shell};
use crate::trading::ticket::Entry;

/// The id of the form.
const SHARING: &str = "sharing";

#[derive(Serialize)]
pub struct SharingView {
    form: FormView,
    entries: Vec<Entry>,
    /// The address for other readers; empty for a private portfolio.
    address: String,
}

fn label(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Private => "Only you",
        Visibility::Link => "Anyone with the link",
        Visibility::Public => "Everyone",
    }
}

impl SharingView {
    pub fn new(portfolio: &PortfolioSummary, shell: &Shell) -> Self {
        let origin = shell.config().origin();
        let address = match (portfolio.visibility, &portfolio.link_key) {
            (Visibility::Public, _) => format!("{origin}/portfolios/{}", portfolio.id),
            (Visibility::Link, Some(key)) => format!("{origin}/portfolios/{key}"),
            (Visibility::Link, None) | (Visibility::Private, _) => String::new(),
        };
        let entries = Visibility::ALL.iter().map(|one| Entry {
            value: one.as_str(),
            label: label(*one),
            current: *one == portfolio.visibility,
        });
        Self { form: shell.form(FormView::new(SHARING)), entries: entries.collect(), address }
    }
}

#[derive(Deserialize)]
pub struct NewVisibility {
    #[serde(default)]
    visibility: String,
}

pub async fn set(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(NewVisibility { visibility }): Form<NewVisibility>,
) -> PageResult {
    let id = *id;
    let changed = match visibility.parse::<Visibility>() {
        Ok(visibility) => {
            let update = PortfolioUpdate { visibility: Some(visibility), ..PortfolioUpdate::default() };
            state.services.books().change_portfolio(signed.trader().portfolio(id), update).await
        }
        Err(_) => Err(services::Error::Invalid(vec![FieldError::new(
            "visibility",
            "choose who may read the portfolio",
        )])),
    };
    match changed {
        Ok(portfolio) => {
            let text = match portfolio.visibility {
                Visibility::Private => format!("Only you can read {}.", portfolio.name),
                Visibility::Link => format!("Anyone with the link can read {}.", portfolio.name),
                Visibility::Public => format!("Everyone can read {}.", portfolio.name),
            };
            Ok(shell.redirect_with_success(format!("/portfolios/{id}/settings#sharing"), text).await)
        }
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new(SHARING).with("visibility", visibility).refused(&problem);
            refuse(&shell, (&state.services, signed.portfolio(id)), SHARING, form).await
        }
    }
}
