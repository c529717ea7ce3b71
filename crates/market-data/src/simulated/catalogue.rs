//! The instruments of the simulated market: well-known symbols with figures near the public ones of early 2025, and
//! five invented companies.

use domain::{Currency, Listing, Symbol};

use Sector::{
    Communication, ConsumerDiscretionary, ConsumerStaples, Energy, Financials, HealthCare, Industrials,
    Materials, RealEstate, Technology, Utilities,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sector {
    Technology,
    Communication,
    ConsumerDiscretionary,
    ConsumerStaples,
    HealthCare,
    Financials,
    Industrials,
    Energy,
    Utilities,
    RealEstate,
    Materials,
}

impl Sector {
    /// The displayed name, which also names the sector's random stream.
    pub(super) fn name(self) -> &'static str {
        match self {
            Technology => "Technology",
            Communication => "Communication",
            ConsumerDiscretionary => "Consumer Discretionary",
            ConsumerStaples => "Consumer Staples",
            HealthCare => "Health Care",
            Financials => "Financials",
            Industrials => "Industrials",
            Energy => "Energy",
            Utilities => "Utilities",
            RealEstate => "Real Estate",
            Materials => "Materials",
        }
    }
}

/// The paths that move an instrument besides its beta times the market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    /// No other path: it is the market itself.
    Market,
    /// A company: partly its sector, partly a path of its own.
    Company(Sector),
    /// A fund for one sector.
    Sector(Sector),
    /// A fund with its own path.
    Itself,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Instrument {
    pub(super) symbol: &'static str,
    pub(super) company_name: &'static str,
    exchange: &'static str,
    pub(super) follows: Follows,
    /// US dollars at the anchor, the opening of 1 November 2026, after all splits until then.
    pub(super) price: f64,
    /// Standard deviation of the log return per year: 0.27 is 27 %.
    pub(super) volatility: f64,
    pub(super) beta: f64,
    /// Percent of the price per year, paid in four dividends.
    pub(super) dividend_yield_percent: f64,
    /// Average shares per day around the anchor.
    pub(super) average_volume: u32,
}

impl Instrument {
    /// The listing with the symbol and the name of a given time.
    pub(super) fn listing(&self, symbol: Symbol, company_name: &str) -> Listing {
        let sector = match self.follows {
            Follows::Company(sector) => sector.name(),
            Follows::Market | Follows::Sector(_) | Follows::Itself => "Fund",
        };
        Listing {
            symbol,
            company_name: company_name.to_owned(),
            exchange: self.exchange.to_owned(),
            sector: sector.to_owned(),
            currency: Currency::Usd,
        }
    }
}

const NASDAQ: &str = "NASDAQ";
const NYSE: &str = "NYSE";
const ARCA: &str = "NYSE ARCA";

#[expect(clippy::too_many_arguments, reason = "the columns of the table below")]
const fn stock(
    symbol: &'static str,
    company_name: &'static str,
    exchange: &'static str,
    sector: Sector,
    price: f64,
    volatility: f64,
    beta: f64,
    dividend_yield_percent: f64,
    average_volume: u32,
) -> Instrument {
    let follows = Follows::Company(sector);
    fund(
        symbol,
        company_name,
        exchange,
        follows,
        price,
        volatility,
        beta,
        dividend_yield_percent,
        average_volume,
    )
}

#[expect(clippy::too_many_arguments, reason = "the columns of the table below")]
const fn fund(
    symbol: &'static str,
    company_name: &'static str,
    exchange: &'static str,
    follows: Follows,
    price: f64,
    volatility: f64,
    beta: f64,
    dividend_yield_percent: f64,
    average_volume: u32,
) -> Instrument {
    Instrument {
        symbol,
        company_name,
        exchange,
        follows,
        price,
        volatility,
        beta,
        dividend_yield_percent,
        average_volume,
    }
}

/// Symbol, name, exchange, sector, price, volatility, beta, yield in percent, shares per day.
#[rustfmt::skip]
pub(super) const INSTRUMENTS: &[Instrument] = &[
    stock("AAPL", "Apple Inc.", NASDAQ, Technology, 245.0, 0.27, 1.2, 0.4, 50_000_000),
    stock("MSFT", "Microsoft Corporation", NASDAQ, Technology, 418.0, 0.24, 1.0, 0.8, 21_000_000),
    stock("NVDA", "NVIDIA Corporation", NASDAQ, Technology, 138.0, 0.5, 1.8, 0.0, 220_000_000),
    stock("AVGO", "Broadcom Inc.", NASDAQ, Technology, 232.0, 0.42, 1.4, 1.0, 25_000_000),
    stock("ORCL", "Oracle Corporation", NYSE, Technology, 166.0, 0.33, 1.1, 1.0, 12_000_000),
    stock("ADBE", "Adobe Inc.", NASDAQ, Technology, 441.0, 0.36, 1.2, 0.0, 3_500_000),
    stock("CRM", "Salesforce, Inc.", NYSE, Technology, 330.0, 0.34, 1.2, 0.5, 7_000_000),
    stock("AMD", "Advanced Micro Devices, Inc.", NASDAQ, Technology, 121.0, 0.48, 1.7, 0.0, 45_000_000),
    stock("INTC", "Intel Corporation", NASDAQ, Technology, 20.0, 0.45, 1.2, 0.0, 80_000_000),
    stock("IBM", "International Business Machines Corporation", NYSE, Technology, 220.0, 0.22, 0.8, 3.0, 4_500_000),
    stock("CSCO", "Cisco Systems, Inc.", NASDAQ, Technology, 59.0, 0.22, 0.9, 2.7, 19_000_000),
    stock("QCOM", "QUALCOMM Incorporated", NASDAQ, Technology, 154.0, 0.36, 1.3, 2.2, 8_000_000),
    stock("GOOGL", "Alphabet Inc. Class A", NASDAQ, Communication, 189.0, 0.29, 1.1, 0.4, 30_000_000),
    stock("META", "Meta Platforms, Inc.", NASDAQ, Communication, 600.0, 0.38, 1.3, 0.3, 14_000_000),
    stock("NFLX", "Netflix, Inc.", NASDAQ, Communication, 887.0, 0.38, 1.2, 0.0, 4_000_000),
    stock("DIS", "The Walt Disney Company", NYSE, Communication, 111.0, 0.28, 1.1, 0.9, 10_000_000),
    stock("T", "AT&T Inc.", NYSE, Communication, 23.0, 0.22, 0.6, 4.9, 38_000_000),
    stock("VZ", "Verizon Communications Inc.", NYSE, Communication, 40.0, 0.21, 0.5, 6.7, 20_000_000),
    stock("AMZN", "Amazon.com, Inc.", NASDAQ, ConsumerDiscretionary, 220.0, 0.32, 1.2, 0.0, 42_000_000),
    stock("TSLA", "Tesla, Inc.", NASDAQ, ConsumerDiscretionary, 379.0, 0.6, 2.0, 0.0, 95_000_000),
    stock("HD", "The Home Depot, Inc.", NYSE, ConsumerDiscretionary, 388.0, 0.23, 1.0, 2.3, 3_800_000),
    stock("MCD", "McDonald's Corporation", NYSE, ConsumerDiscretionary, 292.0, 0.18, 0.7, 2.4, 3_600_000),
    stock("NKE", "NIKE, Inc.", NYSE, ConsumerDiscretionary, 73.0, 0.3, 1.0, 2.2, 13_000_000),
    stock("SBUX", "Starbucks Corporation", NASDAQ, ConsumerDiscretionary, 92.0, 0.29, 0.9, 2.6, 9_000_000),
    stock("F", "Ford Motor Company", NYSE, ConsumerDiscretionary, 9.7, 0.36, 1.3, 6.2, 75_000_000),
    stock("WMT", "Walmart Inc.", NASDAQ, ConsumerStaples, 90.0, 0.2, 0.6, 0.9, 18_000_000),
    stock("COST", "Costco Wholesale Corporation", NASDAQ, ConsumerStaples, 910.0, 0.21, 0.8, 0.5, 2_000_000),
    stock("PG", "The Procter & Gamble Company", NYSE, ConsumerStaples, 166.0, 0.17, 0.5, 2.4, 7_000_000),
    stock("KO", "The Coca-Cola Company", NYSE, ConsumerStaples, 62.0, 0.15, 0.5, 3.1, 16_000_000),
    stock("PEP", "PepsiCo, Inc.", NASDAQ, ConsumerStaples, 150.0, 0.17, 0.5, 3.6, 7_000_000),
    stock("LLY", "Eli Lilly and Company", NYSE, HealthCare, 778.0, 0.34, 0.7, 0.7, 3_500_000),
    stock("UNH", "UnitedHealth Group Incorporated", NYSE, HealthCare, 505.0, 0.27, 0.6, 1.7, 7_000_000),
    stock("JNJ", "Johnson & Johnson", NYSE, HealthCare, 144.0, 0.17, 0.5, 3.4, 8_000_000),
    stock("PFE", "Pfizer Inc.", NYSE, HealthCare, 26.0, 0.25, 0.6, 6.4, 42_000_000),
    stock("MRK", "Merck & Co., Inc.", NYSE, HealthCare, 99.0, 0.22, 0.5, 3.3, 13_000_000),
    stock("ABBV", "AbbVie Inc.", NYSE, HealthCare, 179.0, 0.23, 0.6, 3.7, 6_000_000),
    stock("JPM", "JPMorgan Chase & Co.", NYSE, Financials, 240.0, 0.24, 1.1, 2.1, 9_500_000),
    stock("BAC", "Bank of America Corporation", NYSE, Financials, 44.0, 0.27, 1.2, 2.4, 38_000_000),
    stock("WFC", "Wells Fargo & Company", NYSE, Financials, 70.0, 0.28, 1.2, 2.3, 16_000_000),
    stock("GS", "The Goldman Sachs Group, Inc.", NYSE, Financials, 576.0, 0.28, 1.3, 2.1, 2_200_000),
    stock("V", "Visa Inc.", NYSE, Financials, 315.0, 0.2, 0.9, 0.7, 6_500_000),
    stock("MA", "Mastercard Incorporated", NYSE, Financials, 523.0, 0.21, 0.9, 0.5, 2_700_000),
    stock("BRK.B", "Berkshire Hathaway Inc. Class B", NYSE, Financials, 451.0, 0.17, 0.8, 0.0, 4_200_000),
    stock("BA", "The Boeing Company", NYSE, Industrials, 172.0, 0.38, 1.4, 0.0, 8_500_000),
    stock("CAT", "Caterpillar Inc.", NYSE, Industrials, 362.0, 0.29, 1.1, 1.6, 3_000_000),
    stock("GE", "GE Aerospace", NYSE, Industrials, 170.0, 0.31, 1.2, 0.7, 5_000_000),
    stock("HON", "Honeywell International Inc.", NASDAQ, Industrials, 226.0, 0.21, 0.9, 2.0, 3_600_000),
    stock("UPS", "United Parcel Service, Inc.", NYSE, Industrials, 125.0, 0.27, 0.9, 5.2, 5_500_000),
    stock("DE", "Deere & Company", NYSE, Industrials, 421.0, 0.27, 1.0, 1.5, 1_500_000),
    stock("XOM", "Exxon Mobil Corporation", NYSE, Energy, 108.0, 0.26, 0.8, 3.7, 15_000_000),
    stock("CVX", "Chevron Corporation", NYSE, Energy, 147.0, 0.25, 0.8, 4.4, 8_500_000),
    stock("COP", "ConocoPhillips", NYSE, Energy, 101.0, 0.32, 1.0, 3.1, 7_000_000),
    stock("NEE", "NextEra Energy, Inc.", NYSE, Utilities, 72.0, 0.25, 0.6, 2.9, 10_000_000),
    stock("PLD", "Prologis, Inc.", NYSE, RealEstate, 105.0, 0.29, 1.1, 3.6, 4_000_000),
    stock("LIN", "Linde plc", NASDAQ, Materials, 416.0, 0.19, 0.9, 1.3, 2_000_000),
    fund("SPY", "SPDR S&P 500 ETF Trust", ARCA, Follows::Market, 584.0, 0.16, 1.0, 1.2, 60_000_000),
    fund("QQQ", "Invesco QQQ Trust", NASDAQ, Follows::Sector(Technology), 510.0, 0.21, 1.15, 0.6, 38_000_000),
    fund("DIA", "SPDR Dow Jones Industrial Average ETF Trust", ARCA, Follows::Itself, 424.0, 0.14, 0.9, 1.6, 3_500_000),
    fund("IWM", "iShares Russell 2000 ETF", ARCA, Follows::Itself, 222.0, 0.22, 1.2, 1.2, 30_000_000),
    fund("VTI", "Vanguard Total Stock Market ETF", ARCA, Follows::Itself, 289.0, 0.165, 1.02, 1.3, 3_500_000),
    // Invented companies, for prices below 1.00, thin trading, low volatility, a delisting, and a new symbol: see
    // `events`.
    stock("XPENY", "Pennywhistle Mining (invented)", NASDAQ, Materials, 0.42, 0.85, 1.4, 0.0, 900_000),
    stock("XTINY", "Tumbledown Robotics (invented)", NASDAQ, Industrials, 12.4, 0.55, 1.5, 0.0, 150_000),
    stock("XWATT", "Steadfast Water & Light (invented)", NYSE, Utilities, 58.0, 0.12, 0.35, 3.8, 1_200_000),
    stock("XLAST", "Last Orders Brewing (invented)", NYSE, ConsumerStaples, 8.4, 0.4, 0.8, 0.0, 600_000),
    stock("XCOAX", "Coaxial Games (invented)", NASDAQ, Communication, 34.0, 0.45, 1.2, 0.5, 2_500_000),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_row_is_valid_and_its_symbol_unique() {
        let mut seen = HashSet::new();
        for row in INSTRUMENTS {
            let symbol: Symbol = row.symbol.parse().unwrap();
            assert_eq!(symbol.as_str(), row.symbol);
            assert!(seen.insert(symbol), "{} twice", row.symbol);
            assert!((0.0001..10_000.0).contains(&row.price), "{}", row.symbol);
            assert!((0.05..1.0).contains(&row.volatility), "{}", row.symbol);
            assert!(row.average_volume > 0 && !row.company_name.is_empty(), "{}", row.symbol);
        }
        assert_eq!(seen.len(), 65);
    }
}
