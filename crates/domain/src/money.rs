//! Exact decimals that cannot be mixed up: [`Money`], [`Price`] and [`Quantity`].
//!
//! Nothing here is a float. Rounding is half-even and happens only where a function says so.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use bigdecimal::{BigDecimal, RoundingMode};
use thiserror::Error;

use crate::decimal::{self, Decimal, Unreadable};

/// Why a text is not an amount. The sentence is meant for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecimalError {
    #[error("write a plain decimal like 1250.50, without thousands separators or exponents")]
    Malformed,
    #[error("use at most {most} decimals")]
    TooPrecise { most: i64 },
    #[error("must be between {least} and {most}")]
    OutOfRange { least: &'static str, most: &'static str },
}

/// An amount in the account's currency, in whole cents (scale 2). Signed: positive is money coming in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Money(pub(crate) Decimal);

/// What one share costs, on the tick: 0.01 from 1.00 upwards, 0.0001 below. Never negative.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Price(pub(crate) Decimal);

/// A number of shares with up to nine decimals. Never negative; a side says which way it goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Quantity(pub(crate) Decimal);

/// A share in hundredths, above 0 and at most 100, with up to four decimals: 2.5 is 2.5 %.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct Percent(pub(crate) Decimal);

/// An amount per share or a share in hundredths that a fee is reckoned by: zero or more, with up to six decimals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub(crate) Decimal);

const CENTS: i64 = 2;
const TICK_BELOW_ONE: i64 = 4;
const QUANTITY_SCALE: i64 = 9;
const PERCENT_SCALE: i64 = 4;
const RATE_SCALE: i64 = 6;

impl Money {
    /// The largest amount the books hold, in either direction: 10^15.
    pub const MAX: &'static str = "1000000000000000.00";

    pub fn zero() -> Self {
        Self(Decimal::new(0, CENTS))
    }

    pub fn from_cents(cents: i64) -> Self {
        Self(Decimal::new(cents.into(), CENTS))
    }

    /// Half-even to the cent.
    pub(crate) fn rounded(exact: &Decimal) -> Self {
        Self(exact.half_even(CENTS))
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_positive(&self) -> bool {
        self.0.is_positive()
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }

    pub fn abs(&self) -> Self {
        Self(self.0.abs())
    }

    /// Whether the amount lies within ±10^15, what the books can hold.
    pub fn in_bounds(&self) -> bool {
        self.0.abs() <= Decimal::whole(1_000_000_000_000_000)
    }

    /// `self × part / whole`, half-even to the cent: the cost that leaves with a part of a position.
    ///
    /// # Panics
    /// If `whole` is zero, which a held position never is.
    pub fn prorate(&self, part: &Quantity, whole: &Quantity) -> Self {
        Self((&self.0 * &part.0).quotient(&whole.0, CENTS, RoundingMode::HalfEven))
    }

    /// How many shares the amount buys at `price`, rounded down to nine decimals.
    /// Nothing at all at a price of zero.
    pub fn buys(&self, price: &Price) -> Quantity {
        if price.0.is_zero() || !self.is_positive() {
            return Quantity::zero();
        }
        Quantity(self.0.quotient(&price.0, QUANTITY_SCALE, RoundingMode::Down))
    }

    /// Whether the amount is at most so many percent above `other`.
    pub(crate) fn is_at_most_percent_above(&self, other: &Self, percent: u32) -> bool {
        let excess = &(&self.0 - &other.0) * &Decimal::whole(100);
        excess <= &other.0 * &Decimal::from(percent)
    }

    /// For statistics and drawings only; never comes back into the books.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

impl Price {
    pub const MAX: &'static str = "10000000";

    /// `mantissa × 10^-scale`, half-even to the tick: how sources with binary or over-precise prices enter.
    pub fn from_scaled(mantissa: i64, scale: u8) -> Self {
        Self::half_even(&Decimal::new(mantissa.into(), scale.into()))
    }

    /// Half-even to the tick of its size.
    pub fn rounded(exact: &BigDecimal) -> Self {
        Self::half_even(&exact.clone().into())
    }

    pub(crate) fn half_even(exact: &Decimal) -> Self {
        Self(exact.half_even(tick_scale(exact)))
    }

    /// Parses a provider's text, which may carry more decimals than the tick, and rounds half-even to the tick.
    ///
    /// # Errors
    /// If the text is not a plain decimal above zero and at most 10^7.
    pub fn from_provider(text: &str) -> Result<Self, DecimalError> {
        let exact = Decimal::parse(text).map_err(|_| DecimalError::Malformed)?;
        Self::half_even(&exact).checked()
    }

    /// `dividend / divisor`, both above zero, to the tick of its size.
    pub(crate) fn quotient(dividend: &Decimal, divisor: &Decimal, mode: RoundingMode) -> Self {
        let scale = if dividend < divisor { TICK_BELOW_ONE } else { CENTS };
        Self(dividend.quotient(divisor, scale, mode))
    }

    /// Unless it is beyond what a price can be.
    pub(crate) fn checked(self) -> Result<Self, DecimalError> {
        if self.0.is_positive() && self.0 <= Decimal::whole(10_000_000) {
            Ok(self)
        } else {
            Err(DecimalError::OutOfRange { least: "0.0001", most: Self::MAX })
        }
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Self {
        Self::half_even(&(&self.0 + &other.0))
    }

    /// `self − other`, or `None` when nothing would be left.
    pub fn less(&self, other: &Self) -> Option<Self> {
        (self > other).then(|| Self::half_even(&(&self.0 - &other.0)))
    }

    /// `self × (1 + percent/100)`, half-even to the tick.
    pub fn raised(&self, percent: &Percent) -> Self {
        Self::half_even(&(&self.0 + &percent.of(&self.0)))
    }

    /// `self × (1 − percent/100)`, half-even to the tick; `None` when nothing would be left.
    pub fn lowered(&self, percent: &Percent) -> Option<Self> {
        let lowered = Self::half_even(&(&self.0 - &percent.of(&self.0)));
        (!lowered.is_zero()).then_some(lowered)
    }

    /// What `quantity` shares are worth at this price, half-even to the cent.
    pub fn times(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// `self − other` per share; may be negative, hence not a `Price`. Exact.
    pub fn minus(&self, other: &Self) -> PriceChange {
        PriceChange(&self.0 - &other.0)
    }

    /// `self / other − 1` as a ratio; `None` when `other` is zero.
    pub fn change_ratio(&self, other: &Self) -> Option<f64> {
        (!other.0.is_zero()).then(|| self.0.ratio(&other.0) - 1.0)
    }

    /// For statistics and drawings only; never comes back into the books.
    pub fn to_f64(&self) -> f64 {
        self.0.to_f64()
    }
}

/// A difference of two prices, per share; positive when the price rose. Exact, not rounded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PriceChange(Decimal);

impl PriceChange {
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    pub fn is_negative(&self) -> bool {
        self.0.is_negative()
    }
}

impl Quantity {
    pub const MIN: &'static str = "0.000000001";
    pub const MAX: &'static str = "1000000000";

    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// `self − other`, or `None` when that would be negative.
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        (self >= other).then(|| Self(&self.0 - &other.0))
    }

    /// So many percent of `volume` shares, exactly.
    pub fn share_of(volume: u64, percent: &Percent) -> Self {
        Self(percent.of(&volume.into()).normalized())
    }

    /// Without the fraction of a share.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self(self.0.with_scale(0))
    }

    /// A hundredth of it, rounded down to nine decimals.
    pub(crate) fn hundredth(&self) -> Self {
        Self::quotient(&self.0, &Decimal::whole(100))
    }

    /// One share.
    pub fn one() -> Self {
        Self(Decimal::whole(1))
    }

    /// So many percent of the shares, rounded down to nine decimals.
    #[must_use]
    pub fn part(&self, percent: &Percent) -> Self {
        Self(percent.of(&self.0).with_scale(QUANTITY_SCALE).normalized())
    }

    /// `dividend / divisor`, down to nine decimals.
    pub(crate) fn quotient(dividend: &Decimal, divisor: &Decimal) -> Self {
        Self(dividend.quotient(divisor, QUANTITY_SCALE, RoundingMode::Down).normalized())
    }

    /// Whether the books can hold it: at most 10^9 shares.
    pub fn in_bounds(&self) -> bool {
        self.0 <= Decimal::whole(1_000_000_000)
    }
}

/// What a share cost on average: `cost / quantity`, half-even to six decimals. `None` for nothing held.
pub fn average_price(cost: &Money, quantity: &Quantity) -> Option<AveragePrice> {
    let average = || cost.0.quotient(&quantity.0, 6, RoundingMode::HalfEven);
    (!quantity.is_zero()).then(|| AveragePrice(average()))
}

/// A price per share that came out of a division, to six decimals.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct AveragePrice(pub(crate) Decimal);

impl AveragePrice {
    /// The average over `before` shares at `self` and `quantity` more at `price`, half-even to six decimals.
    pub fn with(&self, before: &Quantity, price: &Price, quantity: &Quantity) -> Self {
        let (total, shares) = (&(&self.0 * &before.0) + &(&price.0 * &quantity.0), &before.0 + &quantity.0);
        if shares.is_zero() {
            return self.clone();
        }
        Self(total.quotient(&shares, 6, RoundingMode::HalfEven))
    }

    /// As a price is written where it lies on the tick, else with the decimals it needs: `189.42`, `189.423333`.
    pub fn to_shortest(&self) -> String {
        decimal::shortest(&self.0, tick_scale(&self.0)).into()
    }
}

/// A sum of quantity × price in the account's currency, not rounded. Splits do not change it: what they multiply the
/// quantity by they divide the price by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "diesel", derive(diesel::AsExpression, diesel::FromSqlRow))]
#[cfg_attr(feature = "diesel", diesel(sql_type = crate::sql::Exact))]
pub struct ExactAmount(pub(crate) Decimal);

impl ExactAmount {
    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    /// With `quantity × price` more.
    #[must_use]
    pub fn plus(&self, price: &Price, quantity: &Quantity) -> Self {
        Self(&self.0 + &(&price.0 * &quantity.0))
    }

    /// Half-even to the cent.
    pub fn rounded(&self) -> Money {
        Money::rounded(&self.0)
    }

    /// What is left of `budget`, in shares at `price`, rounded down to nine decimals. Zero when nothing is left.
    pub(crate) fn rest_buys(&self, budget: &Money, price: &Price) -> Quantity {
        let rest = &budget.0 - &self.0;
        if price.0.is_zero() || !rest.is_positive() {
            return Quantity::zero();
        }
        Quantity::quotient(&rest, &price.0)
    }

    /// Per share to six decimals, rounded up or down as `mode` says. `None` for no shares.
    pub(crate) fn average(&self, shares: &Quantity, mode: RoundingMode) -> Option<AveragePrice> {
        (!shares.is_zero()).then(|| AveragePrice(self.0.quotient(&shares.0, 6, mode)))
    }

    /// Whether `amount` is within a cent of it, inclusive: further than that, cumulative rounding never takes a fill.
    pub(crate) fn is_within_a_cent_of(&self, amount: &Money) -> bool {
        (&self.0 - &amount.0).abs() <= Decimal::new(1, CENTS)
    }
}

impl From<Money> for ExactAmount {
    fn from(amount: Money) -> Self {
        Self(amount.0)
    }
}

impl From<Price> for AveragePrice {
    fn from(price: Price) -> Self {
        Self(price.0)
    }
}

impl Rate {
    pub fn zero() -> Self {
        Self(Decimal::ZERO)
    }

    /// `self × quantity`, half-even to the cent.
    pub fn per_share(&self, quantity: &Quantity) -> Money {
        Money::rounded(&(&self.0 * &quantity.0))
    }

    /// So many percent of `amount`, half-even to the cent.
    pub fn percent_of(&self, amount: &Money) -> Money {
        Money::rounded(&percent(&self.0, &amount.0))
    }
}

impl Percent {
    /// All of it.
    pub fn hundred() -> Self {
        Self(Decimal::whole(100))
    }

    /// So many percent of `amount`, exactly.
    fn of(&self, amount: &Decimal) -> Decimal {
        percent(&self.0, amount)
    }
}

/// So many percent of `amount`, exactly.
fn percent(percent: &Decimal, amount: &Decimal) -> Decimal {
    &(percent * amount) * &Decimal::new(1, 2)
}

impl Add<&Quantity> for Quantity {
    type Output = Self;
    fn add(self, other: &Quantity) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Sub<&Quantity> for Quantity {
    type Output = Self;
    /// For shares that are known to be there.
    fn sub(self, other: &Quantity) -> Self {
        debug_assert!(self >= *other, "Invariant: a quantity is never negative");
        Self(&self.0 - &other.0)
    }
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Add<&Money> for Money {
    type Output = Self;
    fn add(self, other: &Money) -> Self {
        Self(&self.0 + &other.0)
    }
}

impl Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl Sub<&Money> for Money {
    type Output = Self;
    fn sub(self, other: &Money) -> Self {
        Self(&self.0 - &other.0)
    }
}

impl AddAssign<&Money> for Money {
    fn add_assign(&mut self, other: &Money) {
        self.0 += &other.0;
    }
}

impl SubAssign<&Money> for Money {
    fn sub_assign(&mut self, other: &Money) {
        self.0 -= &other.0;
    }
}

impl Neg for Money {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-&self.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        let mut total = Self::zero();
        amounts.for_each(|amount| total += &amount);
        total
    }
}

impl<'a> Sum<&'a Money> for Money {
    fn sum<I: Iterator<Item = &'a Money>>(amounts: I) -> Self {
        let mut total = Self::zero();
        amounts.for_each(|amount| total += amount);
        total
    }
}

impl FromStr for Money {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, CENTS, ("-1000000000000000.00", Self::MAX))?;
        at_most(&exact, CENTS)?;
        let money = Self(exact.with_scale(CENTS));
        match money.in_bounds() {
            true => Ok(money),
            false => Err(DecimalError::OutOfRange { least: "-1000000000000000.00", most: Self::MAX }),
        }
    }
}

impl FromStr for Price {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, TICK_BELOW_ONE, ("0.0001", Self::MAX))?;
        let scale = tick_scale(&exact);
        at_most(&exact, scale)?;
        Self(exact.with_scale(scale)).checked()
    }
}

impl FromStr for Quantity {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, QUANTITY_SCALE, (Self::MIN, Self::MAX))?;
        let quantity = Self(exact.normalized());
        match quantity.0.is_positive() && quantity.in_bounds() {
            true => Ok(quantity),
            false => Err(DecimalError::OutOfRange { least: Self::MIN, most: Self::MAX }),
        }
    }
}

impl FromStr for Percent {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, PERCENT_SCALE, ("0.0001", "100"))?;
        at_most(&exact, PERCENT_SCALE)?;
        match exact.is_positive() && exact <= Decimal::whole(100) {
            true => Ok(Self(exact.normalized())),
            false => Err(DecimalError::OutOfRange { least: "0.0001", most: "100" }),
        }
    }
}

impl FromStr for Rate {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, RATE_SCALE, ("0", "100"))?;
        at_most(&exact, RATE_SCALE)?;
        match !exact.is_negative() && exact <= Decimal::whole(100) {
            true => Ok(Self(exact.normalized())),
            false => Err(DecimalError::OutOfRange { least: "0", most: "100" }),
        }
    }
}

/// Reads plain notation. `scale` and `range` are what the refusal of too many decimals or of too many digits names.
fn read(text: &str, scale: i64, range: (&'static str, &'static str)) -> Result<Decimal, DecimalError> {
    Decimal::parse(text).map_err(|unreadable| match unreadable {
        Unreadable::Malformed => DecimalError::Malformed,
        Unreadable::TooLarge => DecimalError::OutOfRange { least: range.0, most: range.1 },
        Unreadable::TooPrecise => DecimalError::TooPrecise { most: scale },
    })
}

/// 2 decimals from 1.00 upwards, 4 below.
fn tick_scale(price: &Decimal) -> i64 {
    if *price < Decimal::whole(1) { TICK_BELOW_ONE } else { CENTS }
}

fn at_most(value: &Decimal, scale: i64) -> Result<(), DecimalError> {
    match value.normalized().scale() <= scale {
        true => Ok(()),
        false => Err(DecimalError::TooPrecise { most: scale }),
    }
}

macro_rules! written {
    ($($(#[$how:meta])* $name:ty: $text:expr),+ $(,)?) => { $(
        impl fmt::Display for $name {
            $(#[$how])*
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$text(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&$text(&self.0))
            }
        }
    )+ };
}
written! {
    /// Two decimals.
    Money: |exact| decimal::fixed(exact, CENTS),
    /// Two decimals, four below 1.00.
    Price: |exact| decimal::fixed(exact, tick_scale(exact)),
    /// At least two decimals, without further trailing zeros.
    PriceChange: |exact| decimal::shortest(exact, CENTS),
    /// At least two decimals, without further trailing zeros.
    ExactAmount: |exact| decimal::shortest(exact, CENTS),
    /// Six decimals.
    AveragePrice: |exact| decimal::fixed(exact, 6),
    /// Without trailing zeros.
    Quantity: |exact| decimal::shortest(exact, 0),
    /// Without trailing zeros.
    Percent: |exact| decimal::shortest(exact, 0),
    /// Without trailing zeros.
    Rate: |exact| decimal::shortest(exact, 0),
}

macro_rules! read_text {
    ($($name:ty),+) => { $(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decimal::text(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}
read_text!(Money, Price, Quantity, Percent);

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn money_is_cents_and_refuses_more() {
        assert_eq!(money("100000").to_string(), "100000.00");
        assert_eq!(money("0.10").to_string(), "0.10");
        assert_eq!(money("1.500").to_string(), "1.50");
        assert_eq!("0.001".parse::<Money>(), Err(DecimalError::TooPrecise { most: 2 }));
        assert_eq!("1e5".parse::<Money>(), Err(DecimalError::Malformed));
        assert!(matches!("1000000000000000.01".parse::<Money>(), Err(DecimalError::OutOfRange { .. })));
    }

    #[test]
    fn price_keeps_to_its_tick() {
        assert_eq!("189.42".parse::<Price>().unwrap().to_string(), "189.42");
        assert_eq!("0.1234".parse::<Price>().unwrap().to_string(), "0.1234");
        assert_eq!("189.425".parse::<Price>(), Err(DecimalError::TooPrecise { most: 2 }));
        assert_eq!(Price::from_provider("205.35000610351").unwrap_err(), DecimalError::Malformed);
        assert_eq!(Price::from_provider("205.350006103").unwrap().to_string(), "205.35");
        assert!("0".parse::<Price>().is_err() && "-1".parse::<Price>().is_err());
    }

    #[test]
    fn quantity_has_nine_decimals_and_plain_notation() {
        assert_eq!("0.000000001".parse::<Quantity>().unwrap().to_string(), "0.000000001");
        assert_eq!("1000000000".parse::<Quantity>().unwrap().to_string(), "1000000000");
        assert_eq!("10.500".parse::<Quantity>().unwrap().to_string(), "10.5");
        assert!("1000000000.1".parse::<Quantity>().is_err() && "0".parse::<Quantity>().is_err());
    }

    #[test]
    fn amounts_round_half_to_even() {
        let price = |text: &str| text.parse::<Price>().unwrap();
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(price("1.25").times(&quantity("0.1")), money("0.12"));
        assert_eq!(price("1.35").times(&quantity("0.1")), money("0.14"));
        assert_eq!(money("100.00").prorate(&quantity("1"), &quantity("3")), money("33.33"));
        assert_eq!(money("100.00").buys(&price("3.00")).to_string(), "33.333333333");
    }

    #[test]
    fn json_takes_quoted_and_bare_decimals_alike() {
        for text in ["\"12.34\"", "12.34"] {
            assert_eq!(serde_json::from_str::<Money>(text).unwrap(), money("12.34"));
        }
        assert_eq!(
            serde_json::from_str::<Money>("9007199254740.93").unwrap().to_string(),
            "9007199254740.93"
        );
        assert_eq!(serde_json::to_string(&money("5")).unwrap(), "\"5.00\"");
    }

    #[test]
    fn json_numbers_with_exponents_are_read_without_loss() {
        let quantity = |json: &str| serde_json::from_str::<Quantity>(json).map(|read| read.to_string());
        for (json, read) in [
            ("1e-05", "0.00001"),
            ("1E-9", "0.000000001"),
            ("1e+3", "1000"),
            ("12.5e1", "125"),
            ("123.456e-2", "1.23456"),
            ("0.001e3", "1"),
            ("1.500000000000e0", "1.5"),
            ("1e9", "1000000000"),
        ] {
            assert_eq!(quantity(json).unwrap(), read, "{json}");
        }
        let refused = |json: &str| quantity(json).unwrap_err().to_string();
        for json in ["0.30000000000000004", "1e-10", "1.5e-9", "1e-400", "1e-99999999999999999999"] {
            assert!(refused(json).contains("use at most 9 decimals"), "{json}: {}", refused(json));
        }
        for json in ["1e10", "1e400", "1e99999999999999999999", "-1e2", "0e5"] {
            assert!(refused(json).contains("must be between 0.000000001"), "{json}: {}", refused(json));
        }
        // In quotes it is a text that somebody typed.
        assert!(refused("\"1e-05\"").contains("without thousands separators or exponents"));
        assert_eq!(serde_json::from_str::<Money>("1e3").unwrap(), money("1000"));
        assert!(
            serde_json::from_str::<Money>("1e-3").unwrap_err().to_string().contains("at most 2 decimals")
        );
    }

    #[test]
    fn too_many_digits_are_told_from_what_is_no_number() {
        let refused = |text: &str| text.parse::<Quantity>().unwrap_err();
        assert_eq!(refused("0.0000000001"), DecimalError::TooPrecise { most: 9 });
        assert_eq!("0.0000000001".parse::<Price>().unwrap_err(), DecimalError::TooPrecise { most: 4 });
        assert!(matches!(refused("12345678901234567"), DecimalError::OutOfRange { .. }));
        for text in ["", "-", ".5", "5.", "1.2.3", "1,000", "1_000", "1e5", "0x1", " 1", "+1", "١"] {
            assert_eq!(refused(text), DecimalError::Malformed, "{text}");
        }
        assert_eq!("000000000000000000001.50000000000000".parse::<Quantity>().unwrap().to_string(), "1.5");
    }
}
