//! Evidence that stocks are delisted: answers of the price source and tables of listings.

use std::collections::{BTreeMap, HashSet};

use domain::calendar::exchange_date;
use domain::company::is_same_name;
use domain::delisting::{
    DelistingEvidence, DelistingEvidenceKind, is_no_outage, is_whole_table, judge_delisting,
};
use domain::{AsTraded, Quote, Stock, StockId, Symbol, Timestamp};
use market_data::{ListedStock, Purpose, QuoteError};
use persistence::delistings::{self, Delisting, NewDelisting};
use persistence::{Tx, former_symbols, installation, listings, stocks};

use super::{AFTER_OPENING, COMPARABLE, HALF_TABLE, WITNESS};
use crate::corporate_actions::{CorporateActions, Stored, mark_snapshots};
use crate::error::{Error, NotFound, Result};

impl CorporateActions {
    pub(super) async fn weigh_evidence(&self) -> Result<usize> {
        let source = self.market.quotes.source();
        let (cases, refusals) = self
            .store
            .read(move |tx| {
                let evidence = delistings::evidence(tx, source.as_str())?;
                let refusals: BTreeMap<StockId, Timestamp> = delistings::refusals(tx)?
                    .into_iter()
                    .map(|refusal| (refusal.stock_id, refusal.refused_at))
                    .collect();
                let mut ids: Vec<StockId> = evidence.keys().chain(refusals.keys()).copied().collect();
                ids.sort_unstable();
                ids.dedup();
                let mut cases = Vec::new();
                for stock in stocks::by_ids(tx, &ids)? {
                    let seen = evidence.get(&stock.id).cloned().unwrap_or_default();
                    if stock.delisted_on.is_none() {
                        cases.push((stock, seen));
                    }
                }
                Ok::<_, Error>((cases, refusals))
            })
            .await?;
        // Evidence and refusals from before the last price no longer count.
        let is_over = |(stock, evidence): &(Stock, Vec<DelistingEvidence>)| {
            let newest = evidence.iter().map(|seen| seen.seen_at).max().max(refusals.get(&stock.id).copied());
            self.last_price_at(stock).is_some_and(|at| newest.is_some_and(|newest| newest < at))
        };
        let (over, cases): (Vec<_>, Vec<_>) = cases.into_iter().partition(is_over);
        if !over.is_empty() {
            let over: Vec<StockId> = over.iter().map(|(stock, _)| stock.id).collect();
            self.store.write(move |tx| delistings::forget(tx, &over).map_err(Error::from)).await?;
        }
        let cases = cases.into_iter().filter(|(stock, _)| !refusals.contains_key(&stock.id));
        let (now, wall, calendar) = (self.market.now(), self.market.clock.wall(), self.market.calendar);
        let mut decided = Vec::new();
        for (stock, evidence) in cases {
            let last_price_at = self.last_price_at(&stock);
            if let Some(grounds) = judge_delisting(&evidence, last_price_at) {
                let day = grounds.first_session_without(last_price_at, calendar);
                decided.push(self.new_delisting(&stock, day, grounds.to_string(), None));
            }
        }
        if decided.is_empty() {
            return Ok(0);
        }
        let noted = self.store.write(move |tx| {
            let refused: HashSet<StockId> =
                delistings::refusals(tx)?.into_iter().map(|refusal| refusal.stock_id).collect();
            // The evidence is about a symbol that the stock may no longer have.
            let asked: Vec<(StockId, Symbol)> =
                decided.iter().map(|new| (new.stock_id, new.symbol.clone())).collect();
            let unchanged = former_symbols::unchanged(tx, &asked)?;
            let mut noted = Vec::new();
            for delisting in decided.into_iter().filter(|new| unchanged.contains(&new.stock_id)) {
                if !refused.contains(&delisting.stock_id) && delistings::note(tx, &delisting, now, wall)? {
                    noted.push(delisting);
                }
            }
            Ok::<_, Error>(noted)
        });
        let noted = noted.await?;
        for NewDelisting { symbol, on, reason, .. } in &noted {
            tracing::warn!(event = "stock_delisted", %symbol, %on, reason, "a stock is delisted");
        }
        Ok(noted.len())
    }

    /// Stores which of these stocks the source does not know, and withdraws the delistings of stocks that it prices
    /// again. `answers` are in the order of the stocks.
    pub(crate) async fn note_answers(
        &self,
        stocks: &[Stock],
        answers: &[std::result::Result<AsTraded<Quote>, QuoteError>],
        now: Timestamp,
    ) -> Result<()> {
        let asked = || stocks.iter().zip(answers);
        for (stock, answer) in asked().filter(|(stock, _)| stock.delisted_on.is_some()) {
            if let Ok(quote) = answer {
                self.withdraw_if_traded(stock, quote, now).await?;
            }
        }
        let living = || asked().filter(|(stock, _)| stock.delisted_on.is_none());
        let not_found: Vec<&Stock> = living()
            .filter(|(stock, answer)| {
                matches!(answer, Err(QuoteError::UnknownSymbol(_))) && self.last_price_at(stock).is_some()
            })
            .map(|(stock, _)| stock)
            .collect();
        let is_late_enough = |session: domain::Session| now >= session.opens_at + AFTER_OPENING;
        let Some(session) = self.market.calendar.session_at(now).filter(|session| is_late_enough(*session))
        else {
            return Ok(());
        };
        if not_found.is_empty() {
            return Ok(());
        }
        let (source, kind) = (self.market.quotes.source(), DelistingEvidenceKind::NotFound);
        let (name, ids) = (source.to_string(), not_found.iter().map(|stock| stock.id).collect::<Vec<_>>());
        let (has_table, known) = self
            .store
            .read(move |tx| {
                let known = delistings::evidence(tx, &name)?;
                let is_noted = |id: &StockId| {
                    let seen = known.get(id).map_or(&[][..], Vec::as_slice);
                    seen.iter().any(|seen| seen.kind == kind && seen.seen_on == session.date)
                };
                Ok::<_, Error>((listings::state(tx, &name)?.is_some(), ids.iter().all(is_noted)))
            })
            .await?;
        // A table of listings is better evidence than "not found" answers.
        if has_table || known {
            return Ok(());
        }
        let mut answered = living().filter(|(_, answer)| answer.is_ok()).count();
        if answered == 0 && living().all(|(_, answer)| matches!(answer, Err(QuoteError::UnknownSymbol(_)))) {
            let witness: Symbol = WITNESS.parse().map_err(|_| Error::NotFound(NotFound::Stock))?;
            let found = self.market.quotes.quotes(Purpose::Scheduled, &[witness], now).await;
            answered += found.iter().filter(|answer| answer.is_ok()).count();
        }
        if !is_no_outage(living().count(), answered, not_found.len()) {
            tracing::debug!(
                not_found = not_found.len(),
                answered,
                "the source knows too few stocks, so its answers are not evidence of delistings"
            );
            return Ok(());
        }
        let wall = self.market.clock.wall();
        let seen: Vec<(StockId, DelistingEvidence)> = not_found
            .iter()
            .map(|stock| {
                let seen =
                    DelistingEvidence { kind, seen_on: session.date, seen_at: wall, delisted_on: None };
                (stock.id, seen)
            })
            .collect();
        self.note_evidence(&not_found, seen).await
    }

    /// Stores evidence about these stocks, except those whose symbol has changed since the source was called.
    async fn note_evidence(&self, asked: &[&Stock], seen: Vec<(StockId, DelistingEvidence)>) -> Result<()> {
        let source = self.market.quotes.source();
        let asked: Vec<(StockId, Symbol)> =
            asked.iter().map(|stock| (stock.id, stock.listing.symbol.clone())).collect();
        self.store
            .write(move |tx| {
                let unchanged = former_symbols::unchanged(tx, &asked)?;
                let seen: Vec<_> = seen.into_iter().filter(|(id, _)| unchanged.contains(id)).collect();
                delistings::note_evidence(tx, source.as_str(), &seen)?;
                Ok(())
            })
            .await
    }

    /// Withdraws the delisting of a stock that has a price from after its delisting, if the price is for the same
    /// company. Decisions of administrators and of the source itself are kept.
    async fn withdraw_if_traded(&self, stock: &Stock, quote: &AsTraded<Quote>, now: Timestamp) -> Result<()> {
        let Some(delisting) = self.delisting_of(stock).await? else { return Ok(()) };
        let is_by_evidence = !delisting.is_announced && delisting.administrator.is_none();
        if !is_by_evidence || quote.as_traded().stale || quote.at() < delisting.effective_at {
            return Ok(());
        }
        let symbol = stock.listing.symbol.clone();
        let found = match self.market.quotes.listing(Purpose::Scheduled, &symbol, now).await {
            Ok(found) => found.company_name,
            Err(error) => {
                tracing::debug!(%symbol, error = &error as &dyn std::error::Error, "cannot find out which company the price belongs to");
                return Ok(());
            }
        };
        if !is_same_name(&found, &stock.listing.company_name) {
            tracing::debug!(%symbol, found, "another company has the symbol of a delisted stock");
            return Ok(());
        }
        self.withdraw_for_price(stock, &delisting, quote.as_traded()).await
    }

    async fn withdraw_for_price(&self, stock: &Stock, delisting: &Delisting, quote: &Quote) -> Result<()> {
        let (id, delisting, quote) = (stock.id, delisting.clone(), quote.clone());
        let (wall, now, calendar) = (self.market.clock.wall(), self.market.now(), self.market.calendar);
        let reason = format!("traded again: a price of {} as of {}", quote.price, quote.as_of);
        let taken_back = self
            .store
            .write(move |tx| {
                let taken = delistings::withdraw(tx, id, delisting.action_id, (&reason, None), wall)?;
                if taken {
                    stocks::save_last_price(tx, id, &quote)?;
                    mark_snapshots(tx, delisting.effective_at, calendar, now)?;
                }
                Ok::<_, Error>(taken)
            })
            .await?;
        if taken_back {
            self.action_counter.increase();
            self.market.stock_changes.record();
            let symbol = &stock.listing.symbol;
            tracing::warn!(event = "delisting_taken_back", %symbol, "a delisted stock is traded again");
        }
        Ok(())
    }

    /// Returns the delisted stocks that the table of listings contains again under the same company name. They are
    /// worth a call for their series.
    pub(crate) async fn listed_again(&self, stocks: &[Stock]) -> Result<Vec<Stock>> {
        let delisted: HashSet<StockId> =
            stocks.iter().filter(|stock| stock.delisted_on.is_some()).map(|stock| stock.id).collect();
        if delisted.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.market.quotes.source();
        let found = self.store.read(move |tx| delistings::in_table(tx, source.as_str()).map_err(Error::from));
        let again = found.await?.listed.into_iter().filter(|(stock, name)| {
            delisted.contains(&stock.id) && is_same_name(&stock.listing.company_name, name)
        });
        Ok(again.map(|(stock, _)| stock).collect())
    }

    /// Withdraws the delistings of stocks for which a series contained a price from after the delisting.
    pub(crate) async fn withdraw_priced(&self, stocks: &[Stock], now: Timestamp) -> Result<()> {
        for stock in stocks.iter().filter(|stock| stock.delisted_on.is_some()) {
            if let Some(quote) = crate::market::instruments::last_known(stock)
                && quote.as_traded().source == self.market.quotes.source()
            {
                let quote = quote.map(|quote| Quote { stale: false, ..quote });
                self.withdraw_if_traded(stock, &quote, now).await?;
            }
        }
        Ok(())
    }

    /// Fetches the table of former listings when the table of listings lacks stocks in use: it contains the day of each
    /// delisting.
    pub(crate) async fn learn_former_listings(&self) -> Result<()> {
        let (name, wall) = (self.market.quotes.source().to_string(), self.market.clock.wall());
        let missing = self.store.read(move |tx| missing_stocks(tx, &name).map_err(Error::from)).await?;
        if missing.is_empty() {
            return Ok(());
        }
        let table = match self.market.quotes.delisted(Purpose::Scheduled).await {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no table of former listings");
                return Ok(());
            }
        };
        let today = exchange_date(wall);
        let newest_of = |stock: &Stock| {
            let of = table.iter().filter(|row| row.symbol == stock.listing.symbol);
            of.filter_map(|row| row.delisted_on).filter(|on| *on <= today).max()
        };
        let seen: Vec<(StockId, DelistingEvidence)> = missing
            .iter()
            .filter_map(|stock| {
                let kind = DelistingEvidenceKind::ListedAsDelisted;
                let delisted_on = Some(newest_of(stock)?);
                Some((stock.id, DelistingEvidence { kind, seen_on: today, seen_at: wall, delisted_on }))
            })
            .collect();
        self.note_evidence(&missing.iter().collect::<Vec<_>>(), seen).await
    }
}

/// Stocks that the newest table lacks although they are not known to be delisted.
fn missing_stocks(tx: &mut Tx<'_>, source: &str) -> Stored<Vec<Stock>> {
    let missing = delistings::in_table(tx, source)?.missing;
    Ok(missing.into_iter().filter(|stock| stock.delisted_on.is_none()).collect())
}

/// Checks whether a new table of listings is complete. An incomplete table is rejected, and another one is requested
/// the next day. Returns `None` for a complete table; otherwise the number of stocks in use that the older table lists,
/// and how many of them the new one lacks.
pub(crate) fn check_table(
    tx: &mut Tx<'_>,
    source: &str,
    table: &[ListedStock],
    wall: Timestamp,
) -> Stored<Option<(usize, usize)>> {
    if listings::state(tx, source)?.is_none_or(|(at, _)| wall - at >= COMPARABLE) {
        installation::set(tx, HALF_TABLE, "")?;
        return Ok(None);
    }
    let symbols: HashSet<Symbol> = table.iter().map(|row| row.symbol.clone()).collect();
    let (listed, lost) = delistings::table_loss(tx, source, &symbols)?;
    let is_whole = is_whole_table(listed, lost);
    installation::set(
        tx,
        HALF_TABLE,
        &if is_whole { String::new() } else { exchange_date(wall).to_string() },
    )?;
    Ok((!is_whole).then_some((listed, lost)))
}

/// Stores which stocks the newly accepted table lacks, and deletes the evidence against stocks that it contains. Stores
/// nothing after a pause in which tables could not be compared.
pub(crate) fn note_table(
    tx: &mut Tx<'_>,
    source: &str,
    older: Option<Timestamp>,
    wall: Timestamp,
) -> Stored<()> {
    let found = delistings::in_table(tx, source)?;
    let listed: Vec<StockId> = found
        .listed
        .iter()
        .filter(|(stock, name)| is_same_name(&stock.listing.company_name, name))
        .map(|(stock, _)| stock.id)
        .collect();
    delistings::forget(tx, &listed)?;
    if older.is_none_or(|at| wall - at >= COMPARABLE) {
        return Ok(());
    }
    let (kind, seen_on) = (DelistingEvidenceKind::NotListed, exchange_date(wall));
    let missing = found.missing.iter().filter(|stock| stock.delisted_on.is_none());
    let seen: Vec<(StockId, DelistingEvidence)> = missing
        .map(|stock| (stock.id, DelistingEvidence { kind, seen_on, seen_at: wall, delisted_on: None }))
        .collect();
    delistings::note_evidence(tx, source, &seen)?;
    Ok(())
}

/// Whether a table is wanted today: the last one was incomplete, or it lacks stocks whose delisting is not decided yet.
pub(crate) fn wants_table_of_today(tx: &mut Tx<'_>, source: &str) -> Stored<bool> {
    if installation::get(tx, HALF_TABLE)?.is_some_and(|day| !day.is_empty()) {
        return Ok(true);
    }
    let evidence = delistings::evidence(tx, source)?;
    if evidence.is_empty() {
        return Ok(false);
    }
    let refused: HashSet<StockId> =
        delistings::refusals(tx)?.into_iter().map(|refusal| refusal.stock_id).collect();
    let has_table_evidence =
        |seen: &[DelistingEvidence]| seen.iter().any(|seen| seen.kind != DelistingEvidenceKind::NotFound);
    let open: Vec<StockId> = evidence
        .iter()
        .filter(|(id, seen)| !refused.contains(id) && has_table_evidence(seen))
        .map(|(id, _)| *id)
        .collect();
    Ok(stocks::by_ids(tx, &open)?.iter().any(|stock| stock.delisted_on.is_none()))
}
