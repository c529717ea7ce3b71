//! Portfolios: opening, naming, paying in and out, closing.

use domain::{JournalEntry, Money, PortfolioId, Timestamp, TransactionType, UserId};
use persistence::portfolios::{NewPortfolio, PortfolioChanges, PortfolioRecord};
use persistence::{StoreError, Tx, portfolios, transactions};

use crate::error::{Error, Fields, Result};
use crate::{Page, Services, one_more};

/// More than anybody needs, few enough that one user cannot fill the disk with snapshots.
const MOST_PORTFOLIOS: usize = 100;

/// A portfolio without its positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortfolioSummary {
    pub id: PortfolioId,
    pub name: String,
    pub description: String,
    pub cash_balance: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<PortfolioRecord> for PortfolioSummary {
    fn from(row: PortfolioRecord) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            cash_balance: row.cash_balance,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Debug, Clone)]
pub struct OpenPortfolio {
    pub name: String,
    pub description: String,
    /// Paid in as the first deposit; the deployment's starting cash when `None`.
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

/// The portfolio, if it is that user's.
pub(crate) fn owned(tx: &mut Tx<'_>, id: PortfolioId, user: UserId) -> Result<PortfolioRecord> {
    portfolios::owned(tx, id, user)?.ok_or(Error::NotFound("portfolio"))
}

impl Services {
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooManyPortfolios`].
    pub async fn open_portfolio(&self, user: UserId, command: OpenPortfolio) -> Result<PortfolioSummary> {
        let (name, description) = (command.name.trim().to_owned(), command.description.trim().to_owned());
        let cash_balance = command.cash_balance.unwrap_or_else(|| self.config.starting_cash.clone());
        let mut fields = Fields::default();
        check_name(&mut fields, &name);
        check_description(&mut fields, &description);
        fields.check("cash_balance", !cash_balance.is_negative(), "must be zero or more");
        fields.done()?;
        let clock = self.market.clock.clone();
        self.store
            .write(move |tx| {
                if portfolios::of_user(tx, user)?.len() >= MOST_PORTFOLIOS {
                    return Err(Error::TooManyPortfolios(MOST_PORTFOLIOS));
                }
                let now = clock.now();
                let new = NewPortfolio {
                    user_id: user,
                    name,
                    description,
                    cash_balance: cash_balance.clone(),
                    created_at: now,
                    updated_at: now,
                };
                let row = portfolios::insert(tx, new).map_err(|error| match error {
                    StoreError::MissingReference(_) => Error::NotFound("user"),
                    other => other.into(),
                })?;
                if cash_balance.is_positive() {
                    transactions::append(tx, &JournalEntry::cash(row.id, cash_balance, now))?;
                }
                Ok(row.into())
            })
            .await
    }

    /// A user's portfolios in the order they were opened.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn portfolios(
        &self,
        user: UserId,
        after: Option<PortfolioId>,
        limit: usize,
    ) -> Result<Page<PortfolioSummary, PortfolioId>> {
        let rows = self
            .store
            .read(move |tx| portfolios::page_of_user(tx, user, after, one_more(limit)).map_err(Error::from))
            .await?;
        Ok(Page::of(rows, limit, |row| row.id).map(PortfolioSummary::from))
    }

    /// # Errors
    /// [`Error::NotFound`], also for somebody else's; the same for all functions here.
    pub async fn portfolio(&self, user: UserId, id: PortfolioId) -> Result<PortfolioSummary> {
        self.store.read(move |tx| owned(tx, id, user).map(PortfolioSummary::from)).await
    }

    /// Renames or redescribes; `None` leaves a text as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] as well.
    pub async fn update_portfolio(
        &self,
        user: UserId,
        id: PortfolioId,
        name: Option<String>,
        description: Option<String>,
    ) -> Result<PortfolioSummary> {
        let trimmed = |text: Option<String>| text.map(|text| text.trim().to_owned());
        let (name, description) = (trimmed(name), trimmed(description));
        let mut fields = Fields::default();
        name.iter().for_each(|name| check_name(&mut fields, name));
        description.iter().for_each(|text| check_description(&mut fields, text));
        fields.done()?;
        let now = self.market.now();
        self.store
            .write(move |tx| {
                let changes = PortfolioChanges { name, description, updated_at: Some(now) };
                let row = portfolios::update(tx, id, user, changes)?;
                row.map(PortfolioSummary::from).ok_or(Error::NotFound("portfolio"))
            })
            .await
    }

    /// Removes the portfolio with its orders, journal and snapshots.
    pub async fn delete_portfolio(&self, user: UserId, id: PortfolioId) -> Result<()> {
        match self.store.write(move |tx| portfolios::delete(tx, id, user).map_err(Error::from)).await? {
            true => Ok(()),
            false => Err(Error::NotFound("portfolio")),
        }
    }

    /// Pays cash in or out. `amount` is positive for both.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an amount that is not positive or is more than an account can hold,
    /// [`Error::InsufficientCash`].
    pub async fn move_cash(
        &self,
        user: UserId,
        id: PortfolioId,
        direction: CashDirection,
        amount: Money,
    ) -> Result<JournalEntry> {
        if !amount.is_positive() {
            return Err(Error::invalid("amount", "must be more than zero"));
        }
        let clock = self.market.clock.clone();
        self.store
            .write(move |tx| {
                let (portfolio, last) =
                    portfolios::lock_owned(tx, id, user)?.ok_or(Error::NotFound("portfolio"))?;
                let signed = match direction {
                    CashDirection::Deposit => amount,
                    CashDirection::Withdrawal if amount > portfolio.cash_balance => {
                        return Err(Error::InsufficientCash {
                            required: amount,
                            available: portfolio.cash_balance,
                        });
                    }
                    CashDirection::Withdrawal => -amount,
                };
                let balance = portfolio.cash_balance + &signed;
                if !balance.in_bounds() {
                    return Err(Error::invalid("amount", "is more than an account can hold"));
                }
                let now = clock.now().max(last);
                let entry = transactions::append(tx, &JournalEntry::cash(id, signed, now))?;
                portfolios::save_cash(tx, id, &balance, now)?;
                Ok(entry)
            })
            .await
    }
}

/// Which way cash goes.
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
            TransactionType::Buy | TransactionType::Sell => None,
        }
    }
}
