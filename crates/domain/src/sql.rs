//! How the value types are stored. This is the only file of this crate that uses diesel, whose traits can be
//! implemented only in the crate of the types.

use std::str::FromStr;

use bigdecimal::BigDecimal;
use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::data_types::PgNumeric;
use diesel::deserialize::{self, FromSql};
use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Numeric, SqlOrd, SqlType, Text, Timestamptz};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use crate::decimal::Decimal;
use crate::delisting::DelistingEvidenceKind;
use crate::money::{AveragePrice, ExactAmount};
use crate::order::{OrderClass, OrderStatus, OrderType, Side, TimeInForce};
use crate::{
    ActionId, FillRule, Freshness, Money, OrderId, PerShare, Percent, PortfolioId, PortfolioKind, Price,
    Quantity, StockId, Symbol, Timestamp, TokenId, TransactionId, TransactionType, UserId, Visibility,
    WatchlistId,
};

/// An exact decimal: NUMERIC on PostgreSQL, canonical text on SQLite. SQL neither sums nor compares it.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1700, array_oid = 1231), sqlite_type(name = "Text"))]
pub struct Exact;

/// An instant: TIMESTAMPTZ on PostgreSQL, fixed-width UTC text on SQLite, which sorts by time.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId, ValidGrouping)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Text"))]
pub struct Moment;

impl SqlOrd for Moment {}

impl FromSql<Exact, Pg> for Decimal {
    fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        match read_numeric(bytes.as_bytes()) {
            Some(value) => Ok(value),
            None => <BigDecimal as FromSql<Numeric, Pg>>::from_sql(bytes).map(Self::from),
        }
    }
}

impl ToSql<Exact, Pg> for Decimal {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let out = &mut out.reborrow();
        match numeric(self) {
            Some(numeric) => ToSql::<Numeric, Pg>::to_sql(&numeric, out),
            None => ToSql::<Numeric, Pg>::to_sql(self.big().as_ref(), out),
        }
    }
}

impl FromSql<Exact, Sqlite> for Decimal {
    fn from_sql(mut bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let text = bytes.read_text();
        match Self::plain(text) {
            Some(value) => Ok(value),
            None => Ok(text.parse::<BigDecimal>()?.into()),
        }
    }
}

macro_rules! exact {
    ($($name:ident),+) => { $(
        impl<DB: Backend> FromSql<Exact, DB> for $name
        where
            Decimal: FromSql<Exact, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                Decimal::from_sql(bytes).map(Self)
            }
        }
        impl ToSql<Exact, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                self.0.to_sql(out)
            }
        }
        impl ToSql<Exact, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.to_string());
                Ok(IsNull::No)
            }
        }
    )+ };
}
exact!(Money, Price, Quantity, AveragePrice, ExactAmount, Percent, PerShare);

/// Parses PostgreSQL's binary NUMERIC: the number of groups of four digits, the position of the first group, the sign,
/// the number of decimals, and the groups. `None` if it is not an amount that fits.
fn read_numeric(bytes: &[u8]) -> Option<Decimal> {
    let mut words = bytes.chunks_exact(2).map(|word| i16::from_be_bytes([word[0], word[1]]));
    let (count, weight, sign, scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut mantissa: i128 = 0;
    for _ in 0..count {
        mantissa = mantissa.checked_mul(10_000)?.checked_add(words.next()?.into())?;
    }
    let mantissa = match sign {
        0 => mantissa,
        0x4000 => -mantissa,
        _ => return None,
    };
    // The groups may end before the last decimal, or after it with zeros.
    let given = 4 * (i64::from(count) - i64::from(weight) - 1);
    (scale >= 0).then(|| Decimal::new(mantissa, given).with_scale(scale.into()))
}

/// Converts a decimal to diesel's groups of four digits, which are the same as for a `BigDecimal`. `None` if it does
/// not fit.
fn numeric(value: &Decimal) -> Option<PgNumeric> {
    let Decimal::Small { mantissa, scale } = *value else { return None };
    let scale = u16::try_from(scale).ok()?;
    if mantissa == 0 {
        return Some(PgNumeric::Positive { weight: 0, scale: 0, digits: vec![0] });
    }
    // There is a group boundary at the decimal point: the last group takes the remaining decimals and is padded with
    // zeros.
    let left_over = 10_u128.pow(u32::from(scale % 4));
    let last = mantissa.unsigned_abs() % left_over * (10_000 / left_over);
    let mut rest = mantissa.unsigned_abs() / left_over;
    let mut digits = Vec::with_capacity(11);
    digits.push(i16::try_from(last).ok()?);
    while rest > 0 {
        // 128-bit division is slow, and most values fit 64 bits.
        let (more, group) = match u64::try_from(rest) {
            Ok(rest) => (u128::from(rest / 10_000), i16::try_from(rest % 10_000)),
            Err(_) => (rest / 10_000, i16::try_from(rest % 10_000)),
        };
        digits.push(group.ok()?);
        rest = more;
    }
    let weight = i16::try_from(digits.len()).ok()? - i16::try_from(scale / 4).ok()? - 2;
    digits.reverse();
    while digits.last() == Some(&0) {
        digits.pop();
    }
    Some(match mantissa {
        0.. => PgNumeric::Positive { weight, scale, digits },
        _ => PgNumeric::Negative { weight, scale, digits },
    })
}

impl FromSql<Moment, Pg> for Timestamp {
    fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        <DateTime<Utc> as FromSql<Timestamptz, Pg>>::from_sql(bytes).map(Self::new)
    }
}

impl ToSql<Moment, Pg> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Timestamptz, Pg>::to_sql(&self.utc(), &mut out.reborrow())
    }
}

impl FromSql<Moment, Sqlite> for Timestamp {
    fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Sqlite>>::from_sql(bytes)?;
        Ok(DateTime::parse_from_rfc3339(&text)?.to_utc().into())
    }
}

impl ToSql<Moment, Sqlite> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        let text = self.digits().ok_or("a year without four digits cannot be stored")?;
        out.set_value(String::from_utf8(text.to_vec())?);
        Ok(IsNull::No)
    }
}

macro_rules! integers {
    ($($name:ident),+) => { $(
        impl<DB: Backend> FromSql<BigInt, DB> for $name
        where
            i64: FromSql<BigInt, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                i64::from_sql(bytes).map(Self)
            }
        }
        impl<DB: Backend> ToSql<BigInt, DB> for $name
        where
            i64: ToSql<BigInt, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                self.0.to_sql(out)
            }
        }
    )+ };
}
integers!(ActionId, UserId, PortfolioId, StockId, TransactionId, WatchlistId);

/// Keywords, stored as they are written.
macro_rules! words {
    ($($name:ident),+) => { $(
        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(Self::from_str(&String::from_sql(bytes)?)?)
            }
        }
        impl<DB: Backend> ToSql<Text, DB> for $name
        where
            str: ToSql<Text, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> serialize::Result {
                self.as_str().to_sql(out)
            }
        }
    )+ };
}
words!(
    Side,
    OrderType,
    TimeInForce,
    OrderClass,
    OrderStatus,
    TransactionType,
    FillRule,
    Freshness,
    Symbol,
    Visibility
);
words!(DelistingEvidenceKind, PortfolioKind);

macro_rules! uuids {
    ($($name:ident),+) => { $(
        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(Self(Uuid::parse_str(&String::from_sql(bytes)?)?))
            }
        }
        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <String as ToSql<Text, Pg>>::to_sql(&self.to_string(), &mut out.reborrow())
            }
        }
        impl ToSql<Text, Sqlite> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.to_string());
                Ok(IsNull::No)
            }
        }
    )+ };
}
uuids!(OrderId, TokenId);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Count, weight, sign, scale and groups in PostgreSQL's wire format.
    fn wire(words: &[i32]) -> Vec<u8> {
        words.iter().flat_map(|word| u16::try_from(*word & 0xFFFF).unwrap().to_be_bytes()).collect()
    }

    fn read(words: &[i32]) -> Option<String> {
        read_numeric(&wire(words)).map(|value| value.big().to_plain_string())
    }

    /// Values as PostgreSQL sends them (`numeric_send`), or could send them, with leading and trailing zeros.
    #[test]
    fn the_wire_form_of_a_numeric_is_read() {
        for (words, expected) in [
            (&[0, 0, 0, 0][..], "0"),
            (&[0, 0, 0, 2], "0.00"),
            (&[1, 0, 0, 0, 5], "5"),
            (&[2, 0, 0, 2, 189, 4200], "189.42"),
            (&[1, 0, 0x4000, 2, 150], "-150.00"),
            (&[1, 1, 0, 0, 3], "30000"),
            (&[1, 3, 0, 2, 1000], "1000000000000000.00"),
            (&[1, -3, 0x4000, 9, 1000], "-0.000000001"),
            (&[3, -1, 0, 9, 1234, 5678, 9000], "0.123456789"),
            (&[2, -1, 0, 9, 0, 1], "0.000000010"),
            (&[3, 0, 0, 0, 7, 0, 0], "7"),
        ] {
            assert_eq!(read(words).as_deref(), Some(expected), "{words:?}");
        }
        assert_eq!(read(&[1, 60, 0, 0, 1]), Some(format!("1{}", "0".repeat(240))));
        // Invalid values: not a number, too few groups, too large, empty.
        for words in [
            &[0, 0, 0xC000, 0][..],
            &[2, 0, 0, 2, 189],
            &[11, 10, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[],
        ] {
            assert_eq!(read(words), None, "{words:?}");
        }
    }

    proptest! {
        #[test]
        fn a_numeric_is_written_and_read_as_diesel_does(
            mantissa in any::<i128>(),
            cut in 0_u32..39,
            zeros in 0_u32..20,
            scale in prop_oneof![4 => -2_i64..12, 1 => 12_i64..60],
        ) {
            let digits = mantissa / 10_i128.pow(cut);
            let mantissa = digits.checked_mul(10_i128.pow(zeros)).unwrap_or(digits);
            let value = BigDecimal::new(mantissa.into(), scale);
            let expected = PgNumeric::from(&value);
            match numeric(&value.clone().into()) {
                Some(numeric) => prop_assert_eq!(&numeric, &expected),
                None => prop_assert!(scale < 0, "{}", value),
            }
            let (weight, sign, decimals, digits) = match &expected {
                PgNumeric::Positive { weight, scale, digits } => (weight, 0, scale, digits),
                PgNumeric::Negative { weight, scale, digits } => (weight, 0x4000, scale, digits),
                PgNumeric::NaN => unreachable!("a decimal is a number"),
            };
            let mut words = vec![i32::try_from(digits.len()).unwrap(), (*weight).into(), sign, (*decimals).into()];
            words.extend(digits.iter().map(|digit| i32::from(*digit)));
            let expected = BigDecimal::try_from(&expected).unwrap();
            if let Some(read) = read_numeric(&wire(&words)) {
                let read = read.big().into_owned();
                prop_assert_eq!(read.to_plain_string(), expected.to_plain_string());
                prop_assert_eq!(read, value);
            } else {
                prop_assert!(mantissa.unsigned_abs() > 10_u128.pow(34), "{}", value);
            }
        }
    }
}
