//! All measures of a portfolio over a window, and its comparison with a benchmark.

use chrono::Days;
use domain::calendar::exchange_date;
use domain::performance::{Analysis, Benchmark, Series, Settings};
use domain::{Bar, PortfolioId, Symbol, Timestamp, UserId};

use crate::books::Books;
use crate::books::performance::Window;
use crate::error::{Error, Result};

/// Calendar days before the window that contain a close of the benchmark, holidays and weekends included.
const DAYS_BEFORE_WINDOW: Days = Days::new(10);

impl Books {
    /// Returns the window ready to be measured and explained. Its last point is the value of this moment when the window
    /// reaches today. Without a benchmark, the measures that need one are undefined; with a benchmark that has no prices,
    /// they are undefined too.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio; [`Error::Invalid`] when the window ends before it begins;
    /// [`Error::UnknownSymbol`] and [`Error::NotTradable`] for the benchmark.
    pub async fn analysis(
        &self,
        user: UserId,
        id: PortfolioId,
        window: Window,
        benchmark: Option<&Symbol>,
    ) -> Result<Analysis> {
        let closes = self.window_closes(user, id, window).await?;
        let settings = Settings::new(self.market.calendar, self.config.risk_free);
        let analysis = Analysis::new(closes.before.as_ref(), &closes.window, settings);
        let Some(symbol) = benchmark else { return Ok(analysis) };
        let benchmark = self.benchmark(user, symbol, &analysis.series, closes.measured_at).await?;
        Ok(analysis.with_benchmark(benchmark))
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
