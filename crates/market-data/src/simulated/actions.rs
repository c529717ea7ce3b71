//! Announces the events of the simulated market.

use chrono::{Days, NaiveDate};
use domain::{CorporateAction, CorporateActionKind, PerShare};

use super::Simulated;
use super::events::{Split, pays_on};

/// How many days in advance a split, a new symbol or a delisting is announced. A dividend is announced when its session
/// opens, because its amount depends on the price at that time.
const DAYS_ANNOUNCED_BEFORE: u64 = 14;

impl Simulated {
    /// The actions from `first` to `last` that are known in session `now`, in order.
    pub(super) fn actions_of(
        &self,
        index: usize,
        first: NaiveDate,
        last: NaiveDate,
        now: u16,
    ) -> Vec<CorporateAction> {
        let events = self.paths.events(index);
        let sessions = self.model.sessions();
        let asked = |session: u16| (first..=last).contains(&sessions.date(session));
        let announced_until = sessions.date(now) + Days::new(DAYS_ANNOUNCED_BEFORE);
        let announced = |session: u16| asked(session) && sessions.date(session) <= announced_until;
        let action = |session: u16, kind| {
            // The symbol in the previous session, because the action may be the change of the symbol.
            let symbol = self.symbol(index, session.saturating_sub(1)).clone();
            CorporateAction::new(symbol, sessions.date(session), kind)
        };
        let split = |Split { session, numerator, denominator }| {
            action(session, CorporateActionKind::Split { numerator, denominator })
        };
        let dividend = |session: u16| {
            let amount = rounded(self.paths.dividend(index, session))?;
            let pays_on = pays_on(sessions.date(session), sessions);
            Some(action(session, CorporateActionKind::CashDividend { amount, pays_on }))
        };
        let renaming = events.renaming.filter(|(session, _)| announced(*session));
        let renamed = |(session, _)| {
            let to = self.symbol(index, session).clone();
            action(session, CorporateActionKind::SymbolChange { to })
        };
        let delisted = events.delisted.filter(|session| announced(*session));
        let mut actions: Vec<CorporateAction> = events
            .splits()
            .filter(|split| announced(split.session))
            .map(split)
            .chain(events.ex_dividends().filter(|ex| asked(*ex) && *ex <= now).filter_map(dividend))
            .chain(renaming.map(renamed))
            .chain(delisted.map(|session| action(session, CorporateActionKind::Delisting)))
            .collect();
        actions.sort_by_key(|action| action.ex_on);
        actions
    }
}

/// Rounds half-even to a hundredth of a cent. `None` for a smaller dividend.
fn rounded(amount: f64) -> Option<PerShare> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number up to 10^11")]
    PerShare::from_scaled(libm::rint(amount * 10_000.0) as i64, 4)
}
