//! The page with watchlists as tabs, and its forms to add and remove stocks.

use actix_web::web::{Data, Path, Query};
use domain::HistoryRange;
use domain::{Symbol, WatchlistId};
use serde::{Deserialize, Serialize};
use services::watchlists::{WatchedList, WatchedStock};
use services::{FieldError, Services};

use crate::AppState;
use crate::http::extract::{Form, LoggedIn};
use crate::http::problem::Problem;
use crate::shell::badge::Badge;
use crate::shell::chart::Spark;
use crate::shell::form::{EmptyForm, FormView, refusal};
use crate::shell::format;
use crate::shell::format::{Delta, Moment};
use crate::shell::layout::Nav;
use crate::shell::links::{Choice, see_other};
use crate::shell::render::{PageResult, Shell};
use crate::shell::sparks::month_sparks;

#[derive(Debug, Default, Deserialize)]
pub struct WatchlistQuery {
    list: Option<String>,
}

#[derive(Serialize)]
struct WatchlistView {
    tabs: Vec<Choice>,
    list: Option<ListHead>,
    as_of: Moment,
    sparks: bool,
    rows: Vec<WatchedStockRow>,
    add_form: FormView,
    rename_form: FormView,
    new_form: FormView,
}

#[derive(Serialize)]
struct ListHead {
    id: WatchlistId,
    name: String,
}

#[derive(Serialize)]
struct WatchedStockRow {
    symbol: Symbol,
    name: String,
    price: String,
    /// Only for a price whose freshness differs from the rest of the list.
    badge: Option<Badge>,
    change: Option<Delta>,
    percent: Option<Delta>,
    spark: Option<Spark>,
    month: Option<Delta>,
}

const NEW: &str = "new";

async fn view(
    services: &Services,
    signed: &LoggedIn,
    wanted: Option<&str>,
    shell: &Shell,
) -> Result<WatchlistView, Problem> {
    let lists = services.watchlists().all(signed.account.id).await?;
    let chosen = match wanted {
        Some(NEW) => None,
        Some(id) => {
            let found = lists.iter().find(|list| list.id.to_string() == id);
            Some(found.ok_or_else(Problem::not_found)?)
        }
        None => lists.first(),
    };
    let mut tabs: Vec<Choice> = lists
        .iter()
        .map(|list| Choice {
            label: format!("{}, {}", list.name, list.items.len()),
            href: format!("/watchlist?list={}", list.id),
            current: chosen.is_some_and(|chosen| chosen.id == list.id),
        })
        .collect();
    if !tabs.is_empty() {
        tabs.push(Choice {
            label: "New list".to_owned(),
            href: format!("/watchlist?list={NEW}"),
            current: chosen.is_none(),
        });
    }
    let now = services.market().now();
    let quotes = chosen.iter().flat_map(|list| &list.items).filter_map(|item| item.quote.as_ref());
    let newest = quotes.map(|quote| quote.as_of).max().unwrap_or(now);
    let rows = match chosen {
        Some(list) => rows(services, list).await,
        None => Vec::new(),
    };
    Ok(WatchlistView {
        tabs,
        as_of: format::second_seen_at(newest, now),
        sparks: rows.iter().any(|row| row.spark.is_some()),
        rows,
        add_form: shell.form(FormView::new("add")),
        rename_form: shell.form(FormView::new("list").with("name", chosen.map_or("", |list| &list.name))),
        new_form: shell.form(FormView::new("new-list")),
        list: chosen.map(|list| ListHead { id: list.id, name: list.name.clone() }),
    })
}

async fn rows(services: &Services, list: &WatchedList) -> Vec<WatchedStockRow> {
    let mut sparks = month_sparks(services, list.items.iter().map(|item| &item.stock.listing.symbol)).await;
    let mut rows = Vec::with_capacity(list.items.len());
    for WatchedStock { stock, quote } in &list.items {
        let symbol = &stock.listing.symbol;
        let spark = sparks.remove(symbol);
        let quote = quote.as_ref();
        let month = match (&spark, quote) {
            (Some(_), Some(quote)) => {
                let bars = services.stocks().history(symbol, HistoryRange::Month).await.unwrap_or_default();
                bars.first().and_then(|first| quote.price.change_ratio(&first.close))
            }
            _ => None,
        };
        rows.push(WatchedStockRow {
            symbol: symbol.clone(),
            name: stock.listing.company_name.clone(),
            price: quote.map_or_else(|| format::UNKNOWN.to_owned(), |quote| format::price(&quote.price)),
            badge: quote.filter(|quote| quote.stale).map(Badge::of_quote),
            change: quote.and_then(|quote| quote.change()).as_ref().map(format::change),
            percent: quote.and_then(|quote| quote.change_ratio()).map(format::percent_gain),
            spark,
            month: month.map(format::percent_gain),
        });
    }
    rows
}

pub async fn show(
    shell: Shell,
    signed: LoggedIn,
    asked: Query<WatchlistQuery>,
    state: Data<AppState>,
) -> PageResult {
    let view = view(&state.services, &signed, asked.list.as_deref(), &shell).await?;
    shell.show("watchlist.html", Nav::Watchlist, "Watchlist", &view)
}

#[derive(Deserialize)]
pub struct ListName {
    name: String,
}

pub async fn create(
    shell: Shell,
    signed: LoggedIn,
    state: Data<AppState>,
    Form(posted): Form<ListName>,
) -> PageResult {
    match state.services.watchlists().create_watchlist(signed.trader(), &posted.name).await {
        Ok(list) => Ok(see_other(format!("/watchlist?list={}", list.id))),
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new("new-list").with("name", posted.name).refused(&problem);
            shell.refuse(format!("/watchlist?list={NEW}#new"), form).await
        }
    }
}

pub async fn rename(
    shell: Shell,
    signed: LoggedIn,
    id: Path<WatchlistId>,
    state: Data<AppState>,
    Form(posted): Form<ListName>,
) -> PageResult {
    match state.services.watchlists().rename_watchlist(signed.trader(), *id, &posted.name).await {
        Ok(_) => Ok(see_other(address(*id))),
        Err(error) => {
            let problem = refusal(error)?;
            let form = FormView::new("list").with("name", posted.name).refused(&problem);
            // Returns 404 for another user's list.
            state.services.watchlists().watchlist(signed.account.id, *id).await?;
            shell.refuse(format!("{}#edit", address(*id)), form).await
        }
    }
}

fn address(id: WatchlistId) -> String {
    format!("/watchlist?list={id}")
}

#[derive(Deserialize)]
pub struct Symbols {
    symbols: String,
}

/// The maximum number of symbols per form, because each may need a call to the price source.
const MAX_ADDED: usize = 50;

/// Adds stocks to the list. Symbols that cannot be added stay in the field.
pub async fn add(
    shell: Shell,
    signed: LoggedIn,
    id: Path<WatchlistId>,
    state: Data<AppState>,
    Form(posted): Form<Symbols>,
) -> PageResult {
    let mut left = Vec::new();
    let mut wrong = Vec::new();
    let words = posted.symbols.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';'));
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.len() > MAX_ADDED {
        wrong.push(FieldError::new("symbols", format!("add {MAX_ADDED} symbols at most at a time")));
        left.extend(words.drain(..).map(str::to_owned));
    }
    for word in words {
        let added = match word.parse::<Symbol>() {
            Ok(symbol) => state.services.watchlists().watch(signed.trader(), *id, &symbol).await,
            Err(error) => {
                Err(services::Error::Invalid(vec![FieldError::new("symbols", format!("{word}: {error}"))]))
            }
        };
        if let Err(error) = added {
            let about = matches!(
                error,
                services::Error::UnknownSymbol(_)
                    | services::Error::NotTradable { .. }
                    | services::Error::NoPrice { .. }
                    | services::Error::CallsUsedUp { .. }
                    | services::Error::PriceUnconfirmed { .. }
            );
            let told = error.to_string();
            left.push(word.to_owned());
            if about {
                wrong.push(FieldError::new("symbols", told));
            } else {
                let problem = refusal(error)?;
                let messages = problem.fields().iter().map(|field| field.message.clone());
                wrong.extend(messages.map(|message| FieldError::new("symbols", message)));
            }
        }
    }
    if left.is_empty() {
        return Ok(see_other(address(*id)));
    }
    let problem = Problem::invalid(wrong);
    let form = FormView::new("add").with("symbols", left.join(", ")).refused(&problem);
    state.services.watchlists().watchlist(signed.account.id, *id).await?;
    shell.refuse(format!("{}#add", address(*id)), form).await
}

#[derive(Deserialize)]
pub struct OneSymbol {
    symbol: String,
}

pub async fn remove(
    signed: LoggedIn,
    id: Path<WatchlistId>,
    state: Data<AppState>,
    Form(posted): Form<OneSymbol>,
) -> PageResult {
    if let Ok(symbol) = posted.symbol.parse() {
        match state.services.watchlists().unwatch(signed.trader(), *id, &symbol).await {
            // The button was pressed twice: the stock is already removed.
            Ok(()) | Err(services::Error::NotFound(services::NotFound::WatchedStock)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(see_other(address(*id)))
}

pub async fn delete(
    shell: Shell,
    signed: LoggedIn,
    id: Path<WatchlistId>,
    state: Data<AppState>,
    _: Form<EmptyForm>,
) -> PageResult {
    state.services.watchlists().delete_watchlist(signed.trader(), *id).await?;
    Ok(shell.redirect_with_success("/watchlist", "The list is deleted.").await)
}

#[derive(Deserialize)]
pub struct WatchedOn {
    /// Empty for a user without a list; a list is created then.
    #[serde(default)]
    list: String,
}

/// Adds a stock to a list, from the page of the stock.
pub async fn watch(
    shell: Shell,
    signed: LoggedIn,
    symbol: Path<String>,
    state: Data<AppState>,
    Form(posted): Form<WatchedOn>,
) -> PageResult {
    let (user, services) = (signed.account.id, &state.services);
    let symbol: Symbol = symbol.parse().map_err(|_| Problem::not_found())?;
    let list = match posted.list.parse() {
        Ok(id) => services.watchlists().watchlist(user, WatchlistId(id)).await?,
        Err(_) => match services.watchlists().all(user).await?.into_iter().next() {
            Some(first) => first,
            None => services.watchlists().create_watchlist(signed.trader(), "Main").await?,
        },
    };
    let back = format!("/stocks/{symbol}");
    match services.watchlists().watch(signed.trader(), list.id, &symbol).await {
        Ok(()) => Ok(shell.redirect_with_success(back, format!("{symbol} is on {}.", list.name)).await),
        Err(error) => {
            let problem = refusal(error)?;
            let told = problem.fields().first().map_or(problem.detail(), |field| field.message.as_str());
            Ok(shell.redirect_with_error(back, format::sentence(told)).await)
        }
    }
}
