//! For load balancers and supervisors.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use crate::AppState;
use crate::problem::Problem;

/// A database that takes longer is not there for a person either.
const PATIENCE: Duration = Duration::from_secs(3);

/// The process runs.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// The process can serve: its database answers.
pub async fn ready(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let answer = tokio::time::timeout(PATIENCE, state.services.check_ready()).await;
    match answer.unwrap_or_else(|late| Err(services::Error::Internal(late.into()))) {
        Ok(()) => Ok(HttpResponse::Ok().json(json!({"status": "ok"}))),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "not ready");
            let status = actix_web::http::StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "not_ready", "Not ready", "The database does not answer."))
        }
    }
}
