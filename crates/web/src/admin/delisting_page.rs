//! The section of a stock's administration page that confirms or refuses a delisting.

use actix_web::web::{Data, Path};
use domain::Symbol;
use domain::delisting::{DelistingEvidence, DelistingEvidenceKind};
use serde::{Deserialize, Serialize};
use services::Error;
use services::corporate_actions::delistings::{DelistingCase, DelistingResolution};

use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::render::{PageResult, Shell};

pub(crate) const DELISTING: &str = "delisting";

/// The section "Listing" of a stock's page.
#[derive(Serialize)]
pub(crate) struct DelistingView {
    state: String,
    evidence: Vec<EvidenceRow>,
    form: FormView,
    choices: Vec<Entry>,
}

#[derive(Serialize)]
struct EvidenceRow {
    day: String,
    seen: String,
}

#[derive(Serialize)]
struct Entry {
    value: &'static str,
    label: &'static str,
    current: bool,
}

impl From<&DelistingEvidence> for EvidenceRow {
    fn from(seen: &DelistingEvidence) -> Self {
        let told = match (seen.kind, seen.delisted_on) {
            (DelistingEvidenceKind::NotListed, _) => "Missing from the table of listings.".to_owned(),
            (DelistingEvidenceKind::ListedAsDelisted, Some(on)) => {
                format!("Listed as delisted on {}.", format::date(on))
            }
            (DelistingEvidenceKind::ListedAsDelisted, None) => "Listed as delisted.".to_owned(),
            (DelistingEvidenceKind::NotFound, _) => "Unknown to the price source.".to_owned(),
        };
        Self { day: format::date(seen.seen_on), seen: told }
    }
}

impl DelistingView {
    pub(crate) fn new(case: &DelistingCase, form: FormView) -> Self {
        let by = |administrator: &str, reason: &str| format!("{administrator}: {reason}");
        let state = match (&case.delisting, &case.refusal) {
            (Some(delisting), _) => {
                let why = match (&delisting.administrator, &delisting.reason) {
                    (Some(administrator), Some(reason)) => by(administrator, reason),
                    (None, Some(reason)) => format::sentence(reason),
                    (_, None) => "The price source announced it.".to_owned(),
                };
                format!("Delisted on {}. {why}", format::date(delisting.on))
            }
            (None, Some(refusal)) => {
                format!("Listed. {}", by(&refusal.administrator, &refusal.reason))
            }
            (None, None) if case.evidence.is_empty() => "Listed.".to_owned(),
            (None, None) => "Possibly delisted: the evidence below is not sufficient yet.".to_owned(),
        };
        let chosen = form.value("resolution").to_owned();
        let choice = |value, label| Entry { value, label, current: chosen == value };
        Self {
            state,
            evidence: case.evidence.iter().map(EvidenceRow::from).collect(),
            choices: vec![choice("confirm", "Delisted"), choice("refuse", "Still listed")],
            form,
        }
    }
}

#[derive(Deserialize)]
pub struct Decision {
    #[serde(default)]
    resolution: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    reason: String,
}

pub async fn resolve(
    shell: Shell,
    Admin(admin): Admin,
    symbol: Path<String>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Decision>,
) -> PageResult {
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let Decision { resolution, on, reason } = posted;
    let back = format!("/admin/stocks/{symbol}");
    let form =
        FormView::new(DELISTING).with("resolution", &resolution).with("on", &on).with("reason", &reason);
    let resolution = match DelistingResolution::parse(&resolution, Some(&on)) {
        Ok(resolution) => resolution,
        Err(error) => return shell.refuse(format!("{back}#listing"), form.refused_fields(&[error])).await,
    };
    match state.services.corporate_actions().resolve_delisting(&symbol, resolution, &reason, &admin).await {
        Ok(()) => {
            let done = match resolution {
                DelistingResolution::Confirm { .. } => format!("{symbol} is delisted."),
                DelistingResolution::Refuse => format!("{symbol} is marked as listed."),
            };
            Ok(shell.redirect_with_success(back, done).await)
        }
        Err(error @ Error::Invalid(_)) => {
            let form = form.refused(&Problem::from(error));
            shell.refuse(format!("{back}#listing"), form).await
        }
        Err(error) => Err(error.into()),
    }
}
