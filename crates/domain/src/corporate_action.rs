//! What happens to a stock besides that its price moves: splits, dividends, a new symbol, the end of its listing.

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
    /// Everybody's shares of the delisted stock are given for cash, for other shares or for nothing.
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

impl FromStr for PerShare {
    type Err = DecimalError;

    /// Plain notation with up to six decimals, above zero and up to 10,000,000.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        const RANGE: (&str, &str) = ("0.000001", "10000000");
        let out_of_range = DecimalError::OutOfRange { least: RANGE.0, most: RANGE.1 };
        let exact = Decimal::parse(text).map_err(|unreadable| match unreadable {
            decimal::Unreadable::Malformed => DecimalError::Malformed,
            decimal::Unreadable::TooLarge => out_of_range.clone(),
            decimal::Unreadable::TooPrecise => DecimalError::TooPrecise { most: PER_SHARE_SCALE },
        })?;
        let exact = exact.normalized();
        if exact.scale() > PER_SHARE_SCALE {
            return Err(DecimalError::TooPrecise { most: PER_SHARE_SCALE });
        }
        match exact.is_positive() && exact <= Decimal::whole(10_000_000) {
            true => Ok(Self(exact)),
            false => Err(out_of_range),
        }
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
    /// Of a split: whether prices have confirmed it.
    pub check: Option<SplitCheck>,
    /// Of a split that was taken back: when everybody had their old shares again.
    pub reversed_at: Option<Timestamp>,
}

impl KnownAction {
    /// Whether it counts: a split counts unless it was suspended or withdrawn, any other action always does.
    pub fn is_in_force(&self) -> bool {
        self.check.as_ref().is_none_or(|check| check.confirmation.is_in_force())
    }

    /// The ratio of a split that is in force.
    pub fn ratio(&self) -> Option<SplitRatio> {
        self.action.ratio().filter(|_| self.is_in_force())
    }

    /// Whether some portfolios may still have the effect of a split that is no longer in force.
    pub fn is_to_be_reversed(&self) -> bool {
        !self.is_in_force() && self.reversed_at.is_none()
    }

    /// Why nothing fills in the stock at `now`; `None` where the action does not hold trading.
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

    /// The announced ratio of a split.
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
            CorporateActionKind::CloseOut(_) => 4,
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
    /// So many shares become that many, rounded down to nine decimals. Of a position, [`crate::share_remainder`] keeps
    /// the rest.
    pub fn shares(&self, old: &Quantity) -> Quantity {
        Quantity::quotient(&(&old.0 * &self.new_shares()), &self.old_shares())
    }

    /// What a share costs after the split that cost `old` before, to the tick. `None` beyond what a price can be.
    pub fn price(&self, old: &Price, mode: RoundingMode) -> Option<Price> {
        Price::quotient(&(&old.0 * &self.old_shares()), &self.new_shares(), mode).checked().ok()
    }

    /// [`SplitRatio::price`], half-even.
    pub fn price_half_even(&self, old: &Price) -> Option<Price> {
        self.price(old, RoundingMode::HalfEven)
    }

    /// The split that takes this one back.
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
        let parse = |part: &str| part.parse::<NonZeroU32>().map_err(|_| format!("{text:?} is no ratio"));
        let (numerator, denominator) = text.split_once(':').ok_or_else(|| format!("{text:?} is no ratio"))?;
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
