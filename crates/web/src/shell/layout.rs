//! The frame of each page: navigation, user, market clock and display settings.

use actix_web::HttpRequest;
use domain::{Calendar, Freshness, PortfolioId, PortfolioRef, UserId};
use serde::Serialize;
use services::Services;
use services::accounts::register::Account;
use services::books::portfolios::PortfolioSummary;
use services::books::sharing::PortfolioAddress;

use crate::AppState;
use crate::http::csrf;
use crate::shell::badge::{Badge, source_name};
use crate::shell::display::{GAIN, GAINS, THEME, THEMES, chosen};
use crate::shell::flash::Notice;
use crate::shell::format;
use crate::shell::format::Moment;

/// The current entry of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Nav {
    Portfolio,
    Performance,
    Composition,
    Transactions,
    Watchlist,
    Portfolios,
    Settings,
    Admin,
    /// No entry.
    Elsewhere,
}

/// The frame that all pages share.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    pub(super) title: String,
    pub(super) nav: Nav,
    pub(super) user: Option<User>,
    pub(super) portfolio: Option<NavPortfolio>,
    /// The portfolio of the page, if it belongs to another user who shares it.
    pub(super) shared: Option<SharedPortfolio>,
    /// Since when the portfolio of the page is archived and read-only.
    pub(super) archived: Option<Moment>,
    pub(super) clock: MarketClock,
    pub(super) csrf: String,
    /// The text in the search field.
    pub(super) search: String,
    pub(super) flash: Option<Notice>,
    pub(super) theme: String,
    pub(super) gain: String,
    pub(super) source_line: String,
    pub(super) version: &'static str,
    /// Whether the page has charts that a script makes interactive.
    pub(super) charts: bool,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) is_admin: bool,
}

/// The portfolio that the navigation links to.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NavPortfolio {
    pub(super) id: PortfolioId,
    pub(super) name: String,
}

/// Another user's portfolio, which is read-only.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SharedPortfolio {
    /// The portfolio's part of an address.
    pub(super) address: String,
    pub(super) name: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct MarketClock {
    pub(super) open: bool,
    /// Whether the market is open: `Market open`, `New York closed`.
    pub(super) state: String,
    /// When that changes: `until 24:00`.
    pub(super) until: String,
    pub(super) now: Moment,
    pub(super) badge: Badge,
}

impl MarketClock {
    /// The market's state, by the calendar of the trading rules.
    pub(super) fn at(services: &Services) -> Self {
        let (now, calendar) = (services.market().now(), services.trading().rules().of_deployment().calendar);
        let place = match calendar {
            Calendar::AroundTheClock => "Market",
            Calendar::Xnys => "New York",
        };
        let session = calendar.session_at(now);
        let until = match &session {
            Some(session) => format!("until {}", format::closing_time(session.closes_at)),
            None => {
                let opening = calendar.next_open(now);
                let today = domain::calendar::exchange_date(now);
                let time = format::time_of_day(opening.opens_at);
                match opening.date == today {
                    true => format!("until {time}"),
                    false => format!("until {}, {time}", format::weekday(opening.date, today)),
                }
            }
        };
        let mut shown = format::minute(now);
        // If the market's clock was moved, the day is shown too.
        if services.market().is_clock_moved() {
            shown.text = format!("{}, {}", format::day(now).text, shown.text);
        }
        Self {
            open: session.is_some(),
            state: format!("{place} {}", if session.is_some() { "open" } else { "closed" }),
            until,
            now: shown,
            badge: Badge::for_freshness(services.market().freshness()),
        }
    }
}

impl Page {
    pub(super) fn new(request: &HttpRequest, state: &AppState, user: Option<&Account>) -> Self {
        let source = state.services.market().price_source();
        let source_line = match state.services.market().freshness() {
            Freshness::Simulated => "Prices are simulated. Money is not real.".to_owned(),
            Freshness::Realtime => format!("Prices: {}. Money is not real.", source_name(source.as_str())),
            Freshness::Delayed => {
                format!("Prices: {}, may be delayed. Money is not real.", source_name(source.as_str()))
            }
            Freshness::EndOfDay => {
                format!("Prices: {}, end of day. Money is not real.", source_name(source.as_str()))
            }
        };
        Self {
            title: String::new(),
            nav: Nav::Elsewhere,
            user: user.map(|user| User { name: user.username.clone(), is_admin: user.is_admin }),
            portfolio: None,
            shared: None,
            archived: None,
            clock: MarketClock::at(&state.services),
            csrf: csrf::token(request, &state.config),
            search: String::new(),
            flash: None,
            theme: chosen(request, THEME, &THEMES).to_owned(),
            gain: chosen(request, GAIN, &GAINS).to_owned(),
            source_line,
            version: env!("CARGO_PKG_VERSION"),
            charts: false,
        }
    }
}

/// The portfolio of the address, if it belongs to another user and the reader may read it.
pub(super) async fn shared_portfolio(
    state: &AppState,
    reader: Option<UserId>,
    address: &PortfolioAddress,
) -> Result<Option<SharedPortfolio>, services::Error> {
    let access = match state.services.books().portfolio_access(reader, address).await {
        Ok(access) if !access.is_owner => access,
        Ok(_) | Err(services::Error::NotFound(services::NotFound::Portfolio)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = state.services.books().portfolio(access.portfolio).await?.name;
    Ok(Some(SharedPortfolio { address: access.address.to_string(), name }))
}

/// The portfolio for the navigation: `shown` if it is the user's, otherwise `last` if it is not archived, otherwise the
/// user's first.
pub(super) async fn current_portfolio(
    state: &AppState,
    user: &Account,
    shown: Option<PortfolioId>,
    last: Option<PortfolioId>,
) -> Result<Option<PortfolioSummary>, services::Error> {
    for id in [shown, last].into_iter().flatten() {
        match state.services.books().portfolio(PortfolioRef::new(user.id, id)).await {
            Err(services::Error::NotFound(services::NotFound::Portfolio)) => {}
            Ok(found) if found.archived_at.is_some() && Some(id) != shown => {}
            found => return found.map(Some),
        }
    }
    Ok(state.services.books().portfolios(user.id, false, None, 1).await?.items.pop())
}
