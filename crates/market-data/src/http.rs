//! One HTTP call as all providers get it: paid for, paced, bounded in time, size and redirects.

use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use crate::QuoteError;
use crate::limits::before_call;
use crate::pace::Pace;
use crate::plausible::unusable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MOST_REDIRECTS: usize = 3;
/// Of the body, unpacked: 2 MiB.
const MOST_BYTES: usize = 2 * 1024 * 1024;

/// A client for one provider.
pub(crate) struct Http {
    client: Client,
    pace: Pace,
    /// From the first byte sent to the last one read.
    deadline: Duration,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    headers: HeaderMap,
}

impl Http {
    pub(crate) const DEADLINE: Duration = Duration::from_secs(8);

    pub(crate) fn new(user_agent: &str, min_gap: Duration) -> Result<Self, reqwest::Error> {
        // Without the referer, which would hand the URL and the key in it to whom a redirect leads to.
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(Policy::limited(MOST_REDIRECTS))
            .referer(false)
            .user_agent(user_agent)
            .build()?;
        Ok(Self { client, pace: Pace::new(min_gap), deadline: Self::DEADLINE })
    }

    pub(crate) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    pub(crate) async fn get(&self, url: Url, cookie: Option<&str>) -> Result<Answer, QuoteError> {
        before_call().await?;
        self.pace.turn().await;
        let mut request = self.client.get(url).timeout(self.deadline);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await.map_err(failure)?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Answer { status, headers, body: bounded_body(response).await? })
    }
}

impl Answer {
    /// The cookies it sets, each as `name=value`.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        let set = self.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        set.filter_map(|cookie| cookie.split(';').next()).map(str::trim).filter(|pair| pair.contains('='))
    }

    /// Whether the body is a page for people: a consent form, a notice.
    pub(crate) fn is_page(&self) -> bool {
        self.body.trim_ascii_start().first() == Some(&b'<')
    }
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
