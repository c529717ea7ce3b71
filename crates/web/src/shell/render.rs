//! Renders pages from templates: the frame that all pages share, the content, and forms.

use std::pin::Pin;

use actix_web::cookie::{Cookie, SameSite, time::Duration};
use actix_web::dev::Payload;
use actix_web::http::header::HeaderValue;
use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use domain::{Calendar, Freshness, PortfolioId, PortfolioRef, Timestamp, UserId};
use futures::FutureExt;
use serde::Serialize;
use services::Services;
use services::accounts::register::Account;
use services::books::portfolios::PortfolioSummary;
use services::books::sharing::PortfolioAddress;
use tera::{Context, Kwargs, State, Tera};

use crate::http::csrf;
use crate::http::extract::Visitor;
use crate::http::portfolio_access::portfolio_of_path;
use crate::http::problem::{PageError, Problem, Rendered};
use crate::shell::assets;
use crate::shell::assets::Templates;
use crate::shell::flash;
use crate::shell::flash::{Flash, NewToken, Notice, Tone};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::format::Moment;
use crate::{AppState, WebConfig};

pub type PageResult = Result<HttpResponse, PageError>;

/// All templates, parsed.
pub struct Pages {
    tera: Tera,
}

impl Pages {
    /// # Panics
    /// If a template is invalid. Templates are compiled in, and a test calls this function.
    pub fn new() -> Self {
        let mut tera = Tera::default();
        tera.autoescape_on([".html"]);
        tera.register_function("asset", |arguments: Kwargs, _: &State| -> Result<String, tera::Error> {
            Ok(assets::address(arguments.must_get::<&str>("path")?))
        });
        let sources: Vec<(String, String)> = Templates::iter()
            .filter_map(|name| {
                let file = Templates::get(&name)?;
                Some((name.into_owned(), String::from_utf8_lossy(&file.data).into_owned()))
            })
            .collect();
        if let Err(error) = tera.add_raw_templates(sources) {
            panic!("Invariant: the templates are well-formed: {error}");
        }
        Self { tera }
    }

    fn render(&self, template: &str, page: &Page, view: &impl Serialize) -> Result<String, tera::Error> {
        let mut context = Context::from_serialize(view)?;
        context.insert("page", page);
        context.insert("csrf", &page.csrf);
        self.tera.render(template, &context)
    }
}

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
    title: String,
    nav: Nav,
    user: Option<User>,
    portfolio: Option<NavPortfolio>,
    /// The portfolio of the page, if it belongs to another user who shares it.
    shared: Option<SharedPortfolio>,
    /// Since when the portfolio of the page is archived and read-only.
    archived: Option<Moment>,
    clock: MarketClock,
    csrf: String,
    /// The text in the search field.
    search: String,
    flash: Option<Notice>,
    theme: String,
    gain: String,
    source_line: String,
    version: &'static str,
    /// Whether the page has charts that a script makes interactive.
    charts: bool,
}

#[derive(Debug, Clone, Serialize)]
struct User {
    name: String,
    is_admin: bool,
}

/// The portfolio that the navigation links to.
#[derive(Debug, Clone, Serialize)]
struct NavPortfolio {
    id: PortfolioId,
    name: String,
}

/// Another user's portfolio, which is read-only.
#[derive(Debug, Clone, Serialize)]
struct SharedPortfolio {
    /// The portfolio's part of an address.
    address: String,
    name: String,
}

#[derive(Debug, Clone, Serialize)]
struct MarketClock {
    open: bool,
    /// Whether the market is open: `Market open`, `New York closed`.
    state: String,
    /// When that changes: `until 24:00`.
    until: String,
    now: Moment,
    badge: Badge,
}

/// The state of a price, in one word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Badge {
    /// The class: `simulated`, `live`, `stale`, or empty.
    pub tone: &'static str,
    pub text: String,
}

impl Badge {
    pub fn for_freshness(freshness: Freshness) -> Self {
        let (tone, text) = match freshness {
            Freshness::Simulated => ("simulated", "Simulated"),
            Freshness::Realtime => ("live", "Live"),
            Freshness::Delayed => ("", "Delayed"),
            Freshness::EndOfDay => ("", "End of day"),
        };
        Self { tone, text: text.to_owned() }
    }

    pub fn of_quote(quote: &domain::Quote) -> Self {
        if quote.stale {
            Self { tone: "stale", text: "Stale".to_owned() }
        } else {
            Self::for_freshness(quote.freshness)
        }
    }
}

/// The name of a price source: `Alpha Vantage` for `alpha_vantage`, `the built-in market` for `simulated/sim-v1`.
pub fn source_name(source: &str) -> String {
    match source.split('/').next().unwrap_or(source) {
        "simulated" => "the built-in market".to_owned(),
        "yahoo" => "Yahoo Finance".to_owned(),
        other => other.split('_').map(format::capitalized).collect::<Vec<_>>().join(" "),
    }
}

impl MarketClock {
    /// The market's state, by the calendar of the trading rules.
    fn at(services: &Services) -> Self {
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

const THEME: &str = "theme";
const GAIN: &str = "gain";
const LAST_PORTFOLIO: &str = "portfolio";
pub const THEMES: [&str; 3] = ["auto", "light", "dark"];
pub const GAINS: [&str; 3] = ["green", "red-up", "blue-orange"];

/// Reads a cookie whose value is one of `words`.
fn chosen(request: &HttpRequest, name: &str, words: &[&'static str]) -> &'static str {
    let cookie = request.cookie(name);
    let wanted = cookie.as_ref().map_or("", Cookie::value);
    words.iter().find(|word| **word == wanted).copied().unwrap_or(words[0])
}

impl Page {
    fn new(request: &HttpRequest, state: &AppState, user: Option<&Account>) -> Self {
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

/// The frame of the requested page. Every page handler takes one and shows its content in it.
pub struct Shell {
    state: Data<AppState>,
    page: Page,
    /// The portfolio that was opened, to which the navigation links from then on.
    entered: Option<PortfolioId>,
    /// Identifies who may read the flash messages of this request.
    owner: String,
    /// A refused form of this page.
    refused: Option<FormView>,
    /// A new API token that is shown on this page.
    pub token: Option<NewToken>,
}

impl FromRequest for Shell {
    type Error = PageError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, PageError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let visitor = Visitor::from_request(request, payload);
        let request = request.clone();
        async move {
            let Visitor(user) = visitor.await?;
            let state = request
                .app_data::<Data<AppState>>()
                .expect("Invariant: the state is part of every app")
                .clone();
            let mut page = Page::new(&request, &state, user.as_ref());
            let owner = flash::owner(&request, user.as_ref().map(|user| user.id));
            let Flash { notice, form: refused, token } =
                Flash::take(&request, &state.services, &state.config, &owner).await;
            page.flash = notice;
            let mut entered = None;
            let reader = user.as_ref().map(|user| user.id);
            let named = portfolio_of_path(request.path());
            let shown = match &named {
                Some(PortfolioAddress::Id(id)) => Some(*id),
                Some(PortfolioAddress::LinkKey(_)) | None => None,
            };
            if let Some(user) = user {
                let last = request.cookie(LAST_PORTFOLIO).and_then(|cookie| cookie.value().parse().ok());
                let last = last.map(PortfolioId);
                let found = current_portfolio(&state, &user, shown, last).await?;
                let here = found.as_ref().filter(|found| Some(found.id) == shown);
                page.archived = here.and_then(|found| found.archived_at).map(format::day);
                entered = here.map(|found| found.id).filter(|_| page.archived.is_none() && shown != last);
                page.portfolio = found.map(|found| NavPortfolio { id: found.id, name: found.name });
            }
            if let Some(address) =
                named.filter(|_| page.portfolio.as_ref().map(|own| own.id) != shown || shown.is_none())
            {
                page.shared = shared_portfolio(&state, reader, &address).await?;
            }
            // For the error page.
            request.extensions_mut().insert(page.clone());
            Ok(Self { state, page, entered, owner, refused, token })
        }
        .boxed_local()
    }
}

/// The portfolio of the address, if it belongs to another user and the reader may read it.
async fn shared_portfolio(
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
async fn current_portfolio(
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

impl Shell {
    pub fn now(&self) -> Timestamp {
        self.state.services.market().now()
    }

    pub fn services(&self) -> &Services {
        &self.state.services
    }

    pub fn config(&self) -> &WebConfig {
        &self.state.config
    }

    /// Shows the query in the search field.
    pub fn searching(mut self, text: &str) -> Self {
        self.page.search = text.to_owned();
        self
    }

    /// Loads the chart library on this page, and names it in the footer, if it is compiled in.
    pub fn with_charts(mut self) -> Self {
        self.page.charts = assets::has_chart_library();
        self
    }

    pub fn show(
        self,
        template: &str,
        nav: Nav,
        title: impl Into<String>,
        view: &impl Serialize,
    ) -> PageResult {
        self.answer(StatusCode::OK, template, nav, title, view)
    }

    /// The refused form with the id of `fresh`, if the address of this page refers to it; otherwise `fresh`.
    pub fn form(&self, fresh: FormView) -> FormView {
        self.refused_form(&fresh.id).unwrap_or(fresh)
    }

    /// The refused form with this id, if the address of this page refers to it.
    pub fn refused_form(&self, id: &str) -> Option<FormView> {
        self.refused.as_ref().filter(|form| form.id == id).cloned()
    }

    /// Redirects to `location` after a form was carried out. The page there shows `text` as a success message.
    pub async fn done(&self, location: impl AsRef<str>, text: impl AsRef<str>) -> HttpResponse {
        self.tell(location.as_ref(), Tone::Good, text.as_ref()).await
    }

    /// Like [`Shell::done`], with an error message. For errors that belong to no form.
    pub async fn not_done(&self, location: impl AsRef<str>, text: impl AsRef<str>) -> HttpResponse {
        self.tell(location.as_ref(), Tone::Bad, text.as_ref()).await
    }

    async fn tell(&self, location: &str, tone: Tone, text: &str) -> HttpResponse {
        let left = self.leave(&Flash::notice(tone, text), location).await;
        // The action is already done, so the page is then shown without the message.
        see_other(left.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a flash message cannot be kept");
            location.to_owned()
        }))
    }

    /// Redirects to `location` after a form was refused. The page there shows the form again, with the entered values
    /// and their errors.
    pub async fn refuse(&self, location: impl AsRef<str>, form: FormView) -> PageResult {
        Ok(see_other(self.leave(&Flash::form(form), location.as_ref()).await?))
    }

    /// Redirects to `location` after an API token was created. The page there shows the token once.
    pub async fn show_token(&self, location: &str, name: String, secret: String) -> PageResult {
        Ok(see_other(self.leave(&Flash::token(name, secret), location).await?))
    }

    async fn leave(&self, flash: &Flash, location: &str) -> services::Result<String> {
        flash.leave(&self.state.services, &self.state.config, &self.owner, location).await
    }

    /// The page of a GET form whose values were refused: it has the status and the headers of `problem`.
    pub fn show_refused(
        self,
        problem: &Problem,
        template: &str,
        nav: Nav,
        title: impl Into<String>,
        view: &impl Serialize,
    ) -> PageResult {
        let mut response = self.answer(StatusCode::UNPROCESSABLE_ENTITY, template, nav, title, view)?;
        problem.set_headers(&mut response);
        Ok(response)
    }

    fn answer(
        mut self,
        status: StatusCode,
        template: &str,
        nav: Nav,
        title: impl Into<String>,
        view: &impl Serialize,
    ) -> PageResult {
        (self.page.nav, self.page.title) = (nav, title.into());
        let html = self.state.pages.render(template, &self.page, view).map_err(|error| {
            tracing::error!(template, error = &error as &dyn std::error::Error, "the template failed");
            PageError(Problem::internal())
        })?;
        let mut response = html_response(status, html);
        if let Some(id) = self.entered {
            set_cookie(&mut response, lasting(&self.state.config, LAST_PORTFOLIO, id.to_string()));
        }
        Ok(response)
    }
}

fn html_response(status: StatusCode, html: String) -> HttpResponse {
    let mut response = HttpResponse::build(status).content_type("text/html; charset=utf-8").body(html);
    response.extensions_mut().insert(Rendered);
    response
}

fn set_cookie(response: &mut HttpResponse, cookie: Cookie<'static>) {
    // Encoded, unlike in `add_cookie`, because the value may contain text from users.
    if let Ok(value) = HeaderValue::from_str(&cookie.encoded().to_string()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// A cookie for a setting that is not secret and that only the browser stores.
fn lasting(config: &WebConfig, name: &'static str, value: String) -> Cookie<'static> {
    Cookie::build(name, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(config.is_https())
        .max_age(Duration::days(365))
        .finish()
}

/// Redirects to `location` after a form (303).
pub fn see_other(location: impl Into<String>) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, location.into())).finish()
}

/// Stores the display settings in cookies.
pub fn with_display(mut response: HttpResponse, config: &WebConfig, theme: &str, gain: &str) -> HttpResponse {
    for (name, words, wanted) in [(THEME, &THEMES, theme), (GAIN, &GAINS, gain)] {
        if let Some(word) = words.iter().find(|word| **word == wanted) {
            set_cookie(&mut response, lasting(config, name, (*word).to_owned()));
        }
    }
    response
}

#[derive(Serialize)]
struct ErrorView {
    status: u16,
    heading: String,
    text: String,
    /// Whether the same request may succeed later.
    again: bool,
}

/// The page of an error: in the frame that the handler prepared, or in a plain one.
pub fn error_page(request: &HttpRequest, problem: &Problem) -> HttpResponse {
    let state = request.app_data::<Data<AppState>>().expect("Invariant: the state is part of every app");
    let page = request.extensions().get::<Page>().cloned();
    let mut page = page.unwrap_or_else(|| Page::new(request, state, None));
    let heading = match problem.status() {
        StatusCode::NOT_FOUND => "There is nothing at this address".to_owned(),
        StatusCode::INTERNAL_SERVER_ERROR => "Something went wrong on our side".to_owned(),
        _ => problem.title().to_owned(),
    };
    let text = match problem.status() {
        StatusCode::NOT_FOUND => {
            "The page may have moved, or it may belong to another user. Nothing was changed.".to_owned()
        }
        StatusCode::INTERNAL_SERVER_ERROR => {
            "No change was left incomplete. The error is logged; trying again may help.".to_owned()
        }
        _ => problem.detail().to_owned(),
    };
    (page.title, page.flash) = (problem.title().to_owned(), None);
    let view = ErrorView {
        status: problem.status().as_u16(),
        heading,
        text,
        again: problem.status().is_server_error(),
    };
    let html = state.pages.render("error.html", &page, &view).unwrap_or_else(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the error page failed");
        format!("<!doctype html><title>{0}</title><h1>{0}</h1>", problem.status())
    });
    let mut response = html_response(problem.status(), html);
    problem.set_headers(&mut response);
    response
}

/// One of several links, of which one is the current.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    pub label: String,
    pub href: String,
    pub current: bool,
}

/// Links for named ranges or periods; `href` creates the address from the name in lower case.
pub fn range_choices<R: PartialEq>(
    all: impl IntoIterator<Item = (R, &'static str)>,
    current: Option<R>,
    href: impl Fn(&str) -> String,
) -> Vec<Choice> {
    all.into_iter()
        .map(|(range, name)| Choice {
            label: if name == "ALL" { "All".to_owned() } else { name.to_owned() },
            href: href(&name.to_ascii_lowercase()),
            current: current.as_ref() == Some(&range),
        })
        .collect()
}

/// The links to other pages of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Paging {
    /// The number of items on this page.
    pub shown: usize,
    pub older: Option<String>,
    /// The first page, if this is a later one.
    pub newest: Option<String>,
}

/// Writes a query string. Empty values are left out.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        empty if empty.is_empty() => empty,
        query => format!("?{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        Pages::new();
    }

    #[test]
    fn sources_have_names() {
        assert_eq!(source_name("simulated/sim-v1"), "the built-in market");
        assert_eq!(source_name("alpha_vantage"), "Alpha Vantage");
        assert_eq!(source_name("yahoo"), "Yahoo Finance");
    }

    #[test]
    fn a_query_leaves_out_what_is_empty() {
        assert_eq!(query(&[("symbol", "BRK.B"), ("type", "")]), "?symbol=BRK.B");
        assert_eq!(query(&[("name", "")]), "");
        assert_eq!(query(&[("q", "a&b c")]), "?q=a%26b+c");
    }
}
