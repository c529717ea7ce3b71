//! `/metrics` for Prometheus, and the counters of requests.
//!
//! Names and units follow Prometheus's conventions. Labels come from fixed sets: route patterns, methods, statuses,
//! kinds of jobs. The names of workers are the exception; their rows are deleted after an hour.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::NaiveTime;
use domain::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use secrecy::{ExposeSecret, SecretString};
use services::operations::OperationsStatus;
use services::operations::health::HealthCheck;
use services::operations::metrics::ProcessFigures;
use sha2::Sha256;

use crate::http::extract;
use crate::http::problem::Problem;
use crate::{AppState, WebConfig};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

static REQUESTS: LazyLock<Family<Answered, Counter>> = LazyLock::new(Family::default);
type Durations = Family<Route, Histogram, fn() -> Histogram>;

static SECONDS: LazyLock<Durations> = LazyLock::new(|| {
    Family::new_with_constructor(|| {
        Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
    })
});

/// The route of requests to addresses that do not exist.
const UNKNOWN_ROUTE: &str = "unknown";

/// Unusual methods count as one, so that clients cannot create labels.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Counts each request by its route pattern, with the time until its response begins.
pub async fn measure(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let (began, method) = (Instant::now(), method_label(request.method()));
    let answered = next.call(request).await;
    let (route, status) = match &answered {
        Ok(response) => (response.request().match_pattern(), response.status()),
        Err(error) => (None, error.as_response_error().status_code()),
    };
    let route = Route { method, route: route.unwrap_or_else(|| UNKNOWN_ROUTE.to_owned()) };
    SECONDS.get_or_create(&route).observe(began.elapsed().as_secs_f64());
    REQUESTS.get_or_create(&Answered { method, route: route.route, status: status.as_u16() }).inc();
    answered
}

/// The metrics of this process and of the installation, for clients on this machine and for those with the token.
pub async fn show(request: HttpRequest, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    if !may_read(&request, &state.config) {
        return Err(Problem::not_found());
    }
    let services = &state.services;
    // Each of them has a deadline, so the scrape has one too.
    let (status, health, process) = tokio::join!(
        services.operations().recent_operations_status(),
        services.operations().deep_health(),
        services.operations().process_figures()
    );
    let mut registry = Registry::default();
    register_counters(&mut registry);
    register_process(&mut registry, &process);
    counter(
        &mut registry,
        "stockyard_log_lines_dropped",
        "Log lines that could not be written",
        number(state.config.dropped_log_lines.load(Ordering::Relaxed)),
    );
    register_installation(&mut registry, status.as_deref(), &health);
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(|_| Problem::internal())?;
    Ok(HttpResponse::Ok().content_type(prometheus_text::CONTENT_TYPE).body(text))
}

/// A proxy on this machine is a loopback peer too, so a forwarded request counts as remote.
fn may_read(request: &HttpRequest, config: &WebConfig) -> bool {
    if let Some(expected) = &config.metrics_token
        && let Some(given) = extract::bearer(request.headers())
    {
        return is_same_secret(config, given, expected);
    }
    let is_forwarded = ["x-forwarded-for", "forwarded", "x-real-ip", "via"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    let is_loopback = request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    is_loopback && !is_forwarded
}

/// Compares in constant time.
fn is_same_secret(config: &WebConfig, given: &str, expected: &SecretString) -> bool {
    let mac = |text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(config.secret_key.expose_secret().as_bytes())
            .expect("HMAC takes any key");
        mac.update(b"metrics ");
        mac.update(text.as_bytes());
        mac
    };
    mac(given).verify(&mac(expected.expose_secret()).finalize().into_bytes()).is_ok()
}

type Number = Gauge<f64, AtomicU64>;

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Number::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// Registers one gauge per set of label values. If a set occurs twice, the larger value counts.
fn gauges<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    labels: [&'static str; N],
    rows: impl IntoIterator<Item = ([String; N], f64)>,
) {
    let family = Family::<Vec<(&'static str, String)>, Number>::default();
    for (values, number) in rows {
        let set: Vec<_> = labels.iter().copied().zip(values).collect();
        let gauge = family.get_or_create(&set);
        gauge.set(gauge.get().max(number));
    }
    registry.register(name, help, family);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let counter = Counter::<f64, AtomicU64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn number(value: impl TryInto<u64>) -> f64 {
    value.try_into().unwrap_or_default() as f64
}

fn register_counters(registry: &mut Registry) {
    registry.register("stockyard_http_requests", "Requests, by route and status", REQUESTS.clone());
    registry.register(
        "stockyard_http_request_duration_seconds",
        "Time from a request's head to the start of its response",
        SECONDS.clone(),
    );
    services::operations::metrics::register(registry);
    gauges(
        registry,
        "stockyard_build_info",
        "1, with the version of this program",
        ["version"],
        [([env!("CARGO_PKG_VERSION").to_owned()], 1.0)],
    );
}

fn register_process(registry: &mut Registry, process: &ProcessFigures) {
    gauge(
        registry,
        "stockyard_order_desk_queue_length",
        "Commands that wait for the order desk",
        number(process.desk_queued),
    );
    gauge(
        registry,
        "stockyard_order_desk_batch_age_seconds",
        "How long the order desk has worked on its current batch; 0 if it is idle",
        process.desk_busy_for,
    );
    gauge(registry, "stockyard_event_streams_open", "Open event streams", number(process.open_streams));
    gauge(
        registry,
        "stockyard_event_streams_max",
        "The most event streams of this process",
        number(process.max_streams),
    );
    gauge(
        registry,
        "stockyard_database_connections_in_use",
        "Connections of the pool that are in use",
        number(process.connections_in_use),
    );
    gauge(
        registry,
        "stockyard_database_connections_max",
        "The most connections of the pool",
        number(process.max_connections),
    );
    gauges(
        registry,
        "stockyard_cache_entries",
        "Entries that this process keeps in memory",
        ["cache"],
        process.caches.iter().map(|size| ([size.cache.to_owned()], number(size.entries))),
    );
    gauges(
        registry,
        "stockyard_cache_bytes",
        "Bytes of these entries, estimated for texts",
        ["cache"],
        process.caches.iter().map(|size| ([size.cache.to_owned()], number(size.bytes))),
    );
    counter(
        registry,
        "stockyard_performance_windows_from_memory",
        "Performance answers whose closed days came from memory",
        number(process.windows_from_memory),
    );
    if let Some(provider) = &process.provider {
        gauge(
            registry,
            "stockyard_provider_paused",
            "1 while this process makes no calls because the provider failed or refused",
            f64::from(u8::from(provider.is_paused)),
        );
        gauges(
            registry,
            "stockyard_provider_budget_remaining_requests",
            "Calls left on the day in New York, for all processes together",
            ["pot"],
            provider.left.iter().map(|(pot, left)| ([(*pot).to_owned()], f64::from(*left))),
        );
    }
    register_operating_system(registry);
}

/// The operating system's data about this process, under the names that all Prometheus clients use.
#[cfg(target_os = "linux")]
fn register_operating_system(registry: &mut Registry) {
    use procfs::process::{LimitValue, Process};

    let Ok(process) = Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let per_second = number(procfs::ticks_per_second()).max(1.0);
        counter(
            registry,
            "process_cpu_seconds",
            "CPU time of this process",
            number(stat.utime + stat.stime) / per_second,
        );
        gauge(
            registry,
            "process_resident_memory_bytes",
            "Resident memory of this process",
            number(stat.rss) * number(procfs::page_size()),
        );
        gauge(registry, "process_virtual_memory_bytes", "Address space of this process", number(stat.vsize));
        gauge(registry, "process_threads", "Threads of this process", number(stat.num_threads));
        if let Ok(boot) = procfs::boot_time_secs() {
            gauge(
                registry,
                "process_start_time_seconds",
                "When this process started, in seconds since 1970",
                number(boot) + number(stat.starttime) / per_second,
            );
        }
    }
    if let Ok(count) = process.fd_count() {
        gauge(registry, "process_open_fds", "Open file descriptors", number(count));
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        gauge(registry, "process_max_fds", "The most file descriptors of this process", number(most));
    }
}

#[cfg(not(target_os = "linux"))]
fn register_operating_system(_: &mut Registry) {}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit")]
fn seconds(at: Timestamp) -> f64 {
    at.utc().timestamp_micros() as f64 / 1e6
}

/// Registers the metrics from the database. If the database does not answer, registers only that fact.
fn register_installation(registry: &mut Registry, status: Option<&OperationsStatus>, health: &[HealthCheck]) {
    gauge(
        registry,
        "stockyard_database_up",
        "Whether the database answered this scrape",
        f64::from(u8::from(status.is_some())),
    );
    gauges(
        registry,
        "stockyard_health_check_up",
        "Whether the part passes the deep health check",
        ["check"],
        health.iter().map(|check| ([check.name.to_owned()], f64::from(u8::from(check.failure.is_none())))),
    );
    let Some(status) = status else { return };
    let states = [("alive", true), ("silent", false)];
    gauges(
        registry,
        "stockyard_workers",
        "Workers with a heartbeat within the last hour; silent ones died or hang",
        ["state"],
        states.map(|(state, alive)| {
            let count = status.workers.iter().filter(|worker| worker.is_alive == alive).count();
            ([state.to_owned()], number(count))
        }),
    );
    gauges(
        registry,
        "stockyard_worker_last_heartbeat_timestamp_seconds",
        "When a worker sent its newest heartbeat, in seconds since 1970",
        ["worker", "mode"],
        status.workers.iter().map(|worker| {
            let name = format!("{}-{}", worker.host, worker.process_id);
            ([name, worker.mode.clone()], seconds(worker.last_seen_at))
        }),
    );
    register_jobs(registry, status);
    if let Some(last) = status.last_final_snapshot {
        gauge(
            registry,
            "stockyard_final_snapshot_session_timestamp_seconds",
            "The newest session with final snapshots, as its date's first second in UTC since 1970",
            seconds(last.session.and_time(NaiveTime::MIN).and_utc().into()),
        );
        gauge(
            registry,
            "stockyard_final_snapshot_taken_timestamp_seconds",
            "When the newest final snapshots were written, in seconds since 1970",
            seconds(last.taken_at),
        );
    }
    gauge(
        registry,
        "stockyard_final_snapshot_sessions_behind",
        "Closed sessions that have no final snapshots yet",
        number(status.sessions_behind),
    );
    gauge(
        registry,
        "stockyard_database_size_bytes",
        "Bytes of the database on disk",
        number(status.database_bytes),
    );
    if let Some(at) = status.last_backup_at {
        gauge(
            registry,
            "stockyard_backup_last_timestamp_seconds",
            "When `stockyard backup` last copied the database, in seconds since 1970",
            seconds(at),
        );
    }
}

fn register_jobs(registry: &mut Registry, status: &OperationsStatus) {
    gauges(
        registry,
        "stockyard_job_runs",
        "Runs on record, by kind and status",
        ["kind", "status"],
        status.jobs.iter().flat_map(|job| {
            let of_status = [
                ("queued", job.queued),
                ("running", job.running),
                ("done", job.done),
                ("failed", job.failed),
            ];
            of_status
                .map(|(status, count)| ([job.kind.as_str().to_owned(), status.to_owned()], number(count)))
        }),
    );
    let mut by_kind =
        |name: &str, help: &str, figure: &dyn Fn(&services::operations::JobStatus) -> Option<f64>| {
            let rows =
                status.jobs.iter().filter_map(|job| Some(([job.kind.as_str().to_owned()], figure(job)?)));
            gauges(registry, name, help, ["kind"], rows);
        };
    by_kind(
        "stockyard_job_runs_overdue",
        "Runs that have waited, or have run without a heartbeat, for more than five minutes",
        &|job| Some(number(job.overdue)),
    );
    by_kind(
        "stockyard_job_runs_failed_last_day",
        "Runs that failed finally within the last 24 hours",
        &|job| Some(number(job.failed_lately)),
    );
    by_kind(
        "stockyard_job_last_success_timestamp_seconds",
        "When the newest run of the kind was done, in seconds since 1970",
        &|job| job.last_success_at.map(seconds),
    );
}
