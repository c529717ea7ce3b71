//! One HTTP call: paced, bounded in time and size, its answer a JSON object that is no refusal.

use std::time::Duration;

use domain::Symbol;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::pace::Pace;
use super::refusal::Refusal;
use super::{AlphaVantageConfig, InvalidSetup, Now};
use crate::QuoteError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(8);
const MOST_REDIRECTS: usize = 3;
/// Of the body, unpacked: 2 MiB.
const MOST_BYTES: usize = 2 * 1024 * 1024;

pub(super) struct Transport {
    client: Client,
    /// With the path, without the query.
    endpoint: Url,
    api_key: SecretString,
    pace: Pace,
    pub(super) now: Now,
}

impl Transport {
    pub(super) fn new(config: AlphaVantageConfig) -> Result<Self, InvalidSetup> {
        let AlphaVantageConfig { api_key, base_url: mut endpoint, min_gap, now } = config;
        endpoint.path_segments_mut().map_err(|()| InvalidSetup::BaseUrl)?.pop_if_empty().push("query");
        // Without the referer, which would hand the URL and the key in it to whom a redirect leads to.
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(Policy::limited(MOST_REDIRECTS))
            .referer(false)
            .user_agent(concat!("stockyard/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(InvalidSetup::Client)?;
        Ok(Self { client, endpoint, api_key, pace: Pace::new(min_gap), now })
    }

    /// Calls a function of the provider. `about` is the symbol it is called for, if for one.
    pub(super) async fn call(
        &self,
        function: &str,
        parameters: &[(&str, &str)],
        about: Option<&Symbol>,
    ) -> Result<Map<String, Value>, QuoteError> {
        self.pace.turn().await;
        let mut url = self.endpoint.clone();
        url.query_pairs_mut()
            .append_pair("function", function)
            .extend_pairs(parameters)
            .append_pair("apikey", self.api_key.expose_secret());
        let response = self.client.get(url).send().await.map_err(failure)?;
        let status = response.status();
        let body = bounded_body(response).await?;
        tracing::debug!(function, status = status.as_u16(), bytes = body.len(), "Alpha Vantage answered");
        match serde_json::from_slice::<Value>(&body) {
            Ok(Value::Object(answer)) => match Refusal::of(&answer) {
                Some(refusal) => Err(refusal.into_error(about, (self.now)(), |text| self.without_key(text))),
                None if status.is_success() => Ok(answer),
                None => Err(self.bad_status(status)),
            },
            _ if !status.is_success() => Err(self.bad_status(status)),
            Ok(_) | Err(_) if body.trim_ascii().is_empty() => Err(unusable("an empty answer")),
            Ok(_) | Err(_) => Err(unusable("something else than a JSON object")),
        }
    }

    fn bad_status(&self, status: StatusCode) -> QuoteError {
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Refusal::PerMinute.into_error(None, (self.now)(), str::to_owned);
        }
        unusable(&format!("HTTP status {}", status.as_u16()))
    }

    /// The provider likes to quote the key in its texts.
    fn without_key(&self, text: &str) -> String {
        match self.api_key.expose_secret() {
            "" => text.to_owned(),
            key => text.replace(key, "***"),
        }
    }
}

pub(super) fn unusable(what: &str) -> QuoteError {
    QuoteError::Upstream(what.to_owned())
}

/// `reqwest`'s errors carry the URL, and with it the key: only their kind is told.
fn failure(error: reqwest::Error) -> QuoteError {
    if error.is_redirect() {
        unusable("too many redirects")
    } else if error.is_decode() && !error.is_timeout() {
        unusable("a body that is cut off or cannot be unpacked")
    } else {
        QuoteError::Unreachable
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, QuoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MOST_BYTES {
            return Err(unusable("more than 2 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
