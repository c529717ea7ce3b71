//! Health checks for load balancers and supervisors.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use services::Services;
use services::operations::health::HealthCheck;

use crate::AppState;
use crate::http::problem::Problem;

/// How long the database may take to answer.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(3);

/// Responds as long as the process runs.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

#[derive(Debug, Default, Deserialize)]
pub struct Ready {
    /// `1` or `true`: check all parts of the installation, also the workers and Redis.
    #[serde(default)]
    deep: String,
}

/// Reports whether the process can serve requests, which means that its database answers. With `deep=1` the whole
/// installation is checked.
pub async fn ready(asked: Query<Ready>, state: Data<AppState>) -> Result<HttpResponse, Problem> {
    match asked.deep.as_str() {
        "1" | "true" => deep(&state.services.operations().deep_health().await),
        _ => shallow(&state.services).await,
    }
}

async fn shallow(services: &Services) -> Result<HttpResponse, Problem> {
    let answer = tokio::time::timeout(DATABASE_TIMEOUT, services.operations().check_ready()).await;
    match answer.unwrap_or_else(|late| Err(services::Error::Internal(late.into()))) {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({"status": "ok"}))),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            Err(not_ready("The database does not answer."))
        }
    }
}

fn not_ready(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "Not ready", detail)
}

fn deep(checks: &[HealthCheck]) -> Result<HttpResponse, Problem> {
    let shown: Vec<Value> = checks
        .iter()
        .map(|check| match &check.failure {
            None => json!({"name": check.name, "status": "ok"}),
            Some(reason) => json!({"name": check.name, "status": "failed", "reason": reason}),
        })
        .collect();
    let failed: Vec<&str> =
        checks.iter().filter(|check| check.failure.is_some()).map(|check| check.name).collect();
    if failed.is_empty() {
        return Ok(HttpResponse::Ok().json(json!({"status": "ok", "checks": shown})));
    }
    let detail = format!("These checks failed: {}. See `checks` for the reasons.", failed.join(", "));
    Err(not_ready(detail).with_member("checks", shown.into()))
}
