//! The API for administrators. For other users these addresses do not exist.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use domain::{Price, Symbol, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use services::Fields;
use services::accounts::admin::AccountRow;
use services::corporate_actions::splits::SplitResolution;
use services::idempotency::DecisionAuthor;
use services::jobs::{JobKind, JobRun};
use services::operations::{JobStatus, OperationsStatus, WorkerStatus};
use services::stocks::providers::{LimitsState, ProviderState};
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::accounts::users_api::User;
use crate::http::api::{Items, limit, parse};
use crate::http::extract::AdminUser;
use crate::http::input::{Json, Query};
use crate::http::problem::Problem;
use crate::openapi::enums;
use crate::portfolios::api::{done_once, idempotency_key};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// A part of a name.
    #[serde(default)]
    search: String,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

const CURSOR: &str = "send `next_cursor` of the previous page";

#[derive(Serialize, ToSchema)]
#[schema(as = AdminUser)]
pub struct AdminView {
    #[serde(flatten)]
    user: User,
    is_active: bool,
    portfolios: i64,
}

impl From<AccountRow> for AdminView {
    fn from(row: AccountRow) -> Self {
        Self { is_active: row.account.is_active, portfolios: row.portfolios, user: row.account.into() }
    }
}

/// List all users, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/users", tag = "admin", operation_id = "adminListUsers",
    params(Listing),
    responses((status = 200, description = "A page of users", body = Items<AdminView>)),
)]
pub async fn users(
    AdminUser(admin): AdminUser,
    wanted: Query<Listing>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let before = parse("cursor", wanted.cursor.as_deref(), CURSOR)?.map(UserId);
    let page = state
        .services
        .accounts()
        .all_users(&admin, &wanted.search, before, limit(wanted.limit.as_deref())?)
        .await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(AdminView::from).collect(),
    }))
}

/// Get a user.
#[utoipa::path(
    get, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminGetUser",
    params(("id" = i64, Path)),
    responses((status = 200, description = "The user", body = AdminView)),
)]
pub async fn user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let row = state.services.accounts().any_user_with_portfolios(&admin, UserId(*id)).await?;
    Ok(HttpResponse::Ok().json(AdminView::from(row)))
}

/// Changes to the user. A field that is left out keeps its value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserFlags)]
pub struct Flags {
    /// A closed account cannot log in; its sessions and tokens end.
    is_active: Option<bool>,
    is_admin: Option<bool>,
}

/// Close or open an account, or grant or revoke administrator rights.
///
/// A closed account cannot log in; its sessions and tokens end.
#[utoipa::path(
    patch, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminUpdateUser",
    params(("id" = i64, Path)),
    request_body = Flags,
    responses((status = 200, description = "The changed user", body = AdminView)),
    extensions(("x-problem-codes" = json!(["last_admin"]))),
)]
pub async fn update_user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    body: Json<Flags>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let id = UserId(*id);
    state.services.accounts().set_user_flags(&admin, id, body.is_active, body.is_admin).await?;
    let row = state.services.accounts().any_user_with_portfolios(&admin, id).await?;
    Ok(HttpResponse::Ok().json(AdminView::from(row)))
}

/// Delete a user with all their data.
#[utoipa::path(
    delete, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "adminDeleteUser",
    params(("id" = i64, Path)),
    responses((status = 204, description = "The user is deleted")),
    extensions(("x-problem-codes" = json!(["last_admin"]))),
)]
pub async fn delete_user(
    AdminUser(admin): AdminUser,
    id: Path<i64>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    state.services.accounts().remove_user(&admin, UserId(*id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Serialize, ToSchema)]
pub struct KnownStock {
    symbol: Symbol,
    company_name: String,
    exchange: String,
    sector: String,
    last_price: Option<Price>,
    /// Market time of the price.
    last_updated: Option<Timestamp>,
    price_source: Option<String>,
}

/// List the stocks of the installation, by symbol.
#[utoipa::path(
    get, path = "/api/v1/admin/stocks", tag = "admin", operation_id = "adminListStocks",
    params(Listing),
    responses((status = 200, description = "A page of stocks with their last price", body = Items<KnownStock>)),
)]
pub async fn stocks(
    _: AdminUser,
    wanted: Query<Listing>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let after: Option<Symbol> = parse("cursor", wanted.cursor.as_deref(), CURSOR)?;
    let page = state
        .services
        .operations()
        .all_stocks(&wanted.search, after, limit(wanted.limit.as_deref())?)
        .await?;
    let items = page.items.into_iter().map(|stock| KnownStock {
        symbol: stock.listing.symbol.clone(),
        company_name: stock.listing.company_name.clone(),
        exchange: stock.listing.exchange.clone(),
        sector: stock.listing.sector.clone(),
        last_updated: stock.last.as_ref().map(|last| last.as_of),
        price_source: stock.last.as_ref().map(|last| last.source.clone()),
        last_price: stock.last.map(|last| last.price),
    });
    Ok(HttpResponse::Ok()
        .json(Items { items: items.collect(), next_cursor: page.next.map(|symbol| symbol.to_string()) }))
}

/// The price source and its state.
#[derive(Serialize, ToSchema)]
pub struct Provider {
    /// `simulated/sim-v2`, `alpha_vantage`, `yahoo`
    source: String,
    #[schema(value_type = enums::Freshness)]
    freshness: &'static str,
    /// The number of stocks that users hold, watch or have open orders in.
    stocks_in_use: usize,
    /// How many days it takes until each of these stocks has a new close; null if it is one day.
    days_for_all: Option<usize>,
    /// The features that the key is configured for, and those that the provider refuses; empty for a free key and for
    /// other sources.
    key_features: Vec<ProviderFeature>,
    /// How often prices are updated in a session; null if calls are not counted, and for a source with one price per
    /// session.
    price_intervals: Option<PriceIntervals>,
    /// Null for the built-in market, which has no limits.
    limits: Option<ProviderLimits>,
    /// The table that searches use; null before it is fetched, and for sources without one.
    listings: Option<ListingsTable>,
}

/// A feature that a provider grants only to some keys.
#[derive(Serialize, ToSchema)]
pub struct ProviderFeature {
    /// `delayed_prices`, `realtime_prices`, `bulk_quotes` or `full_history`
    name: &'static str,
    /// Until when the refused feature is not tried again. Closes, single quotes or the last 100 sessions are used
    /// instead.
    refused_until: Option<Timestamp>,
}

impl From<&services::stocks::key_features::KeyFeatureState> for ProviderFeature {
    fn from(state: &services::stocks::key_features::KeyFeatureState) -> Self {
        Self { name: state.name, refused_until: state.refused_until }
    }
}

/// How often the jobs fetch prices in a session. The remaining scheduled calls are spread over the remaining time.
#[derive(Serialize, ToSchema)]
pub struct PriceIntervals {
    /// Calls for prices, on average.
    calls_per_minute: f64,
    /// Calls that are left for the prices of the session, or of the next session while the market is closed; null if
    /// there is no daily limit.
    calls_left: Option<u32>,
    /// Calls of the day that are reserved for closes and corporate actions.
    calls_kept: u32,
    /// Whether updates are slower than every 5 minutes for stocks with open orders, or every 20 minutes for others.
    is_slow: bool,
    /// Stocks with open orders. They are matched with these prices, and with prices that were fetched for pages.
    ordered: PriceInterval,
    /// Other stocks that are held.
    held: PriceInterval,
    /// Other stocks that are on watchlists, or were held.
    watched: PriceInterval,
}

#[derive(Serialize, ToSchema)]
pub struct PriceInterval {
    stocks: usize,
    /// Minutes between two prices of a stock, rounded up; null if no calls are left for it.
    minutes: Option<u32>,
}

impl From<&services::stocks::price_pace::PriceIntervals> for PriceIntervals {
    fn from(intervals: &services::stocks::price_pace::PriceIntervals) -> Self {
        let group = |group: services::stocks::price_pace::PriceInterval| PriceInterval {
            stocks: group.stocks,
            minutes: group.minutes,
        };
        Self {
            calls_per_minute: intervals.calls_per_minute,
            calls_left: intervals.calls_left,
            calls_kept: intervals.calls_kept,
            is_slow: intervals.is_slow(),
            ordered: group(intervals.ordered),
            held: group(intervals.held),
            watched: group(intervals.watched),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct ProviderLimits {
    /// The day in New York for which the calls are counted.
    day: chrono::NaiveDate,
    calls_used: u32,
    /// Null if there is no daily limit.
    calls_left: Option<u32>,
    pots: Vec<CallPot>,
    /// `closed` (calls are sent), `open` (no calls are sent) or `half_open` (one call is sent, to test whether the
    /// provider works again)
    #[schema(value_type = enums::CircuitBreaker)]
    breaker: &'static str,
    /// Until when no call is sent.
    parked_until: Option<Timestamp>,
    last_answered_at: Option<Timestamp>,
    last_failed_at: Option<Timestamp>,
    last_error: Option<String>,
}

/// The calls of a day are divided by purpose, so that one purpose cannot use up the calls of another.
#[derive(Serialize, ToSchema)]
pub struct CallPot {
    /// `scheduled`, `first_sight` or `reserve`
    name: &'static str,
    used: u32,
    limit: u32,
}

#[derive(Serialize, ToSchema)]
pub struct ListingsTable {
    count: i64,
    refreshed_at: Timestamp,
}

impl From<ProviderState> for Provider {
    fn from(state: ProviderState) -> Self {
        Self {
            days_for_all: state.days_for_all(),
            source: state.source.to_string(),
            freshness: state.freshness.as_str(),
            stocks_in_use: state.stocks_in_use,
            key_features: state.features.iter().map(ProviderFeature::from).collect(),
            price_intervals: state.intervals.as_ref().map(PriceIntervals::from),
            limits: state.limits.map(ProviderLimits::from),
            listings: state.listings.map(|(refreshed_at, count)| ListingsTable { count, refreshed_at }),
        }
    }
}

impl From<LimitsState> for ProviderLimits {
    fn from(state: LimitsState) -> Self {
        let pot = |pot: &services::stocks::providers::PotState| CallPot {
            name: pot.name,
            used: pot.used,
            limit: pot.limit,
        };
        Self {
            day: state.day,
            calls_used: state.used(),
            calls_left: state.left(),
            pots: state.pots.iter().map(pot).collect(),
            breaker: state.breaker.as_str(),
            parked_until: state.parked_until,
            last_answered_at: state.last_answered_at,
            last_failed_at: state.last_failed_at,
            last_error: state.last_error,
        }
    }
}

/// Get the state of the price source.
///
/// Calls used and left today, pauses, and the last error.
#[utoipa::path(
    get, path = "/api/v1/admin/providers", tag = "admin", operation_id = "adminListProviders",
    responses((status = 200, description = "The price sources", body = Items<Provider>)),
)]
pub async fn providers(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let provider = Provider::from(state.services.stocks().provider_state().await?);
    Ok(HttpResponse::Ok().json(Items::all(vec![provider])))
}

#[derive(Serialize, ToSchema)]
#[schema(as = InstallationStatus)]
pub struct Status {
    /// Wall time of this report.
    at: Timestamp,
    /// Workers with a heartbeat within the last hour, in the order in which they started.
    workers: Vec<Worker>,
    jobs: Vec<JobState>,
    /// The newest session with final snapshots; null if there is none yet.
    last_final_snapshot: Option<LastSnapshot>,
    /// The number of closed sessions since then whose snapshots are due.
    snapshot_sessions_behind: usize,
    /// Bytes that the database occupies on disk; on SQLite its file and the log beside it.
    database_bytes: u64,
    /// When `stockyard backup` last copied this database; null if it has not been copied yet.
    last_backup_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct Worker {
    /// The name is new for each start of a worker.
    name: String,
    host: String,
    process_id: i64,
    version: String,
    /// `embedded` (inside `stockyard serve`) or `redis` (a `stockyard worker` process)
    mode: String,
    started_at: Timestamp,
    /// The newest heartbeat.
    last_seen_at: Timestamp,
    /// `alive`, or `silent` when the newest heartbeat is too old: the worker died or hangs.
    #[schema(value_type = enums::WorkerStatus)]
    status: &'static str,
}

#[derive(Serialize, ToSchema)]
pub struct JobState {
    #[schema(value_type = enums::JobKind)]
    kind: &'static str,
    /// The number of stored runs, by status.
    queued: i64,
    running: i64,
    done: i64,
    failed: i64,
    /// Runs that have waited, or have run without a heartbeat, for more than five minutes.
    overdue: i64,
    /// Runs that failed finally within the last 24 hours.
    failed_last_day: i64,
    last_success_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
pub struct LastSnapshot {
    session: chrono::NaiveDate,
    taken_at: Timestamp,
}

impl From<WorkerStatus> for Worker {
    fn from(worker: WorkerStatus) -> Self {
        Self {
            status: if worker.is_alive { "alive" } else { "silent" },
            name: worker.name,
            host: worker.host,
            process_id: worker.process_id,
            version: worker.version,
            mode: worker.mode,
            started_at: worker.started_at,
            last_seen_at: worker.last_seen_at,
        }
    }
}

impl From<OperationsStatus> for Status {
    fn from(status: OperationsStatus) -> Self {
        let job = |job: JobStatus| JobState {
            kind: job.kind.as_str(),
            queued: job.queued,
            running: job.running,
            done: job.done,
            failed: job.failed,
            overdue: job.overdue,
            failed_last_day: job.failed_lately,
            last_success_at: job.last_success_at,
        };
        Self {
            at: status.at,
            workers: status.workers.into_iter().map(Worker::from).collect(),
            jobs: status.jobs.into_iter().map(job).collect(),
            last_final_snapshot: status
                .last_final_snapshot
                .map(|last| LastSnapshot { session: last.session, taken_at: last.taken_at }),
            snapshot_sessions_behind: status.sessions_behind,
            database_bytes: status.database_bytes,
            last_backup_at: status.last_backup_at,
        }
    }
}

/// Get the state of the installation.
///
/// Workers, jobs, snapshots, database and backup.
#[utoipa::path(
    get, path = "/api/v1/admin/status", tag = "admin", operation_id = "adminGetStatus",
    responses((status = 200, description = "The state of the installation", body = Status)),
)]
pub async fn status(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(Status::from(state.services.operations().operations_status().await?)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = JobRun)]
pub struct Run {
    id: i64,
    #[schema(value_type = enums::JobKind)]
    kind: String,
    /// What the run is for: the date of a session, or a minute.
    key: String,
    partition: i64,
    #[schema(value_type = enums::JobRunStatus)]
    status: String,
    attempts: i32,
    worker: Option<String>,
    queued_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// The result, or the error of a failed run.
    outcome: Option<String>,
}

impl From<JobRun> for Run {
    fn from(run: JobRun) -> Self {
        Self {
            id: run.id,
            kind: run.kind.as_str().to_owned(),
            key: run.key,
            partition: run.partition,
            status: run.status.as_str().to_owned(),
            attempts: run.attempts,
            worker: run.worker,
            queued_at: run.queued_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: run.outcome,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Runs {
    /// Only runs of this job.
    #[param(value_type = Option<enums::JobKind>)]
    kind: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// List runs of the background jobs, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/jobs", tag = "admin", operation_id = "adminListJobRuns",
    params(Runs),
    responses((status = 200, description = "A page of runs", body = Items<Run>)),
)]
pub async fn jobs(_: AdminUser, wanted: Query<Runs>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let kind: Option<JobKind> = parse("kind", wanted.kind.as_deref(), "unknown job")?;
    let before: Option<i64> = parse("cursor", wanted.cursor.as_deref(), CURSOR)?;
    let page = state.services.jobs().job_runs(kind, before, limit(wanted.limit.as_deref())?).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|id| id.to_string()),
        items: page.items.into_iter().map(Run::from).collect(),
    }))
}

/// A split that halts trading in its stock.
#[derive(Serialize, ToSchema)]
pub struct HeldSplit {
    symbol: Symbol,
    /// The announced ratio, such as `20:1`: new shares for old shares.
    ratio: String,
    /// The first session in new shares.
    ex_on: chrono::NaiveDate,
    /// `awaiting` the first price after it, or `suspended` because that price contradicts it
    #[schema(value_type = enums::SplitConfirmation)]
    confirmation: &'static str,
    /// The price that is expected after the split.
    expected_price: Option<Price>,
    /// The first price after the split.
    found_price: Option<Price>,
    hold_reason: String,
}

impl From<services::corporate_actions::splits::HeldSplit> for HeldSplit {
    fn from(held: services::corporate_actions::splits::HeldSplit) -> Self {
        let compared = held.known.check.as_ref().and_then(|check| check.compared.clone());
        let (expected_price, found_price) = compared.unzip();
        Self {
            symbol: held.symbol,
            ratio: held.known.action.ratio().map_or_else(String::new, |ratio| ratio.to_string()),
            ex_on: held.known.action.ex_on,
            confirmation: held.known.check.map_or("confirmed", |check| check.confirmation.as_str()),
            expected_price,
            found_price,
            hold_reason: held.hold.to_string(),
        }
    }
}

/// List the splits that halt trading, oldest first.
#[utoipa::path(
    get, path = "/api/v1/admin/splits", tag = "admin", operation_id = "adminListHeldSplits",
    responses((status = 200, description = "The splits", body = Items<HeldSplit>)),
)]
pub async fn splits(_: AdminUser, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let held = state.services.corporate_actions().held_splits().await?;
    Ok(HttpResponse::Ok().json(Items::all(held.into_iter().map(HeldSplit::from).collect())))
}

/// A decision about a split in doubt.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SplitDecision)]
pub struct Resolution {
    #[schema(value_type = Symbol)]
    symbol: String,
    /// `confirm` (the split took place as announced), `correct` (with another ratio) or `withdraw` (there was no split)
    #[schema(value_type = enums::SplitResolution)]
    resolution: String,
    /// Only for `correct`: new and old shares, such as `2:1` for two new shares for each old one.
    ratio: Option<String>,
    /// Stored with the decision; up to 500 characters.
    reason: String,
}

/// Resolve the split that halts trading in a stock.
///
/// Shares and open orders are corrected before the response.
#[utoipa::path(
    post, path = "/api/v1/admin/splits", tag = "admin", operation_id = "adminResolveSplit",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body = Resolution,
    responses((status = 204, description = "The split is resolved")),
    extensions(("x-problem-codes" = json!(["no_split_in_doubt", "unknown_symbol", "idempotency_key_reused", "busy"]))),
)]
pub async fn resolve_split(
    request: HttpRequest,
    AdminUser(admin): AdminUser,
    body: Json<Resolution>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let Json(Resolution { symbol, resolution, ratio, reason }) = body;
    let mut reader = Fields::default();
    let symbol: Option<Symbol> = reader.read("symbol", &symbol);
    let resolution = SplitResolution::parse(&resolution, ratio.as_deref())
        .map_err(|error| reader.refuse(error.field, &error.message))
        .ok();
    let (symbol, resolution) = reader.finish(symbol.zip(resolution))?;
    let author = DecisionAuthor { administrator: admin, key: idempotency_key(&request)? };
    let actions = state.services.corporate_actions();
    let done = actions.resolve_split_once(&symbol, resolution, &reason, author).await?;
    Ok(done_once(HttpResponse::NoContent(), &done).finish())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobRequest)]
pub struct Request {
    /// `snapshot_portfolios` (provisional snapshots of the current session), `refresh_quotes`, `refresh_listings` or
    /// `prune`
    #[schema(value_type = enums::JobKind)]
    kind: String,
}

/// Request a run of a background job.
///
/// A worker starts it within seconds.
#[utoipa::path(
    post, path = "/api/v1/admin/jobs", tag = "admin", operation_id = "adminRequestJobRun",
    request_body = Request,
    responses((status = 202, description = "The run is queued")),
)]
pub async fn run_job(
    AdminUser(admin): AdminUser,
    body: Json<Request>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut reader = Fields::default();
    let kind = reader.read("kind", &body.kind);
    state.services.jobs().request_run(&admin, reader.finish(kind)?).await?;
    Ok(HttpResponse::Accepted().finish())
}
