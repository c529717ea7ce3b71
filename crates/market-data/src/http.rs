//! The HTTP client of all providers: each call is counted, paced, and limited in time, size and redirects.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{COOKIE, HeaderMap, LOCATION, RETRY_AFTER, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::Payer;
use crate::QuoteError;
use crate::pace::Pace;
use crate::plausible::unusable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_REDIRECTS: usize = 3;
/// The longest pause that a provider can demand.
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(1);
/// The largest body, decompressed: 2 MiB.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// A client for one provider.
pub(crate) struct Http {
    client: Client,
    pace: Pace,
    /// The time from the first byte sent to the last byte read.
    deadline: Duration,
}

/// An HTTP response of any status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    headers: HeaderMap,
}

impl Http {
    pub(crate) const DEADLINE: Duration = Duration::from_secs(8);

    pub(crate) fn new(user_agent: &str, min_gap: Duration) -> Result<Self, reqwest::Error> {
        // `get` follows redirects itself, only to the same host, and each redirect counts as a call.
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::none())
            .referer(false)
            .user_agent(user_agent)
            .build()?;
        Ok(Self { client, pace: Pace::new(min_gap), deadline: Self::DEADLINE })
    }

    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    /// Sends a request and follows up to three redirects that stay on the host of `url`. The key is in the URL and the
    /// cookie belongs to the host, so a redirect to another host is an error and nothing is sent there. The budget
    /// counts each call.
    pub(crate) async fn get(
        &self,
        url: Url,
        cookie: Option<&str>,
        payer: &Payer,
    ) -> Result<Answer, QuoteError> {
        let mut url = url;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(url.clone(), cookie, payer).await?;
            if !response.status().is_redirection() || !response.headers().contains_key(LOCATION) {
                let (status, headers) = (response.status(), response.headers().clone());
                return Ok(Answer { status, headers, body: bounded_body(response).await? });
            }
            url = redirected(&url, response.headers())?;
        }
        Err(unusable("too many redirects"))
    }

    async fn send(&self, url: Url, cookie: Option<&str>, payer: &Payer) -> Result<Response, QuoteError> {
        payer.before_call().await?;
        self.pace.turn().await;
        let mut request = self.client.get(url).timeout(self.deadline);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        request.send().await.map_err(failure)
    }
}

/// The target of a redirect, if it stays on the same host and does not leave TLS.
fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, QuoteError> {
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let to = location.and_then(|location| from.join(location).ok());
    let to = to.ok_or_else(|| unusable("a redirect to an invalid address"))?;
    let upgraded = from.scheme() == "http" && to.scheme() == "https" && to.port().is_none();
    match from.host() == to.host() && (from.origin() == to.origin() || upgraded) {
        true => Ok(to),
        false => Err(unusable("a redirect to another host, which is not followed")),
    }
}

impl Answer {
    /// The cookies of the response, each as `name=value`.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let set = self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|cookie| cookie.split(';').next()).map(str::trim).filter(|pair| pair.contains('='))
    }

    /// The earliest time for the next request: `Retry-After`, in seconds or as a date, at most a day ahead.
    pub(crate) fn retry_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reported = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let at = match reported.parse::<u32>() {
            Ok(seconds) => now + TimeDelta::seconds(seconds.into()),
            Err(_) => DateTime::parse_from_rfc2822(reported).ok()?.with_timezone(&Utc),
        };
        Some(at.clamp(now, now + LONGEST_PAUSE))
    }

    /// [`Answer::retry_at`] for a response with status 429 or 503.
    pub(crate) fn refused_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let refuses = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        self.retry_at(now).filter(|_| refuses)
    }

    /// Whether the body is an HTML page, such as a consent form.
    pub(crate) fn is_page(&self) -> bool {
        self.body.trim_ascii_start().first() == Some(&b'<')
    }
}

/// `reqwest`'s errors contain the URL with the key, so only their kind is passed on.
fn failure(error: reqwest::Error) -> QuoteError {
    if error.is_decode() && !error.is_timeout() {
        unusable("a body that is cut off or cannot be unpacked")
    } else {
        QuoteError::Unreachable
    }
}

async fn bounded_body(mut response: Response) -> Result<Vec<u8>, QuoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(unusable("more than 2 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-20T15:00:00Z".parse().unwrap()
    }

    fn pause(status: u16, retry_after: Option<&str>) -> Option<i64> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
        }
        let answer = Answer { status: StatusCode::from_u16(status).unwrap(), body: Vec::new(), headers };
        answer.refused_until(now()).map(|at| (at - now()).num_seconds())
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        for (text, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("Fri, 20 Nov 2026 15:05:00 GMT", Some(300)),
            ("Fri, 20 Nov 2026 14:00:00 GMT", Some(0)),
            ("4000000000", Some(86_400)),
            ("Fri, 20 Nov 2099 15:05:00 GMT", Some(86_400)),
            ("-5", None),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            for status in [429, 503] {
                assert_eq!(pause(status, Some(text)), expected, "{text}");
            }
        }
        assert_eq!(pause(429, None), None);
        assert_eq!(pause(200, Some("120")), None);
    }

    #[test]
    fn redirects_stay_on_the_host_and_do_not_leave_tls() {
        let leads = |from: &str, to: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
            redirected(&from.parse().unwrap(), &headers).is_ok()
        };
        let secure = "https://provider.example/query?apikey=KEY";
        for to in ["/other", "https://provider.example/other", "?again", "//provider.example/x"] {
            assert!(leads(secure, to), "{to}");
        }
        for to in [
            "https://elsewhere.example/query",
            "//elsewhere.example/query",
            "http://provider.example/query",
            "https://provider.example:8443/query",
            "https://sub.provider.example/query",
            "https://provider.example.evil.example/",
            "https://provider.example@evil.example/",
            "ftp://provider.example/query",
            "mailto:someone@provider.example",
            "https://",
        ] {
            assert!(!leads(secure, to), "{to}");
        }
        assert!(leads("http://provider.example/query", "https://provider.example/query"));
        assert!(!leads("http://provider.example:8080/query", "http://provider.example:9090/query"));
    }
}
