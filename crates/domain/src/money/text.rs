//! Parsing and formatting of amounts, prices, quantities and rates.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::price::{TICK_BELOW_ONE, tick_scale};
use super::quantity::QUANTITY_SCALE;
use super::{AveragePrice, CENTS, ExactAmount, Money, Percent, Price, PriceChange, Quantity, Rate};
use crate::decimal::{self, Decimal, Unreadable};

/// Why a text is not an amount. Users see the message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecimalError {
    #[error("write a plain decimal like 1250.50, without thousands separators or exponents")]
    Malformed,
    #[error("use at most {max} decimals")]
    TooPrecise { max: i64 },
    #[error("must be between {min} and {max}")]
    OutOfRange { min: &'static str, max: &'static str },
}

const PERCENT_SCALE: i64 = 4;
const RATE_SCALE: i64 = 6;

impl FromStr for Money {
    type Err = DecimalError;
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let exact = read(text, CENTS, ("-1000000000000000.00", Self::MAX))?;
        at_most(&exact, CENTS)?;
        let money = Self(exact.with_scale(CENTS));
        match money.in_bounds() {
            true => Ok(money),
            false => Err(DecimalError::OutOfRange { min: "-1000000000000000.00", max: Self::MAX }),
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
            false => Err(DecimalError::OutOfRange { min: Self::MIN, max: Self::MAX }),
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
            false => Err(DecimalError::OutOfRange { min: "0.0001", max: "100" }),
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
            false => Err(DecimalError::OutOfRange { min: "0", max: "100" }),
        }
    }
}

/// Parses plain notation. Errors contain `scale` (too many decimals) or `range` (too many digits).
fn read(text: &str, scale: i64, range: (&'static str, &'static str)) -> Result<Decimal, DecimalError> {
    Decimal::parse(text).map_err(|unreadable| match unreadable {
        Unreadable::Malformed => DecimalError::Malformed,
        Unreadable::TooLarge => DecimalError::OutOfRange { min: range.0, max: range.1 },
        Unreadable::TooPrecise => DecimalError::TooPrecise { max: scale },
    })
}

fn at_most(value: &Decimal, scale: i64) -> Result<(), DecimalError> {
    match value.normalized().scale() <= scale {
        true => Ok(()),
        false => Err(DecimalError::TooPrecise { max: scale }),
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
    /// Formats with two decimals.
    Money: |exact| decimal::fixed(exact, CENTS),
    /// Formats with two decimals, four below 1.00.
    Price: |exact| decimal::fixed(exact, tick_scale(exact)),
    /// Formats with at least two decimals, without further trailing zeros.
    PriceChange: |exact| decimal::shortest(exact, CENTS),
    /// Formats with at least two decimals, without further trailing zeros.
    ExactAmount: |exact| decimal::shortest(exact, CENTS),
    /// Formats with six decimals.
    AveragePrice: |exact| decimal::fixed(exact, 6),
    /// Formats without trailing zeros.
    Quantity: |exact| decimal::shortest(exact, 0),
    /// Formats without trailing zeros.
    Percent: |exact| decimal::shortest(exact, 0),
    /// Formats without trailing zeros.
    Rate: |exact| decimal::shortest(exact, 0),
}

macro_rules! read_text {
    ($($name:ty),+) => { $(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decimal::json_text(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+ };
}
read_text!(Money, Price, Quantity, Percent);
