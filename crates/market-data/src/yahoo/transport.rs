//! Calls to Yahoo: spaced, and paused after a refusal.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;
use url::Url;

use super::YahooConfig;
use crate::breaker::{Breaker, BreakerRules, BreakerState};
use crate::http::{Answer, Http};
use crate::plausible::unusable;
use crate::source::{InvalidSetup, Now};
use crate::{Payer, QuoteError};

/// Yahoo rejects the names of HTTP libraries at the first call, so a browser-like name is sent.
const USER_AGENT: &str = concat!("Mozilla/5.0 (compatible; stockyard/", env!("CARGO_PKG_VERSION"), ")");
/// When and how long calls are paused after a refusal. A refused address stays refused for at least a quarter of an
/// hour, and further calls prolong that time.
const BLOCK_RULES: BreakerRules =
    BreakerRules { failures: 1, first_pause: TimeDelta::minutes(15), longest_pause: TimeDelta::hours(4) };
const TOO_MANY: &str = "Too Many Requests";

pub(super) struct Transport {
    http: Http,
    base_url: Url,
    cookie_url: Url,
    breaker: Breaker,
    now: Now,
}

/// A JSON answer of any status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Reply {
    pub(super) fn successful(self) -> Result<Value, QuoteError> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.failure()) }
    }

    pub(super) fn failure(&self) -> QuoteError {
        unusable(&format!("HTTP status {}", self.status.as_u16()))
    }
}

impl Transport {
    pub(super) fn new(config: YahooConfig) -> Result<Self, InvalidSetup> {
        let YahooConfig { base_url, cookie_url, min_gap, now } = config;
        if base_url.cannot_be_a_base() || cookie_url.cannot_be_a_base() {
            return Err(InvalidSetup::BaseUrl);
        }
        let http = Http::new(USER_AGENT, min_gap).map_err(InvalidSetup::Client)?;
        Ok(Self { http, base_url, cookie_url, breaker: Breaker::new(BLOCK_RULES), now })
    }

    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.http.set_deadline(deadline);
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    pub(super) async fn get(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
        cookie: Option<&str>,
        payer: &Payer,
    ) -> Result<Reply, QuoteError> {
        let answer = self.get_text(path, parameters, cookie, payer).await?;
        if answer.is_page() {
            return Err(unusable("a web page in place of data"));
        }
        match serde_json::from_slice(&answer.body) {
            Ok(body @ Value::Object(_)) => Ok(Reply { status: answer.status, body }),
            _ if !answer.status.is_success() => {
                Err(unusable(&format!("HTTP status {}", answer.status.as_u16())))
            }
            Ok(_) | Err(_) => Err(unusable("an answer that is not a JSON object")),
        }
    }

    /// Fetches a text. A server error is retried once, unless the answer names a time to wait.
    pub(super) async fn get_text(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
        cookie: Option<&str>,
        payer: &Payer,
    ) -> Result<Answer, QuoteError> {
        let mut url = self.base_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let answer = self.fetch(url.clone(), cookie, payer).await?;
        if answer.status.is_server_error() {
            return self.fetch(url, cookie, payer).await;
        }
        Ok(answer)
    }

    pub(super) async fn get_cookies(&self, payer: &Payer) -> Result<Answer, QuoteError> {
        self.fetch(self.cookie_url.clone(), None, payer).await
    }

    async fn fetch(&self, url: Url, cookie: Option<&str>, payer: &Payer) -> Result<Answer, QuoteError> {
        let now = || Timestamp::from(self.now());
        self.breaker.admit(now()).map_err(refusal)?;
        let path = url.path().to_owned();
        let answer = match self.http.get(url, cookie, payer).await {
            Ok(answer) => answer,
            Err(error) => {
                self.breaker.abandoned(now());
                return Err(error);
            }
        };
        let (status, bytes) = (answer.status.as_u16(), answer.body.len());
        tracing::debug!(path, status, bytes, "Yahoo answered");
        if let Some(until) = answer.refused_until(self.now()) {
            self.breaker.refused(until.into());
            tracing::warn!(%until, "Yahoo asks to wait");
            return Err(refusal(until.into()));
        }
        if answer.status == StatusCode::TOO_MANY_REQUESTS || is_too_many_requests(&answer.body) {
            self.breaker.failed(now());
            tracing::warn!("Yahoo refuses calls from this address");
            return Err(match self.breaker.current(now()) {
                BreakerState::Open { until } => refusal(until),
                BreakerState::Closed | BreakerState::HalfOpen => QuoteError::RateLimited { retry_at: None },
            });
        }
        self.breaker.succeeded();
        Ok(answer)
    }
}

/// Whether the body is Yahoo's refusal: a single line of text, with status 200 when a crumb is requested.
fn is_too_many_requests(body: &[u8]) -> bool {
    body.len() < 200 && String::from_utf8_lossy(body).contains(TOO_MANY)
}

fn refusal(retry_at: Timestamp) -> QuoteError {
    QuoteError::RateLimited { retry_at: Some(retry_at.utc()) }
}
