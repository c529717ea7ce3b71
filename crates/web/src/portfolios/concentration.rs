//! Limits on concentration: the notes about them on the composition page and in the API, and the form that sets them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use domain::PortfolioId;
use domain::concentration_limits::{ConcentrationLimits as Limits, LimitExceeded, LimitPercent, LimitedPart};
use serde::{Deserialize, Serialize};
use services::FieldError;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::extract::{CurrentUser, Form, LoggedIn};
use crate::http::input::Json;
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::render::{PageResult, Shell};

const OUT_OF_RANGE: &str = "must be a whole number from 1 to 100";

/// Shares of the total value, in percent. A composition above a limit has a note about it. Null means no limit.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ConcentrationLimits {
    /// The limit for each stock or fund. Default: 25.
    #[schema(minimum = 1, maximum = 100)]
    stock_percent: Option<i32>,
    /// The limit for each sector; funds and stocks of unknown sector are not counted. Default: 40.
    #[schema(minimum = 1, maximum = 100)]
    sector_percent: Option<i32>,
    /// The limit for cash. Default: no limit.
    #[schema(minimum = 1, maximum = 100)]
    cash_percent: Option<i32>,
}

impl From<Limits> for ConcentrationLimits {
    fn from(limits: Limits) -> Self {
        let percent = |limit: Option<LimitPercent>| limit.map(|limit| i32::from(limit.get()));
        Self {
            stock_percent: percent(limits.stock),
            sector_percent: percent(limits.sector),
            cash_percent: percent(limits.cash),
        }
    }
}

/// All limits of a portfolio. Null means no limit.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConcentrationLimits {
    /// The limit for each stock or fund.
    #[schema(minimum = 1, maximum = 100)]
    stock_percent: Option<i32>,
    /// The limit for each sector; funds and stocks of unknown sector are not counted.
    #[schema(minimum = 1, maximum = 100)]
    sector_percent: Option<i32>,
    #[schema(minimum = 1, maximum = 100)]
    cash_percent: Option<i32>,
}

impl NewConcentrationLimits {
    fn read(self) -> Result<Limits, Problem> {
        let mut wrong = Vec::new();
        let mut limit = |field, percent: Option<i32>| {
            let limit = LimitPercent::new(percent?.into());
            if limit.is_none() {
                wrong.push(FieldError::new(field, OUT_OF_RANGE));
            }
            limit
        };
        let limits = Limits {
            stock: limit("stock_percent", self.stock_percent),
            sector: limit("sector_percent", self.sector_percent),
            cash: limit("cash_percent", self.cash_percent),
        };
        if wrong.is_empty() { Ok(limits) } else { Err(Problem::invalid(wrong)) }
    }
}

/// A part of the portfolio that is above its limit.
#[derive(Serialize, ToSchema)]
pub struct ConcentrationNote {
    #[schema(value_type = enums::LimitedPart)]
    part: &'static str,
    /// The symbol or the sector; null for cash.
    name: Option<String>,
    /// Share of the total value, a ratio.
    weight: f64,
    limit_percent: u8,
}

impl From<LimitExceeded> for ConcentrationNote {
    fn from(exceeded: LimitExceeded) -> Self {
        let (part, name) = match exceeded.part {
            LimitedPart::Stock(symbol) => ("stock", Some(symbol.to_string())),
            LimitedPart::Sector(sector) => ("sector", Some(sector)),
            LimitedPart::Cash => ("cash", None),
        };
        Self { part, name, weight: exceeded.weight, limit_percent: exceeded.limit.get() }
    }
}

/// Set the concentration limits of a portfolio.
///
/// The composition has a note for each part above its limit. The request replaces all limits: a limit that is null or
/// left out is removed.
#[utoipa::path(
    put, path = "/api/v1/portfolios/{id}/composition/limits", tag = "portfolios",
    operation_id = "setConcentrationLimits",
    params(("id" = i64, Path)),
    request_body = NewConcentrationLimits,
    responses((status = 200, description = "The new limits", body = ConcentrationLimits)),
)]
pub async fn set(
    user: CurrentUser,
    id: Path<i64>,
    body: Json<NewConcentrationLimits>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let limits = body.into_inner().read()?;
    state
        .services
        .books()
        .set_concentration_limits(user.trader()?.portfolio(PortfolioId(*id)), limits)
        .await?;
    Ok(HttpResponse::Ok().json(ConcentrationLimits::from(limits)))
}

/// The note for the page, as a sentence.
pub fn sentence(exceeded: &LimitExceeded) -> String {
    let name = match &exceeded.part {
        LimitedPart::Stock(symbol) => symbol.to_string(),
        LimitedPart::Sector(sector) => format!("The sector {sector}"),
        LimitedPart::Cash => "Cash".to_owned(),
    };
    let (weight, limit) = (format::percent(exceeded.weight), exceeded.limit.get());
    format!("{name} is {weight} of the portfolio, above your limit of {limit}%.")
}

/// The form, filled in with the current limits.
pub fn form(limits: Limits) -> FormView {
    let text = |limit: Option<LimitPercent>| limit.map(|limit| limit.get().to_string()).unwrap_or_default();
    FormView::new("limits")
        .with("stock_percent", text(limits.stock))
        .with("sector_percent", text(limits.sector))
        .with("cash_percent", text(limits.cash))
}

#[derive(Deserialize)]
pub struct NewLimits {
    #[serde(default)]
    stock_percent: String,
    #[serde(default)]
    sector_percent: String,
    #[serde(default)]
    cash_percent: String,
}

impl NewLimits {
    fn read(&self) -> Result<Limits, Vec<FieldError>> {
        let mut wrong = Vec::new();
        let mut limit = |field, text: &str| {
            let text = text.trim().trim_end_matches('%').trim_end();
            if text.is_empty() {
                return None;
            }
            let limit = text.parse().ok().and_then(LimitPercent::new);
            if limit.is_none() {
                wrong.push(FieldError::new(
                    field,
                    "enter a whole number from 1 to 100, or nothing for no limit",
                ));
            }
            limit
        };
        let limits = Limits {
            stock: limit("stock_percent", &self.stock_percent),
            sector: limit("sector_percent", &self.sector_percent),
            cash: limit("cash_percent", &self.cash_percent),
        };
        if wrong.is_empty() { Ok(limits) } else { Err(wrong) }
    }
}

pub async fn save(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(posted): Form<NewLimits>,
) -> PageResult {
    let id = *id;
    match posted.read() {
        Ok(limits) => {
            state.services.books().set_concentration_limits(signed.trader().portfolio(id), limits).await?;
            let page = format!("/portfolios/{id}/composition");
            Ok(shell.redirect_with_success(page, "The limits are saved.").await)
        }
        Err(wrong) => {
            // Returns 404 for another user's portfolio.
            state.services.books().portfolio(signed.portfolio(id)).await?;
            let form = FormView::new("limits")
                .with("stock_percent", posted.stock_percent)
                .with("sector_percent", posted.sector_percent)
                .with("cash_percent", posted.cash_percent)
                .refused_fields(&wrong);
            shell.refuse(format!("/portfolios/{id}/composition#limits"), form).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(stock: &str, sector: &str, cash: &str) -> NewLimits {
        let (stock, sector, cash) = (stock.to_owned(), sector.to_owned(), cash.to_owned());
        NewLimits { stock_percent: stock, sector_percent: sector, cash_percent: cash }
    }

    #[test]
    fn an_empty_field_is_no_limit_and_others_are_whole_percent() {
        let limits = posted("20", " 35 % ", "").read().unwrap();
        assert_eq!(limits.stock, LimitPercent::new(20));
        assert_eq!((limits.sector, limits.cash), (LimitPercent::new(35), None));
        let wrong = posted("0", "12.5", "101").read().unwrap_err();
        let fields: Vec<&str> = wrong.iter().map(|error| error.field).collect();
        assert_eq!(fields, ["stock_percent", "sector_percent", "cash_percent"]);
    }

    #[test]
    fn a_note_names_the_part_its_weight_and_the_limit() {
        let limit = LimitPercent::new(25).unwrap();
        let note = |part| sentence(&LimitExceeded { part, weight: 0.2502, limit });
        let ends = "is 25.02% of the portfolio, above your limit of 25%.";
        assert_eq!(note(LimitedPart::Stock("AAPL".parse().unwrap())), format!("AAPL {ends}"));
        assert_eq!(note(LimitedPart::Sector("Energy".to_owned())), format!("The sector Energy {ends}"));
        assert_eq!(note(LimitedPart::Cash), format!("Cash {ends}"));
    }
}
