//! All measures of a portfolio over a window, and its comparison with a benchmark.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::performance::{Analysis, Benchmark, Close, ClosedDays, Series, Settings, WindowBooks};
use domain::{Money, PortfolioRef, StockId, Symbol};

use crate::books::Books;
use crate::books::cache::Version;
use crate::books::closed_benchmarks::ClosedBenchmark;
pub use crate::books::closed_windows::PointsForm;
use crate::books::closed_windows::{ClosedBooks, ClosedWindow, WindowKey};
use crate::books::performance::Window;
use crate::books::window_books::holdings_now;
use crate::error::{Error, Result};

/// A window ready to be measured and explained.
#[derive(Debug, Clone)]
pub struct WindowAnalysis {
    /// The analysis, including the books of the window.
    pub analysis: Analysis,
    /// The symbols of all stocks in those books.
    pub symbols: Arc<BTreeMap<StockId, Symbol>>,
}

/// A window ready to be measured.
#[derive(Debug, Clone)]
pub struct MeasuredWindow {
    /// Has only the last day if `closed_points` has the others.
    pub analyzed: WindowAnalysis,
    /// All points but the last, as the caller serialized them before. `None` if the window does not end now.
    pub closed_points: Option<Arc<[u8]>>,
}

/// Writes the closed points of a window once, for all later answers.
#[derive(Debug, Clone, Copy)]
pub struct PointsWriter {
    pub form: PointsForm,
    pub write: fn(&Analysis) -> Vec<u8>,
}

/// Whether the error means that the source does not have the stock or its current prices.
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
    /// Returns the window ready to be measured and explained. If the window reaches today, its last point is the
    /// current value. The window is compared with `benchmark`, or else with the benchmark of the portfolio. If the
    /// prices of the benchmark do not reach back to the start of the window, the measures that need a benchmark are
    /// undefined.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the portfolio; [`Error::Invalid`] when the window ends before it begins;
    /// [`Error::UnknownSymbol`] and [`Error::NotTradable`] for the `benchmark` that the caller chose.
    pub async fn analysis(
        &self,
        portfolio: PortfolioRef,
        window: Window,
        benchmark: Option<&Symbol>,
    ) -> Result<WindowAnalysis> {
        Ok(self.read_window(portfolio, window, benchmark).await?.analyzed)
    }

    /// Returns the window ready to be measured, as [`Books::analysis`] does, without the journal that explanations
    /// need. For a window that ends now, the closed days come from memory if the portfolio has not changed; `points`
    /// serializes them only once.
    ///
    /// # Errors
    /// The same as [`Books::analysis`].
    pub async fn measured_window(
        &self,
        portfolio: PortfolioRef,
        window: Window,
        benchmark: Option<&Symbol>,
        points: PointsWriter,
    ) -> Result<MeasuredWindow> {
        let key =
            WindowKey { portfolio: portfolio.id, window, benchmark: benchmark.cloned(), form: points.form };
        if let Some(found) = self.window_from_memory(portfolio, &key).await? {
            self.closed_windows.count_hit();
            return Ok(found);
        }
        let mut turn = self.closed_windows.turn_now();
        if turn.is_none() {
            turn = self.closed_windows.turn().await;
            // Another request may have read the same window meanwhile.
            if let Some(found) = self.window_from_memory(portfolio, &key).await? {
                self.closed_windows.count_hit();
                return Ok(found);
            }
        }
        let ReadWindow { analyzed, closed } = self.read_window(portfolio, window, benchmark).await?;
        let Some((closed, last)) = closed.and_then(|closed| closed.window(&analyzed, points.write)) else {
            return Ok(MeasuredWindow { analyzed, closed_points: None });
        };
        let closed_points = Some(closed.points.clone());
        let series = Series::continued(closed.days.clone(), &last);
        let analyzed = WindowAnalysis { analysis: Analysis { series, ..analyzed.analysis }, ..analyzed };
        self.closed_windows.insert(key, closed).await;
        drop(turn);
        Ok(MeasuredWindow { analyzed, closed_points })
    }

    /// Returns a window whose closed days, books and benchmark are cached, with the current value as its last point.
    /// `None` if the cache does not have all of them.
    async fn window_from_memory(
        &self,
        portfolio: PortfolioRef,
        key: &WindowKey,
    ) -> Result<Option<MeasuredWindow>> {
        self.corporate_actions.apply_splits_before_reading(&[portfolio.id]).await?;
        let Some(version) = self.versions.version_of(portfolio).await else { return Ok(None) };
        let now = self.market.now();
        let today = self.market.calendar.booking_session(now).date;
        let Some(kept) = self.closed_windows.get(key, version, today).await else { return Ok(None) };
        let Some(valued) = self.valuation_of_version(portfolio, version, now).await? else { return Ok(None) };
        let last = Close {
            date: today,
            total_value: valued.valuation.total_value.clone(),
            net_flow: kept.flow_today.clone(),
        };
        let series = Series::continued(kept.days.clone(), &last);
        let symbol = key.benchmark.as_ref().unwrap_or(&valued.portfolio.benchmark);
        let Ok(closed) = self.closed_benchmark(portfolio.user, symbol, &series, now).await else {
            return Ok(None);
        };
        if !Arc::ptr_eq(&closed, &kept.benchmark) {
            return Ok(None);
        }
        let benchmark = self.benchmark_until(portfolio.user, symbol, &closed, now).await;
        if !is_for_last_day(&benchmark, &closed, &kept.days) {
            return Ok(None);
        }
        let ClosedBooks { start, sums, receivable, symbols } = &kept.books;
        let books = WindowBooks {
            start: start.clone(),
            end: holdings_now(&valued.valuation, receivable.clone()),
            entries: Vec::new(),
            sums: sums.clone(),
        };
        let settings = Settings::new(self.market.calendar, self.config.risk_free);
        let analysis = Analysis { series, settings, benchmark: Some(benchmark), books: Some(books) };
        let analyzed = WindowAnalysis { analysis, symbols: symbols.clone() };
        Ok(Some(MeasuredWindow { analyzed, closed_points: Some(kept.points.clone()) }))
    }

    async fn read_window(
        &self,
        portfolio: PortfolioRef,
        window: Window,
        benchmark: Option<&Symbol>,
    ) -> Result<ReadWindow> {
        let closes = self.window_closes(portfolio, window, true).await?;
        let settings = Settings::new(self.market.calendar, self.config.risk_free);
        let mut analysis = Analysis::new(closes.before.as_ref(), &closes.window, settings);
        let mut symbols = Arc::default();
        if let Some(books) = closes.books {
            symbols = Arc::new(self.symbols_in(&books).await?);
            analysis = analysis.with_books(books);
        }
        let symbol = benchmark.unwrap_or(&closes.benchmark);
        let now = closes.measured_at;
        let mut closed = None;
        let compared = match self.closed_benchmark(portfolio.user, symbol, &analysis.series, now).await {
            // The caller did not choose this benchmark, so the other measures are shown without it.
            Err(error) if benchmark.is_none() && is_about_the_stock(&error) => {
                tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "no prices of the benchmark");
                Benchmark::new(symbol.clone(), &[], [])
            }
            kept => {
                let kept = kept?;
                let compared = self.benchmark_until(portfolio.user, symbol, &kept, now).await;
                closed = closes.until_now.map(|(version, receivable)| ReadNow {
                    version,
                    receivable,
                    benchmark: kept,
                });
                compared
            }
        };
        Ok(ReadWindow {
            analyzed: WindowAnalysis { analysis: analysis.with_benchmark(compared), symbols },
            closed,
        })
    }
}

/// A window that was read from the database.
struct ReadWindow {
    analyzed: WindowAnalysis,
    closed: Option<ReadNow>,
}

/// What else is kept of a window that ends now.
struct ReadNow {
    /// The version that was read.
    version: Version,
    /// Dividends owed by stock.
    receivable: BTreeMap<StockId, Money>,
    benchmark: Arc<ClosedBenchmark>,
}

impl ReadNow {
    /// The window to be kept, and its last close. `None` if it has no days, or if the closed ones may still change.
    fn window(
        self,
        analyzed: &WindowAnalysis,
        write: fn(&Analysis) -> Vec<u8>,
    ) -> Option<(ClosedWindow, Close)> {
        let Self { version, receivable, benchmark } = self;
        let analysis = &analyzed.analysis;
        let days = Arc::new(ClosedDays::of(analysis)?);
        let last = analysis.series.last_day()?;
        let compared = analysis.benchmark.as_ref()?;
        let books = analysis.books.as_ref()?;
        if !is_for_last_day(compared, &benchmark, &days) {
            return None;
        }
        let books = ClosedBooks {
            start: books.start.clone(),
            sums: books.sums.clone(),
            receivable,
            symbols: analyzed.symbols.clone(),
        };
        let last =
            Close { date: last.date, total_value: last.end_value.clone(), net_flow: last.net_flow.clone() };
        let (today, flow_today) = (last.date, last.net_flow.clone());
        let points = write(analysis).into();
        Some((ClosedWindow { version, today, days, flow_today, books, benchmark, points }, last))
    }
}

/// Whether the newest price of a benchmark, if it has one, changes nothing but the last day. After the close of a
/// session it stands for that session until the bar is there.
fn is_for_last_day(benchmark: &Benchmark, closed: &ClosedBenchmark, days: &ClosedDays) -> bool {
    let has_newest = benchmark.last_on() != closed.closed.last_on();
    !has_newest || benchmark.last_on() > days.end_on()
}
