//! `stockyard providers check`: sends one request of each kind to the configured provider and prints the results.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::{Quote, Symbol};
use market_data::{DailySeries, Entitlement, KeyFeature, ListingState, Purpose, QuoteError, QuoteSource};
use services::Services;

use crate::config::Config;
use crate::wiring::{self, Provider};

/// The number of days of the requested series.
const DAYS: u64 = 30;
/// The check waits for a rate limit that ends within this time.
const MAX_WAIT: Duration = Duration::from_secs(90);

const MAX_FAILURES: usize = 3;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// The answer in a few words.
    Figure(String),
    /// The key does not include the feature.
    NotCovered(KeyFeature),
}

/// One kind of request, and the calls that it may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Quote,
    Quotes,
    Search,
    Profile,
    Bars,
    Splits,
    Dividends,
    Listings,
    /// A feature that only some keys include.
    Feature(KeyFeature),
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::Quote => "quote",
            Self::Quotes => "many quotes",
            Self::Search => "search",
            Self::Profile => "profile",
            Self::Bars => "daily bars",
            Self::Splits => "splits",
            Self::Dividends => "dividends",
            Self::Listings => "listings",
            Self::Feature(KeyFeature::DelayedPrices) => "delayed",
            Self::Feature(KeyFeature::RealtimePrices) => "realtime",
            Self::Feature(KeyFeature::BulkQuotes) => "bulk quotes",
            Self::Feature(KeyFeature::FullHistory) => "full history",
        }
    }
}

/// The checks of an Alpha Vantage key, each with the maximum number of its calls.
const ALPHA_VANTAGE: [(Check, u32); 11] = [
    (Check::Quote, 2),
    (Check::Search, 1),
    (Check::Profile, 2),
    (Check::Bars, 2),
    (Check::Splits, 1),
    (Check::Dividends, 1),
    (Check::Listings, 1),
    (Check::Feature(KeyFeature::FullHistory), 1),
    (Check::Feature(KeyFeature::BulkQuotes), 1),
    (Check::Feature(KeyFeature::DelayedPrices), 1),
    (Check::Feature(KeyFeature::RealtimePrices), 1),
];
const YAHOO: [(Check, u32); 7] = [
    (Check::Quote, 1),
    (Check::Quotes, 5),
    (Check::Search, 1),
    (Check::Profile, 2),
    (Check::Bars, 1),
    (Check::Splits, 1),
    (Check::Dividends, 1),
];

pub async fn run(config: &Config, symbol: &str, yes: bool) -> Result<ExitCode> {
    let Some(provider) = Provider::from_config(config)? else {
        say!("Prices come from the built-in market: there is no provider to check.")?;
        return Ok(ExitCode::SUCCESS);
    };
    let Ok(symbol) = symbol.parse::<Symbol>() else {
        bail!("--symbol: {symbol:?} is not a symbol; expected one like IBM");
    };
    let store = wiring::ready_store(config).await?;
    let market = provider.market(&store);
    let services = wiring::on(config, store, market).await?;
    let checks: &[(Check, u32)] = match &provider {
        Provider::AlphaVantage(..) => &ALPHA_VANTAGE,
        Provider::Yahoo(_) => &YAHOO,
    };
    let most: u32 = checks.iter().map(|(_, calls)| calls).sum();
    let name = match &provider {
        Provider::AlphaVantage(..) => "Alpha Vantage",
        Provider::Yahoo(_) => "Yahoo Finance",
    };
    say!("This check makes {} requests to {name}, with up to {most} calls.", checks.len())?;
    say!("They count against the calls of today: {}.", left(&services).await?)?;
    if !yes && !is_confirmed()? {
        bail!("no call was made: answer yes, or use --yes");
    }
    let mut failures = 0_usize;
    let mut checks = checks.iter();
    for (check, _) in checks.by_ref() {
        let answer = answer(&services, &provider, *check, &symbol).await;
        match &answer {
            Ok(Answer::NotCovered(feature)) => {
                let is_set_up = is_set_up(&provider, *feature);
                failures += usize::from(is_set_up);
                let word = if is_set_up { "failed" } else { "no" };
                say!("  {word:<7} {:<12} {}", check.name(), QuoteError::NotCovered)?;
                if let Some(advice) = advice_on(*feature, false, is_set_up) {
                    say!("          {:<12} {advice}", "")?;
                }
            }
            Ok(Answer::Figure(figure)) => {
                say!("  ok      {:<12} {figure}", check.name())?;
                if let Check::Feature(feature) = check
                    && let Some(advice) = advice_on(*feature, true, is_set_up(&provider, *feature))
                {
                    say!("          {:<12} {advice}", "")?;
                }
            }
            Err(error) => {
                failures += 1;
                say!("  failed  {:<12} {error}", check.name())?;
                say!("          {:<12} {}", "", advice(error))?;
            }
        }
        // Stops if the other checks would fail for the same reason and use up calls, or after too many failures.
        if answer.is_err_and(|error| is_about_everything(&error)) || failures == MAX_FAILURES {
            break;
        }
    }
    let untried: Vec<&str> = checks.map(|(check, _)| check.name()).collect();
    if !untried.is_empty() {
        say!("  not tried: {}", untried.join(", "))?;
    }
    say!("Calls of today: {}.", left(&services).await?)?;
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn left(services: &Services) -> Result<String> {
    let state = services.stocks().provider_state().await?;
    Ok(match state.limits.as_ref().map(|limits| (limits.used(), limits.left())) {
        Some((used, Some(left))) => format!("{used} used, {left} left"),
        _ => "no limit".to_owned(),
    })
}

fn is_confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    write!(std::io::stdout(), "Continue? [y/N] ")?;
    std::io::stdout().flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Makes a request and describes the response in a few words. Waits once for a rate limit that ends soon.
async fn answer(
    services: &Services,
    provider: &Provider,
    check: Check,
    symbol: &Symbol,
) -> Result<Answer, QuoteError> {
    let first = ask(services, provider, check, symbol).await;
    let Err(QuoteError::RateLimited { retry_at: Some(retry_at) }) = &first else { return first };
    let wait = *retry_at - services.market().wall_time().utc();
    match wait.to_std() {
        Ok(wait) if wait <= MAX_WAIT => {
            let _ = say!("  waiting {} s for the limit of calls per minute", wait.as_secs() + 1);
            tokio::time::sleep(wait + Duration::from_secs(1)).await;
            ask(services, provider, check, symbol).await
        }
        _ => first,
    }
}

async fn ask(
    services: &Services,
    provider: &Provider,
    check: Check,
    symbol: &Symbol,
) -> Result<Answer, QuoteError> {
    let market = services.market();
    let now = market.now();
    let today = exchange_date(now);
    let from = today.checked_sub_days(Days::new(DAYS)).unwrap_or(today);
    let source: &dyn QuoteSource = match provider {
        Provider::AlphaVantage(source, _) => source.as_ref(),
        Provider::Yahoo(source) => source.as_ref(),
    };
    let payer = &market.quotes.payer(Purpose::Operator)?;
    let answer = match check {
        Check::Quote => {
            let quote = source.quotes(std::slice::from_ref(symbol), now, payer).await.pop();
            quote.unwrap_or(Err(QuoteError::Unreachable)).map(|quote| price_text(&quote))
        }
        Check::Quotes => {
            let second = if symbol.as_str() == "MSFT" { "IBM" } else { "MSFT" };
            let both: Vec<Symbol> =
                [symbol.as_str(), second].iter().filter_map(|text| text.parse().ok()).collect();
            let quotes: Result<Vec<Quote>, QuoteError> =
                source.quotes(&both, now, payer).await.into_iter().collect();
            quotes.map(|quotes| quotes.iter().map(price_text).collect::<Vec<_>>().join("; "))
        }
        Check::Search => source.search(symbol.as_str(), 10, now, payer).await.map(|found| {
            let first = found.first().map_or_else(String::new, |first| format!(", first {}", first.symbol));
            format!("{} found{first}", found.len())
        }),
        Check::Profile => source
            .listing(symbol, now, payer)
            .await
            .map(|listing| format!("{}, {}, {}", listing.company_name, listing.exchange, listing.sector)),
        Check::Bars => {
            source.daily_series(symbol, from, today, now, payer).await.map(|DailySeries { bars, .. }| {
                let last =
                    bars.last().map_or_else(String::new, |bar| format!(", {} on {}", bar.close, bar.date));
                format!("{} sessions since {from}{last}", bars.len())
            })
        }
        Check::Splits => {
            let splits = match provider {
                Provider::AlphaVantage(source, _) => source.splits(symbol, payer).await,
                Provider::Yahoo(source) => source.splits(symbol, payer).await,
            };
            splits.map(|all| counted(all.len(), "splits", all.last().map(|split| split.effective_on)))
        }
        Check::Dividends => {
            let dividends = match provider {
                Provider::AlphaVantage(source, _) => source.dividends(symbol, payer).await,
                Provider::Yahoo(source) => source.dividends(symbol, payer).await,
            };
            dividends.map(|all| counted(all.len(), "dividends", all.last().map(|dividend| dividend.ex_on)))
        }
        Check::Feature(feature) => {
            let Provider::AlphaVantage(source, _) = provider else { return Ok(Answer::NotCovered(feature)) };
            let found = payer.answered(source.try_feature(feature, symbol, payer).await).await?;
            return Ok(found.map_or(Answer::NotCovered(feature), Answer::Figure));
        }
        Check::Listings => {
            let Provider::AlphaVantage(source, _) = provider else {
                return Ok(Answer::Figure("none".to_owned()));
            };
            let table = payer.answered(source.listings(ListingState::Active, payer).await).await?;
            let count = table.len();
            // The call is counted anyway, so its result is stored for searches.
            return Ok(Answer::Figure(match services.stocks().keep_listings(table).await {
                Ok(_) => format!("{count} stocks and funds, stored for searches"),
                Err(error) => format!("{count} stocks and funds, which could not be stored: {error}"),
            }));
        }
    };
    payer.answered(answer).await.map(Answer::Figure)
}

/// Whether the configuration says that the key includes the feature.
fn is_set_up(provider: &Provider, feature: KeyFeature) -> bool {
    let Provider::AlphaVantage(_, plan) = provider else { return false };
    match feature {
        KeyFeature::DelayedPrices => plan.entitlement == Some(Entitlement::Delayed),
        KeyFeature::RealtimePrices => plan.entitlement == Some(Entitlement::Realtime),
        KeyFeature::BulkQuotes => plan.entitlement.is_some(),
        KeyFeature::FullHistory => plan.is_paid(),
    }
}

/// Advice if the key's features differ from the configuration.
fn advice_on(feature: KeyFeature, allowed: bool, is_set_up: bool) -> Option<&'static str> {
    match (feature, allowed, is_set_up) {
        (KeyFeature::DelayedPrices, true, false) => Some(
            "ALPHAVANTAGE_ENTITLEMENT=delayed gives these prices, with ALPHAVANTAGE_CALLS_PER_MINUTE of the plan.",
        ),
        (KeyFeature::RealtimePrices, true, false) => Some(
            "ALPHAVANTAGE_ENTITLEMENT=realtime gives these prices, with ALPHAVANTAGE_CALLS_PER_MINUTE of the plan.",
        ),
        (KeyFeature::FullHistory, true, false) => Some(
            "The key has a paid plan: set ALPHAVANTAGE_CALLS_PER_MINUTE to the calls per minute of the plan.",
        ),
        (KeyFeature::BulkQuotes, _, false) | (_, true, true) | (_, false, false) => None,
        (KeyFeature::DelayedPrices | KeyFeature::RealtimePrices, false, true) => Some(
            "Stockyard uses the close of each session instead. Check your plan and ALPHAVANTAGE_ENTITLEMENT.",
        ),
        (KeyFeature::BulkQuotes, false, true) => Some("Stockyard requests each stock separately instead."),
        (KeyFeature::FullHistory, false, true) => {
            Some("Charts show only 100 sessions. Check your plan and ALPHAVANTAGE_CALLS_PER_MINUTE.")
        }
    }
}

fn price_text(quote: &Quote) -> String {
    format!("{} {} as of {}", quote.symbol, quote.price, quote.as_of)
}

fn counted(count: usize, what: &str, newest: Option<NaiveDate>) -> String {
    let newest = newest.map_or_else(String::new, |newest| format!(", the newest of {newest}"));
    format!("{count} {what}{newest}")
}

/// Whether other calls would fail for the same reason.
fn is_about_everything(error: &QuoteError) -> bool {
    match error {
        QuoteError::RateLimited { .. }
        | QuoteError::Unreachable
        | QuoteError::KeyRefused
        | QuoteError::ClockAhead { .. } => true,
        QuoteError::Upstream(_)
        | QuoteError::NotCovered
        | QuoteError::UnknownSymbol(_)
        | QuoteError::NotTradable { .. }
        | QuoteError::Unconfirmed(_) => false,
    }
}

/// Advice for the operator about an error.
fn advice(error: &QuoteError) -> String {
    match error {
        QuoteError::RateLimited { retry_at: Some(at) } => {
            format!("Calls are paused until {}.", at.format("%Y-%m-%d %H:%M:%S UTC"))
        }
        QuoteError::RateLimited { retry_at: None } => "Try again in a few hours.".to_owned(),
        QuoteError::Unreachable => {
            "Check the network, the proxy, the firewall, and the base URL in the settings.".to_owned()
        }
        QuoteError::ClockAhead { .. } => {
            "Check this server's clock and its time service (NTP): prices with a later time are refused."
                .to_owned()
        }
        QuoteError::Unconfirmed(_) => {
            "An administrator can confirm it at /admin/providers; otherwise wait for the next price."
                .to_owned()
        }
        QuoteError::UnknownSymbol(_) | QuoteError::NotTradable { .. } => {
            "Choose another symbol with --symbol; if well-known symbols fail too, the provider's format has changed."
                .to_owned()
        }
        QuoteError::KeyRefused => "Check ALPHAVANTAGE_API_KEY: is it complete, and still valid?".to_owned(),
        QuoteError::NotCovered => {
            "A paid key includes this feature. Stockyard works without it.".to_owned()
        }
        QuoteError::Upstream(_) => {
            "The response has an unknown form. If this continues, the provider's format has changed."
                .to_owned()
        }
    }
}
