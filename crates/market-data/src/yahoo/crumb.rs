//! The cookie and the crumb that bulk quotes need.

use tokio::sync::Mutex;

use super::transport::Transport;
use crate::plausible::unusable;
use crate::{Payer, QuoteError};

/// A crumb has about eleven characters; a much longer text is not a crumb.
const LONGEST: usize = 64;

/// The two tokens of a visitor, which belong together. They are never logged.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Crumb {
    cookie: String,
    text: String,
}

impl Crumb {
    pub(super) fn cookie(&self) -> &str {
        &self.cookie
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The current crumb. One task at a time requests a new one; the others wait for it.
#[derive(Default)]
pub(super) struct Crumbs {
    current: Mutex<Option<Crumb>>,
}

impl Crumbs {
    pub(super) async fn get(&self, transport: &Transport, payer: &Payer) -> Result<Crumb, QuoteError> {
        let mut current = self.current.lock().await;
        if let Some(crumb) = current.as_ref() {
            return Ok(crumb.clone());
        }
        let crumb = fetch(transport, payer).await?;
        *current = Some(crumb.clone());
        Ok(crumb)
    }

    /// Drops a rejected crumb, unless it has already been replaced.
    pub(super) async fn forget(&self, refused: &Crumb) {
        let mut current = self.current.lock().await;
        if current.as_ref() == Some(refused) {
            *current = None;
        }
    }
}

/// Fetches a cookie and a crumb. The page that sets the cookie answers 404; in some countries it answers with a consent
/// form.
async fn fetch(transport: &Transport, payer: &Payer) -> Result<Crumb, QuoteError> {
    let page = transport.get_cookies(payer).await?;
    let cookie = page.cookies().collect::<Vec<_>>().join("; ");
    if cookie.is_empty() {
        return Err(unusable("no cookie, perhaps because of missing consent"));
    }
    let answer = transport.get_text(&["v1", "test", "getcrumb"], &[], Some(&cookie), payer).await?;
    if !answer.status.is_success() {
        return Err(unusable(&format!("HTTP status {} in place of a crumb", answer.status.as_u16())));
    }
    let text = std::str::from_utf8(answer.body.trim_ascii()).unwrap_or_default();
    let is_crumb = (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>{}\"".contains(&byte));
    match is_crumb {
        true => Ok(Crumb { cookie, text: text.to_owned() }),
        false => Err(unusable("an answer that is not a crumb")),
    }
}
