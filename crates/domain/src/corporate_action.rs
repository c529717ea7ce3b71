//! What happens to a stock besides that its price moves: splits, dividends, a new symbol, the end of its listing.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use bigdecimal::{BigDecimal, RoundingMode};
use chrono::NaiveDate;
use serde::Serialize;

use crate::decimal::{self, Decimal};
use crate::{ActionId, Bar, Calendar, Money, Price, PriceMove, Quantity, Quote, StockId, Symbol, Timestamp};

/// One event of one stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorporateAction {
    /// The same however often and by whichever symbol it is asked for: what it brings about is done once.
    pub id: CorporateActionId,
    /// What the stock is called until then.
    pub symbol: Symbol,
    /// The first session, by its exchange's day, that trades with the new shares, without the dividend, under the
    /// new symbol, or no more. It takes effect before that session opens.
    pub ex_on: NaiveDate,
    pub kind: CorporateActionKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorporateActionKind {
    /// Each `denominator` shares become `numerator` shares: 10 and 1, or 1 and 8 for a reverse split.
    Split {
        numerator: NonZeroU32,
        denominator: NonZeroU32,
    },
    /// Belongs to who held the shares at the close of the session before `ex_on`; in shares of `ex_on`, after a split
    /// of the same day.
    CashDividend {
        amount: PerShare,
        pays_on: NaiveDate,
    },
    SymbolChange {
        to: Symbol,
    },
    /// It trades no more. Its last price stays, marked stale.
    Delisting,
}

impl CorporateAction {
    pub fn new(symbol: Symbol, ex_on: NaiveDate, kind: CorporateActionKind) -> Self {
        let id = CorporateActionId(format!("{symbol}/{ex_on}/{}", kind.as_str()));
        Self { id, symbol, ex_on, kind }
    }
}

impl CorporateActionKind {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Split { .. } => "split",
            Self::CashDividend { .. } => "cash_dividend",
            Self::SymbolChange { .. } => "symbol_change",
            Self::Delisting => "delisting",
        }
    }
}

/// `AAPL/2020-08-31/split`: a stock has at most one action of a kind a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CorporateActionId(String);

impl CorporateActionId {
    /// As it was stored.
    pub fn stored(key: String) -> Self {
        Self(key)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorporateActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// US dollars for each share, to six decimals: dividends are declared in fractions of a cent too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct PerShare(pub(crate) Decimal);

const PER_SHARE_SCALE: i64 = 6;

impl PerShare {
    /// `mantissa × 10^-scale`, half-even to six decimals. `None` unless that is above zero.
    pub fn from_scaled(mantissa: i64, scale: u8) -> Option<Self> {
        Self::half_even(&Decimal::new(mantissa.into(), scale.into()))
    }

    /// Half-even to six decimals. `None` unless that is above zero.
    pub fn rounded(exact: &BigDecimal) -> Option<Self> {
        Self::half_even(&exact.clone().into())
    }

    fn half_even(exact: &Decimal) -> Option<Self> {
        let amount = exact.half_even(PER_SHARE_SCALE);
        amount.is_positive().then(|| Self(amount.normalized()))
    }

    /// What `quantity` shares receive, half-even to the cent.
    pub fn times(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// For statistics and drawings only; never comes back into the books.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

impl fmt::Display for PerShare {
    /// At least two decimals, without further trailing zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal::shortest(&self.0, 2))
    }
}

impl fmt::Debug for PerShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerShare({self})")
    }
}

impl Serialize for PerShare {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&decimal::shortest(&self.0, 2))
    }
}

/// An action of a stock in the books, which has a place in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAction {
    pub id: ActionId,
    pub stock_id: StockId,
    pub action: CorporateAction,
    /// The opening of its first session: from then on there are the new shares, the dividend is owed, the name is the
    /// new one, or nothing is traded.
    pub effective_at: Timestamp,
    /// Of a dividend: the opening of the session on whose day, or after it, it is paid.
    pub pays_at: Option<Timestamp>,
    /// When it was learned of.
    pub known_at: Timestamp,
    /// When everybody had it.
    pub applied_at: Option<Timestamp>,
}

impl CorporateAction {
    /// The opening of the session in which it takes effect; of a day without one, that of the next.
    pub fn effective_at(&self, calendar: Calendar) -> Timestamp {
        opening(calendar, self.ex_on)
    }

    /// When a dividend is paid; `None` for anything else.
    pub fn pays_at(&self, calendar: Calendar) -> Option<Timestamp> {
        match &self.kind {
            CorporateActionKind::CashDividend { pays_on, .. } => Some(opening(calendar, *pays_on)),
            _ => None,
        }
    }

    pub fn ratio(&self) -> Option<SplitRatio> {
        match self.kind {
            CorporateActionKind::Split { numerator, denominator } => {
                Some(SplitRatio { numerator, denominator })
            }
            _ => None,
        }
    }

    /// Of several that take effect together the lower ones go first: a dividend is for the shares after a split.
    pub fn precedence(&self) -> u8 {
        match self.kind {
            CorporateActionKind::Split { .. } => 0,
            CorporateActionKind::CashDividend { .. } => 1,
            CorporateActionKind::SymbolChange { .. } => 2,
            CorporateActionKind::Delisting => 3,
        }
    }
}

/// The opening of the first session on or after a day. A calendar that has none within weeks has ended.
fn opening(calendar: Calendar, day: NaiveDate) -> Timestamp {
    let weeks_later = day.checked_add_days(chrono::Days::new(30)).unwrap_or(day);
    let session = calendar.sessions(day, weeks_later).next();
    session.unwrap_or_else(|| calendar.before(weeks_later)).opens_at
}

/// Each `denominator` shares become `numerator` shares. `3:2` in writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SplitRatio {
    pub numerator: NonZeroU32,
    pub denominator: NonZeroU32,
}

impl SplitRatio {
    /// So many shares become that many, rounded down to nine decimals. The rest is less than 0.000000001 of a share:
    /// less than a cent at every price the books hold, so there is nothing to pay for it.
    pub fn shares(&self, old: &Quantity) -> Quantity {
        Quantity::quotient(&(&old.0 * &self.new_shares()), &self.old_shares())
    }

    /// What a share costs after the split that cost `old` before, to the tick. `None` beyond what a price can be.
    pub fn price(&self, old: &Price, mode: RoundingMode) -> Option<Price> {
        Price::quotient(&(&old.0 * &self.old_shares()), &self.new_shares(), mode).checked().ok()
    }

    /// A quote of before the split in shares of after it, half-even to the tick. A price too small for that is the
    /// smallest there is.
    pub fn quote(&self, old: Quote) -> Quote {
        let price = |old: &Price| {
            let new = self.price(old, RoundingMode::HalfEven).or_else(|| self.price(old, RoundingMode::Up));
            new.unwrap_or_else(|| old.clone())
        };
        Quote {
            price: price(&old.price),
            bid: old.bid.as_ref().map(price),
            ask: old.ask.as_ref().map(price),
            previous_close: old.previous_close.as_ref().map(price),
            volume: old.volume.map(|volume| self.volume(volume)),
            ..old
        }
    }

    pub fn price_move(&self, old: PriceMove) -> PriceMove {
        PriceMove { quote: self.quote(old.quote), volume: old.volume.map(|volume| self.volume(volume)) }
    }

    fn volume(&self, old: u64) -> u64 {
        volume(old, &self.new_shares(), &self.old_shares())
    }

    fn new_shares(&self) -> Decimal {
        self.numerator.get().into()
    }

    fn old_shares(&self) -> Decimal {
        self.denominator.get().into()
    }
}

impl fmt::Display for SplitRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.numerator, self.denominator)
    }
}

impl FromStr for SplitRatio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str| part.parse::<NonZeroU32>().map_err(|_| format!("{text:?} is no ratio"));
        let (numerator, denominator) = text.split_once(':').ok_or_else(|| format!("{text:?} is no ratio"))?;
        Ok(Self { numerator: parse(numerator)?, denominator: parse(denominator)? })
    }
}

/// Bars as traded, in the shares of the session `as_of`: what a chart draws, so that a split is no fall.
///
/// By every split after a bar's day and up to `as_of` its prices are divided, half-even to the tick at the end, and
/// its volume multiplied, down to whole shares. Other actions are passed over: dividends stay in the prices.
pub fn split_adjusted(bars: Vec<Bar>, actions: &[CorporateAction], as_of: NaiveDate) -> Vec<Bar> {
    let adjusted = |bar: Bar| {
        let since = actions.iter().filter(|action| bar.date < action.ex_on && action.ex_on <= as_of);
        let one = || Decimal::whole(1);
        let (new, old) = since.fold((one(), one()), |(new, old), action| match action.kind {
            CorporateActionKind::Split { numerator, denominator } => {
                (&new * &numerator.get().into(), &old * &denominator.get().into())
            }
            _ => (new, old),
        });
        if new == old {
            return bar;
        }
        let price = |price: &Price| Price::quotient(&(&price.0 * &old), &new, RoundingMode::HalfEven);
        Bar {
            date: bar.date,
            open: price(&bar.open),
            high: price(&bar.high),
            low: price(&bar.low),
            close: price(&bar.close),
            volume: volume(bar.volume, &new, &old),
        }
    };
    bars.into_iter().map(adjusted).collect()
}

/// So many shares are that many after a split, down to whole ones.
fn volume(before: u64, new: &Decimal, old: &Decimal) -> u64 {
    let exact = &Decimal::from(before) * new;
    exact.quotient(old, 0, RoundingMode::Down).to_u64().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn action(ex_on: &str, kind: CorporateActionKind) -> CorporateAction {
        CorporateAction::new("AAPL".parse().unwrap(), day(ex_on), kind)
    }

    fn split(ex_on: &str, numerator: u32, denominator: u32) -> CorporateAction {
        let number = |number| NonZeroU32::new(number).unwrap();
        let kind =
            CorporateActionKind::Split { numerator: number(numerator), denominator: number(denominator) };
        action(ex_on, kind)
    }

    fn bar(date: &str, [open, high, low, close]: [&str; 4], volume: u64) -> Bar {
        let price = |text: &str| text.parse().unwrap();
        Bar {
            date: day(date),
            open: price(open),
            high: price(high),
            low: price(low),
            close: price(close),
            volume,
        }
    }

    #[test]
    fn an_action_is_told_apart_by_symbol_day_and_kind() {
        assert_eq!(split("2020-08-31", 4, 1).id.as_str(), "AAPL/2020-08-31/split");
        assert_eq!(
            action("2020-08-31", CorporateActionKind::Delisting).id.as_str(),
            "AAPL/2020-08-31/delisting"
        );
    }

    #[test]
    fn dividends_are_paid_on_fractions_of_cents_and_shares() {
        let amount = PerShare::from_scaled(2_575, 4).unwrap();
        assert_eq!(amount.to_string(), "0.2575");
        assert_eq!(amount.times(&"100".parse().unwrap()).to_string(), "25.75");
        // 0.2575 × 1.5 = 0.38625; and half a cent goes to the even one.
        assert_eq!(amount.times(&"1.5".parse().unwrap()).to_string(), "0.39");
        assert_eq!(PerShare::from_scaled(5, 3).unwrap().times(&"1".parse().unwrap()).to_string(), "0.00");
        assert_eq!(PerShare::from_scaled(12_000, 4).unwrap().to_string(), "1.20");
        assert_eq!(PerShare::from_scaled(4, 7), None);
        assert_eq!(PerShare::from_scaled(-1, 2), None);
    }

    #[test]
    fn bars_before_a_split_are_told_in_the_new_shares() {
        let raw = vec![
            bar("2020-08-28", ["504.05", "505.77", "498.31", "499.23"], 46_907_479),
            bar("2020-08-31", ["127.58", "131.00", "126.00", "129.04"], 225_702_700),
        ];
        let actions = [split("2020-08-31", 4, 1)];
        let adjusted = split_adjusted(raw.clone(), &actions, day("2020-08-31"));
        // 504.05 / 4 = 126.0125, 505.77 / 4 = 126.4425, 498.31 / 4 = 124.5775, 499.23 / 4 = 124.8075.
        assert_eq!(adjusted[0], bar("2020-08-28", ["126.01", "126.44", "124.58", "124.81"], 187_629_916));
        assert_eq!(adjusted[1], raw[1]);
        // As one saw it on the eve, nothing is divided yet.
        assert_eq!(split_adjusted(raw.clone(), &actions, day("2020-08-30")), raw);
    }

    #[test]
    fn several_splits_are_rounded_once_and_other_actions_passed_over() {
        let raw = vec![bar("2014-06-06", ["10.01", "10.01", "10.01", "10.01"], 100)];
        let dividend = CorporateActionKind::CashDividend {
            amount: PerShare::from_scaled(1, 0).unwrap(),
            pays_on: day("2015-01-20"),
        };
        let actions = [
            split("2014-06-09", 3, 1),
            action("2015-01-05", dividend),
            split("2016-01-04", 1, 2),
            split("2017-01-03", 1, 7),
        ];
        // 10.01 × 14 / 3 = 46.71333; 100 × 3 / 14 = 21.4.
        let adjusted = split_adjusted(raw, &actions, day("2026-11-25"));
        assert_eq!(adjusted, [bar("2014-06-06", ["46.71", "46.71", "46.71", "46.71"], 21)]);
    }

    #[test]
    fn a_split_that_is_taken_back_changes_nothing() {
        let raw = vec![bar("2014-06-06", ["0.0001", "9999999.99", "0.0001", "0.3333"], u64::MAX)];
        let actions = [split("2014-06-09", 3, 1), split("2016-01-04", 1, 3)];
        assert_eq!(split_adjusted(raw.clone(), &actions, day("2026-11-25")), raw);
    }
}
