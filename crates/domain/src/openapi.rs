//! The value types in the OpenAPI description: strings, with a pattern if they have one.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::money::{AveragePrice, PriceChange};
use crate::{DecimalText, Money, Price, Quantity, Symbol, Timestamp};

macro_rules! strings {
    ($($name:ident: $description:literal, $example:literal, $format:expr, $pattern:expr;)+) => { $(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                ObjectBuilder::new()
                    .schema_type(Type::String)
                    .format(Some($format))
                    .pattern($pattern)
                    .description(Some($description))
                    .examples([$example])
                    .into()
            }
        }
        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )+ };
}

fn decimal() -> SchemaFormat {
    SchemaFormat::Custom("decimal".into())
}

/// Plain notation: no exponent, no plus sign, at least one digit before the point.
const SIGNED: Option<&str> = Some(r"^-?[0-9]+(\.[0-9]+)?$");
const UNSIGNED: Option<&str> = Some(r"^[0-9]+(\.[0-9]+)?$");

strings! {
    Money: "An amount in the account's currency, in plain notation with two decimals.", "100000.00", decimal(),
        Some(r"^-?[0-9]+\.[0-9]{2}$");
    Price: "Per share, on the tick: two decimals, four below 1.00.", "189.42", decimal(), UNSIGNED;
    PriceChange: "A difference of prices per share, signed.", "-1.20", decimal(), SIGNED;
    AveragePrice: "Per share, to six decimals.", "218.860000", decimal(), UNSIGNED;
    DecimalText: "A decimal in plain notation; a bare number is accepted too.", "12.50", decimal(), SIGNED;
    Quantity: "Shares, up to nine decimals.", "10.5", decimal(), Some(r"^[0-9]+(\.[0-9]{1,9})?$");
    Symbol: "A ticker; class shares with a dot.", "BRK.B", SchemaFormat::Custom("symbol".into()),
        Some(r"^[A-Za-z0-9][A-Za-z0-9.\-]{0,11}$");
    Timestamp: "An instant, RFC 3339 in UTC.", "2026-11-20T19:12:09Z", SchemaFormat::KnownFormat(KnownFormat::DateTime),
        None::<&str>;
}
