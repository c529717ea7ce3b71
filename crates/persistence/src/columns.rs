//! Support for the SQL types of `domain::sql` in the combined backend for both databases.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{HasSqlType, Text};
use domain::money::{AveragePrice, ExactAmount};
use domain::sql::{Exact, Moment};
use domain::{Money, OrderId, PerShare, Percent, Price, Quantity, Timestamp, TokenId};

use crate::connection::MultiBackend;

macro_rules! sql_types {
    ($($sql_type:ty),+) => { $(
        impl HasSqlType<$sql_type> for MultiBackend {
            fn metadata(lookup: &mut Self::MetadataLookup) -> Self::TypeMetadata {
                Self::lookup_sql_type::<$sql_type>(lookup)
            }
        }
    )+ };
}
sql_types!(Exact, Moment);

macro_rules! read {
    ($($sql_type:ty => [$($name:ty),+]),+) => { $($(
        impl FromSql<$sql_type, MultiBackend> for $name {
            fn from_sql(bytes: <MultiBackend as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                bytes.from_sql::<$name, $sql_type>()
            }
        }
    )+)+ };
}
read!(Exact => [Money, Price, Quantity, AveragePrice, ExactAmount, Percent, PerShare], Moment => [Timestamp]);

macro_rules! write {
    ($($sql_type:ty => [$($name:ty),+]),+) => { $($(
        impl ToSql<$sql_type, MultiBackend> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                out.set_value((<$sql_type>::default(), self));
                Ok(IsNull::No)
            }
        }
    )+)+ };
}
write!(Exact => [Money, Price, Quantity, AveragePrice, ExactAmount, Percent, PerShare], Moment => [Timestamp]);

/// Ids that are stored as text.
macro_rules! text {
    ($($name:ty),+) => { $(
        impl ToSql<Text, MultiBackend> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, MultiBackend>) -> serialize::Result {
                out.set_value((Text, self));
                Ok(IsNull::No)
            }
        }
    )+ };
}
text!(OrderId, TokenId);
