//! The API for lists of stocks and for many prices at once. All users may read it.

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

/// The maximum number of symbols in one request for prices.
const MAX_QUOTES: usize = 200;

/// Selects stocks.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StockList {
    /// The beginning of a symbol or of a word of the company's name; one character is enough. The best match comes
    /// first. There is only one page, and no other parameter than `limit` is allowed.
    search: Option<String>,
    /// Only stocks of this sector, exactly as in the field `sector` of a stock.
    sector: Option<String>,
    /// Only stocks of this exchange, exactly as in the field `exchange` of a stock.
    exchange: Option<String>,
    /// Default: `symbol`.
    #[param(value_type = Option<enums::StockSort>)]
    sort: Option<String>,
    /// Default: `asc`.
    #[param(value_type = Option<enums::SortDirection>)]
    direction: Option<String>,
    /// The number of items per page.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// `next_cursor` of the previous page.
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
/// Without `search` all stocks of the market are listed, page by page. For the built-in market these are its companies,
/// including delisted ones; for a provider with a table of listings the stocks in the table; otherwise the stocks that
/// users of this installation have looked up.
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

/// Selects prices.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedQuotes {
    /// Up to 200 symbols, separated by commas. Repeated symbols are ignored.
    #[param(example = "AAPL,MSFT")]
    symbols: String,
}

/// The newest price of one of many symbols.
#[derive(Serialize, ToSchema)]
pub struct SymbolQuote {
    /// The symbol of the request, in capital letters. `quote` has the stock's current symbol.
    symbol: Symbol,
    quote: Option<Quote>,
    /// Why there is no quote.
    #[schema(value_type = Option<problems::Problem>)]
    problem: Option<Value>,
}

/// Reads symbols that are separated by commas.
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
        if symbols.len() > MAX_QUOTES {
            return Err(refused(format!("send {MAX_QUOTES} symbols at most")));
        }
    }
    if symbols.is_empty() {
        Err(refused("send at least one symbol, like AAPL,MSFT".into()))
    } else {
        Ok(symbols)
    }
}

/// Get the newest prices of many stocks.
///
/// Returns one item per symbol, in the order of `symbols`. If a symbol has no price, its item says why; the others have
/// theirs. If calls to the source are limited, only stocks without any price are fetched.
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
