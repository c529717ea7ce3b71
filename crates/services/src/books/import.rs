//! Imports transactions into a portfolio that records trades made elsewhere.
//!
//! A file is booked in one database transaction, row by row in the order in which they happened, together with the splits
//! and dividends in between. A preview is the same transaction, rolled back.

mod booking;
mod columns;
mod dates;
mod file;
mod issue;
mod ledger;
mod numbers;
mod past_days;

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::period::EARLIEST;
use domain::{
    CorporateAction, Freshness, Money, PortfolioRef, Position, Quote, SplitConfirmation, Stock, Symbol,
    Timestamp, UserId,
};
use market_data::{Catalogue, Purpose};
use persistence::corporate_actions::ReportedAction;
use persistence::{StoreError, imports};

use crate::accounts::actor::PortfolioControl;
use crate::books::Books;
use crate::corporate_actions::LATEST_NEWS;
use crate::corporate_actions::observed_actions::confirmation_of_news;
use crate::error::{Error, Result};
use crate::events::Change;
use booking::Booking;
pub use file::decode;
use file::{ImportFile, MAX_ISSUES};
pub use issue::{RowIssue, RowProblem};

/// The longest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// A first price is looked for so long before a trade: over holidays.
const DAYS_WITHOUT_PRICE: Days = Days::new(10);

/// What an import did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// Hex SHA-256 of the file.
    pub file_hash: String,
    /// Whether the rows are booked.
    pub is_booked: bool,
    /// Rows of the file that can be read.
    pub rows: usize,
    pub imported: usize,
    /// Rows that an earlier import has booked.
    pub already_imported: usize,
    /// Splits and dividends that this installation booked by itself, as the file says.
    pub actions: usize,
    /// In the order of their lines. With one of them nothing is booked.
    pub issues: Vec<RowIssue>,
    /// The cash afterwards.
    pub cash_balance: Money,
    /// What is held afterwards, in order of symbol.
    pub positions: Vec<(Symbol, Position)>,
}

impl ImportReport {
    /// Whether the file has rows that can be booked, and no problem.
    pub fn is_ready(&self) -> bool {
        self.issues.is_empty() && self.rows > self.already_imported
    }
}

/// Ends the transaction without booking anything.
enum Unbooked {
    Failed(Error),
    Reported(Box<ImportReport>),
}

impl From<StoreError> for Unbooked {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for Unbooked {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Books {
    /// Imports the transactions of a file: all of them or, with a problem in any row, none. Rows that were imported before
    /// are left out, so that a file may be sent again. A dry run books nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Archived`], and [`Error::NotARecord`] for a portfolio that does not take imports.
    /// Problems of rows are no error; the report lists them.
    pub async fn import_transactions(
        &self,
        control: PortfolioControl,
        csv: &str,
        dry_run: bool,
    ) -> Result<ImportReport> {
        let portfolio = control.reference();
        let PortfolioRef { user, id } = portfolio;
        self.check_record(portfolio).await?;
        let mut file = file::read(csv);
        let stocks = self.stocks_of(user, &mut file).await?;
        let announced = self.announced_actions(user, &mut file, &stocks).await;
        file.issues.sort_by_key(|issue| issue.line);
        file.issues.truncate(MAX_ISSUES);
        // What is due to others is booked before.
        self.corporate_actions.apply_corporate_actions().await?;
        let booking = Booking {
            user,
            id,
            file,
            hash: file::hash(csv),
            stocks,
            announced,
            now: self.market.now(),
            wall: self.market.clock.wall(),
        };
        let booked = self
            .store
            .for_jobs()
            .write(move |tx| {
                let report = booking.book(tx)?;
                if dry_run || !report.issues.is_empty() {
                    return Err(Unbooked::Reported(Box::new(report)));
                }
                imports::delete_file(tx, id)?;
                Ok(ImportReport { is_booked: true, ..report })
            })
            .await;
        match booked {
            Ok(report) => {
                self.corporate_actions.action_counter().increase();
                self.events.announce(&[Change::of_books(portfolio)]);
                Ok(report)
            }
            Err(Unbooked::Reported(report)) => Ok(*report),
            Err(Unbooked::Failed(error)) => Err(error),
        }
    }

    async fn check_record(&self, portfolio: PortfolioRef) -> Result<()> {
        let portfolio = self.portfolio(portfolio).await?;
        match portfolio {
            _ if portfolio.kind != domain::PortfolioKind::Record => Err(Error::NotARecord),
            _ if portfolio.archived_at.is_some() => Err(Error::Archived),
            _ => Ok(()),
        }
    }

    /// Keeps a file for the preview until it is imported, another one is uploaded, or a day has passed. Returns its hash.
    ///
    /// # Errors
    /// As [`Books::import_transactions`].
    pub async fn keep_import_file(&self, control: PortfolioControl, csv: String) -> Result<String> {
        let portfolio = control.reference();
        self.check_record(portfolio).await?;
        let (hash, wall) = (file::hash(&csv), self.market.clock.wall());
        let kept = hash.clone();
        self.store
            .write(move |tx| imports::keep_file(tx, portfolio.id, &kept, &csv, wall).map_err(Error::from))
            .await?;
        Ok(hash)
    }

    /// The file of that hash, if it still waits to be imported.
    ///
    /// # Errors
    /// As [`Books::import_transactions`].
    pub async fn import_file(&self, portfolio: PortfolioRef, hash: String) -> Result<Option<String>> {
        self.check_record(portfolio).await?;
        if !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        self.store.read(move |tx| imports::file(tx, portfolio.id, &hash).map_err(Error::from)).await
    }

    /// The stocks that the rows name, with their prices. A symbol that no stock has, and a trade before a stock's first
    /// price, are problems of the rows.
    async fn stocks_of(
        &self,
        user: UserId,
        file: &mut ImportFile,
    ) -> Result<HashMap<Symbol, (Stock, Quote)>> {
        let mut found = HashMap::new();
        let mut problems: HashMap<Symbol, RowProblem> = HashMap::new();
        for (symbol, first_on) in first_days(file) {
            match self.stocks.priced_stock(Some(user), &symbol).await {
                Ok((stock, latest)) => {
                    if let Some(first_price_on) = self.first_price_after(&symbol, first_on).await {
                        let problem =
                            RowProblem::BeforeFirstPrice { symbol: symbol.clone(), first_on: first_price_on };
                        problems.insert(symbol.clone(), problem);
                    }
                    found.insert(symbol, (stock, latest.quote));
                }
                Err(error) => {
                    let problem = problem_of_symbol(&symbol, error)?;
                    problems.insert(symbol, problem);
                }
            }
        }
        for row in &file.rows {
            let Some(symbol) = row.kind.symbol() else { continue };
            let problem = problems.get(symbol).filter(|problem| match problem {
                RowProblem::BeforeFirstPrice { first_on, .. } => exchange_date(row.time.at) < *first_on,
                _ => true,
            });
            let Some(problem) = problem else { continue };
            let column =
                if matches!(problem, RowProblem::BeforeFirstPrice { .. }) { "date" } else { "symbol" };
            file.issues.push(RowIssue::new(row.line, Some(column), problem.clone()));
        }
        Ok(found)
    }

    /// The day of a stock's first price, when it lies after that day. `None` also where the source cannot tell at once.
    async fn first_price_after(&self, symbol: &Symbol, day: NaiveDate) -> Option<NaiveDate> {
        let now = self.market.now();
        let quotes = &self.market.quotes;
        if !matches!(quotes.catalogue(now), Catalogue::Complete(_)) {
            return None;
        }
        let earlier = day.checked_sub_days(DAYS_WITHOUT_PRICE).unwrap_or(EARLIEST).max(EARLIEST);
        let before = quotes.daily_bars(Purpose::Interactive, symbol, earlier, day, now).await.ok()?;
        if !before.is_empty() {
            return None;
        }
        let after =
            quotes.daily_bars(Purpose::Interactive, symbol, day, exchange_date(now), now).await.ok()?;
        after.first().map(|bar| bar.date)
    }

    /// The splits and dividends of these stocks since their first rows, as the source tells them. Of a source that does
    /// not tell those of long ago, older rows are refused: their shares may have been split since.
    async fn announced_actions(
        &self,
        user: UserId,
        file: &mut ImportFile,
        stocks: &HashMap<Symbol, (Stock, Quote)>,
    ) -> Vec<ReportedAction> {
        let (now, calendar) = (self.market.now(), self.market.calendar);
        let today = exchange_date(now);
        let known_since = today.checked_sub_days(LATEST_NEWS).unwrap_or(today);
        let usual = confirmation_of_news(self.market.freshness());
        let mut announced = Vec::new();
        for (symbol, first_on) in first_days(file) {
            let Some((stock, _)) = stocks.get(&symbol) else { continue };
            let Some(found) = self.actions_since(user, stock, first_on, now).await else {
                let line = file.rows.iter().find(|row| {
                    row.kind.symbol() == Some(&symbol) && exchange_date(row.time.at) < known_since
                });
                let issue = line.map(|row| {
                    let problem =
                        RowProblem::ActionsUnknown { symbol: symbol.clone(), first_on: known_since };
                    RowIssue::new(row.line, Some("date"), problem)
                });
                file.issues.extend(issue);
                continue;
            };
            announced.extend(found.into_iter().map(|action| ReportedAction {
                stock_id: stock.id,
                effective_at: action.effective_at(calendar),
                pays_at: action.pays_at(calendar),
                // Prices have followed an old split for long.
                confirmation: if action.ex_on < known_since { SplitConfirmation::Confirmed } else { usual },
                action,
            }));
        }
        announced
    }

    /// The splits and dividends of a stock from a day until today; `None` where the source does not tell them all.
    async fn actions_since(
        &self,
        user: UserId,
        stock: &Stock,
        first: NaiveDate,
        now: Timestamp,
    ) -> Option<Vec<CorporateAction>> {
        let (quotes, symbol, today) = (&self.market.quotes, &stock.listing.symbol, exchange_date(now));
        if quotes.freshness() == Freshness::Simulated || quotes.limits().is_none() {
            return quotes.corporate_actions(symbol, first, today, now).await.ok();
        }
        // They come with the prices of those days.
        let _bars = self.stocks.bars(Some(user), stock, first, today, now).await;
        let seen = quotes.observed_actions(symbol).filter(|seen| seen.covers(first, now))?;
        let mut actions = seen.actions;
        actions.retain(|action| action.ex_on >= first && action.ex_on <= today);
        Some(actions)
    }
}

/// The symbols of a file with the day of their first row, in order of symbol.
fn first_days(file: &ImportFile) -> std::collections::BTreeMap<Symbol, NaiveDate> {
    let mut first_days = std::collections::BTreeMap::new();
    for row in &file.rows {
        if let Some(symbol) = row.kind.symbol() {
            first_days.entry(symbol.clone()).or_insert_with(|| exchange_date(row.time.at));
        }
    }
    first_days
}

/// What an error about a symbol means for its rows. Others are errors of the import.
fn problem_of_symbol(symbol: &Symbol, error: Error) -> Result<RowProblem> {
    match error {
        Error::UnknownSymbol(symbol) => Ok(RowProblem::UnknownSymbol(symbol)),
        Error::NotTradable { symbol, reason } => Ok(RowProblem::NotTradable { symbol, reason }),
        Error::NoPrice { .. }
        | Error::CallsUsedUp { .. }
        | Error::PriceUnconfirmed { .. }
        | Error::SourceUnavailable { .. } => Ok(RowProblem::NoPrice(symbol.clone())),
        other => Err(other),
    }
}
