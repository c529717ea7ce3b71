//! Renders pages from templates: the frame that all pages share, the content, and forms.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use domain::{PortfolioId, Timestamp};
use futures::FutureExt;
use serde::Serialize;
use services::Services;
use services::books::sharing::PortfolioAddress;
use tera::{Context, Kwargs, State, Tera};

use crate::http::extract::Visitor;
use crate::http::portfolio_access::portfolio_of_path;
use crate::http::problem::{PageError, Problem, Rendered};
use crate::shell::assets;
use crate::shell::assets::Templates;
use crate::shell::display::{LAST_PORTFOLIO, persistent_cookie, set_cookie};
use crate::shell::flash;
use crate::shell::flash::{Flash, NewToken, Tone};
use crate::shell::form::FormView;
use crate::shell::format;
use crate::shell::layout::{Nav, NavPortfolio, Page, current_portfolio, shared_portfolio};
use crate::shell::links::see_other;
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
    pub async fn redirect_with_success(
        &self,
        location: impl AsRef<str>,
        text: impl AsRef<str>,
    ) -> HttpResponse {
        self.redirect_with_notice(location.as_ref(), Tone::Good, text.as_ref()).await
    }

    /// Like [`Shell::redirect_with_success`], with an error message. For errors that belong to no form.
    pub async fn redirect_with_error(
        &self,
        location: impl AsRef<str>,
        text: impl AsRef<str>,
    ) -> HttpResponse {
        self.redirect_with_notice(location.as_ref(), Tone::Bad, text.as_ref()).await
    }

    async fn redirect_with_notice(&self, location: &str, tone: Tone, text: &str) -> HttpResponse {
        let left = self.store_flash(&Flash::notice(tone, text), location).await;
        // The action is already done, so the page is then shown without the message.
        see_other(left.unwrap_or_else(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a flash message cannot be kept");
            location.to_owned()
        }))
    }

    /// Redirects to `location` after a form was refused. The page there shows the form again, with the entered values
    /// and their errors.
    pub async fn refuse(&self, location: impl AsRef<str>, form: FormView) -> PageResult {
        Ok(see_other(self.store_flash(&Flash::form(form), location.as_ref()).await?))
    }

    /// Redirects to `location` after an API token was created. The page there shows the token once.
    pub async fn show_token(&self, location: &str, name: String, secret: String) -> PageResult {
        Ok(see_other(self.store_flash(&Flash::token(name, secret), location).await?))
    }

    async fn store_flash(&self, flash: &Flash, location: &str) -> services::Result<String> {
        flash.store(&self.state.services, &self.state.config, &self.owner, location).await
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
            set_cookie(&mut response, persistent_cookie(&self.state.config, LAST_PORTFOLIO, id.to_string()));
        }
        Ok(response)
    }
}

fn html_response(status: StatusCode, html: String) -> HttpResponse {
    let mut response = HttpResponse::build(status).content_type("text/html; charset=utf-8").body(html);
    response.extensions_mut().insert(Rendered);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        Pages::new();
    }
}
