//! What an operator sees: users, portfolios, stocks, transactions, snapshots, jobs.

use actix_web::web::{Data, Path, Query};
use chrono::TimeDelta;
use domain::plausibility::Doubt;
use domain::{PortfolioId, Symbol, Timestamp, TransactionId, UserId};
use serde::{Deserialize, Serialize};
use services::Error;
use services::accounts::admin::AccountRow;
use services::accounts::register::Account;
use services::jobs::{JobKind, JobRun, RunStatus};
use services::operations::{OperationsStatus, WorkerStatus};
use services::stocks::providers::{Breaker, PotState, ProviderState};
use services::stocks::unconfirmed_prices::HeldPrice;

use super::key_features::FeatureRow;
use crate::AppState;
use crate::http::extract::{Admin, AdminForm};
use crate::http::problem::Problem;
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::Moment;
use crate::shell::render::{Badge, Choice, Nav, PageResult, Paging, Shell, query, source_name};
use crate::stocks::price_pace::PaceView;

const PAGE: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Users,
    Portfolios,
    Stocks,
    Transactions,
    Snapshots,
    Jobs,
    Providers,
}

pub(crate) fn tabs(current: Tab) -> Vec<Choice> {
    [
        (Tab::Overview, "Overview", "/admin"),
        (Tab::Users, "Users", "/admin/users"),
        (Tab::Portfolios, "Portfolios", "/admin/portfolios"),
        (Tab::Stocks, "Stocks", "/admin/stocks"),
        (Tab::Transactions, "Transactions", "/admin/transactions"),
        (Tab::Snapshots, "Snapshots", "/admin/snapshots"),
        (Tab::Jobs, "Jobs", "/admin/jobs"),
        (Tab::Providers, "Prices", "/admin/providers"),
    ]
    .into_iter()
    .map(|(tab, label, href)| Choice {
        label: label.to_owned(),
        href: href.to_owned(),
        current: tab == current,
    })
    .collect()
}

/// A part of the administration with its rows.
#[derive(Serialize)]
struct ListView<R> {
    tabs: Vec<Choice>,
    query: String,
    rows: Vec<R>,
    paging: Paging,
}

/// Which page of a list, and what was searched for.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    search: String,
    #[serde(default)]
    cursor: String,
}

impl Asked {
    fn cursor<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        match self.cursor.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| Problem::not_found()),
        }
    }

    fn view<R>(self, tab: Tab, path: &str, rows: Vec<R>, next: Option<String>) -> ListView<R> {
        let search = self.search.trim().to_owned();
        let page = |cursor: &str| format!("{path}{}", query(&[("search", &search), ("cursor", cursor)]));
        ListView {
            tabs: tabs(tab),
            paging: Paging {
                shown: rows.len(),
                older: next.map(|next| page(&next)),
                newest: (!self.cursor.is_empty()).then(|| page("")),
            },
            query: search,
            rows,
        }
    }
}

fn show(shell: Shell, template: &str, title: &str, view: &impl Serialize) -> PageResult {
    shell.show(template, Nav::Admin, format!("Admin: {title}"), view)
}

#[derive(Serialize)]
struct OverviewView {
    tabs: Vec<Choice>,
    source: String,
    /// What needs the operator's attention.
    warnings: Vec<String>,
    state: Vec<Fact>,
    workers: Vec<WorkerRow>,
    totals: Vec<Total>,
    jobs: Vec<Job>,
    users: Vec<UserRow>,
}

/// A line of the section "State".
#[derive(Serialize)]
struct Fact {
    label: &'static str,
    text: String,
    at: Option<Moment>,
    badge: Option<Badge>,
}

#[derive(Serialize)]
struct WorkerRow {
    host: String,
    process: i64,
    mode: &'static str,
    version: String,
    started: Moment,
    last_seen: Moment,
    age: String,
    badge: Badge,
}

impl WorkerRow {
    fn new(worker: WorkerStatus, now: Timestamp) -> Self {
        let (tone, text) = if worker.is_alive { ("live", "Alive") } else { ("bad", "Silent") };
        Self {
            badge: Badge { tone, text: text.to_owned() },
            mode: match worker.mode.as_str() {
                "embedded" => "Server process",
                _ => "Redis worker",
            },
            host: worker.host,
            process: worker.process_id,
            version: worker.version,
            started: format::day_and_second(worker.started_at),
            last_seen: format::day_and_second(worker.last_seen_at),
            age: format::age((now - worker.last_seen_at).max(TimeDelta::zero())),
        }
    }
}

fn state_facts(status: &OperationsStatus) -> Vec<Fact> {
    let badge = |tone, text: &str| Some(Badge { tone, text: text.to_owned() });
    let (alive, all) = (status.live_workers(), status.workers.len());
    let fact = |label, text: String, badge| Fact { label, text, at: None, badge };
    let count = |label, number: i64| {
        fact(label, format::count(number), (number > 0).then(|| badge("bad", "Look")).flatten())
    };
    vec![
        fact(
            "Workers alive",
            format::count(alive),
            match (alive, all - alive) {
                (0, _) => badge("bad", "None"),
                (_, 0) => None,
                (_, silent) => badge("warn", &format!("{silent} silent")),
            },
        ),
        count("Jobs overdue", status.overdue()),
        count("Jobs failed in 24 h", status.failed_lately()),
        Fact {
            at: status.last_final_snapshot.map(|last| format::day_and_minute(last.taken_at)),
            ..fact(
                "Last final snapshot",
                status
                    .last_final_snapshot
                    .map_or_else(|| "none yet".to_owned(), |last| format::date(last.session)),
                match status.sessions_behind {
                    0 | 1 => None,
                    behind => badge("warn", &format!("{behind} sessions behind")),
                },
            )
        },
        fact("Database size", format::bytes(status.database_bytes), None),
        Fact {
            at: status.last_backup_at.map(format::day_and_minute),
            ..fact(
                "Last backup",
                status.last_backup_at.map_or_else(
                    || "none recorded".to_owned(),
                    |at| format!("{} ago", format::age((status.at - at).max(TimeDelta::zero()))),
                ),
                None,
            )
        },
    ]
}

/// What is wrong and what to do, one sentence each.
fn warnings(status: &OperationsStatus) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.live_workers() == 0 {
        warnings.push(
            "No worker is alive: working orders are not filled, and no snapshots are taken. Start `stockyard worker`, or \
             restart the server where it runs the jobs itself."
                .to_owned(),
        );
    }
    if status.overdue() > 0 {
        warnings.push("Jobs are overdue. Check their runs below and the logs of the workers.".to_owned());
    }
    if status.failed_lately() > 0 {
        warnings.push("Jobs failed within the last 24 hours. Their runs show the reasons.".to_owned());
    }
    warnings
}

#[derive(Serialize)]
struct Total {
    label: &'static str,
    value: String,
    href: &'static str,
}

#[derive(Serialize)]
struct Job {
    kind: &'static str,
    requestable: bool,
    run: Option<RunRow>,
}

#[derive(Serialize)]
struct RunRow {
    kind: String,
    badge: Badge,
    key: String,
    partition: i64,
    queued: Moment,
    took: String,
    attempts: i32,
    worker: String,
    outcome: String,
}

impl From<JobRun> for RunRow {
    fn from(run: JobRun) -> Self {
        let tone = match run.status {
            RunStatus::Done => "live",
            RunStatus::Failed => "bad",
            RunStatus::Running => "warn",
            RunStatus::Queued => "",
        };
        Self {
            badge: Badge { tone, text: run.status.as_str().to_owned() },
            took: match (run.started_at, run.finished_at) {
                (Some(started), Some(finished)) => format::age(finished - started),
                _ => String::new(),
            },
            queued: format::day_and_second(run.queued_at),
            kind: run.kind.as_str().to_owned(),
            key: run.key,
            partition: run.partition,
            attempts: run.attempts,
            worker: run.worker.as_deref().map(worker_name).unwrap_or_default().to_owned(),
            outcome: run.outcome.unwrap_or_default(),
        }
    }
}

/// Host and process, without the random part that tells restarts apart.
fn worker_name(worker: &str) -> &str {
    worker.rsplit_once('-').filter(|(_, random)| random.len() == 32).map_or(worker, |(name, _)| name)
}

/// A provisional snapshot is what asking for a snapshot gives.
fn requestable(kind: JobKind) -> bool {
    kind != JobKind::ProvisionalSnapshots
}

#[derive(Serialize)]
struct UserRow {
    id: UserId,
    username: String,
    email: String,
    name: String,
    joined: Moment,
    portfolios: String,
    active: bool,
    admin: bool,
}

impl UserRow {
    fn new(account: Account, portfolios: String) -> Self {
        Self {
            id: account.id,
            name: format!("{} {}", account.first_name, account.last_name).trim().to_owned(),
            username: account.username,
            email: account.email,
            joined: format::day(account.date_joined),
            portfolios,
            active: account.is_active,
            admin: account.is_admin,
        }
    }
}

impl From<AccountRow> for UserRow {
    fn from(row: AccountRow) -> Self {
        Self::new(row.account, format::count(row.portfolios))
    }
}

pub async fn overview(shell: Shell, Admin(admin): Admin, state: Data<AppState>) -> PageResult {
    let services = &state.services;
    let (totals, status) =
        (services.operations().totals().await?, services.operations().operations_status().await?);
    let mut jobs = Vec::new();
    for kind in JobKind::ALL {
        let newest = services.jobs().job_runs(Some(kind), None, 1).await?.items.pop();
        jobs.push(Job { kind: kind.as_str(), requestable: requestable(kind), run: newest.map(RunRow::from) });
    }
    let total = |label, count: i64, href| Total { label, value: format::count(count), href };
    let source = services.market().price_source();
    let view = OverviewView {
        tabs: tabs(Tab::Overview),
        source: format!("{} ({source})", source_name(source.as_str())),
        warnings: warnings(&status),
        state: state_facts(&status),
        workers: status.workers.into_iter().map(|worker| WorkerRow::new(worker, status.at)).collect(),
        totals: vec![
            total("Users", totals.users, "/admin/users"),
            total("Portfolios", totals.portfolios, "/admin/portfolios"),
            total("Stocks", totals.stocks, "/admin/stocks"),
            total("Transactions", totals.transactions, "/admin/transactions"),
            total("Snapshots", totals.snapshots, "/admin/snapshots"),
        ],
        jobs,
        users: services
            .accounts()
            .all_users(&admin, "", None, 5)
            .await?
            .items
            .into_iter()
            .map(UserRow::from)
            .collect(),
    };
    show(shell, "admin/overview.html", "overview", &view)
}

pub async fn users(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(UserId);
    let page = state.services.accounts().all_users(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<UserRow> = page.items.into_iter().map(UserRow::from).collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Users, "/admin/users", rows, next);
    show(shell, "admin/users.html", "users", &view)
}

#[derive(Serialize)]
struct UserView {
    tabs: Vec<Choice>,
    user: UserRow,
    form: FormView,
    delete_hint: String,
}

impl UserView {
    fn new(account: Account, shell: &Shell) -> Self {
        Self {
            tabs: tabs(Tab::Users),
            form: shell.form(FormView::new("remove")),
            delete_hint: format!(
                "Enter {} to confirm. This permanently deletes all portfolios of the account with their history.",
                account.username
            ),
            user: UserRow::new(account, String::new()),
        }
    }
}

pub async fn user(shell: Shell, Admin(admin): Admin, id: Path<UserId>, state: Data<AppState>) -> PageResult {
    let view = UserView::new(state.services.accounts().any_user(&admin, *id).await?, &shell);
    show(shell, "admin/user.html", &view.user.username, &view)
}

#[derive(Deserialize)]
pub struct Flags {
    is_active: Option<bool>,
    is_admin: Option<bool>,
}

pub async fn update_user(
    shell: Shell,
    Admin(admin): Admin,
    id: Path<UserId>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Flags>,
) -> PageResult {
    let back = format!("/admin/users/{id}");
    match state.services.accounts().set_user_flags(&admin, *id, posted.is_active, posted.is_admin).await {
        Ok(account) => {
            let name = &account.username;
            let text = match (posted.is_active, posted.is_admin) {
                (Some(true), _) => format!("The account of {name} is open."),
                (Some(false), _) => format!("The account of {name} is closed."),
                (None, Some(true)) => format!("{name} is now an administrator."),
                (None, Some(false)) => format!("{name} is no longer an administrator."),
                (None, None) => "Nothing was changed.".to_owned(),
            };
            Ok(shell.done(back, text).await)
        }
        Err(error @ services::Error::LastAdmin) => {
            Ok(shell.not_done(back, format::sentence(&error.to_string())).await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
pub struct Confirmation {
    #[serde(default)]
    confirm: String,
}

pub async fn delete_user(
    shell: Shell,
    Admin(admin): Admin,
    id: Path<UserId>,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Confirmation>,
) -> PageResult {
    let account = state.services.accounts().any_user(&admin, *id).await?;
    if posted.confirm.trim() != account.username {
        let text = format!("enter {} exactly as shown", account.username);
        let form = FormView::new("remove").with("confirm", posted.confirm).refused_at("confirm", text);
        return shell.refuse(format!("/admin/users/{id}#delete"), form).await;
    }
    match state.services.accounts().remove_user(&admin, *id).await {
        Ok(()) => Ok(shell.done("/admin/users", format!("{} is deleted.", account.username)).await),
        Err(error @ services::Error::LastAdmin) => {
            let back = format!("/admin/users/{id}");
            Ok(shell.not_done(back, format::sentence(&error.to_string())).await)
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Serialize)]
struct PortfolioRow {
    id: PortfolioId,
    name: String,
    description: String,
    owner: String,
    opened: Moment,
    changed: Moment,
    cash: String,
}

pub async fn portfolios(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(PortfolioId);
    let page = state.services.operations().all_portfolios(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<PortfolioRow> = page
        .items
        .into_iter()
        .map(|row| PortfolioRow {
            id: row.portfolio.id,
            opened: format::day(row.portfolio.created_at),
            changed: format::day_and_minute(row.portfolio.updated_at),
            cash: format::money(&row.portfolio.cash_balance),
            name: row.portfolio.name,
            description: row.portfolio.description,
            owner: row.username,
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Portfolios, "/admin/portfolios", rows, next);
    show(shell, "admin/portfolios.html", "portfolios", &view)
}

#[derive(Serialize)]
struct StockRow {
    symbol: String,
    name: String,
    exchange: String,
    sector: String,
    last: String,
    previous: String,
    as_of: Option<Moment>,
    source: String,
    badge: Option<Badge>,
}

pub async fn stocks(shell: Shell, _: Admin, asked: Query<Asked>, state: Data<AppState>) -> PageResult {
    let page = state.services.operations().all_stocks(&asked.search, asked.cursor()?, PAGE).await?;
    let held = state.services.corporate_actions().held_splits().await?;
    let rows: Vec<StockRow> = page
        .items
        .into_iter()
        .map(|stock| {
            let last = stock.last.as_ref();
            let unknown = || format::UNKNOWN.to_owned();
            let hold = held.iter().find(|held| held.known.stock_id == stock.id).map(|held| &held.hold);
            let badge = match (hold, stock.delisted_on) {
                (Some(hold), _) if hold.is_halt() => Some(("bad", "trading halted")),
                (Some(_), _) => Some(("warn", "split awaits a price")),
                (None, Some(_)) => Some(("warn", "delisted")),
                (None, None) => None,
            };
            StockRow {
                badge: badge.map(|(tone, text)| Badge { tone, text: text.to_owned() }),
                symbol: stock.listing.symbol.to_string(),
                last: last.map_or_else(unknown, |last| format::price(&last.price)),
                previous: last
                    .and_then(|last| last.previous_close.as_ref())
                    .map_or_else(unknown, format::price),
                as_of: last.map(|last| format::day_and_second(last.as_of)),
                source: last.map_or_else(String::new, |last| last.source.clone()),
                name: stock.listing.company_name.clone(),
                exchange: stock.listing.exchange.clone(),
                sector: stock.listing.sector.clone(),
            }
        })
        .collect();
    let next = page.next.map(|symbol| symbol.to_string());
    let view = asked.into_inner().view(Tab::Stocks, "/admin/stocks", rows, next);
    show(shell, "admin/stocks.html", "stocks", &view)
}

#[derive(Serialize)]
struct TransactionRow {
    id: i64,
    at: Moment,
    owner: String,
    portfolio: String,
    kind: String,
    symbol: Option<String>,
    quantity: String,
    price: String,
    amount: String,
}

pub async fn transactions(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let before = asked.cursor()?.map(TransactionId);
    let page = state.services.operations().all_transactions(&admin, &asked.search, before, PAGE).await?;
    let rows: Vec<TransactionRow> = page
        .items
        .into_iter()
        .map(|row| TransactionRow {
            id: row.entry.id.map_or(0, |id| id.0),
            at: format::day_and_second(row.entry.timestamp),
            owner: row.username,
            portfolio: row.portfolio,
            kind: format::label(row.entry.transaction_type.as_str()),
            symbol: row.symbol.map(|symbol| symbol.to_string()),
            quantity: row.entry.quantity.as_ref().map(format::quantity).unwrap_or_default(),
            price: row.entry.price.as_ref().map(format::price).unwrap_or_default(),
            amount: format::money(&row.entry.amount),
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Transactions, "/admin/transactions", rows, next);
    show(shell, "admin/transactions.html", "transactions", &view)
}

#[derive(Serialize)]
struct SnapshotRow {
    date: String,
    portfolio: String,
    value: String,
    cash: String,
    positions: String,
    flow: String,
    provisional: bool,
}

pub async fn snapshots(
    shell: Shell,
    Admin(admin): Admin,
    asked: Query<Asked>,
    state: Data<AppState>,
) -> PageResult {
    let page = state.services.operations().all_snapshots(&admin, asked.cursor()?, PAGE).await?;
    let rows: Vec<SnapshotRow> = page
        .items
        .into_iter()
        .map(|row| SnapshotRow {
            date: format::date(row.snapshot.date),
            portfolio: row.portfolio,
            value: format::money(&row.snapshot.total_value),
            cash: format::money(&row.snapshot.cash_balance),
            positions: format::money(&row.snapshot.positions_value),
            flow: match row.snapshot.net_flow {
                flow if flow.is_zero() => String::new(),
                flow => format::money(&flow),
            },
            provisional: row.snapshot.provisional,
        })
        .collect();
    let next = page.next.map(|id| id.to_string());
    let view = asked.into_inner().view(Tab::Snapshots, "/admin/snapshots", rows, next);
    show(shell, "admin/snapshots.html", "snapshots", &view)
}

#[derive(Debug, Default, Deserialize)]
pub struct AskedRuns {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    cursor: String,
}

#[derive(Serialize)]
struct JobsView {
    tabs: Vec<Choice>,
    jobs: Vec<Runnable>,
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

pub async fn jobs(shell: Shell, _: Admin, asked: Query<AskedRuns>, state: Data<AppState>) -> PageResult {
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

#[derive(Serialize)]
struct ProvidersView {
    tabs: Vec<Choice>,
    source: String,
    badge: Badge,
    /// Of a real provider.
    limited: bool,
    state: Badge,
    parked_until: Option<Moment>,
    day: String,
    used: String,
    left: String,
    pots: Vec<PotRow>,
    last_answer: Option<Moment>,
    last_failure: Option<Moment>,
    last_error: String,
    listings: String,
    listings_of: Option<Moment>,
    in_use: String,
    days_for_all: String,
    pace: Option<PaceView>,
    features: Vec<FeatureRow>,
    unconfirmed: Vec<WaitingRow>,
}

/// A price that is not confirmed.
#[derive(Serialize)]
struct WaitingRow {
    symbol: String,
    price: String,
    as_of: Moment,
    accepted: String,
    why: &'static str,
    seen: Moment,
}

impl From<HeldPrice> for WaitingRow {
    fn from(waiting: HeldPrice) -> Self {
        Self {
            symbol: waiting.symbol.to_string(),
            price: waiting.price.price.to_string(),
            as_of: format::day_and_minute(waiting.price.as_of),
            accepted: waiting.price.accepted.to_string(),
            why: match waiting.price.doubt {
                Doubt::UnitSlip => "Off by about a power of ten, for example cents instead of dollars",
                Doubt::LargeMove => "Moved more than 40 %",
                Doubt::SplitNotBooked => "Matches a split that is not booked yet",
                Doubt::PossibleSplit => "Possibly after a split that was not announced",
            },
            seen: format::day_and_minute(waiting.price.first_seen_at),
        }
    }
}

#[derive(Serialize)]
struct PotRow {
    label: &'static str,
    meant_for: &'static str,
    used: String,
    limit: String,
    left: String,
}

impl ProvidersView {
    fn new(state: &ProviderState, unconfirmed: Vec<HeldPrice>) -> Self {
        let limits = state.limits.as_ref();
        let known = |at: Option<Timestamp>| at.map(format::day_and_minute);
        let (tone, text) = match limits.map(|limits| limits.breaker) {
            None | Some(Breaker::Closed) => ("live", "Asked"),
            Some(Breaker::HalfOpen) => ("stale", "Testing recovery"),
            Some(Breaker::Open) => ("stale", "Paused after errors"),
        };
        let pot = |pot: &PotState| {
            let (label, meant_for) = match pot.name {
                "scheduled" => {
                    ("Scheduled", "jobs: prices of stocks that are held, watched or have open orders")
                }
                "first_sight" => ("First sight", "symbols that are new to this installation"),
                _ => ("Reserve", "requests of users"),
            };
            PotRow {
                label,
                meant_for,
                used: format::count(pot.used),
                limit: format::count(pot.limit),
                left: format::count(pot.limit.saturating_sub(pot.used)),
            }
        };
        Self {
            tabs: tabs(Tab::Providers),
            source: format::capitalized(&source_name(state.source.as_str())),
            badge: Badge::of(state.freshness),
            limited: limits.is_some(),
            state: Badge { tone, text: text.to_owned() },
            parked_until: known(limits.and_then(|limits| limits.parked_until)),
            day: limits.map_or_else(String::new, |limits| format::date(limits.day)),
            used: limits.map_or_else(String::new, |limits| format::count(limits.used())),
            left: limits
                .and_then(|limits| limits.left())
                .map_or_else(|| "no limit".to_owned(), format::count),
            pots: limits.map_or_else(Vec::new, |limits| limits.pots.iter().map(pot).collect()),
            last_answer: known(limits.and_then(|limits| limits.last_answered_at)),
            last_failure: known(limits.and_then(|limits| limits.last_failed_at)),
            last_error: limits
                .and_then(|limits| limits.last_error.as_deref())
                .map_or_else(String::new, format::sentence),
            listings: state.listings.map_or_else(String::new, |(_, count)| format::count(count)),
            listings_of: known(state.listings.map(|(at, _)| at)),
            in_use: format::plural(state.stocks_in_use, "stock", "stocks"),
            days_for_all: state.days_for_all().map_or_else(String::new, |days| days.to_string()),
            pace: state.intervals.as_ref().map(PaceView::from),
            features: state.features.iter().map(FeatureRow::from).collect(),
            unconfirmed: unconfirmed.into_iter().map(WaitingRow::from).collect(),
        }
    }
}

pub async fn providers(shell: Shell, _: Admin, state: Data<AppState>) -> PageResult {
    let unconfirmed = state.services.stocks().unconfirmed_prices().await?;
    let view = ProvidersView::new(&state.services.stocks().provider_state().await?, unconfirmed);
    show(shell, "admin/providers.html", "prices", &view)
}

#[derive(Deserialize)]
pub struct Confirmed {
    symbol: String,
    reason: String,
}

pub async fn confirm_price(
    shell: Shell,
    Admin(admin): Admin,
    state: Data<AppState>,
    AdminForm(posted): AdminForm<Confirmed>,
) -> PageResult {
    let symbol: Symbol = posted.symbol.parse().map_err(|_| Problem::not_found())?;
    let page = "/admin/providers";
    match state.services.stocks().confirm_price(&admin, &symbol, &posted.reason).await {
        Ok(Some(confirmed)) => {
            let text = format!("Confirmed {} as the price of {symbol}.", confirmed.price.price);
            Ok(shell.done(page, text).await)
        }
        Ok(None) => {
            Ok(shell.not_done(page, format!("No price of {symbol} is waiting for confirmation.")).await)
        }
        Err(Error::Invalid(errors)) => {
            let text = errors.first().map_or("Enter a reason.", |error| error.message.as_str());
            Ok(shell.not_done(page, text).await)
        }
        Err(error) => Err(error.into()),
    }
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
    Ok(shell.done("/admin/jobs", text).await)
}

#[cfg(test)]
mod tests {
    use super::worker_name;

    #[test]
    fn workers_are_shown_by_host_and_process() {
        assert_eq!(worker_name("vm-1435-01a204d09c73749caab9d9b45fea7f88"), "vm-1435");
        assert_eq!(worker_name("worker-2"), "worker-2");
    }
}
