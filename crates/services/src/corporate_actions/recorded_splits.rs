//! Splits that no source reports, recorded by an administrator.

use domain::calendar::exchange_date;
use domain::plausibility::UnconfirmedPrice;
use domain::{
    Calendar, CorporateAction, CorporateActionKind, KnownAction, SplitConfirmation, SplitRatio, Stock,
    Timestamp,
};
use persistence::Tx;
use persistence::corporate_actions::{self as actions, ReportedAction, SplitDecisionReason};

use crate::corporate_actions::Stored;

/// Records a split on the day on which a price in other shares was first reported. `None` if the books have a split
/// on that day.
pub(crate) fn record(
    tx: &mut Tx<'_>,
    stock: &Stock,
    (waiting, ratio): (&UnconfirmedPrice, SplitRatio),
    by: &SplitDecisionReason,
    (calendar, now, wall): (Calendar, Timestamp, Timestamp),
) -> Stored<Option<KnownAction>> {
    let kind = CorporateActionKind::Split { numerator: ratio.numerator, denominator: ratio.denominator };
    let ex_on = exchange_date(waiting.first_seen_at);
    let action = CorporateAction::new(stock.listing.symbol.clone(), ex_on, kind);
    let reported = ReportedAction {
        stock_id: stock.id,
        effective_at: action.effective_at(calendar),
        pays_at: None,
        confirmation: SplitConfirmation::Confirmed,
        action,
    };
    if !actions::note(tx, &reported, now)? {
        return Ok(None);
    }
    let known =
        actions::of_stock(tx, stock.id)?.into_iter().find(|known| known.action.id == reported.action.id);
    if let Some(known) = &known {
        let confirmed = SplitConfirmation::Confirmed;
        actions::decide(tx, known.id, (confirmed, confirmed), by, wall)?;
    }
    Ok(known)
}
