//! The table of all stocks listed at the exchanges, which searches use.

use chrono::Datelike;
use domain::calendar::exchange_date;
use domain::{PriceSource, Timestamp};
use market_data::{ListedStock, Purpose, QuoteError};
use persistence::listings::{self, Listed};

use crate::error::{Error, Result};
use crate::stocks::Stocks;

impl Stocks {
    /// Stores the source's table of listings, unless this week's table is already stored and sufficient. An inner `Err`
    /// is the reason why the source does not have the table now.
    pub(crate) async fn refresh_listings(
        &self,
        this_weeks_will_do: bool,
    ) -> Result<std::result::Result<String, QuoteError>> {
        let source = self.market.quotes.source();
        let name = source.to_string();
        let state = self.store.read(move |tx| {
            let wants_todays = crate::corporate_actions::delistings::wants_table_of_today(tx, &name)?;
            Ok::<_, Error>((listings::state(tx, &name)?, wants_todays))
        });
        let (there, wants_todays) = state.await?;
        let wall = self.market.clock.wall();
        let will_do = |at: Timestamp| match wants_todays {
            true => exchange_date(at) == exchange_date(wall),
            false => listings_key(&source, at) == listings_key(&source, wall),
        };
        if this_weeks_will_do && there.is_some_and(|(at, _)| will_do(at)) {
            let which = if wants_todays { "today" } else { "this week" };
            return Ok(Ok(format!("the table of {which} is stored")));
        }
        let table = match self.market.quotes.listed(Purpose::Scheduled).await {
            Ok(Some(table)) => table,
            Ok(None) => {
                return Ok(Ok("the source has no table of listings: searches call it directly".into()));
            }
            Err(error) => return Ok(Err(error)),
        };
        let outcome = self.keep_listings(table).await?;
        self.corporate_actions.learn_former_listings().await?;
        Ok(Ok(outcome))
    }

    /// Stores the table for searches, and records which stocks it lacks. A table that lacks too many stocks of the last
    /// one is rejected.
    ///
    /// # Errors
    /// Only when the database fails.
    pub async fn keep_listings(&self, table: Vec<ListedStock>) -> Result<String> {
        let (source, now, count) = (self.market.quotes.source(), self.market.clock.wall(), table.len());
        let (of, told) = (source.clone(), table.clone());
        let loss = self.store.write(move |tx| {
            crate::corporate_actions::delistings::check_table(tx, of.as_str(), &told, now)
                .map_err(Error::from)
        });
        if let Some((listed, lost)) = loss.await? {
            tracing::warn!(listed, lost, "a table of listings lacks too much: the last one is kept");
            return Ok(format!(
                "the table was rejected: it lacks {lost} of {listed} symbols that were listed"
            ));
        }
        // Reused symbols are handled before the new table is used for lookups.
        self.corporate_actions.review_companies(&table).await?;
        let kept = self.store.write(move |tx| {
            let older = listings::state(tx, source.as_str())?.map(|(at, _)| at);
            let rows: Vec<Listed> = table
                .into_iter()
                .map(|row| Listed {
                    symbol: row.symbol,
                    company_name: row.company_name,
                    exchange: row.exchange,
                    is_fund: row.is_fund,
                    listed_on: row.listed_on,
                })
                .collect();
            listings::replace(tx, source.as_str(), &rows, now)?;
            crate::corporate_actions::delistings::note_table(tx, source.as_str(), older, now)
                .map_err(Error::from)
        });
        kept.await?;
        Ok(format!("{count} stocks and funds are listed"))
    }
}

/// The key of the week of the current table. The week begins on Sunday, a day without trading.
pub(crate) fn listings_key(source: &PriceSource, wall: Timestamp) -> String {
    let today = exchange_date(wall);
    let sunday = today - chrono::Days::new(u64::from(today.weekday().num_days_from_sunday()));
    format!("{sunday} {source}")
}
