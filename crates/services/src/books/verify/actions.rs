//! The rules of corporate actions.

use std::collections::{BTreeMap, HashMap};

use chrono::{Days, NaiveDate};
use domain::calendar::exchange_date;
use domain::journal::BookedTerms;
use domain::split_check::{SplitVerdict, judge_split};
use domain::{
    ActionHistory, ActionId, AsTraded, Bar, CorporateActionKind, JournalEntry, KnownAction, Money,
    PortfolioId, Price, Quantity, SplitConfirmation, SplitHistory, SplitRatio, StockId, Timestamp,
    TransactionId, TransactionType,
};
use persistence::corporate_actions::Applied;
use persistence::orders::Booked;
use persistence::portfolios::PortfolioRecord;
use persistence::{Tx, corporate_actions, stocks};

use super::report::{Concern, Difference};
use crate::error::Result;
use crate::market::book_calendar::BookCalendar;

/// The number of days around a split in which fills and closes are compared with the split.
const AROUND_SPLIT: Days = Days::new(14);

/// All corporate actions.
pub(super) struct Known {
    by_id: HashMap<ActionId, KnownAction>,
    by_stock: HashMap<StockId, Vec<ActionId>>,
    /// Stored bars around the splits in force, as traded, each with its price source: prices of two sources may
    /// differ without an error.
    bars: HashMap<StockId, BTreeMap<NaiveDate, (Bar, String)>>,
    /// Splits that are contradicted by the closes around them: name, expected and found price.
    pub(super) contradicted: HashMap<ActionId, (String, Price, Price)>,
}

impl Known {
    pub(super) fn load(tx: &mut Tx<'_>, calendar: &BookCalendar) -> Result<Self> {
        let mut known = Self {
            by_id: HashMap::new(),
            by_stock: HashMap::new(),
            bars: HashMap::new(),
            contradicted: HashMap::new(),
        };
        for action in corporate_actions::all(tx)? {
            if action.ratio().is_some() {
                let ex_on = action.action.ex_on;
                let (first, last) = (ex_on - AROUND_SPLIT, ex_on + AROUND_SPLIT);
                let around = stocks::bars_with_sources(tx, action.stock_id, first, last)?;
                let bars = known.bars.entry(action.stock_id).or_default();
                bars.extend(around.into_iter().map(|bar| (bar.0.date, bar)));
            }
            known.by_stock.entry(action.stock_id).or_default().push(action.id);
            known.by_id.insert(action.id, action);
        }
        let contradicted = known.by_id.values().filter_map(|action| {
            let (expected, found) = known.contradiction(action, calendar)?;
            Some((action.id, (action.action.id.to_string(), expected, found)))
        });
        known.contradicted = contradicted.collect();
        Ok(known)
    }

    fn history(&self, stock: StockId) -> SplitHistory {
        let ids = self.by_stock.get(&stock).map_or(&[][..], Vec::as_slice);
        SplitHistory::of_known(ids.iter().filter_map(|id| self.by_id.get(id)))
    }

    /// The price expected after a split and the first close after it, if they contradict each other.
    fn contradiction(&self, split: &KnownAction, calendar: &BookCalendar) -> Option<(Price, Price)> {
        let check = split.check.as_ref().filter(|check| !check.by_administrator)?;
        let is_booked = check.confirmation == SplitConfirmation::Confirmed && split.applied_at.is_some();
        split.ratio().filter(|_| is_booked)?;
        let bars = self.bars.get(&split.stock_id)?;
        let (before_on, (before, source)) = bars.range(..split.action.ex_on).next_back()?;
        let (after_on, (after, _)) =
            bars.range(split.action.ex_on..).next().filter(|(_, (_, after))| after == source)?;
        let before = AsTraded::new(before.close.clone(), calendar.basis(*before_on));
        let expected = self.history(split.stock_id).convert(before, calendar.basis(*after_on));
        let found = after.close.clone();
        (judge_split(&expected, &found) == SplitVerdict::Contradicted).then_some((expected, found))
    }

    /// Describes a fill whose quoted price is in the wrong shares, from before or after a split: it contradicts the
    /// day's bar, and fits once the split is undone.
    pub(super) fn odd_basis(&self, entry: &JournalEntry, calendar: &BookCalendar) -> Option<String> {
        let (stock, receipt) = (entry.stock_id?, entry.receipt.as_ref()?);
        let bars = self.bars.get(&stock)?;
        let day = exchange_date(receipt.quoted_at);
        let (on, (bar, source)) =
            bars.range(..=day).next_back().filter(|(on, _)| **on + AROUND_SPLIT >= day)?;
        if source != receipt.source.as_str() {
            return None;
        }
        let traded = AsTraded::new(bar.clone(), calendar.basis(*on));
        let bar = self.history(stock).convert(traded.clone(), entry.timestamp);
        // Dividends that were known at the time are subtracted from earlier prices.
        let actions = self.by_stock.get(&stock)?.iter().filter_map(|id| self.by_id.get(id));
        let were_known = actions.filter(|known| known.known_at <= entry.timestamp);
        let less_dividends = ActionHistory::of_known(were_known).convert(traded, entry.timestamp);
        let fits_bar = |bar: &Bar, price: &Price| {
            (bar.low <= *price && *price <= bar.high)
                || [&bar.low, &bar.high].iter().any(|of| judge_split(of, price) == SplitVerdict::Confirmed)
        };
        let fits = |price: &Price| fits_bar(&bar, price) || fits_bar(&less_dividends, price);
        let quoted = &receipt.quoted_price;
        if fits(quoted) {
            return None;
        }
        let splits = self.by_stock.get(&stock)?.iter().filter_map(|id| self.by_id.get(id)?.ratio());
        let ratio = splits
            .flat_map(|ratio| [ratio, ratio.inverse()])
            .find(|ratio| ratio.price_half_even(quoted).is_some_and(|right| fits(&right)))?;
        Some(format!(
            "fills on a quoted price of {quoted}, and the stock closed at {} in the shares of the fill: the price is in \
             the shares of before or after a split ({ratio})",
            bar.close
        ))
    }
}

/// A dividend that became known after its ex-date, with the later trades that still include it.
struct LateDividend<'a> {
    dividend: &'a KnownAction,
    /// The shares held at the opening of the ex-date.
    at_opening: Quantity,
    /// The trades that include the dividend.
    trades: BTreeMap<TransactionId, (TransactionType, Quantity)>,
}

impl LateDividend<'_> {
    pub(super) fn book(&mut self, entry: &JournalEntry) {
        let Self { dividend, trades, .. } = self;
        if let Some(reversal) = entry.reverses.as_ref().filter(|_| entry.timestamp < dividend.known_at) {
            trades.remove(&reversal.of);
        }
        if entry.stock_id == Some(dividend.stock_id)
            && entry.timestamp >= dividend.effective_at
            && entry.includes_dividend(dividend)
            && let (Some(id), Some(quantity)) = (entry.id, &entry.quantity)
        {
            trades.insert(id, (entry.transaction_type, quantity.clone()));
        }
    }

    fn held(&self) -> Quantity {
        let of = |kind| {
            let trades = self.trades.values().filter(|(of, _)| *of == kind);
            trades.fold(Quantity::zero(), |sum, (_, quantity)| sum + quantity)
        };
        let held = self.at_opening.clone() + &of(TransactionType::Buy);
        held.checked_sub(&of(TransactionType::Sell)).unwrap_or_else(Quantity::zero)
    }
}

/// The actual and expected effects of corporate actions on one portfolio.
pub(super) struct Actions<'a> {
    /// The actions of the portfolio's stocks that are still to be checked, in reverse order: the last one takes effect
    /// first.
    to_come: Vec<&'a KnownAction>,
    pub(super) had: BTreeMap<ActionId, &'a Applied>,
    pub(super) known: &'a Known,
    splits: Vec<JournalEntry>,
    /// Dividends that became known after their ex-dates. They are compared at the end of the journal.
    late_dividends: Vec<LateDividend<'a>>,
    /// Journal lines that are not yet matched with an applied action.
    lines: BTreeMap<ActionId, Vec<(TransactionType, Money, Timestamp)>>,
}

impl<'a> Actions<'a> {
    pub(super) fn new<'s>(
        known: &'a Known,
        stocks: impl Iterator<Item = &'s StockId>,
        had: &'a [Applied],
        splits: Vec<JournalEntry>,
    ) -> Self {
        let of_stocks = stocks.filter_map(|stock| known.by_stock.get(stock)).flatten();
        let mut to_come: Vec<&KnownAction> = of_stocks.filter_map(|id| known.by_id.get(id)).collect();
        to_come.sort_by_key(|action| std::cmp::Reverse((action.effective_at, action.id)));
        let had = had.iter().map(|applied| (applied.action_id, applied)).collect();
        Self { to_come, had, known, splits, late_dividends: Vec::new(), lines: BTreeMap::new() }
    }

    pub(super) fn book(&mut self, entry: &JournalEntry) {
        self.late_dividends.iter_mut().for_each(|late| late.book(entry));
        if let Some(action) = &entry.action {
            let line = (entry.transaction_type, entry.amount.clone(), entry.timestamp);
            self.lines.entry(action.id).or_default().push(line);
        }
    }

    /// Describes how a close-out's journal line contradicts the close-out.
    pub(super) fn odd_close_out(&self, entry: &JournalEntry) -> Option<String> {
        let booked = entry.action.as_ref()?;
        let (cash, ratio) = match &booked.terms {
            BookedTerms::ClosedOut { cash, ratio } => (Some(cash.as_ref()), *ratio),
            BookedTerms::Exchanged { ratio, .. } => (None, Some(*ratio)),
            BookedTerms::Split { .. } | BookedTerms::Dividend { .. } => return None,
        };
        let known = self.known.by_id.get(&booked.id)?;
        let CorporateActionKind::CloseOut(terms) = &known.action.kind else {
            return Some(format!("is of action {}, which is not a close-out", known.action.id));
        };
        let stock = match entry.transaction_type {
            TransactionType::Exchange => terms.into_stock().map(|(into, _)| into),
            _ => Some(known.stock_id),
        };
        let fits =
            cash.is_none_or(|cash| cash == terms.cash()) && ratio == terms.ratio() && entry.stock_id == stock;
        let given = match &booked.terms {
            BookedTerms::ClosedOut { .. } => entry.quantity.as_ref(),
            BookedTerms::Exchanged { given, .. } => Some(given),
            BookedTerms::Split { .. } | BookedTerms::Dividend { .. } => None,
        };
        let was_given = self.had.get(&booked.id).is_some_and(|had| Some(&had.quantity) == given);
        (!fits || !was_given).then(|| format!("is not what {} says", known.action.id))
    }

    /// Describes shares that are left in the portfolio after their stock was closed out.
    pub(super) fn left_over(&self, held: impl Fn(StockId) -> Quantity) -> Vec<String> {
        let closed = self.known.by_id.values().filter(|known| {
            matches!(known.action.kind, CorporateActionKind::CloseOut(_)) && known.applied_at.is_some()
        });
        closed
            .filter_map(|known| {
                let left = held(known.stock_id);
                (!left.is_zero()).then(|| format!("{left} shares are left after {}", known.action.id))
            })
            .collect()
    }

    /// The splits that took effect while the order was open, each with the time of its booking.
    pub(super) fn splits_of_order(&self, order: &Booked) -> Vec<(Timestamp, SplitRatio)> {
        let ended_at = order.filled_at.or(order.canceled_at);
        let mut splits: Vec<(Timestamp, SplitRatio)> = self
            .had
            .values()
            .filter_map(|had| {
                let known = self.known.by_id.get(&had.action_id)?;
                let was_open = order.submitted_at < known.effective_at
                    && ended_at.is_none_or(|ended| ended > had.booked_at)
                    && had.reversed_at.is_none_or(|reversed| ended_at.is_some_and(|ended| ended < reversed));
                let ratio = known.action.ratio().filter(|_| known.stock_id == order.stock_id && was_open)?;
                Some((had.booked_at, ratio))
            })
            .collect();
        splits.sort_by_key(|(at, _)| *at);
        splits
    }

    /// The shares that splits of a stock had added and removed by `at`, but that the journal booked only later.
    pub(super) fn splits_at(&self, stock: StockId, at: Timestamp) -> (Quantity, Quantity) {
        self.splits_by(stock, at, |effective_at| effective_at < at)
    }

    fn splits_by(
        &self,
        stock: StockId,
        at: Timestamp,
        counts: impl Fn(Timestamp) -> bool,
    ) -> (Quantity, Quantity) {
        let late = self.splits.iter().filter(|split| {
            split.stock_id == Some(stock) && split.timestamp >= at && counts(split.shares_since())
        });
        late.fold((Quantity::zero(), Quantity::zero()), |(added, taken), split| {
            let (more, less) = split.shares();
            (added + &more, taken + &less)
        })
    }

    pub(super) fn receivable_at(&self, at: Timestamp) -> Money {
        let owed = self.had.values().filter(|applied| {
            let known = self.known.by_id.get(&applied.action_id);
            known.is_some_and(|known| known.effective_at < at)
                && applied.paid_at.is_none_or(|paid| paid >= at)
        });
        owed.map(|applied| &applied.amount).sum()
    }

    /// Checks the actions that took effect by `at`: compares the shares held then with the shares they were applied to.
    pub(super) fn until(
        &mut self,
        at: Option<Timestamp>,
        held: impl Fn(StockId) -> Option<Quantity>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        while let Some(known) = self.to_come.pop_if(|known| at.is_none_or(|at| known.effective_at <= at)) {
            let (stock, effective_at) = (known.stock_id, known.effective_at);
            let is_dividend = match &known.action.kind {
                CorporateActionKind::Split { .. } => false,
                CorporateActionKind::CashDividend { .. } => true,
                // Close-outs and exchanges are compared with the journal; see [`Actions::end`].
                CorporateActionKind::SymbolChange { .. }
                | CorporateActionKind::Delisting
                | CorporateActionKind::CloseOut(_) => continue,
            };
            // If a split and a dividend share an opening, the dividend is for the shares after the split.
            let (added, taken) = self.splits_by(stock, effective_at, |at| {
                at < effective_at || (is_dividend && at == effective_at)
            });
            let quantity = held(stock).unwrap_or_else(Quantity::zero) + &added;
            let quantity = quantity.checked_sub(&taken).unwrap_or_else(Quantity::zero);
            if is_dividend && known.known_at > effective_at {
                let trades = BTreeMap::new();
                self.late_dividends.push(LateDividend { dividend: known, at_opening: quantity, trades });
            } else {
                differences.extend(self.odd_application(known, &quantity));
            }
        }
        differences
    }

    /// Describes an action that was applied to another number of shares than `quantity`, or with another amount than
    /// `quantity` requires.
    fn odd_application(&self, known: &KnownAction, quantity: &Quantity) -> Option<String> {
        let action = &known.action.id;
        let Some(had) = self.had.get(&known.id) else {
            let is_due = !quantity.is_zero() && known.applied_at.is_some() && known.is_in_force();
            return is_due.then(|| format!("{action} was not applied to the {quantity} shares held"));
        };
        if had.quantity != *quantity {
            return Some(format!("{action} was applied to {} shares, {quantity} were held", had.quantity));
        }
        let amount = match &known.action.kind {
            CorporateActionKind::CashDividend { amount, .. } => amount.times(quantity),
            _ => Money::zero(),
        };
        (had.amount != amount).then(|| format!("{action} pays {}, computed {amount}", had.amount))
    }

    /// Describes late dividends whose application contradicts the journal.
    fn odd_late_dividends(&self) -> Vec<String> {
        let odd = self.late_dividends.iter().filter_map(|late| {
            let odd = self.odd_application(late.dividend, &late.held())?;
            // Earlier versions of the program paid for the shares held at the opening of the ex-date.
            self.odd_application(late.dividend, &late.at_opening).and(Some(odd))
        });
        odd.collect()
    }

    /// Compares the applied actions with the portfolio's journal and totals.
    pub(super) fn end(&mut self, row: &PortfolioRecord) -> Vec<String> {
        let mut differences = self.odd_late_dividends();
        let (mut total, mut receivable) = (Money::zero(), Money::zero());
        for had in self.had.values() {
            let lines = self.lines.remove(&had.action_id).unwrap_or_default();
            let Some(known) = self.known.by_id.get(&had.action_id) else {
                differences.push(format!("action {} was applied, which does not exist", had.action_id));
                continue;
            };
            total += &had.amount;
            if let CorporateActionKind::CloseOut(_) = &known.action.kind {
                let is_as_expected = matches!(
                    lines.as_slice(),
                    [(TransactionType::CloseOut, ..)]
                        | [(TransactionType::CloseOut, ..), (TransactionType::Exchange, ..)]
                );
                if !is_as_expected {
                    differences.push(format!("{}: differs from the journal", known.action.id));
                }
                continue;
            }
            let expected = match (&known.action.kind, had.paid_at) {
                (CorporateActionKind::CashDividend { .. }, None) => {
                    receivable += &had.amount;
                    None
                }
                (CorporateActionKind::CashDividend { .. }, Some(paid_at)) => (!had.amount.is_zero())
                    .then(|| (TransactionType::Dividend, had.amount.clone(), Some(paid_at))),
                _ => (!had.quantity.is_zero()).then(|| (TransactionType::Split, Money::zero(), None)),
            };
            let as_expected = match (expected, lines.as_slice()) {
                (None, []) => true,
                // The line splits shares that were bought later at a price from before the split.
                (None, [(TransactionType::Split, ..)]) => known.action.ratio().is_some(),
                (Some((kind, amount, at)), [(of, paid, when)]) => {
                    kind == *of && amount == *paid && at.is_none_or(|at| at == *when)
                }
                _ => false,
            };
            if !as_expected {
                differences.push(format!("{}: differs from the journal", known.action.id));
            }
            if known.is_in_force() && had.reversed_at.is_some() {
                differences.push(format!("{} is in force but was reversed", known.action.id));
            }
            if known.reversed_at.is_some() && had.reversed_at.is_none() {
                differences.push(format!("{} is not in force but was not reversed", known.action.id));
            }
        }
        for (action, _) in std::mem::take(&mut self.lines) {
            differences.push(format!("the journal has action {action}, which was not applied"));
        }
        for (name, stored, computed) in [
            ("dividends", &row.dividends, total),
            ("dividends_receivable", &row.dividends_receivable, receivable),
        ] {
            if *stored != computed {
                differences.push(format!("{name} is {stored}, its actions give {computed}"));
            }
        }
        differences
    }
}

pub(super) fn amount_differs(
    portfolio_id: PortfolioId,
    date: NaiveDate,
    name: &str,
    stored: &Money,
    computed: &Money,
) -> Option<Difference> {
    (stored != computed).then(|| Difference {
        portfolio_id,
        what: format!("snapshot of {date}: {name} is {stored}, the journal gives {computed}"),
        concern: Concern::Snapshot(date),
    })
}
