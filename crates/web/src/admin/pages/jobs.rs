//! Runs of jobs.

use actix_web::web::{Data, Query};
use serde::{Deserialize, Serialize};
use services::jobs::JobKind;

use super::overview::RunRow;
use super::{PAGE, Tab, show, tabs};
use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::links::{Choice, Paging, query};
use crate::shell::render::{PageResult, Shell};

/// Whether the form offers the job. A requested run of `SnapshotPortfolios` takes provisional snapshots, so that job is
/// enough.
pub(super) fn requestable(kind: JobKind) -> bool {
    kind != JobKind::ProvisionalSnapshots
}

#[derive(Debug, Default, Deserialize)]
pub struct RunsQuery {
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) cursor: String,
}

#[derive(Serialize)]
struct JobsView {
    tabs: Vec<Choice>,
    pub(super) jobs: Vec<Runnable>,
    kinds: Vec<Choice>,
    rows: Vec<RunRow>,
    paging: Paging,
}

#[derive(Serialize)]
struct Runnable {
    value: &'static str,
    label: &'static str,
}

fn job_label(kind: JobKind) -> &'static str {
    match kind {
        JobKind::SnapshotPortfolios => "Snapshots",
        JobKind::ProvisionalSnapshots => "Provisional snapshots",
        JobKind::RefreshQuotes => "Refresh quotes",
        JobKind::CorporateActions => "Corporate actions",
        JobKind::RefreshListings => "Refresh listings",
        JobKind::Prune => "Prune",
    }
}

pub async fn jobs(shell: Shell, _: Admin, asked: Query<RunsQuery>, state: Data<AppState>) -> PageResult {
    let kind = match asked.kind.as_str() {
        "" => None,
        text => Some(text.parse::<JobKind>().map_err(|_| Problem::not_found())?),
    };
    let before = match asked.cursor.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| Problem::not_found())?),
    };
    let page = state.services.jobs().job_runs(kind, before, PAGE).await?;
    let address =
        |kind: &str, cursor: &str| format!("/admin/jobs{}", query(&[("kind", kind), ("cursor", cursor)]));
    let mut kinds = vec![Choice { label: "All".to_owned(), href: address("", ""), current: kind.is_none() }];
    kinds.extend(JobKind::ALL.into_iter().map(|one| Choice {
        label: job_label(one).to_owned(),
        href: address(one.as_str(), ""),
        current: kind == Some(one),
    }));
    let rows: Vec<RunRow> = page.items.into_iter().map(RunRow::from).collect();
    let view = JobsView {
        tabs: tabs(Tab::Jobs),
        jobs: JobKind::ALL
            .into_iter()
            .filter(|kind| requestable(*kind))
            .map(|kind| Runnable { value: kind.as_str(), label: job_label(kind) })
            .collect(),
        kinds,
        paging: Paging {
            shown: rows.len(),
            older: page.next.map(|next| address(&asked.kind, &next.to_string())),
            newest: (!asked.cursor.is_empty()).then(|| address(&asked.kind, "")),
        },
        rows,
    };
    show(shell, "admin/jobs.html", "jobs", &view)
}

#[derive(Deserialize)]
pub struct Run {
    run: String,
}

pub async fn run_job(
    shell: Shell,
    Admin(admin): Admin,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Run>,
) -> PageResult {
    let kind: JobKind = posted.run.parse().map_err(|_| Problem::not_found())?;
    state.services.jobs().request_run(&admin, kind).await?;
    let text = format!("{}: queued. A worker starts it within seconds.", job_label(kind));
    Ok(shell.redirect_with_success("/admin/jobs", text).await)
}
