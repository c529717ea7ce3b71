//! Portfolios: opening, renaming, depositing and withdrawing cash, resetting, deleting.

use domain::{
    JournalEntry, Money, OrderId, Portfolio, PortfolioId, PortfolioKind, PortfolioRef, Symbol, Timestamp,
    TransactionId, TransactionType, UserId, Visibility,
};
use persistence::portfolios::{LockedPortfolio, NewPortfolio, PortfolioChanges, PortfolioRecord};
use persistence::{StoreError, Tx, concentration_limits, orders, portfolios, positions, transactions};

use crate::accounts::actor::{PortfolioControl, Trader};
use crate::books::Books;
use crate::books::sharing::share;
use crate::error::{Error, Fields, NotFound, Result};
use crate::events::{Change, orders_to_announce};
use crate::idempotency::{self, IdempotencyKey, Once, OnceRequest};
use crate::{Page, one_more};

/// The most portfolios of a user: more than anyone needs, and few enough that one user cannot fill the disk with
/// snapshots.
const MAX_PORTFOLIOS: usize = 100;

/// A portfolio without its positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioSummary {
    pub id: PortfolioId,
    pub name: String,
    pub description: String,
    pub cash_balance: Money,
    /// Cash that is not reserved by open orders.
    pub buying_power: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// When the portfolio was archived; since then it is read-only.
    pub archived_at: Option<Timestamp>,
    /// All dividends since the portfolio was opened, paid or owed.
    pub dividends: Money,
    /// Dividends after their ex-date and before their payment.
    pub dividends_receivable: Money,
    /// A number that increases with every change of the portfolio, its positions, orders and journal.
    pub version: i64,
    /// The symbol of the stock or fund that the portfolio is compared with.
    pub benchmark: Symbol,
    pub visibility: Visibility,
    /// The key that replaces the id in the addresses of a portfolio that is shared by link.
    pub link_key: Option<String>,
    pub kind: PortfolioKind,
}

impl From<PortfolioRecord> for PortfolioSummary {
    fn from(row: PortfolioRecord) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            buying_power: row.cash_balance.clone() - &row.reserved_cash,
            cash_balance: row.cash_balance,
            created_at: row.created_at,
            updated_at: row.updated_at,
            archived_at: row.archived_at,
            dividends: row.dividends,
            dividends_receivable: row.dividends_receivable,
            version: row.version,
            benchmark: row.benchmark,
            visibility: row.visibility,
            link_key: row.link_key,
            kind: row.kind,
        }
    }
}

/// The changes to a portfolio; a field that is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortfolioUpdate {
    pub name: Option<String>,
    pub description: Option<String>,
    /// The symbol of a stock or fund to compare the portfolio with.
    pub benchmark: Option<Symbol>,
    pub visibility: Option<Visibility>,
}

#[derive(Debug, Clone)]
pub struct OpenPortfolio {
    pub name: String,
    pub description: String,
    /// The amount of the first deposit; `None` means the starting cash of the deployment.
    pub cash_balance: Option<Money>,
}

fn check_name(fields: &mut Fields, name: &str) {
    let ok = (1..=80).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    fields.check("name", ok, "use 1 to 80 characters, on one line");
}

fn check_description(fields: &mut Fields, description: &str) {
    fields.check("description", description.chars().count() <= 500, "use 500 characters at most");
    let plain = !description.chars().any(|c| c.is_control() && !c.is_whitespace());
    fields.check("description", plain, "use letters, signs and line breaks");
}

/// Returns the portfolio if it belongs to the user.
pub(crate) fn owned(tx: &mut Tx<'_>, portfolio: PortfolioRef) -> Result<PortfolioRecord> {
    portfolios::owned(tx, portfolio.id, portfolio.user)?.ok_or(Error::NotFound(NotFound::Portfolio))
}

/// Locks a portfolio that belongs to the user.
fn lock_own(tx: &mut Tx<'_>, portfolio: PortfolioRef) -> Result<LockedPortfolio> {
    let locked =
        portfolios::lock(tx, &[portfolio.id])?.pop().filter(|locked| locked.user_id == portfolio.user);
    locked.ok_or(Error::NotFound(NotFound::Portfolio))
}

/// Locks a portfolio that belongs to the user and is not archived.
fn lock_active(tx: &mut Tx<'_>, portfolio: PortfolioRef) -> Result<LockedPortfolio> {
    let locked = lock_own(tx, portfolio)?;
    if locked.archived { Err(Error::Archived) } else { Ok(locked) }
}

fn open(
    tx: &mut Tx<'_>,
    user: UserId,
    (name, description, kind): (String, String, PortfolioKind),
    cash_balance: Money,
    now: Timestamp,
) -> Result<PortfolioSummary> {
    let new = NewPortfolio {
        user_id: user,
        name,
        description,
        cash_balance: cash_balance.clone(),
        created_at: now,
        updated_at: now,
        kind,
    };
    let row = portfolios::insert(tx, new).map_err(|error| match error {
        StoreError::MissingReference(_) => Error::NotFound(NotFound::User),
        other => other.into(),
    })?;
    if cash_balance.is_positive() {
        transactions::append(tx, &[JournalEntry::cash(row.id, cash_balance, now)])?;
    }
    Ok(row.into())
}

/// Cancels all open orders of a locked portfolio; the caller must save the portfolio's row. Returns the orders to
/// announce: of each group its root and the legs that were canceled.
fn cancel_all(tx: &mut Tx<'_>, portfolio: &mut Portfolio, now: Timestamp) -> Result<Vec<OrderId>> {
    let ids = orders::open_ids(tx, portfolio.id)?;
    let mut groups = orders::groups(tx, &ids)?;
    let pairs: Vec<_> = groups.iter().map(|group| (portfolio.id, group.root().stock_id)).collect();
    for ((_, stock), (position, reserved)) in positions::of_pairs(tx, &pairs)? {
        portfolio.positions.insert(stock, position);
        portfolio.reserved.shares.insert(stock, reserved);
    }
    for group in &mut groups {
        while let Some(open) = group.orders.iter().find(|order| order.status.is_open()).map(|order| order.id)
        {
            portfolio.cancel(group, open, now)?;
        }
        orders::update(tx, &group.orders.iter().collect::<Vec<_>>())?;
    }
    let changed: Vec<positions::ChangedPosition<'_>> = portfolio
        .positions
        .iter()
        .filter_map(|(stock, position)| {
            let reserved = portfolio.reserved.shares.get(stock)?;
            Some(positions::ChangedPosition { portfolio: portfolio.id, stock: *stock, position, reserved })
        })
        .collect();
    positions::save(tx, &changed)?;
    Ok(groups.iter().flat_map(|group| orders_to_announce(group, now)).collect())
}

impl Books {
    /// Opens a portfolio as [`Books::open_portfolio_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`Books::open_portfolio_once`].
    pub async fn open_portfolio(&self, trader: Trader, command: OpenPortfolio) -> Result<PortfolioSummary> {
        Ok(self.open_portfolio_once(trader, command, None).await?.value)
    }

    /// Opens a portfolio with its first deposit.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooManyPortfolios`], [`Error::IdempotencyKeyReused`].
    pub async fn open_portfolio_once(
        &self,
        trader: Trader,
        command: OpenPortfolio,
        key: Option<IdempotencyKey>,
    ) -> Result<Once<PortfolioSummary>> {
        self.open_portfolio_of_kind_once(trader, command, PortfolioKind::Practice, key).await
    }

    /// As [`Books::open_portfolio_once`], for practice or as a record of trades. A record begins without cash unless its
    /// owner says otherwise.
    ///
    /// # Errors
    /// As there.
    pub async fn open_portfolio_of_kind_once(
        &self,
        trader: Trader,
        command: OpenPortfolio,
        kind: PortfolioKind,
        key: Option<IdempotencyKey>,
    ) -> Result<Once<PortfolioSummary>> {
        let (name, description) = (command.name.trim().to_owned(), command.description.trim().to_owned());
        let cash_balance = command.cash_balance.unwrap_or_else(|| self.usual_cash(kind));
        let mut fields = Fields::default();
        check_name(&mut fields, &name);
        check_description(&mut fields, &description);
        fields.check("cash_balance", !cash_balance.is_negative(), "must be zero or more");
        fields.done()?;
        let clock = self.market.clock.clone();
        let line = match kind {
            PortfolioKind::Practice => format!("open {name:?} {description:?} {cash_balance}"),
            PortfolioKind::Record => format!("open record {name:?} {description:?} {cash_balance}"),
        };
        let user = trader.user();
        let request = OnceRequest { user, key, line };
        idempotency::write_once(&self.store, move |tx| {
            let now = clock.now();
            let act = |tx: &mut Tx<'_>| {
                if portfolios::of_user(tx, user)?.len() >= MAX_PORTFOLIOS {
                    return Err(Error::TooManyPortfolios(MAX_PORTFOLIOS));
                }
                let opened = open(tx, user, (name, description, kind), cash_balance, now)?;
                let id = opened.id.0;
                Ok((opened, id))
            };
            request.carry_out(tx, now, act, |tx, id| {
                owned(tx, PortfolioRef::new(user, PortfolioId(id))).map(Into::into)
            })
        })
        .await
    }

    /// What a portfolio begins with unless its owner says otherwise.
    fn usual_cash(&self, kind: PortfolioKind) -> Money {
        match kind {
            PortfolioKind::Practice => self.config.starting_cash.clone(),
            PortfolioKind::Record => Money::zero(),
        }
    }

    /// Returns a user's portfolios in the order they were opened: either the active or the archived ones.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn portfolios(
        &self,
        user: UserId,
        archived: bool,
        after: Option<PortfolioId>,
        limit: usize,
    ) -> Result<Page<PortfolioSummary, PortfolioId>> {
        let rows = self
            .store
            .read(move |tx| {
                portfolios::page_of_user(tx, user, archived, after, one_more(limit)).map_err(Error::from)
            })
            .await?;
        Ok(Page::from_items(rows, limit, |row| row.id).map(PortfolioSummary::from))
    }

    /// Returns a portfolio of the user.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for another user's portfolio; this applies to all functions here.
    pub async fn portfolio(&self, portfolio: PortfolioRef) -> Result<PortfolioSummary> {
        self.store.read(move |tx| owned(tx, portfolio).map(PortfolioSummary::from)).await
    }

    /// Changes only the name and the description, as [`Books::change_portfolio`] does.
    ///
    /// # Errors
    /// The same as [`Books::change_portfolio`].
    pub async fn update_portfolio(
        &self,
        control: PortfolioControl,
        name: Option<String>,
        description: Option<String>,
    ) -> Result<PortfolioSummary> {
        let update = PortfolioUpdate { name, description, ..PortfolioUpdate::default() };
        self.change_portfolio(control, update).await
    }

    /// Changes name, description, benchmark or visibility. A benchmark is stored under its current symbol. Only the
    /// visibility of an archived portfolio can be changed.
    ///
    /// # Errors
    /// [`Error::Invalid`], also for a benchmark that is not a known stock or fund; [`Error::Archived`].
    pub async fn change_portfolio(
        &self,
        control: PortfolioControl,
        update: PortfolioUpdate,
    ) -> Result<PortfolioSummary> {
        let portfolio = control.reference();
        let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned());
        let (name, description) = (trimmed(update.name), trimmed(update.description));
        let mut fields = Fields::default();
        name.iter().for_each(|name| check_name(&mut fields, name));
        description.iter().for_each(|text| check_description(&mut fields, text));
        fields.done()?;
        let benchmark = match update.benchmark {
            Some(symbol) => Some(self.known_benchmark(portfolio, &symbol).await?),
            None => None,
        };
        let clock = self.market.clock.clone();
        let others = name.is_some() || description.is_some() || benchmark.is_some();
        let is_for_active = others || update.visibility.is_none();
        self.store
            .write(move |tx| {
                let locked = lock_own(tx, portfolio)?;
                if locked.archived && is_for_active {
                    return Err(Error::Archived);
                }
                if let Some(visibility) = update.visibility {
                    share(tx, portfolio, visibility)?;
                }
                // The next journal line must not be dated before the last one, even if another process's clock dated
                // it.
                let now = clock.now().max(locked.last);
                let changes = PortfolioChanges { name, description, benchmark, updated_at: Some(now) };
                let row = portfolios::update(tx, portfolio.id, portfolio.user, changes)?;
                row.map(PortfolioSummary::from).ok_or(Error::NotFound(NotFound::Portfolio))
            })
            .await
            .inspect(|_| self.events.announce(&[Change::of_books(portfolio)]))
    }

    /// Returns the current symbol of a benchmark. The source may be called for a stock that is not known yet, so the
    /// owner of the portfolio is checked first.
    async fn known_benchmark(&self, portfolio: PortfolioRef, symbol: &Symbol) -> Result<Symbol> {
        self.portfolio(portfolio).await?;
        match self.instruments.stock_for(Some(portfolio.user), symbol).await {
            Ok(stock) => Ok(stock.listing.symbol.clone()),
            Err(Error::UnknownSymbol(symbol)) => {
                Err(Error::invalid("benchmark", format!("there is no stock or fund {symbol}")))
            }
            Err(error) => Err(error),
        }
    }

    /// Resets a portfolio as [`Books::reset_portfolio_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`Books::reset_portfolio_once`].
    pub async fn reset_portfolio(
        &self,
        control: PortfolioControl,
        cash_balance: Option<Money>,
    ) -> Result<PortfolioSummary> {
        Ok(self.reset_portfolio_once(control, cash_balance, None).await?.value)
    }

    /// Starts over: cancels the open orders, archives the portfolio with its history, and opens one of the same name
    /// with `cash_balance`, or with the starting cash of the deployment.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a negative amount of cash, [`Error::Archived`] if the portfolio is already archived,
    /// [`Error::IdempotencyKeyReused`].
    pub async fn reset_portfolio_once(
        &self,
        control: PortfolioControl,
        cash_balance: Option<Money>,
        key: Option<IdempotencyKey>,
    ) -> Result<Once<PortfolioSummary>> {
        let old = control.reference();
        let user = old.user;
        let asked = cash_balance.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
        let usual = self.config.starting_cash.clone();
        if cash_balance.as_ref().is_some_and(Money::is_negative) {
            return Err(Error::invalid("cash_balance", "must be zero or more"));
        }
        let clock = self.market.clock.clone();
        let request = OnceRequest { user, key, line: format!("reset {} {asked}", old.id) };
        let reset = idempotency::write_once(&self.store, move |tx| {
            let act = |tx: &mut Tx<'_>| {
                let LockedPortfolio { mut portfolio, last, .. } = lock_active(tx, old)?;
                let now = clock.now().max(last);
                let canceled = cancel_all(tx, &mut portfolio, now)?;
                portfolios::save_cash(tx, &[(&portfolio, now)])?;
                portfolios::archive(tx, old.id, now)?;
                let archived = owned(tx, old)?;
                let usual = if archived.kind == PortfolioKind::Record { Money::zero() } else { usual };
                let texts = (archived.name, archived.description, archived.kind);
                let opened = open(tx, user, texts, cash_balance.unwrap_or(usual), now)?;
                if let Some(limits) = concentration_limits::of_portfolio(tx, old.id)? {
                    concentration_limits::save(tx, opened.id, limits)?;
                }
                let changes = PortfolioChanges {
                    benchmark: Some(archived.benchmark),
                    updated_at: Some(now),
                    ..PortfolioChanges::default()
                };
                let kept = portfolios::update(tx, opened.id, user, changes)?;
                let opened = kept.map_or(opened, PortfolioSummary::from);
                let new = opened.id.0;
                Ok(((opened, canceled), new))
            };
            let again = |tx: &mut Tx<'_>, new| {
                Ok((
                    PortfolioSummary::from(owned(tx, PortfolioRef::new(user, PortfolioId(new)))?),
                    Vec::new(),
                ))
            };
            request.carry_out(tx, clock.now(), act, again)
        })
        .await?;
        let (opened, orders) = reset.value;
        if !reset.replayed {
            self.events.announce(&[Change { user, portfolio: old.id, orders }]);
        }
        Ok(Once { value: opened, replayed: reset.replayed })
    }

    /// Deletes the portfolio with its orders, journal and snapshots.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn delete_portfolio(&self, control: PortfolioControl) -> Result<()> {
        let portfolio = control.reference();
        match self
            .store
            .write(move |tx| portfolios::delete(tx, portfolio.id, portfolio.user).map_err(Error::from))
            .await?
        {
            true => {
                self.events.announce(&[Change::of_books(portfolio)]);
                Ok(())
            }
            false => Err(Error::NotFound(NotFound::Portfolio)),
        }
    }

    /// Moves cash as [`Books::move_cash_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`Books::move_cash_once`].
    pub async fn move_cash(
        &self,
        control: PortfolioControl,
        direction: CashDirection,
        amount: Money,
    ) -> Result<JournalEntry> {
        Ok(self.move_cash_once(control, direction, amount, None).await?.value)
    }

    /// Deposits or withdraws cash. `amount` is positive for both.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an amount that is not positive or exceeds the limit of a portfolio,
    /// [`Error::InsufficientCash`], [`Error::IdempotencyKeyReused`].
    pub async fn move_cash_once(
        &self,
        control: PortfolioControl,
        direction: CashDirection,
        amount: Money,
        key: Option<IdempotencyKey>,
    ) -> Result<Once<JournalEntry>> {
        let portfolio = control.reference();
        if !amount.is_positive() {
            return Err(Error::invalid("amount", "must be more than zero"));
        }
        let clock = self.market.clock.clone();
        let request = OnceRequest {
            user: portfolio.user,
            key,
            line: format!("{direction:?} {} {amount}", portfolio.id),
        };
        idempotency::write_once(&self.store, move |tx| {
            let act = |tx: &mut Tx<'_>| {
                let LockedPortfolio { portfolio: mut books, last, .. } = lock_active(tx, portfolio)?;
                let signed = match direction {
                    CashDirection::Deposit => amount,
                    CashDirection::Withdrawal if amount > books.buying_power() => {
                        return Err(Error::InsufficientCash {
                            required: amount,
                            available: books.buying_power(),
                        });
                    }
                    CashDirection::Withdrawal => -amount,
                };
                books.cash_balance += &signed;
                if !books.cash_balance.in_bounds() {
                    return Err(Error::invalid("amount", "is more than a portfolio can hold"));
                }
                let now = clock.now().max(last);
                let entry = transactions::append(tx, &[JournalEntry::cash(portfolio.id, signed, now)])?
                    .swap_remove(0);
                portfolios::save_cash(tx, &[(&books, now)])?;
                let line = entry.id.map_or(0, |id| id.0);
                Ok((entry, line))
            };
            let again = |tx: &mut Tx<'_>, line| {
                owned(tx, portfolio)?;
                transactions::by_id(tx, portfolio.id, TransactionId(line))?
                    .ok_or(Error::NotFound(NotFound::Transaction))
            };
            request.carry_out(tx, clock.now(), act, again)
        })
        .await
        .inspect(|_| self.events.announce(&[Change::of_books(portfolio)]))
    }
}

/// The direction of a cash movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CashDirection {
    Deposit,
    Withdrawal,
}

impl CashDirection {
    pub fn from_type(transaction_type: TransactionType) -> Option<Self> {
        match transaction_type {
            TransactionType::Deposit => Some(Self::Deposit),
            TransactionType::Withdrawal => Some(Self::Withdrawal),
            TransactionType::Buy
            | TransactionType::Sell
            | TransactionType::Dividend
            | TransactionType::Split
            | TransactionType::Fee
            | TransactionType::Reversal
            | TransactionType::CloseOut
            | TransactionType::Exchange => None,
        }
    }
}
