//! Calls a function of the provider and separates data from refusals.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use domain::Symbol;
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::AlphaVantageConfig;
use super::refusal::Refusal;
use crate::capability::Capability;
use crate::http::{Answer, Http};
use crate::plausible::unusable;
use crate::source::{InvalidSetup, Now};
use crate::{Payer, QuoteError};

/// How long no calls are sent after the key was refused; the refusal will not end by itself.
const AFTER_BAD_KEY: TimeDelta = TimeDelta::hours(1);

pub(super) struct Transport {
    http: Http,
    /// The URL with its path, without the query.
    endpoint: Url,
    api_key: SecretString,
    key_works: Capability,
    now: Now,
}

/// Why a call returned no data.
#[derive(Debug)]
pub(super) enum Failure {
    /// The provider refused the call.
    Refused(Refusal),
    /// No answer, or an unreadable one.
    Failed(QuoteError),
}

impl From<QuoteError> for Failure {
    fn from(error: QuoteError) -> Self {
        Self::Failed(error)
    }
}

impl Transport {
    pub(super) fn new(config: AlphaVantageConfig) -> Result<Self, InvalidSetup> {
        let AlphaVantageConfig { api_key, base_url: mut endpoint, min_gap, now } = config;
        endpoint.path_segments_mut().map_err(|()| InvalidSetup::BaseUrl)?.pop_if_empty().push("query");
        let user_agent = concat!("stockyard/", env!("CARGO_PKG_VERSION"));
        let http = Http::new(user_agent, min_gap).map_err(InvalidSetup::Client)?;
        Ok(Self { http, endpoint, api_key, key_works: Capability::retried_after(AFTER_BAD_KEY), now })
    }

    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.http.set_deadline(deadline);
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        (self.now)()
    }

    /// Calls a function that answers with a JSON object.
    pub(super) async fn call(
        &self,
        function: &str,
        parameters: &[(&str, &str)],
        payer: &Payer,
    ) -> Result<Map<String, Value>, Failure> {
        let answer = self.get(function, parameters, payer).await?;
        self.read_object(answer)
    }

    /// Calls a function that answers with CSV. Its refusals are JSON too.
    pub(super) async fn call_for_csv(
        &self,
        function: &str,
        parameters: &[(&str, &str)],
        payer: &Payer,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.get(function, parameters, payer).await?;
        match answer.body.trim_ascii_start().first() {
            Some(b'{') => match self.read_object(answer) {
                Ok(_) => Err(unusable("a JSON object in place of a table").into()),
                Err(failure) => Err(failure),
            },
            _ if !answer.status.is_success() => Err(self.bad_status(&answer)),
            None => Err(unusable("an empty answer").into()),
            Some(_) if answer.is_page() => Err(unusable("a web page in place of a table").into()),
            Some(_) => Ok(answer.body),
        }
    }

    /// The error for the caller. `about` is the symbol of the call, if it has one.
    pub(super) fn to_quote_error(&self, failure: Failure, about: Option<&Symbol>) -> QuoteError {
        match failure {
            Failure::Refused(refusal) => refusal.into_error(about, self.now()),
            Failure::Failed(error) => error,
        }
    }

    async fn get(
        &self,
        function: &str,
        parameters: &[(&str, &str)],
        payer: &Payer,
    ) -> Result<Answer, Failure> {
        if !self.key_works.is_available(self.now()) {
            return Err(Failure::Refused(Refusal::Key));
        }
        let mut url = self.endpoint.clone();
        url.query_pairs_mut()
            .append_pair("function", function)
            .extend_pairs(parameters)
            .append_pair("apikey", self.api_key.expose_secret());
        let answer = self.http.get(url, None, payer).await?;
        let (status, bytes) = (answer.status.as_u16(), answer.body.len());
        tracing::debug!(function, status, bytes, "Alpha Vantage answered");
        Ok(answer)
    }

    fn read_object(&self, answer: Answer) -> Result<Map<String, Value>, Failure> {
        match serde_json::from_slice::<Value>(&answer.body) {
            Ok(Value::Object(object)) => match Refusal::from_answer(&object) {
                Some(refusal) => {
                    Err(self.log_refusal(refusal.not_before(answer.retry_at(self.now()), self.now())))
                }
                None if answer.status.is_success() => Ok(object),
                None => Err(self.bad_status(&answer)),
            },
            _ if !answer.status.is_success() => Err(self.bad_status(&answer)),
            Ok(_) | Err(_) if answer.body.trim_ascii().is_empty() => Err(unusable("an empty answer").into()),
            Ok(_) | Err(_) if answer.is_page() => Err(unusable("a web page in place of data").into()),
            Ok(_) | Err(_) => Err(unusable("an answer that is not a JSON object").into()),
        }
    }

    /// Logs a refusal that only the operator can resolve, and removes the key from the provider's text.
    fn log_refusal(&self, refusal: Refusal) -> Failure {
        match &refusal {
            Refusal::Key => {
                self.key_works.mark_refused(self.now());
                tracing::error!("Alpha Vantage does not accept the API key; no calls are made for an hour");
            }
            Refusal::BadFunction => tracing::error!("Alpha Vantage no longer knows a function it had"),
            _ => {}
        }
        Failure::Refused(match refusal {
            Refusal::Other(text) => Refusal::Other(self.without_key(&text)),
            told_apart => told_apart,
        })
    }

    fn bad_status(&self, answer: &Answer) -> Failure {
        match (answer.refused_until(self.now()), answer.status) {
            (Some(until), _) => Failure::Refused(Refusal::Until(until)),
            (None, StatusCode::TOO_MANY_REQUESTS) => Failure::Refused(Refusal::PerMinute),
            (None, status) => unusable(&format!("HTTP status {}", status.as_u16())).into(),
        }
    }

    /// Removes the key from a text: the provider often quotes it, plain or URL-encoded.
    fn without_key(&self, text: &str) -> String {
        let key = self.api_key.expose_secret();
        let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        [key, &encoded].into_iter().fold(text.to_owned(), |text, secret| redacted(&text, secret))
    }
}

/// Replaces each occurrence of the secret, in upper or lower case.
fn redacted(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    let (mut rest, mut clean) = (text, String::with_capacity(text.len()));
    while let Some(letter) = rest.chars().next() {
        let hit = rest.get(..secret.len()).is_some_and(|part| part.eq_ignore_ascii_case(secret));
        let skipped = if hit { secret.len() } else { letter.len_utf8() };
        clean.push_str(if hit { "***" } else { &rest[..skipped] });
        rest = &rest[skipped..];
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_is_removed_in_upper_or_lower_case() {
        assert_eq!(redacted("key ABC123 or abc123, not AB", "ABC123"), "key *** or ***, not AB");
        assert_eq!(redacted("Schlüssel ä", "ä"), "Schlüssel ***");
        assert_eq!(redacted("ABCABCABC", "ABC"), "*********");
        assert_eq!(redacted("anything", ""), "anything");
    }
}
