//! The right to read the portfolio that an address names, in API requests and on pages. A shared portfolio can be read
//! without an account.

use std::borrow::Cow;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::{Method, header};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures::FutureExt;
use services::books::sharing::{PortfolioAccess, PortfolioAddress};
use services::{Error, NotFound};

use crate::AppState;
use crate::http::extract::{CurrentUser, Visitor, not_logged_in};
use crate::http::problem::{PageError, Problem};
use crate::shell::render::Shell;

/// The portfolio in a path like `/portfolios/7/performance`.
pub(crate) fn portfolio_of_path(path: &str) -> Option<PortfolioAddress> {
    path.strip_prefix("/portfolios/")?.split('/').next()?.parse().ok()
}

/// Replaces the link key in a path for the log, because it is a secret.
pub(crate) fn without_link_key(path: &str) -> Cow<'_, str> {
    let page = path.strip_prefix("/api/v1").unwrap_or(path);
    match portfolio_of_path(page) {
        Some(PortfolioAddress::LinkKey(key)) => path.replacen(&key, "[link]", 1).into(),
        Some(PortfolioAddress::Id(_)) | None => path.into(),
    }
}

fn state(request: &HttpRequest) -> Data<AppState> {
    request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app").clone()
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound(NotFound::Portfolio))
}

/// The access of an API request without credentials to a shared portfolio. A request with wrong credentials gets no
/// such access: it is refused like everywhere else.
///
/// # Errors
/// Only when the database fails.
pub(crate) async fn without_credentials(request: &HttpRequest) -> Result<Option<PortfolioAccess>, Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.path().strip_prefix("/api/v1").unwrap_or_default();
    let Some(address) = portfolio_of_path(path).filter(|_| reads) else { return Ok(None) };
    if request.headers().contains_key(header::AUTHORIZATION) {
        return Ok(None);
    }
    match state(request).services.books().portfolio_access(None, &address).await {
        Ok(access) => Ok(Some(access)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The right of an API request to read the portfolio in its path.
pub struct ReadAccess(PortfolioAccess);

impl Deref for ReadAccess {
    type Target = PortfolioAccess;

    fn deref(&self) -> &PortfolioAccess {
        &self.0
    }
}

impl FromRequest for ReadAccess {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let granted = request.extensions().get::<PortfolioAccess>().cloned();
        let user = request.extensions().get::<CurrentUser>().map(|user| user.account.id);
        let (request, state) = (request.clone(), state(request));
        async move {
            if let Some(access) = granted {
                return Ok(Self(access));
            }
            let user = user.ok_or_else(Problem::unauthorized)?;
            let address = request.match_info().get("id").and_then(|text| text.parse().ok());
            let address = address.ok_or_else(Problem::not_found)?;
            Ok(Self(state.services.books().portfolio_access(Some(user), &address).await?))
        }
        .boxed_local()
    }
}

/// The right of a page's reader to read the portfolio in its path. Visitors without that right are redirected to the
/// login.
pub struct PageAccess(PortfolioAccess);

impl Deref for PageAccess {
    type Target = PortfolioAccess;

    fn deref(&self) -> &PortfolioAccess {
        &self.0
    }
}

impl FromRequest for PageAccess {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload);
        let request = request.clone();
        async move {
            let Visitor(account) = visitor.await.map_err(|PageError(problem)| problem)?;
            let reader = account.map(|account| account.id);
            let granted = match portfolio_of_path(request.path()) {
                Some(address) => state(&request).services.books().portfolio_access(reader, &address).await,
                None => Err(Error::NotFound(NotFound::Portfolio)),
            };
            match granted {
                Ok(access) => Ok(Self(access)),
                Err(error) if is_missing(&error) && reader.is_none() => Err(not_logged_in(&request)),
                Err(error) => {
                    // Prepares the frame of the error page, because actix runs the extractors of a request
                    // concurrently.
                    drop(Shell::from_request(&request, &mut Payload::None).await);
                    Err(Problem::from(error).into())
                }
            }
        }
        .boxed_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_key_is_not_logged() {
        let key = "0123456789abcdef0123456789abcdef";
        for (path, logged) in [
            (format!("/portfolios/{key}/performance"), "/portfolios/[link]/performance"),
            (format!("/api/v1/portfolios/{key}"), "/api/v1/portfolios/[link]"),
            ("/portfolios/7/orders".to_owned(), "/portfolios/7/orders"),
            ("/stocks/AAPL".to_owned(), "/stocks/AAPL"),
        ] {
            assert_eq!(without_link_key(&path), logged);
        }
    }
}
