//! Splits and dividends that a source reports with its prices. They are stored immediately, without a separate call.
//!
//! A live source such as Yahoo reports a split with the first price after it, or hours later. The gateway holds that
//! price back until the books have the split.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::Days;
use domain::calendar::exchange_date;
use domain::share_basis::session_basis;
use domain::{CorporateAction, Freshness, SplitConfirmation, Stock, StockId, Symbol, Timestamp};
use market_data::{ListedStock, Purpose};
use persistence::corporate_actions::ReportedAction;
use persistence::{adjusted_bars, past_splits, stocks};

use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::splits::record_reported_action;
use crate::corporate_actions::{AHEAD, LATEST_NEWS, mark_snapshots};
use crate::error::{Error, Result};
use crate::market::companies::{CompanyComparison, compare_company};

/// Stocks whose adjusted bars are requested again per run of a job.
const RENEWED_AT_ONCE: i64 = 5;

/// The actions of each stock that this process has stored, so that an unchanged answer needs no database access.
#[derive(Debug, Default)]
pub(crate) struct RecordedActions(Mutex<HashMap<StockId, Vec<CorporateAction>>>);

impl RecordedActions {
    fn has(&self, stock: StockId, actions: &[CorporateAction]) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get(&stock).is_some_and(|noted| noted == actions)
    }

    fn insert(&self, stock: StockId, actions: Vec<CorporateAction>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stock, actions);
    }
}

impl CorporateActions {
    /// Stores the actions that came with the prices of these stocks, and applies those in effect. Returns the number of
    /// new actions. Old splits are stored only for charts.
    pub(crate) async fn record_observed_actions(&self, stocks: &[Stock]) -> Result<usize> {
        let (now, wall, calendar) = (self.market.now(), self.market.clock.wall(), self.market.calendar);
        let mut seen: Vec<(StockId, Vec<CorporateAction>)> = Vec::new();
        let mut companies: HashMap<StockId, ListedStock> = HashMap::new();
        for stock in stocks {
            let Some(reported) = self.market.quotes.observed_actions(&stock.listing.symbol) else { continue };
            if !reported.actions.is_empty() && !self.observed_actions.has(stock.id, &reported.actions) {
                seen.push((stock.id, reported.actions));
                companies.extend(
                    self.market
                        .quotes
                        .observed_company(&stock.listing.symbol)
                        .map(|company| (stock.id, company)),
                );
            }
        }
        if seen.is_empty() {
            return Ok(0);
        }
        let today = exchange_date(now);
        let (oldest, latest) = (today - LATEST_NEWS, today + AHEAD);
        let reported: Vec<ReportedAction> = seen
            .iter()
            .flat_map(|(stock, actions)| actions.iter().map(|action| (*stock, action.clone())))
            .filter(|(_, action)| {
                action.ex_on <= latest && (action.ex_on >= oldest || action.ratio().is_some())
            })
            .map(|(stock_id, action)| ReportedAction {
                stock_id,
                effective_at: action.effective_at(calendar),
                pays_at: action.pays_at(calendar),
                confirmation: confirmation_of_news(self.market.freshness()),
                action,
            })
            .collect();
        let (recent, past) = self
            .store
            .write(move |tx| {
                let (mut recent, mut past) = (0, 0);
                let ids: Vec<StockId> = reported.iter().map(|reported| reported.stock_id).collect();
                let mut symbols: HashMap<StockId, Symbol> = HashMap::new();
                for stock in stocks::by_ids(tx, &ids)? {
                    let company =
                        companies.get(&stock.id).map(|company| compare_company(tx, company)).transpose()?;
                    if company != Some(CompanyComparison::Another) {
                        symbols.insert(stock.id, stock.listing.symbol.clone());
                    }
                }
                // Actions of another company that now has the symbol do not belong to this stock.
                let is_its_own = |reported: &&ReportedAction| {
                    symbols.get(&reported.stock_id) == Some(&reported.action.symbol)
                };
                for reported in reported.iter().filter(is_its_own) {
                    match reported.action.ex_on >= oldest {
                        true => recent += usize::from(record_reported_action(tx, reported, now, wall)?),
                        false => past += usize::from(past_splits::note(tx, reported, now)?),
                    }
                }
                Ok::<_, Error>((recent, past))
            })
            .await?;
        for (stock, actions) in seen {
            self.observed_actions.insert(stock, actions);
        }
        if recent + past > 0 {
            self.action_counter.increase();
        }
        if recent > 0 {
            self.apply_corporate_actions().await?;
        }
        Ok(recent)
    }

    /// Whether recent answers about prices contain all actions since the stock's last price, so that no call for
    /// actions is needed.
    pub(crate) fn has_observed_all_actions(&self, stock: &Stock, now: Timestamp) -> bool {
        let Some(last) = &stock.last else { return false };
        let since = (exchange_date(last.as_of) + Days::new(1)).min(exchange_date(now));
        let seen = self.market.quotes.observed_actions(&stock.listing.symbol);
        seen.is_some_and(|seen| seen.covers(since, now))
    }

    /// Replaces bars that earlier versions of the program stored in adjusted shares, a few stocks at a time, and marks
    /// the snapshots that used a changed bar. Returns the number of updated stocks.
    pub(crate) async fn renew_adjusted_bars(&self) -> Result<usize> {
        let source = self.market.quotes.source();
        if !adjusted_bars::ADJUSTED.starts_with(source.as_str()) {
            return Ok(0);
        }
        let spans =
            self.store.read(|tx| adjusted_bars::stocks(tx, RENEWED_AT_ONCE).map_err(Error::from)).await?;
        let (now, calendar) = (self.market.now(), self.market.calendar);
        let mut renewed = 0;
        for (id, first, last) in spans {
            let found = self.store.read(move |tx| Ok::<_, Error>(stocks::by_ids(tx, &[id])?.pop())).await?;
            let Some(stock) = found else { continue };
            let symbol = &stock.listing.symbol;
            let answer = self.market.quotes.daily_bars(Purpose::Scheduled, symbol, first, last, now).await;
            let bars = match answer {
                Ok(bars) => bars,
                Err(error) => {
                    tracing::warn!(%symbol, error = &error as &dyn std::error::Error, "stored bars stay in adjusted shares");
                    continue;
                }
            };
            let (source, asked) = (source.clone(), symbol.clone());
            self.store
                .write(move |tx| {
                    let old = adjusted_bars::closes(tx, id)?;
                    if !stocks::save_bars_of(tx, (id, &asked), source.as_str(), &bars)? {
                        return Ok(());
                    }
                    adjusted_bars::delete(tx, id)?;
                    let changed = old.iter().find(|(date, close)| {
                        bars.iter().any(|bar| bar.date == *date && bar.close != *close)
                    });
                    if let Some((date, _)) = changed {
                        mark_snapshots(tx, session_basis(calendar, *date), calendar, now)?;
                    }
                    Ok::<_, Error>(())
                })
                .await?;
            self.record_observed_actions(std::slice::from_ref(&stock)).await?;
            renewed += 1;
        }
        Ok(renewed)
    }
}

/// The initial confirmation of a reported split. A simulated market computes prices and splits together, so its splits
/// are confirmed.
pub(crate) fn confirmation_of_news(freshness: Freshness) -> SplitConfirmation {
    match freshness {
        Freshness::Simulated => SplitConfirmation::Confirmed,
        Freshness::Realtime | Freshness::Delayed | Freshness::EndOfDay => SplitConfirmation::Awaiting,
    }
}
