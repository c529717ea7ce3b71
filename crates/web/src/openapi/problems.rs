//! The kinds of problem that the API answers with, for its description.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Refers to the schema of a problem document in [`schemas`].
pub struct Problem;

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        "Problem".into()
    }
}

/// One value of `code`.
pub struct ProblemKind {
    pub code: &'static str,
    pub status: u16,
    /// When it occurs.
    pub meaning: &'static str,
    /// Members of the problem document in addition to the usual ones.
    pub members: &'static [&'static str],
}

macro_rules! kinds {
    ($($status:literal $code:ident [$($member:ident)*] $meaning:literal;)+) => {
        &[$(ProblemKind {
            code: stringify!($code),
            status: $status,
            meaning: $meaning,
            members: &[$(stringify!($member)),*],
        }),+]
    };
}

pub const KINDS: &[ProblemKind] = kinds! {
    400 malformed_json [] "The body is not valid JSON.";
    400 unreadable_body [] "The body cannot be read.";
    400 bad_request [] "The request cannot be read.";
    401 unauthorized [] "The login or token is missing, wrong, or has ended.";
    401 bad_credentials [] "User name or password is wrong.";
    403 read_only_token [] "The token may only read.";
    403 cross_origin [] "A browser sent the request from another site.";
    403 admin_token [] "The token is for administration.";
    403 admin_token_required [] "The administrator's token does not have the scope `admin`.";
    403 session_required [] "A token cannot do this: log in.";
    403 session [] "The session could not be stored: try again.";
    403 wrong_password [] "The current password is wrong.";
    404 not_found [] "There is nothing at this address, or it is not yours.";
    404 unknown_symbol [symbol] "No stock has this symbol.";
    408 request_timeout [] "The body took too long to arrive.";
    409 taken [errors] "The user name or e-mail address is taken.";
    409 order_not_open [order_status] "The order has ended.";
    409 portfolio_archived [] "The portfolio is archived.";
    409 trading_halted [symbol] "Trading in the stock is halted.";
    409 no_split_in_doubt [symbol] "No split of the stock is in doubt.";
    409 last_admin [] "The last administrator cannot be removed.";
    409 too_many_portfolios [] "The account has the maximum number of portfolios.";
    409 not_a_record [] "The portfolio is for practice: only a record of trades takes imports.";
    413 payload_too_large [] "The body is larger than 64 KiB, or 2 MiB for an import.";
    414 uri_too_long [] "The address is longer than 8 KiB.";
    415 unsupported_media_type [] "The body is not sent as `application/json`.";
    422 invalid_fields [errors] "Some fields are invalid; see `errors`.";
    422 client_order_id_reused [] "Another order of the portfolio has this `client_order_id`.";
    422 idempotency_key_reused [] "Another request was sent with this `Idempotency-Key`.";
    422 insufficient_cash [required available] "The portfolio has less cash than required.";
    422 insufficient_buying_power [required available] "The order costs more than the buying power.";
    422 insufficient_shares [required available] "The portfolio has too few shares, or open orders reserve them.";
    422 shares_reserved [symbol required available] "Open orders reserve the shares: cancel them, or send `cancel_orders=true`.";
    422 not_tradable [symbol] "The stock cannot be traded.";
    422 order_too_small [] "The order would buy or sell nothing.";
    422 order_too_large [] "The order is larger than allowed.";
    422 no_fresh_price [as_of] "The newest price is too old for this order.";
    422 trail_too_wide [] "The trail is wider than the price.";
    429 rate_limited [] "Too many requests; wait for `Retry-After` seconds.";
    429 too_many_attempts [] "Too many failed logins; wait for `Retry-After` seconds.";
    429 too_many_streams [] "The account has the maximum number of open streams.";
    431 header_too_large [] "The header fields are larger than 16 KiB.";
    500 internal [] "An error in Stockyard; please report it with the `request_id`.";
    503 busy [] "Too many orders are waiting.";
    503 no_price [symbol] "There is no price at the moment.";
    503 price_unconfirmed [symbol] "The newest price is far from the last one and is not confirmed yet.";
    503 clock_behind [behind_s] "The server's clock is behind its prices.";
    503 streams_full [] "The server has the maximum number of open streams.";
    503 source_unavailable [] "The price source does not answer.";
    503 password_checks_busy [] "Too many logins are waiting.";
    503 database_unavailable [] "The database does not answer. Nothing was changed.";
    503 database_busy [] "The database is busy. Nothing was changed.";
    503 database_read_only [] "The database accepts no changes. Nothing was changed.";
    503 outcome_unknown [] "The change may have been made or not: check before you repeat it.";
    507 storage_full [] "The disk of the database is full. Nothing was changed.";
};

/// The schemas of members that only some problems have.
fn extra_members() -> Value {
    json!({
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/ProblemField"},
            "description": "The invalid fields.",
        },
        "required": {"$ref": "#/components/schemas/DecimalText", "description": "The required cash, buying power or shares."},
        "available": {"$ref": "#/components/schemas/DecimalText", "description": "The available cash, buying power or shares."},
        "symbol": {"$ref": "#/components/schemas/Symbol"},
        "order_status": {"$ref": "#/components/schemas/OrderStatus"},
        "client_order_id": {"type": "string", "description": "The id of the order that may have been placed."},
        "as_of": {"$ref": "#/components/schemas/Timestamp", "description": "Market time of the newest price."},
        "behind_s": {"type": "string", "description": "Seconds that the clock is behind.", "pattern": "^-?[0-9]+$"},
    })
}

/// The schemas of a problem document, by name.
pub fn schemas() -> Map<String, Value> {
    let mut properties = json!({
        "type": {"type": "string", "format": "uri", "description": "Names the kind of problem: `urn:stockyard:problem:` and the code."},
        "title": {"type": "string", "description": "The kind of problem, for people."},
        "status": {"type": "integer", "format": "int32", "description": "The status of the response."},
        "detail": {"type": "string", "description": "What happened and what to do, for people."},
        "code": {"$ref": "#/components/schemas/ProblemCode"},
        "request_id": {"type": "string", "format": "uuid", "description": "Identifies the request in the server's log; also the header `X-Request-Id`."},
    });
    if let (Some(properties), Value::Object(extra)) = (properties.as_object_mut(), extra_members()) {
        properties.extend(extra);
    }
    let codes: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
    let schemas = json!({
        "Problem": {
            "type": "object",
            "description": "An error (RFC 9457). Programs use `status` and `code`.",
            "required": ["type", "title", "status", "detail", "code"],
            "properties": properties,
        },
        "ProblemCode": {"type": "string", "description": "What happened, for programs. Codes may be added.", "enum": codes},
        "ProblemField": {
            "type": "object",
            "description": "An invalid field.",
            "required": ["field", "message"],
            "properties": {
                "field": {"type": "string", "description": "The name of the field or parameter."},
                "pointer": {"type": "string", "description": "Where the field is in the body: a JSON pointer."},
                "message": {"type": "string", "description": "What is wrong, and what to send instead."},
            },
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}
