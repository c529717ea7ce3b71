//! How the value types are stored. The only file of this crate that knows diesel: implementing its traits for
//! these types is possible only where the types live.

use std::str::FromStr;

use bigdecimal::BigDecimal;
use chrono::{DateTime, NaiveDateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql};
use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Numeric, SqlOrd, SqlType, Text, Timestamptz};
use diesel::sqlite::Sqlite;
use uuid::Uuid;

use crate::money::AveragePrice;
use crate::order::{OrderClass, OrderStatus, OrderType, Side, TimeInForce};
use crate::{
    ActionId, FillRule, Freshness, Money, OrderId, PerShare, Percent, PortfolioId, Price, Quantity, StockId,
    Symbol, Timestamp, TokenId, TransactionId, TransactionType, UserId, WatchlistId,
};

/// An exact decimal: NUMERIC on PostgreSQL, canonical text on SQLite. Summed and compared in Rust only.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId)]
#[diesel(postgres_type(oid = 1700, array_oid = 1231), sqlite_type(name = "Text"))]
pub struct Exact;

/// An instant: TIMESTAMPTZ on PostgreSQL, fixed-width UTC text on SQLite, which sorts as time does.
#[derive(Debug, Clone, Copy, Default, SqlType, QueryId, ValidGrouping)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Text"))]
pub struct Moment;

impl SqlOrd for Moment {}

const SQLITE_INSTANT: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

macro_rules! exact {
    ($($name:ident),+) => { $(
        impl FromSql<Exact, Pg> for $name {
            fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                <BigDecimal as FromSql<Numeric, Pg>>::from_sql(bytes).map(Self)
            }
        }
        impl ToSql<Exact, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                ToSql::<Numeric, Pg>::to_sql(&self.0, out)
            }
        }
        impl FromSql<Exact, Sqlite> for $name {
            fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                let text = <String as FromSql<Text, Sqlite>>::from_sql(bytes)?;
                Ok(Self(text.parse::<BigDecimal>()?))
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
exact!(Money, Price, Quantity, AveragePrice, Percent, PerShare);

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
        Ok(NaiveDateTime::parse_from_str(&text, SQLITE_INSTANT)?.and_utc().into())
    }
}

impl ToSql<Moment, Sqlite> for Timestamp {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.utc().format(SQLITE_INSTANT).to_string());
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

/// Words of a fixed list, stored as they are written.
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
words!(Side, OrderType, TimeInForce, OrderClass, OrderStatus, TransactionType, FillRule, Freshness, Symbol);

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
