//! Chooses the stocks of the demonstration. The choice uses all prices, past and future, so that with every seed of the
//! market the portfolios have a deep drawdown, and a split if there is one. The trades themselves do not depend on
//! later prices.

use chrono::NaiveDate;
use domain::{Bar, CorporateAction, CorporateActionKind, Listing, Session, Symbol, Timestamp};
use market_data::{Catalogue, Purpose};

use crate::Services;
use crate::error::{Error, Result};

/// The funds that the plans name; the market lists them from its first day.
pub(super) const BROAD_FUND: &str = "VTI";
pub(super) const TECHNOLOGY_FUND: &str = "QQQ";
/// Stocks that pay dividends, in order of preference.
const DIVIDEND_PAYERS: [&str; 12] =
    ["KO", "PG", "JNJ", "XOM", "VZ", "PEP", "IBM", "CVX", "MRK", "NEE", "WFC", "MCD"];
/// The number of dividend payers that are held.
const PAYERS_HELD: usize = 7;
/// Only the bar of every fifth session is compared: computing all bars would take most of the time.
const SAMPLED_EVERY: usize = 5;
/// The latest end of a fall, as a fraction of all sessions, so that there is time to recover.
const LATEST_TROUGH: f64 = 0.8;

/// The chosen stocks.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    pub broad: Symbol,
    pub technology: Symbol,
    pub dividend_payers: Vec<Symbol>,
    /// A stock that splits while it is held.
    pub split: Option<Symbol>,
    pub fallen: Fallen,
    /// Two other volatile stocks.
    pub volatile: Vec<Symbol>,
}

/// The stock with the deepest fall.
#[derive(Debug, Clone)]
pub(super) struct Fallen {
    pub symbol: Symbol,
    /// The session before the fall, from 0.
    pub peak: usize,
    /// The session of the lowest close.
    pub trough: usize,
}

/// A stock that was traded under the same symbol in all sessions.
struct Course {
    symbol: Symbol,
    /// The bars of every [`SAMPLED_EVERY`]th session as traded, so that a split shows as a jump.
    bars: Vec<Bar>,
    /// The ex-date of a split, late enough to buy before it and early enough to see its effect.
    split_on: Option<NaiveDate>,
    is_split: bool,
}

impl Candidates {
    /// Chooses the candidates from the catalog.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the market has no catalog or too few stocks.
    pub async fn find(services: &Services, sessions: &[Session], end: Timestamp) -> Result<Self> {
        let courses = courses(services, sessions, end).await?;
        let known =
            |text: &str| courses.iter().map(|course| &course.symbol).find(|known| known.as_str() == text);
        let too_few =
            || Error::invalid("market", "has too few stocks for a demonstration; use the simulated market");
        let (broad, technology) = known(BROAD_FUND).zip(known(TECHNOLOGY_FUND)).ok_or_else(too_few)?;
        let dividend_payers: Vec<Symbol> =
            DIVIDEND_PAYERS.iter().filter_map(|text| known(text)).take(PAYERS_HELD).cloned().collect();
        let stocks = || {
            let others =
                courses.iter().filter(|course| course.symbol != *broad && course.symbol != *technology);
            others.filter(|course| !dividend_payers.contains(&course.symbol))
        };
        let falls = stocks().filter(|course| !course.is_split).map(|course| (fall(&course.bars), course));
        let deepest = falls.min_by(|((one, ..), _), ((other, ..), _)| one.total_cmp(other));
        let Some(((_, peak, trough), fallen)) = deepest else { return Err(too_few()) };
        let mut by_moves: Vec<(f64, &Course)> = stocks()
            .filter(|course| course.symbol != fallen.symbol && !course.is_split)
            .map(|course| (mean_move(&course.bars), course))
            .collect();
        by_moves.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let split = stocks().find(|course| course.split_on.is_some());
        let split = split.map(|course| course.symbol.clone());
        let volatile = by_moves.into_iter().map(|(_, course)| course.symbol.clone());
        let volatile = volatile.take(2).collect();
        Ok(Self {
            broad: broad.clone(),
            technology: technology.clone(),
            dividend_payers: dividend_payers.clone(),
            split,
            fallen: Fallen { symbol: fallen.symbol.clone(), peak, trough },
            volatile,
        })
    }
}

/// The stocks with a bar in every sampled session, under a symbol and name that did not change.
async fn courses(services: &Services, sessions: &[Session], end: Timestamp) -> Result<Vec<Course>> {
    let (Some(first), Some(last)) = (sessions.first(), sessions.last()) else { return Ok(Vec::new()) };
    let quotes = &services.market.quotes;
    let at_start = listings(quotes.catalogue(first.opens_at));
    let at_end = listings(quotes.catalogue(end));
    let sampled: Vec<&Session> = sessions.iter().step_by(SAMPLED_EVERY).collect();
    let mut courses = Vec::new();
    for listing in at_end.into_iter().filter(|listing| at_start.contains(listing)) {
        let symbol = listing.symbol;
        let mut bars = Vec::with_capacity(sampled.len());
        for session in &sampled {
            let on = session.date;
            bars.extend(
                quotes.daily_bars(Purpose::Scheduled, &symbol, on, on, end).await.map_err(Error::internal)?,
            );
        }
        if bars.len() != sampled.len() {
            continue;
        }
        let actions =
            quotes.corporate_actions(&symbol, first.date, last.date, end).await.map_err(Error::internal)?;
        let (from, until) = (sessions[sessions.len() / 10].date, sessions[sessions.len() * 9 / 10].date);
        let is_split = |action: &&CorporateAction| matches!(action.kind, CorporateActionKind::Split { .. });
        let mut splits = actions.iter().filter(is_split).map(|action| action.ex_on).peekable();
        let is_split = splits.peek().is_some();
        let split_on = splits.find(|on| (from..until).contains(on));
        courses.push(Course { symbol, bars, split_on, is_split });
    }
    Ok(courses)
}

fn listings(catalogue: Catalogue) -> Vec<Listing> {
    match catalogue {
        Catalogue::Complete(listings) => listings,
        Catalogue::OnDemand => Vec::new(),
    }
}

/// The deepest fall of the closes, as a negative ratio, with the sessions of its peak and its trough.
fn fall(bars: &[Bar]) -> (f64, usize, usize) {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few thousand sessions"
    )]
    let latest = (bars.len() as f64 * LATEST_TROUGH) as usize;
    let closes: Vec<f64> = bars.iter().map(|bar| bar.close.to_f64()).collect();
    let (mut peak, mut deepest) = (0, (0.0, 0, 0));
    for (at, close) in closes.iter().enumerate().take(latest) {
        if *close > closes[peak] {
            peak = at;
        }
        let depth = close / closes[peak] - 1.0;
        if depth < deepest.0 {
            deepest = (depth, peak * SAMPLED_EVERY, at * SAMPLED_EVERY);
        }
    }
    deepest
}

/// The mean absolute change from close to close, as a logarithm.
fn mean_move(bars: &[Bar]) -> f64 {
    let moves = bars.windows(2).map(|pair| (pair[1].close.to_f64() / pair[0].close.to_f64()).ln().abs());
    let (sum, count) = moves.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}
