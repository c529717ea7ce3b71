//! The form that closes out a delisted stock, on the administrators' page of the stock: terms, preview and
//! confirmation.

use actix_web::web::{Data, Path};
use domain::Symbol;
use serde::{Deserialize, Serialize};
use services::Error;
use services::corporate_actions::close_outs::{CloseOutFields, CloseOutPreview, CloseOutTerms, DoneCloseOut};
use services::idempotency::DecisionAuthor;

use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::render::{PageResult, Shell};
use crate::stocks::corporate_actions::describe;

const TERMS: &str = "terms";
const CLOSE_OUT: &str = "close_out";

/// The terms that the administrator filled in, from the query of the page's address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct CloseOutQuery {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    cash: String,
    #[serde(default)]
    into: String,
    #[serde(default)]
    ratio: String,
    #[serde(default)]
    on: String,
}

impl CloseOutQuery {
    fn fields(&self) -> CloseOutFields<'_> {
        CloseOutFields {
            kind: &self.kind,
            cash: Some(&self.cash),
            into: Some(&self.into),
            ratio: Some(&self.ratio),
            on: Some(&self.on),
        }
    }

    fn form(&self, name: &'static str) -> FormView {
        FormView::new(name)
            .with("kind", &self.kind)
            .with("cash", &self.cash)
            .with("into", &self.into)
            .with("ratio", &self.ratio)
            .with("on", &self.on)
    }
}

/// The section "Close out" of a delisted stock's page.
#[derive(Serialize)]
pub(crate) struct CloseOutView {
    /// The close-out that is already booked, in a sentence.
    done: Option<String>,
    form: FormView,
    choices: Vec<Entry>,
    preview: Option<PreviewView>,
}

#[derive(Serialize)]
struct Entry {
    value: &'static str,
    label: &'static str,
    current: bool,
}

#[derive(Serialize)]
struct PreviewView {
    portfolios: usize,
    shares: String,
    cash: String,
    received: Option<String>,
    cost: String,
    realized: String,
    on: String,
    terms: CloseOutQuery,
    form: FormView,
}

impl PreviewView {
    fn new(preview: &CloseOutPreview, terms: &CloseOutQuery, form: FormView) -> Self {
        let received = preview.received.as_ref();
        Self {
            portfolios: preview.portfolios,
            shares: format::quantity(&preview.shares),
            cash: format::money(&preview.cash),
            received: received.map(|(symbol, shares)| format!("{} {symbol}", format::quantity(shares))),
            cost: format::money(&preview.cost),
            realized: format::gain(&preview.realized).text,
            on: format::date(preview.on),
            terms: terms.clone(),
            form,
        }
    }
}

impl CloseOutView {
    pub(crate) async fn new(
        shell: &Shell,
        state: &AppState,
        symbol: &Symbol,
        done: Option<DoneCloseOut>,
        asked: &CloseOutQuery,
    ) -> Result<Self, Error> {
        let mut form = asked.form(TERMS);
        let mut preview = None;
        if done.is_none() && !asked.kind.is_empty() {
            match CloseOutTerms::parse(asked.fields()) {
                Err(errors) => form = form.refused_fields(&errors),
                Ok((terms, on)) => {
                    match state.services.corporate_actions().preview_close_out(symbol, &terms, on).await {
                        Ok(found) => {
                            let confirm = shell.form(FormView::new(CLOSE_OUT));
                            preview = Some(PreviewView::new(&found, asked, confirm));
                        }
                        Err(error @ Error::Invalid(_)) => form = form.refused(&Problem::from(error)),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        let choice = |value, label| Entry { value, label, current: asked.kind == value };
        Ok(Self {
            done: done.map(|done| {
                let by = done.administrator.unwrap_or_default();
                let what = describe(&done.known.action);
                format!("{what}. {by}: {}", done.reason.unwrap_or_default())
            }),
            choices: vec![
                choice("cash", "Cash per share"),
                choice("exchange", "Shares of another stock"),
                choice("write_off", "Nothing (write-off)"),
            ],
            preview,
            form,
        })
    }
}

#[derive(Deserialize)]
pub struct Confirmed {
    #[serde(flatten)]
    asked: CloseOutQuery,
    #[serde(default)]
    reason: String,
}

pub async fn close_out(
    shell: Shell,
    Admin(admin): Admin,
    symbol: Path<String>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Confirmed>,
) -> PageResult {
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let Confirmed { asked, reason } = posted;
    let page = format!("/admin/stocks/{symbol}");
    let query = serde_urlencoded::to_string(&asked).unwrap_or_default();
    let back = format!("{page}?{query}#close-out");
    let form = FormView::new(CLOSE_OUT).with("reason", &reason);
    // Only the page of a delisted stock shows the form.
    if state.services.instruments().stored_stock(&symbol).await?.delisted_on.is_none() {
        let told = format!("{symbol} is not delisted. Confirm its delisting first.");
        return Ok(shell.redirect_with_error(page, told).await);
    }
    let (terms, on) = match CloseOutTerms::parse(asked.fields()) {
        Ok(terms) => terms,
        Err(errors) => return shell.refuse(back, form.refused_fields(&errors)).await,
    };
    let author = DecisionAuthor { administrator: admin, key: None };
    match state.services.corporate_actions().close_out(&symbol, &terms, on, &reason, author).await {
        Ok(_) => Ok(shell.redirect_with_success(page, format!("{symbol} is closed out.")).await),
        Err(Error::Invalid(fields)) if fields.iter().any(|error| error.field == "symbol") => {
            let told = fields.first().map_or_else(String::new, |error| format::sentence(&error.message));
            Ok(shell.redirect_with_error(page, told).await)
        }
        Err(error @ Error::Invalid(_)) => shell.refuse(back, form.refused(&Problem::from(error))).await,
        Err(error) => Err(error.into()),
    }
}
