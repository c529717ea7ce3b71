//! Corporate actions: splits, dividends, new symbols, delistings and close-outs.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use bigdecimal::{BigDecimal, RoundingMode};
use chrono::NaiveDate;
use serde::Serialize;

use crate::decimal::{self, Decimal};
use crate::{
    ActionId, Calendar, CloseOut, DecimalError, Money, Price, Quantity, SplitCheck, SplitConfirmation,
    StockId, Symbol, Timestamp, TradingHold,
};

/// A corporate action of one stock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorporateAction {
    /// Identifies the action, whatever symbol its stock has, so that it is applied only once.
    pub id: CorporateActionId,
    /// The symbol of the stock before the action.
    pub symbol: Symbol,
    /// The first session (a day of the exchange) with the new shares, without the dividend, under the new symbol, or
    /// without the stock. The action takes effect when that session opens.
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
    /// Paid to the holders at the close of the session before `ex_on`. The amount is per share as of `ex_on`, after a
    /// split of the same day.
    CashDividend {
        amount: PerShare,
        pays_on: NaiveDate,
    },
    SymbolChange {
        to: Symbol,
    },
    /// The stock is delisted. Its last price stays, marked as stale.
    Delisting,
    /// The holdings in a delisted stock end: holders receive cash, other shares, or nothing.
    CloseOut(CloseOut),
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
            Self::CloseOut(_) => "close_out",
        }
    }
}

/// `AAPL/2020-08-31/split`: a stock has at most one action of each kind per day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CorporateActionId(String);

impl CorporateActionId {
    /// Restores an id that was read from the database.
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

/// US dollars per share, to six decimals: dividends are declared in fractions of a cent too.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct PerShare(pub(crate) Decimal);

const PER_SHARE_SCALE: i64 = 6;

impl PerShare {
    /// `mantissa × 10^-scale`, rounded half-even to six decimals. `None` if the result is not above zero.
    pub fn from_scaled(mantissa: i64, scale: u8) -> Option<Self> {
        Self::half_even(&Decimal::new(mantissa.into(), scale.into()))
    }

    /// Rounds half-even to six decimals. `None` if the result is not above zero.
    pub fn rounded(exact: &BigDecimal) -> Option<Self> {
        Self::half_even(&exact.clone().into())
    }

    fn half_even(exact: &Decimal) -> Option<Self> {
        let amount = exact.half_even(PER_SHARE_SCALE);
        amount.is_positive().then(|| Self(amount.normalized()))
    }

    /// The amount for `quantity` shares, rounded half-even to the cent.
    pub fn times(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// The nearest `f64`, only for statistics and charts. The books never use it.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

impl FromStr for PerShare {
    type Err = DecimalError;

    /// Parses plain notation with up to six decimals, above zero and at most 10,000,000.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        const RANGE: (&str, &str) = ("0.000001", "10000000");
        let out_of_range = DecimalError::OutOfRange { min: RANGE.0, max: RANGE.1 };
        let exact = Decimal::parse(text).map_err(|unreadable| match unreadable {
            decimal::Unreadable::Malformed => DecimalError::Malformed,
            decimal::Unreadable::TooLarge => out_of_range.clone(),
            decimal::Unreadable::TooPrecise => DecimalError::TooPrecise { max: PER_SHARE_SCALE },
        })?;
        let exact = exact.normalized();
        if exact.scale() > PER_SHARE_SCALE {
            return Err(DecimalError::TooPrecise { max: PER_SHARE_SCALE });
        }
        match exact.is_positive() && exact <= Decimal::whole(10_000_000) {
            true => Ok(Self(exact)),
            false => Err(out_of_range),
        }
    }
}

impl fmt::Display for PerShare {
    /// Writes at least two decimals, without further trailing zeros.
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

/// A corporate action in the books, with the times of its stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAction {
    pub id: ActionId,
    pub stock_id: StockId,
    pub action: CorporateAction,
    /// The opening of the action's first session. From then on the new shares exist, the dividend is owed, the new
    /// symbol holds, or the stock is no longer traded.
    pub effective_at: Timestamp,
    /// For a dividend: the opening of the first session on or after its payment day.
    pub pays_at: Option<Timestamp>,
    /// When the source first reported the action.
    pub known_at: Timestamp,
    /// When the action was applied to all portfolios.
    pub applied_at: Option<Timestamp>,
    /// For a split: whether prices have confirmed it.
    pub check: Option<SplitCheck>,
    /// For a reversed split: when it was reversed in all portfolios.
    pub reversed_at: Option<Timestamp>,
}

impl KnownAction {
    /// Whether the action counts. A split counts unless it was suspended or withdrawn; any other action always
    /// counts.
    pub fn is_in_force(&self) -> bool {
        self.check.as_ref().is_none_or(|check| check.confirmation.is_in_force())
    }

    /// The ratio of a split that is in force.
    pub fn ratio(&self) -> Option<SplitRatio> {
        self.action.ratio().filter(|_| self.is_in_force())
    }

    /// Whether some portfolios may still have the effect of a split that is no longer in force.
    pub fn needs_reversal(&self) -> bool {
        !self.is_in_force() && self.reversed_at.is_none()
    }

    /// Why orders in the stock do not fill at `now`; `None` if the action does not hold trading.
    pub fn hold(&self, now: Timestamp) -> Option<TradingHold> {
        let check = self.check.as_ref().filter(|check| check.confirmation.holds_trading())?;
        let ratio = self.action.ratio().filter(|_| self.effective_at <= now)?;
        Some(match check.confirmation {
            SplitConfirmation::Suspended => {
                TradingHold::SplitContradicted { ratio, compared: check.compared.clone() }
            }
            _ => TradingHold::AwaitingSplit { ratio },
        })
    }
}

impl CorporateAction {
    /// The opening of the session in which the action takes effect. If the exchange is closed on that day, the
    /// opening of the next session.
    pub fn effective_at(&self, calendar: Calendar) -> Timestamp {
        opening(calendar, self.ex_on)
    }

    /// When a dividend is paid; `None` for other actions.
    pub fn pays_at(&self, calendar: Calendar) -> Option<Timestamp> {
        match &self.kind {
            CorporateActionKind::CashDividend { pays_on, .. } => Some(opening(calendar, *pays_on)),
            _ => None,
        }
    }

    /// The announced ratio of a split.
    pub fn ratio(&self) -> Option<SplitRatio> {
        match self.kind {
            CorporateActionKind::Split { numerator, denominator } => {
                Some(SplitRatio { numerator, denominator })
            }
            _ => None,
        }
    }

    /// The order in which actions of the same opening are applied, lowest first. A dividend is paid on the shares after
    /// a split.
    pub fn precedence(&self) -> u8 {
        match self.kind {
            CorporateActionKind::Split { .. } => 0,
            CorporateActionKind::CashDividend { .. } => 1,
            CorporateActionKind::SymbolChange { .. } => 2,
            CorporateActionKind::Delisting => 3,
            CorporateActionKind::CloseOut(_) => 4,
        }
    }
}

/// The opening of the first session on or after `day`; `day` itself at midnight if there is no session within weeks.
fn opening(calendar: Calendar, day: NaiveDate) -> Timestamp {
    let weeks_later = day.checked_add_days(chrono::Days::new(30)).unwrap_or(day);
    let session = calendar.sessions(day, weeks_later).next();
    session.unwrap_or_else(|| calendar.before(weeks_later)).opens_at
}

/// Each `denominator` shares become `numerator` shares. Written as `3:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SplitRatio {
    pub numerator: NonZeroU32,
    pub denominator: NonZeroU32,
}

impl SplitRatio {
    /// The shares after the split, rounded down to nine decimals. [`crate::share_remainder`] keeps what rounding cuts
    /// off a position.
    ///
    /// ```
    /// use domain::SplitRatio;
    ///
    /// let ratio: SplitRatio = "3:2".parse()?;
    /// assert_eq!(ratio.shares(&"5".parse()?).to_string(), "7.5");
    /// assert_eq!(ratio.price_half_even(&"100.00".parse()?).unwrap().to_string(), "66.67");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shares(&self, old: &Quantity) -> Quantity {
        Quantity::quotient(&(&old.0 * &self.new_shares()), &self.old_shares())
    }

    /// The price per share after the split, rounded to the tick. `None` if it is beyond the range of prices.
    pub fn price(&self, old: &Price, mode: RoundingMode) -> Option<Price> {
        Price::quotient(&(&old.0 * &self.old_shares()), &self.new_shares(), mode).checked().ok()
    }

    /// [`SplitRatio::price`], rounded half-even.
    pub fn price_half_even(&self, old: &Price) -> Option<Price> {
        self.price(old, RoundingMode::HalfEven)
    }

    /// The split that reverses this one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self { numerator: self.denominator, denominator: self.numerator }
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
        let parse =
            |part: &str| part.parse::<NonZeroU32>().map_err(|_| format!("{text:?} is not a ratio like 3:2"));
        let (numerator, denominator) =
            text.split_once(':').ok_or_else(|| format!("{text:?} is not a ratio like 3:2"))?;
        Ok(Self { numerator: parse(numerator)?, denominator: parse(denominator)? })
    }
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

    #[test]
    fn an_action_is_identified_by_symbol_day_and_kind() {
        assert_eq!(split("2020-08-31", 4, 1).id.as_str(), "AAPL/2020-08-31/split");
        assert_eq!(
            action("2020-08-31", CorporateActionKind::Delisting).id.as_str(),
            "AAPL/2020-08-31/delisting"
        );
    }

    #[test]
    fn dividends_may_have_fractions_of_cents_and_shares() {
        let amount = PerShare::from_scaled(2_575, 4).unwrap();
        assert_eq!(amount.to_string(), "0.2575");
        assert_eq!(amount.times(&"100".parse().unwrap()).to_string(), "25.75");
        // 0.2575 × 1.5 = 0.38625; half a cent is rounded to the even cent.
        assert_eq!(amount.times(&"1.5".parse().unwrap()).to_string(), "0.39");
        assert_eq!(PerShare::from_scaled(5, 3).unwrap().times(&"1".parse().unwrap()).to_string(), "0.00");
        assert_eq!(PerShare::from_scaled(12_000, 4).unwrap().to_string(), "1.20");
        assert_eq!(PerShare::from_scaled(4, 7), None);
        assert_eq!(PerShare::from_scaled(-1, 2), None);
        for (text, read) in
            [("54.20", Some("54.20")), ("0.257500", Some("0.2575")), ("0.000001", Some("0.000001"))]
        {
            assert_eq!(text.parse::<PerShare>().ok().map(|amount| amount.to_string()).as_deref(), read);
        }
        for text in ["", "0", "-1", "1e3", "0.0000001", "10000001", "99999999999999999999", "five"] {
            assert!(text.parse::<PerShare>().is_err(), "{text}");
        }
    }
}
