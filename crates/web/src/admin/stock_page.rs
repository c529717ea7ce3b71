//! The page of a stock for administrators: its trading hold, delisting, close-out and rename.

use actix_web::web::{Data, Path, Query};
use domain::Symbol;
use serde::{Deserialize, Serialize};
use services::Error;
use services::corporate_actions::splits::{HeldSplit, SplitResolution};

use super::close_out_page::{CloseOutQuery, CloseOutView};
use super::delisting_page::{DELISTING, DelistingView};
use super::pages::{Tab, tabs};
use super::rename_page::RENAME;
use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::layout::Nav;
use crate::shell::links::Choice;
use crate::shell::render::{PageResult, Shell};

#[derive(Serialize)]
struct StockView {
    tabs: Vec<Choice>,
    symbol: Symbol,
    name: String,
    last: String,
    listing: DelistingView,
    rename: FormView,
    /// Only for a delisted stock.
    close_out: Option<CloseOutView>,
    split: Option<SplitView>,
}

#[derive(Serialize)]
struct SplitView {
    heading: String,
    hold: String,
    expected: String,
    found: String,
    form: FormView,
    choices: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    value: &'static str,
    label: String,
    current: bool,
}

const SPLIT: &str = "split";

fn address(symbol: &Symbol) -> String {
    format!("/admin/stocks/{symbol}")
}

impl SplitView {
    fn new(held: &HeldSplit, form: FormView) -> Self {
        let ratio = held.known.action.ratio().map_or_else(String::new, |ratio| ratio.to_string());
        let compared = held.known.check.as_ref().and_then(|check| check.compared.as_ref());
        let chosen = form.value("resolution").to_owned();
        let choice = |value, label: String| Entry { value, label, current: chosen == value };
        Self {
            heading: format!("{ratio} split of {}", format::date(held.known.action.ex_on)),
            hold: format::sentence(&held.hold.to_string()),
            expected: compared.map_or_else(String::new, |(expected, _)| format::price(expected)),
            found: compared.map_or_else(String::new, |(_, found)| format::price(found)),
            choices: vec![
                choice("withdraw", "No split took place".to_owned()),
                choice("correct", "Split with another ratio".to_owned()),
                choice("confirm", format!("Split as announced, {ratio}")),
            ],
            form,
        }
    }
}

pub async fn show(
    shell: Shell,
    _: Admin,
    symbol: Path<String>,
    asked: Query<CloseOutQuery>,
    state: Data<AppState>,
) -> PageResult {
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let stock = state.services.instruments().stored_stock(&symbol).await?;
    let symbol = stock.listing.symbol.clone();
    let held = state
        .services
        .corporate_actions()
        .held_splits()
        .await?
        .into_iter()
        .find(|held| held.symbol == symbol);
    let case = state.services.corporate_actions().delisting_case(&stock).await?;
    let close_out = match stock.delisted_on {
        None => None,
        Some(_) => {
            let done = state.services.corporate_actions().close_out_of(&stock).await?;
            Some(CloseOutView::new(&shell, &state, &symbol, done, &asked).await?)
        }
    };
    let view = StockView {
        close_out,
        rename: shell.form(FormView::new(RENAME)),
        tabs: tabs(Tab::Stocks),
        name: stock.listing.company_name.clone(),
        last: stock
            .last
            .as_ref()
            .map_or_else(|| format::UNKNOWN.to_owned(), |last| format::price(&last.price)),
        listing: DelistingView::new(&case, shell.form(FormView::new(DELISTING))),
        split: held.map(|held| SplitView::new(&held, shell.form(FormView::new(SPLIT)))),
        symbol,
    };
    let title = format!("Admin: {}", view.symbol);
    shell.show("admin/stock.html", Nav::Admin, title, &view)
}

#[derive(Deserialize)]
pub struct Resolution {
    #[serde(default)]
    resolution: String,
    #[serde(default)]
    ratio: String,
    #[serde(default)]
    reason: String,
}

pub async fn resolve_split(
    shell: Shell,
    Admin(admin): Admin,
    symbol: Path<String>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Resolution>,
) -> PageResult {
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let Resolution { resolution, ratio, reason } = posted;
    let back = address(&symbol);
    let form =
        FormView::new(SPLIT).with("resolution", &resolution).with("ratio", &ratio).with("reason", &reason);
    let resolution = match SplitResolution::parse(&resolution, Some(&ratio)) {
        Ok(resolution) => resolution,
        Err(error) => return shell.refuse(format!("{back}#split"), form.refused_fields(&[error])).await,
    };
    match state.services.corporate_actions().resolve_split(&admin, &symbol, resolution, &reason).await {
        Ok(()) => Ok(shell
            .redirect_with_success(back, format!("The split of {symbol} is resolved. Orders fill again."))
            .await),
        Err(error @ Error::NoSplitInDoubt(_)) => {
            Ok(shell.redirect_with_error(back, format::sentence(&error.to_string())).await)
        }
        Err(error @ Error::Invalid(_)) => {
            let form = form.refused(&Problem::from(error));
            shell.refuse(format!("{back}#split"), form).await
        }
        Err(error) => Err(error.into()),
    }
}
