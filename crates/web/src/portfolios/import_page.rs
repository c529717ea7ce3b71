//! The page that imports transactions from a file: upload, preview, confirmation.

use actix_web::web::{Data, Path, Query};
use domain::PortfolioId;
use serde::{Deserialize, Serialize};
use services::books::import::{ImportReport, RowIssue, decode};

use super::pages::Named;
use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::http::upload::{FileTooLarge, Upload};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::layout::Nav;
use crate::shell::links::see_other;
use crate::shell::render::{PageResult, Shell};

/// The id of the form.
const FORM: &str = "import";
/// What became of a file that is not kept any more.
const GONE: &str =
    "This file is not kept any more: it was imported, or another one was uploaded. Choose it again.";

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// The hash of the file to preview.
    #[serde(default)]
    file: String,
}

#[derive(Serialize)]
struct View {
    portfolio: Named,
    form: FormView,
    preview: Option<Preview>,
}

/// What the file would book.
#[derive(Serialize)]
struct Preview {
    file: String,
    /// Whether it can be imported.
    is_ready: bool,
    summary: String,
    issues: Vec<IssueRow>,
    cash: String,
    positions: Vec<PositionRow>,
}

#[derive(Serialize)]
struct IssueRow {
    line: String,
    column: &'static str,
    message: String,
}

#[derive(Serialize)]
struct PositionRow {
    symbol: String,
    quantity: String,
    cost: String,
    realized: format::Delta,
}

impl IssueRow {
    fn new(issue: &RowIssue) -> Self {
        Self {
            line: format::count(issue.line),
            column: issue.column.unwrap_or_default(),
            message: format::sentence(&issue.problem.to_string()),
        }
    }
}

impl From<ImportReport> for Preview {
    fn from(report: ImportReport) -> Self {
        Self {
            is_ready: report.is_ready(),
            summary: summary(&report),
            issues: report.issues.iter().map(IssueRow::new).collect(),
            cash: format::money(&report.cash_balance),
            positions: report
                .positions
                .iter()
                .map(|(symbol, position)| PositionRow {
                    symbol: symbol.to_string(),
                    quantity: format::quantity(&position.quantity),
                    cost: format::money(&position.cost_basis),
                    realized: format::gain(&position.realized_pnl),
                })
                .collect(),
            file: report.file_hash,
        }
    }
}

/// `12 rows to import, 3 were imported before.`
fn summary(report: &ImportReport) -> String {
    let rows = |count| format::plural(count, "row", "rows");
    let mut text = match report.issues.len() {
        0 => format!("{} to import", rows(report.imported)),
        1 => "One problem: nothing can be imported until it is solved".to_owned(),
        many => format!("{} problems: nothing can be imported until they are solved", format::count(many)),
    };
    if report.already_imported > 0 {
        text.push_str(&format!("; {} imported before and left out", rows(report.already_imported)));
    }
    if report.actions > 0 {
        let actions = format::plural(report.actions, "split or dividend", "splits and dividends");
        text.push_str(&format!("; {actions} booked here by itself, as the file says"));
    }
    text.push('.');
    text
}

pub async fn show(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let (control, books) = (signed.trader().portfolio(*id), state.services.books());
    let portfolio = books.portfolio(control.reference()).await?;
    let mut form = shell.form(FormView::new(FORM));
    let mut preview = None;
    // Says that a portfolio for practice takes no imports, also before a file is chosen.
    let content = books.import_file(control.reference(), asked.file.clone()).await?;
    match content {
        Some(content) => {
            preview = Some(Preview::from(books.import_transactions(control, &content, true).await?));
        }
        None if !asked.file.is_empty() && form.summary.is_empty() => form = form.refused_as_a_whole(GONE),
        None => {}
    }
    let view = View { portfolio: Named::from(&portfolio), form, preview };
    let title = format!("Import into {}", view.portfolio.name);
    shell.show("import.html", Nav::Transactions, title, &view)
}

pub async fn upload(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Upload(file): Upload,
) -> PageResult {
    let (control, id, books) = (signed.trader().portfolio(*id), *id, state.services.books());
    let page = format!("/portfolios/{id}/import");
    let read = match file {
        Err(FileTooLarge) => {
            Err("choose a file of at most 1 MiB; split a longer one, and import the older part first")
        }
        Ok(bytes) if bytes.is_empty() => Err("choose a file"),
        // A database does not store NUL bytes in texts.
        Ok(bytes) => decode(bytes)
            .filter(|text| !text.contains('\0'))
            .ok_or("save the file as CSV in UTF-8; it has another encoding, or is a spreadsheet"),
    };
    match read {
        Ok(content) => {
            let hash = books.keep_import_file(control, content).await?;
            Ok(see_other(format!("{page}?file={hash}")))
        }
        Err(message) => {
            // Of somebody else's portfolio there is no form to show again.
            books.portfolio(control.reference()).await?;
            shell.refuse(format!("{page}#{FORM}"), FormView::new(FORM).refused_at("file", message)).await
        }
    }
}

#[derive(Deserialize)]
pub struct Confirmed {
    /// The hash of the file that was looked at.
    #[serde(default)]
    file: String,
}

pub async fn confirm(
    shell: Shell,
    signed: LoggedIn,
    id: Path<PortfolioId>,
    state: Data<AppState>,
    Form(confirmed): Form<Confirmed>,
) -> PageResult {
    let (control, id, books) = (signed.trader().portfolio(*id), *id, state.services.books());
    let page = format!("/portfolios/{id}/import");
    let Some(content) = books.import_file(control.reference(), confirmed.file.clone()).await? else {
        return shell.refuse(format!("{page}#{FORM}"), FormView::new(FORM).refused_as_a_whole(GONE)).await;
    };
    let report = books.import_transactions(control, &content, false).await?;
    match report.is_booked {
        true => {
            let rows = format::plural(report.imported, "row is", "rows are");
            let text = format!("{rows} imported. The values of past days follow within a few minutes.");
            Ok(shell.redirect_with_success(format!("/portfolios/{id}"), text).await)
        }
        // Something has changed since the preview.
        false => Ok(see_other(format!("{page}?file={}", report.file_hash))),
    }
}
