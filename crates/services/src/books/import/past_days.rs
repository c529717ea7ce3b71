//! Snapshots of the days that an import reaches back to. The job `corporate_actions` takes them.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use domain::PortfolioId;
use persistence::{Tx, installation, snapshots};

use crate::books::Books;
use crate::books::snapshots::IdRange;
use crate::corporate_actions::Stored;
use crate::error::{Error, Result};

/// The portfolios with days to be valued, by id, with the first of these days.
const PAST_DAYS: &str = "past_days_of_imports";

fn waiting(tx: &mut Tx<'_>) -> Stored<BTreeMap<i64, NaiveDate>> {
    let kept = installation::get(tx, PAST_DAYS)?;
    Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
}

fn save(tx: &mut Tx<'_>, waiting: &BTreeMap<i64, NaiveDate>) -> Result<()> {
    let text = serde_json::to_string(waiting).map_err(Error::internal)?;
    Ok(installation::set(tx, PAST_DAYS, &text)?)
}

/// Notes that the snapshots of a portfolio are to be taken from that day on, and deletes those of before the import.
pub(super) fn mark(tx: &mut Tx<'_>, id: PortfolioId, since: NaiveDate) -> Result<()> {
    snapshots::delete_since(tx, id, since)?;
    installation::lock(tx)?;
    let mut waiting = waiting(tx)?;
    let first = waiting.entry(id.0).or_insert(since);
    *first = since.min(*first);
    save(tx, &waiting)
}

impl Books {
    /// Takes the snapshots of the days that imports reach back to, the portfolio's alone. A day without a closing price
    /// of each holding has no snapshot. Returns the number of sessions.
    ///
    /// # Errors
    /// Only when the database fails.
    pub(crate) async fn value_past_days(&self, alive: &mut (impl FnMut() -> bool + Send)) -> Result<usize> {
        let marked = self.store.read(|tx| waiting(tx).map_err(Error::from)).await?;
        let mut taken = 0;
        for (id, since) in marked {
            let id = PortfolioId(id);
            let range = IdRange { after: PortfolioId(id.0 - 1), last: id };
            let last = self.market.calendar.last_closed(self.market.now()).date;
            let calendar = self.market.book_calendar(&self.store).await?;
            for session in calendar.sessions(since, last).collect::<Vec<_>>() {
                match self.take_snapshots(session.date, range, |_| true).await {
                    // The source does not reach back so far.
                    Ok(_) | Err(Error::NoPrice { .. }) => taken += 1,
                    Err(error) => return Err(error),
                }
                if !alive() {
                    return Ok(taken);
                }
            }
            self.store
                .write(move |tx| {
                    // A price that has not come until now does not come: without it the day has no value.
                    snapshots::delete_provisional(tx, id, last)?;
                    installation::lock(tx)?;
                    let mut waiting = waiting(tx)?;
                    // Another import may have marked older days meanwhile.
                    if waiting.get(&id.0) == Some(&since) {
                        waiting.remove(&id.0);
                    }
                    save(tx, &waiting)
                })
                .await?;
        }
        Ok(taken)
    }
}
