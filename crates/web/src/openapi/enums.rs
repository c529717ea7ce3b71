//! The sets of values that the API accepts and returns. Each becomes a schema of its own in the description, so that
//! generated clients have a type for it.

use std::borrow::Cow;

use serde_json::json;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr};
use utoipa::{PartialSchema, ToSchema};

macro_rules! enums {
    ($($name:ident: $description:literal, $($word:literal)|+;)+) => {
        $(
            #[doc = $description]
            pub struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new()
                        .schema_type(Type::String)
                        .description(Some($description))
                        .enum_values(Some([$($word),+]))
                        .into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    stringify!($name).into()
                }
            }
        )+

        /// The name and the schema of each enum.
        pub fn all() -> Vec<(&'static str, RefOr<Schema>)> {
            vec![$((stringify!($name), $name::schema())),+, ("DayOrInstant", DayOrInstant::schema())]
        }

        /// The name and the values of each enum.
        #[cfg(test)]
        const WORDS: &[(&str, &[&str])] = &[$((stringify!($name), &[$($word),+])),+];
    };
}

enums! {
    BookFigure: "A figure of the books that can be explained.",
        "total_value" | "day_change" | "average_buy_price" | "herfindahl";
    CancelOutcome: "The result of canceling an order: `ended` means that it had already ended otherwise, `failed` that it may still be open.",
        "canceled" | "ended" | "failed";
    CashDirection: "Whether cash is deposited or withdrawn.", "deposit" | "withdrawal";
    CircuitBreaker: "Whether calls are sent to a provider: `closed` (yes), `open` (no) or `half_open` (one, to see whether it is back).",
        "closed" | "open" | "half_open";
    CloseOutKind: "What holders receive for the shares of a delisted stock.", "cash" | "write_off" | "exchange";
    ConcentrationLevel: "`broad` below 0.10, `moderate` up to 0.18, else `concentrated`.",
        "broad" | "moderate" | "concentrated";
    CorporateActionKind: "The kind of a corporate action.",
        "split" | "cash_dividend" | "symbol_change" | "delisting" | "close_out";
    DelistingEvidence: "The kind of evidence that a stock is delisted.", "not_listed" | "listed_as_delisted" | "not_found";
    DelistingResolution: "Whether a stock is delisted (`confirm`) or still traded (`refuse`).", "confirm" | "refuse";
    DelistingStatus: "`pending`: evidence is being collected; `refused`: an administrator says that the stock is traded.",
        "pending" | "refused" | "delisted";
    FillRule: "The price of the quote at which an order filled: `last` if the source gives no bid and ask, `past_close` while \
        the exchange is closed, `open` and `close` for orders at an auction; `imported` for a trade made elsewhere.",
        "ask" | "bid" | "last" | "past_close" | "open" | "close" | "imported";
    Freshness: "How current the prices of a source are.", "simulated" | "realtime" | "delayed" | "end_of_day";
    HistoryInterval: "The time that a bar covers: a session, a week or a month.", "1d" | "1w" | "1mo";
    HistoryRange: "A period that ends today: a week, a month, three months, the year so far, a year, five years, or all.",
        "1W" | "1M" | "3M" | "YTD" | "1Y" | "5Y" | "ALL";
    JobKind: "A background job.",
        "snapshot_portfolios" | "provisional_snapshots" | "refresh_quotes" | "corporate_actions" | "refresh_listings" | "prune";
    JobRunStatus: "The state of a job run.", "queued" | "running" | "done" | "failed";
    LimitedPart: "A part of a portfolio that has a concentration limit.", "stock" | "sector" | "cash";
    MarketCalendar: "The sessions of the market: every day of New York from midnight to midnight (`always_open`), or those of the \
        New York exchanges (`xnys`).",
        "always_open" | "xnys";
    OrderClass: "The kind of order group: a single order (`simple`), an entry with two exits (`bracket`), two exits of which one \
        cancels the other (`oco`), or an entry with one exit (`oto`).",
        "simple" | "bracket" | "oco" | "oto";
    OrderFilter: "Selects orders by their state.", "open" | "closed" | "all";
    OrderStatus: "The state of an order. `held` is an exit that waits for its entry; `held`, `accepted` and \
        `partially_filled` are open; the others are final.",
        "held" | "accepted" | "partially_filled" | "filled" | "canceled" | "expired" | "rejected" | "replaced";
    OrderType: "The type of an order.", "market" | "limit" | "stop" | "stop_limit" | "trailing_stop";
    PerformancePeriod: "A period that ends today. Its returns count from the close before its first day: a week, a month, three or six \
        months, the year so far, one, three or five years, or all since the portfolio began.",
        "1W" | "1M" | "3M" | "6M" | "YTD" | "1Y" | "3Y" | "5Y" | "ALL";
    PortfolioKind: "Whether a portfolio is for practice at the market's prices, or records trades made elsewhere and takes imports.",
        "practice" | "record";
    PriceDoubt: "Why a price is not used before it is confirmed.",
        "unit_slip" | "large_move" | "split_not_booked" | "possible_split";
    Side: "Whether shares are bought or sold.", "buy" | "sell";
    SortDirection: "Whether the smallest or oldest item comes first (`asc`), or the largest or newest.", "asc" | "desc";
    SplitConfirmation: "Whether prices confirm a split.", "awaiting" | "confirmed" | "suspended" | "withdrawn";
    SplitResolution: "How a split in doubt is resolved: it happened as announced, with another ratio, or not at all.",
        "confirm" | "correct" | "withdraw";
    StockSort: "The field by which stocks are sorted; equal ones are sorted by symbol.", "symbol" | "company_name";
    TableFormat: "The format of a table: `standard` as in RFC 4180, with commas between fields and points in numbers; \
        `spreadsheet` with semicolons, decimal commas and a byte order mark.",
        "standard" | "spreadsheet";
    TimeInForce: "How long an order works: until the close (`day`), until it is canceled (`gtc`), immediate or cancel \
        (`ioc`), fill or kill (`fok`), at the next opening (`opg`) or at the close (`cls`).",
        "day" | "gtc" | "ioc" | "fok" | "opg" | "cls";
    TokenScope: "The rights of a token: `read`, `trade` (trading and reading) or `admin` (administration and reading).", "trade" | "read" | "admin";
    TradingMode: "Whether orders may fill while the market is closed (`practice`), or wait for its next session (`realistic`).",
        "practice" | "realistic";
    TradingRestriction: "Why no orders in a stock are accepted.", "delisted" | "halted";
    TransactionType: "The type of a transaction.",
        "deposit" | "withdrawal" | "buy" | "sell" | "dividend" | "split" | "fee" | "reversal" | "close_out" | "exchange";
    Visibility: "Who may read a portfolio besides its owner: no one, readers who know its address with a random key, or \
        everyone. Only its owner may change it.",
        "private" | "link" | "public";
    WorkerStatus: "`silent` when the newest heartbeat is too old.", "alive" | "silent";
}

/// A day of the exchange, or an instant.
pub struct DayOrInstant;

impl PartialSchema for DayOrInstant {
    fn schema() -> RefOr<Schema> {
        let text = |format| {
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::KnownFormat(format)))
        };
        AnyOfBuilder::new()
            .description(Some("A day of the exchange (New York), or an instant in RFC 3339."))
            .item(text(KnownFormat::DateTime))
            .item(text(KnownFormat::Date))
            .examples([json!("2026-11-20")])
            .into()
    }
}

impl ToSchema for DayOrInstant {
    fn name() -> Cow<'static, str> {
        "DayOrInstant".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::HistoryRange;
    use domain::{
        FillRule, OrderClass, OrderStatus, OrderType, PortfolioKind, Side, TimeInForce, TransactionType,
        Visibility,
    };
    use services::jobs::JobKind;

    #[test]
    fn described_values_are_the_values_that_the_program_knows() {
        let words = |name: &str| WORDS.iter().find(|(known, _)| *known == name).unwrap().1.to_vec();
        macro_rules! same {
            ($($name:ident),+) => { $(
                let known: Vec<&str> = $name::ALL.iter().map(|value| value.as_str()).collect();
                assert_eq!(words(stringify!($name)), known, stringify!($name));
            )+ };
        }
        same!(
            FillRule,
            OrderClass,
            OrderStatus,
            OrderType,
            PortfolioKind,
            Side,
            TimeInForce,
            TransactionType,
            JobKind,
            Visibility
        );
        let doubts: Vec<&str> = domain::plausibility::Doubt::ALL.iter().map(|doubt| doubt.as_str()).collect();
        assert_eq!(words("PriceDoubt"), doubts);
        let intervals: Vec<&str> = domain::BarInterval::ALL.iter().map(|(_, name)| *name).collect();
        assert_eq!(words("HistoryInterval"), intervals);
        let ranges: Vec<&str> = HistoryRange::ALL.iter().map(|(_, name)| *name).collect();
        assert_eq!(words("HistoryRange"), ranges);
        let figures: Vec<&str> =
            domain::valuation::BookFigure::ALL.iter().map(|figure| figure.as_str()).collect();
        assert_eq!(words("BookFigure"), figures);
        let periods: Vec<&str> = domain::performance::Period::ALL.iter().map(|(_, name)| *name).collect();
        assert_eq!(words("PerformancePeriod"), periods);
        for scope in words("TokenScope") {
            assert_eq!(scope.parse::<services::accounts::tokens::Scope>().unwrap().as_str(), scope);
        }
    }
}
