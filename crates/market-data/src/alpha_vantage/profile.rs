//! The profile of a company.

use domain::{Price, Symbol};

use super::wire::{Object, check_symbol, in_title_case, known, text};
use crate::QuoteError;

/// The company profile. Every field may be missing; figures are from the latest reports.
#[derive(Debug, Clone, PartialEq)]
pub struct CompanyProfile {
    pub symbol: Symbol,
    pub name: Option<String>,
    pub description: Option<String>,
    pub exchange: Option<String>,
    /// The ISO 4217 code as the provider spells it.
    pub currency: Option<String>,
    pub country: Option<String>,
    pub sector: Option<String>,
    pub industry: Option<String>,
    /// The market capitalization in units of `currency`.
    pub market_capitalization: Option<u64>,
    pub shares_outstanding: Option<u64>,
    /// Price divided by earnings, a ratio.
    pub pe_ratio: Option<f64>,
    /// Earnings per share of the last twelve months, in units of `currency`; may be negative.
    pub earnings_per_share: Option<f64>,
    /// The dividend per share and year, in units of `currency`.
    pub dividend_per_share: Option<f64>,
    /// The dividend yield, a ratio: 0.05 is 5 %.
    pub dividend_yield: Option<f64>,
    /// The beta against the whole market, a ratio.
    pub beta: Option<f64>,
    pub week52_high: Option<Price>,
    pub week52_low: Option<Price>,
}

/// Parses an `OVERVIEW` answer; `None` for funds and unknown symbols.
pub(super) fn profile(answer: &Object, asked: &Symbol) -> Result<Option<CompanyProfile>, QuoteError> {
    if answer.is_empty() {
        return Ok(None);
    }
    check_symbol(&text(answer, "Symbol"), asked)?;
    let words = |name: &str| known(text(answer, name));
    let count = |name: &str| text(answer, name).parse::<u64>().ok();
    // Statistics for display; the books never use them.
    let ratio = |name: &str| text(answer, name).parse::<f64>().ok().filter(|ratio| ratio.is_finite());
    let price = |name: &str| Price::from_provider(&text(answer, name)).ok();
    Ok(Some(CompanyProfile {
        symbol: asked.clone(),
        name: words("Name"),
        description: words("Description"),
        exchange: words("Exchange"),
        currency: words("Currency"),
        country: words("Country"),
        sector: words("Sector").map(|sector| in_title_case(&sector)),
        industry: words("Industry").map(|industry| in_title_case(&industry)),
        market_capitalization: count("MarketCapitalization"),
        shares_outstanding: count("SharesOutstanding"),
        pe_ratio: ratio("PERatio"),
        earnings_per_share: ratio("EPS"),
        dividend_per_share: ratio("DividendPerShare"),
        dividend_yield: ratio("DividendYield"),
        beta: ratio("Beta"),
        week52_high: price("52WeekHigh"),
        week52_low: price("52WeekLow"),
    }))
}
