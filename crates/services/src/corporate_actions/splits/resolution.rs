//! Administrators' decisions on splits in doubt.

use domain::{SplitConfirmation, SplitRatio, Symbol};
use persistence::corporate_actions::SplitDecisionReason;
use persistence::{Tx, corporate_actions as actions, providers};

use crate::accounts::actor::Administrator;
use crate::corporate_actions::CorporateActions;
use crate::corporate_actions::recorded_splits::record;
use crate::error::{Error, FieldError, Result};
use crate::idempotency::{self, DecisionAuthor, Once, OnceRequest};
use crate::log_target::SECURITY;

/// How an administrator resolves a split in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitResolution {
    /// The split happened as announced.
    Confirm,
    /// A split with this ratio happened instead.
    Correct(SplitRatio),
    /// There was no split.
    Withdraw,
}

impl SplitResolution {
    /// Parses `confirm`, `correct` with a ratio like `2:1`, or `withdraw`.
    ///
    /// # Errors
    /// The error of the invalid field.
    pub fn parse(word: &str, ratio: Option<&str>) -> std::result::Result<Self, FieldError> {
        let ratio = ratio.map(str::trim).filter(|ratio| !ratio.is_empty());
        match (word, ratio) {
            ("confirm", None) => Ok(Self::Confirm),
            ("withdraw", None) => Ok(Self::Withdraw),
            ("confirm" | "withdraw", Some(_)) => {
                Err(FieldError::new("ratio", "leave the field empty, or choose to correct the ratio"))
            }
            ("correct", Some(ratio)) => ratio.parse().map(Self::Correct).map_err(|_| bad_ratio()),
            ("correct", None) => Err(bad_ratio()),
            _ => Err(FieldError::new("resolution", "must be confirm, correct or withdraw")),
        }
    }
}

fn bad_ratio() -> FieldError {
    FieldError::new("ratio", "enter new and old shares, like 2:1 for two new shares per old one")
}

/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

impl CorporateActions {
    /// Resolves a split as [`CorporateActions::resolve_split_once`] does, without an idempotency key.
    ///
    /// # Errors
    /// The same as [`CorporateActions::resolve_split_once`].
    pub async fn resolve_split(
        &self,
        by: &Administrator,
        symbol: &Symbol,
        resolution: SplitResolution,
        reason: &str,
    ) -> Result<()> {
        let author = DecisionAuthor { administrator: by.clone(), key: None };
        self.resolve_split_once(symbol, resolution, reason, author).await.map(|done| done.value)
    }

    /// Resolves the split of a stock that holds trading; the reason is stored. If no split holds trading but a price of
    /// the stock is unconfirmed, `Correct` records a split that no source reports. Before this returns, the effects of
    /// the old split are reversed and the new one is applied.
    ///
    /// # Errors
    /// [`Error::NoSplitInDoubt`]; [`Error::Invalid`] without a reason; [`Error::UnknownSymbol`];
    /// [`Error::IdempotencyKeyReused`].
    pub async fn resolve_split_once(
        &self,
        symbol: &Symbol,
        resolution: SplitResolution,
        reason: &str,
        author: DecisionAuthor,
    ) -> Result<Once<()>> {
        let reason = checked_reason(reason)?;
        let line = format!("resolve split {symbol} {resolution:?} {reason}");
        let request = OnceRequest::by(&author, line);
        let stock = self.instruments.stored_stock(symbol).await?;
        let (id, now, wall) = (stock.id, self.market.now(), self.market.clock.wall());
        let (kept, named) = (reason.clone(), stock.listing.symbol.clone());
        let (source, calendar) = (self.market.quotes.source(), self.market.calendar);
        let act = move |tx: &mut Tx<'_>| {
            let known = actions::of_stock(tx, id)?.into_iter().find(|known| known.hold(now).is_some());
            let Some(known) = known else {
                let waiting =
                    providers::unconfirmed(tx, source.as_str(), Some(std::slice::from_ref(&named)))?;
                let (Some(waiting), SplitResolution::Correct(ratio)) = (waiting.first(), resolution) else {
                    return Err(Error::NoSplitInDoubt(named));
                };
                let by = SplitDecisionReason::Administrator { reason: kept };
                let recorded = record(tx, &stock, (&waiting.price, ratio), &by, (calendar, now, wall))?;
                return recorded.ok_or(Error::NoSplitInDoubt(named));
            };
            let from = known.check.as_ref().map_or(SplitConfirmation::Awaiting, |check| check.confirmation);
            let by = SplitDecisionReason::Administrator { reason: kept };
            let ratio = match resolution {
                SplitResolution::Confirm => known.action.ratio(),
                SplitResolution::Correct(ratio) => Some(ratio),
                SplitResolution::Withdraw => None,
            };
            let as_booked = known.ratio().is_some() && known.ratio() == ratio;
            let to = if as_booked { SplitConfirmation::Confirmed } else { SplitConfirmation::Withdrawn };
            if !actions::decide(tx, known.id, (from, to), &by, wall)? {
                return Err(Error::NoSplitInDoubt(named));
            }
            if let Some(ratio) = ratio.filter(|_| !as_booked) {
                actions::replace_split(tx, &known, ratio, &by, wall)?;
            }
            Ok(known)
        };
        let done = idempotency::write_once(&self.store, move |tx| {
            let act = |tx: &mut Tx<'_>| act(tx).map(|known| (Some(known.action.id.clone()), known.id.0));
            request.carry_out(tx, wall, act, |_, _| Ok(None))
        })
        .await?;
        self.action_counter.increase();
        if let Some(split) = &done.value {
            tracing::info!(
                target: SECURITY,
                event = "split_resolved",
                %split,
                resolution = ?resolution,
                reason,
                administrator = author.administrator.name(),
                "an administrator resolved a split"
            );
        }
        self.reverse_splits().await?;
        self.apply_corporate_actions().await?;
        Ok(Once { value: (), replayed: done.replayed })
    }
}

/// Returns the administrator's reason without surrounding spaces. Rejects an empty or too long one.
pub(crate) fn checked_reason(reason: &str) -> Result<String> {
    let reason = reason.trim();
    match reason.chars().count() {
        0 => Err(Error::invalid("reason", "enter a reason: it is stored with the decision")),
        1..=LONGEST_REASON => Ok(reason.to_owned()),
        _ => Err(Error::invalid("reason", format!("use up to {LONGEST_REASON} characters"))),
    }
}
