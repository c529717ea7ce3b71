//! All measures of a portfolio over a window, and its comparison with a benchmark.

use std::collections::BTreeMap;

use chrono::Days;
use domain::calendar::exchange_date;
use domain::performance::{Analysis, Benchmark, Series, Settings};
use domain::{Bar, PortfolioId, StockId, Symbol, Timestamp, UserId};

use crate::books::Books;
use crate::books::performance::Window;
use crate::error::{Error, Result};

/// Calendar days before the window that contain a close of the benchmark, holidays and weekends included.
const DAYS_BEFORE_WINDOW: Days = Days::new(10);

/// A window ready to be measured and explained.
#[derive(Debug, Clone)]
pub struct WindowAnalysis {
    /// With the books of the window.
    pub analysis: Analysis,
    /// The symbols of all stocks in those books.
    pub symbols: BTreeMap<StockId, Symbol>,
}

/// Whether the source does not have the stock or its prices now.
fn is_about_the_stock(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownSymbol(_)
            | Error::NotTradable { .. }
            | Error::TradingHalted { .. }
            | Error::NoPrice { .. }
            | Error::CallsUsedUp { .. }
            | Error::PriceUnconfirmed { .. }
            | Error::SourceUnavailable { .. }
    )
}

impl Books {
    /// Returns the window ready to be measured and explained. Its last point is the value of this moment when the window
    /// reaches today. It is compared with `benchmark`, or with that of the portfolio. Where the prices of the benchmark
    /// do not reach back to the start of the window, the measures that need one are undefined.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio; [`Error::Invalid`] when the window ends before it begins;
    /// [`Error::UnknownSymbol`] and [`Error::NotTradable`] for a `benchmark` that was asked for.
    pub async fn analysis(
        &self,
        user: UserId,
        id: PortfolioId,
        window: Window,
        benchmark: Option<&Symbol>,
    ) -> Result<WindowAnalysis> {
        let closes = self.window_closes(user, id, window, true).await?;
        let settings = Settings::new(self.market.calendar, self.config.risk_free);
        let mut analysis = Analysis::new(closes.before.as_ref(), &closes.window, settings);
        let mut symbols = BTreeMap::new();
        if let Some(books) = closes.books {
            symbols = self.symbols_in(&books).await?;
            analysis = analysis.with_books(books);
        }
        let symbol = benchmark.unwrap_or(&closes.benchmark);
        let compared = match self.benchmark(user, symbol, &analysis.series, closes.measured_at).await {
            // Nobody asked for this one: the other measures are shown.
            Err(error) if benchmark.is_none() && is_about_the_stock(&error) => {
                tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no prices of the benchmark");
                Benchmark::new(symbol.clone(), &[], [])
            }
            compared => compared?,
        };
        Ok(WindowAnalysis { analysis: analysis.with_benchmark(compared), symbols })
    }

    /// Returns the benchmark's closes and actions from before the window until now.
    async fn benchmark(
        &self,
        user: UserId,
        symbol: &Symbol,
        series: &Series,
        now: Timestamp,
    ) -> Result<Benchmark> {
        let stock = self.instruments.stock_for(Some(user), symbol).await?;
        let listed = stock.listing.symbol.clone();
        let Some(start_on) = series.start_on() else { return Ok(Benchmark::new(listed, &[], [])) };
        let first = start_on.checked_sub_days(DAYS_BEFORE_WINDOW).unwrap_or(start_on);
        let mut bars = match self.stocks.bars(Some(user), &stock, first, exchange_date(now), now).await {
            Ok(bars) => bars,
            Err(Error::NoPrice { .. } | Error::SourceUnavailable { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        bars.extend(self.price_of_today(user, symbol, &bars, now).await);
        let actions = self.corporate_actions.actions_of(&stock, now).await?;
        Ok(Benchmark::new(listed, &bars, &actions))
    }

    /// Returns the newest price as a bar when it is of today and `bars` end before: the portfolio's last point is valued at
    /// such prices. An older quote is no bar, because it is converted to today's shares, less dividends since.
    async fn price_of_today(
        &self,
        user: UserId,
        symbol: &Symbol,
        bars: &[Bar],
        now: Timestamp,
    ) -> Option<Bar> {
        let newest = self.stocks.quote_for(Some(user), symbol).await.ok()?.quote;
        let (date, last) = (exchange_date(newest.as_of), bars.last()?);
        let [open, high, low, close] = [(); 4].map(|()| newest.price.clone());
        (date == exchange_date(now) && date > last.date).then_some(Bar {
            date,
            open,
            high,
            low,
            close,
            volume: 0,
        })
    }
}
