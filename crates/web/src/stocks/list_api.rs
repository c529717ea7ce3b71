//! Lists of stocks, and the prices of many. Open to all users.

use actix_web::HttpResponse;
use actix_web::web::Data;
use domain::{SortDirection, StockFilter, StockSort, Symbol};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use services::FieldError;
use services::stocks::LatestQuote;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::http::api::{Items, Paging};
use crate::http::extract::CurrentUser;
use crate::http::input::Query;
use crate::http::problem::Problem;
use crate::openapi::{enums, problems};
use crate::stocks::api::{Quote, Stock};
use crate::trading::list_api::direction;

/// Symbols in one request for prices.
const MOST_QUOTES: usize = 200;

/// Which stocks to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StockList {
    /// The beginning of a symbol or of a word of the company's name, from one character. The best match comes first, and
    /// there is one page; leave the other parameters out, except `limit`.
    search: Option<String>,
    /// Only stocks of this sector, as the stocks name it.
    sector: Option<String>,
    /// Only stocks of this exchange, as the stocks name it.
    exchange: Option<String>,
    /// `symbol` unless said otherwise.
    #[param(value_type = Option<enums::StockSort>)]
    sort: Option<String>,
    /// `asc` unless said otherwise.
    #[param(value_type = Option<enums::SortDirection>)]
    direction: Option<String>,
    /// How many items a page has.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl StockList {
    fn check_search_alone(&self) -> Result<(), Problem> {
        let others = [
            ("sector", &self.sector),
            ("exchange", &self.exchange),
            ("sort", &self.sort),
            ("direction", &self.direction),
            ("cursor", &self.cursor),
        ];
        let given = others.into_iter().filter(|(_, value)| value.is_some());
        let errors: Vec<FieldError> = given
            .map(|(field, _)| FieldError::new(field, "cannot be used with search: leave it out"))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }

    fn filter(&self) -> Result<StockFilter, Problem> {
        let sort = match self.sort.as_deref() {
            None | Some("symbol") => StockSort::Symbol,
            Some("company_name") => StockSort::CompanyName,
            Some(_) => {
                return Err(Problem::invalid(vec![FieldError::new("sort", "use symbol or company_name")]));
            }
        };
        Ok(StockFilter {
            sector: self.sector.clone(),
            exchange: self.exchange.clone(),
            sort,
            direction: direction(self.direction.as_deref())?.unwrap_or(SortDirection::Ascending),
        })
    }
}

/// List stocks, or find them by symbol or company name.
///
/// Without `search` all stocks of the market are listed, page by page: of the built-in market its companies, delisted ones
/// included; of a provider with a table of listings the stocks that it lists; otherwise the stocks that somebody here has
/// looked up.
#[utoipa::path(
    get, path = "/api/v1/stocks", tag = "stocks", operation_id = "listStocks",
    params(StockList),
    responses((status = 200, description = "The stocks found", body = Items<Stock>)),
    extensions(("x-problem-codes" = json!(["source_unavailable"]))),
)]
pub async fn list(
    _: CurrentUser,
    wanted: Query<StockList>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let paging = Paging { limit: wanted.limit.clone(), cursor: wanted.cursor.clone() };
    let limit = paging.limit()?;
    if let Some(search) = &wanted.search {
        wanted.check_search_alone()?;
        let found = state.services.stocks().search_stocks(search, limit).await?;
        let found = state.services.stocks().with_restrictions(found).await?;
        return Ok(HttpResponse::Ok().json(Items::all(found.into_iter().map(Stock::from).collect())));
    }
    let page = state.services.stocks().list_stocks(wanted.filter()?, paging.cursor()?, limit).await?;
    Ok(HttpResponse::Ok().json(Items {
        next_cursor: page.next.map(|symbol| symbol.to_string()),
        items: page.items.into_iter().map(Stock::from).collect(),
    }))
}

/// Which prices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedQuotes {
    /// Symbols, separated by commas; 200 at most. A repeated one counts once.
    #[param(example = "AAPL,MSFT")]
    symbols: String,
}

/// The newest price of one of many symbols.
#[derive(Serialize, ToSchema)]
pub struct SymbolQuote {
    /// As in the request, in capital letters. The quote has the symbol of now.
    symbol: Symbol,
    quote: Option<Quote>,
    /// Why there is no quote.
    #[schema(value_type = Option<problems::Problem>)]
    problem: Option<Value>,
}

/// Reads symbols between commas.
fn symbols(text: &str) -> Result<Vec<Symbol>, Problem> {
    let refused = |message: String| Problem::invalid(vec![FieldError::new("symbols", message)]);
    let mut symbols: Vec<Symbol> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let symbol = part.parse::<Symbol>().map_err(|error| {
            let start: String = part.chars().take(12).collect();
            refused(format!("{start}: {error}"))
        })?;
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
        if symbols.len() > MOST_QUOTES {
            return Err(refused(format!("name {MOST_QUOTES} at most")));
        }
    }
    if symbols.is_empty() {
        Err(refused("name at least one symbol, like AAPL,MSFT".into()))
    } else {
        Ok(symbols)
    }
}

/// Get the newest prices of many stocks.
///
/// In the order of `symbols`. A symbol without a price does not keep the others from theirs: its item says why. A source
/// whose calls are few is asked only for stocks that have no price yet.
#[utoipa::path(
    get, path = "/api/v1/stocks/quotes", tag = "stocks", operation_id = "listQuotes",
    params(WantedQuotes),
    responses((status = 200, description = "A quote or a problem for each symbol", body = Items<SymbolQuote>)),
)]
pub async fn quotes(
    user: CurrentUser,
    wanted: Query<WantedQuotes>,
    state: Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let symbols = symbols(&wanted.symbols)?;
    let found = state.services.stocks().latest_quotes(user.account.id, &symbols).await?;
    let item = |(symbol, found): (Symbol, Result<LatestQuote, services::Error>)| match found {
        Ok(latest) => SymbolQuote { symbol, quote: Some(Quote::from(latest)), problem: None },
        Err(error) => SymbolQuote { symbol, quote: None, problem: Some(Problem::from(error).body()) },
    };
    Ok(HttpResponse::Ok().json(Items::all(symbols.into_iter().zip(found).map(item).collect())))
}
