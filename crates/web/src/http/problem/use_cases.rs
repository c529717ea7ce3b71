//! Problems from the errors of use cases and of the database.

use actix_web::http::StatusCode;
use domain::OrderRejected;
use services::{Error, StoreError};

use super::Problem;
use crate::shell::format::sentence;
use crate::trading::words;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = sentence(&error.to_string());
        let unprocessable =
            |code, title| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail.clone());
        match error {
            Error::NotFound(_) => Self { detail, ..Self::not_found() },
            Error::Invalid(errors) => Self::invalid(errors),
            Error::Taken(errors) => {
                Self { errors, ..Self::new(StatusCode::CONFLICT, "taken", "Already taken", detail) }
            }
            Error::OrderRejected(reason) => order_rejected(&reason, &detail),
            Error::ClientOrderIdReused => unprocessable("client_order_id_reused", "Order id used before"),
            Error::IdempotencyKeyReused => unprocessable("idempotency_key_reused", "Key used before"),
            Error::OrderNotOpen { status } => {
                Self::new(StatusCode::CONFLICT, "order_not_open", "Order not open", detail)
                    .fact("order_status", status)
            }
            Error::NotARecord => {
                Self::new(StatusCode::CONFLICT, "not_a_record", "Not a record of trades", detail)
            }
            Error::Archived => Self::new(StatusCode::CONFLICT, "portfolio_archived", "Archived", detail),
            Error::Busy => {
                let busy = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail);
                Self { retry_after_s: Some(1), ..busy }
            }
            Error::CallsUsedUp { symbol, retry_at, .. } => {
                Self::unavailable("no_price", detail, Some(retry_at)).fact("symbol", symbol)
            }
            Error::PriceUnconfirmed { symbol, .. } => {
                let unconfirmed = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "price_unconfirmed",
                    "Price not confirmed",
                    detail,
                );
                Self { retry_after_s: Some(60), ..unconfirmed }.fact("symbol", symbol)
            }
            Error::ClockBehind { by } => {
                let behind =
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "clock_behind", "Clock behind", detail);
                Self { retry_after_s: Some(60), ..behind }.fact("behind_s", by.num_seconds())
            }
            Error::TooManyStreams(_) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let problem = Self::new(status, "too_many_streams", "Too many streams", detail);
                Self { retry_after_s: Some(30), ..problem }
            }
            Error::StreamsFull => {
                let full = Self::new(StatusCode::SERVICE_UNAVAILABLE, "streams_full", "Busy", detail);
                Self { retry_after_s: Some(30), ..full }
            }
            Error::InsufficientCash { required, available } => {
                unprocessable("insufficient_cash", "Not enough cash")
                    .fact("required", required)
                    .fact("available", available)
            }
            Error::SharesReserved { symbol, required, available } => {
                unprocessable("shares_reserved", "Shares reserved")
                    .fact("symbol", symbol)
                    .fact("required", required)
                    .fact("available", available)
            }
            Error::UnknownSymbol(symbol) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_symbol", "Unknown symbol", detail)
                    .fact("symbol", symbol)
            }
            Error::NotTradable { symbol, .. } => {
                unprocessable("not_tradable", "Not tradable").fact("symbol", symbol)
            }
            Error::TradingHalted { symbol, .. } => {
                Self::new(StatusCode::CONFLICT, "trading_halted", "Trading halted", detail)
                    .fact("symbol", symbol)
            }
            Error::NoSplitInDoubt(symbol) => {
                Self::new(StatusCode::CONFLICT, "no_split_in_doubt", "No split in doubt", detail)
                    .fact("symbol", symbol)
            }
            Error::NoPrice { symbol, retry_at } => {
                Self::unavailable("no_price", detail, retry_at).fact("symbol", symbol)
            }
            Error::SourceUnavailable { retry_at } => {
                Self::unavailable("source_unavailable", detail, retry_at)
            }
            Error::BadCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, "bad_credentials", "Login failed", detail)
            }
            Error::TooManyAttempts { retry_after } => Self {
                retry_after_s: Some(retry_after.num_seconds() + 1),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many attempts", detail)
            },
            Error::PasswordChecksBusy => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let busy = Self::new(status, "password_checks_busy", "Busy", detail);
                Self { retry_after_s: Some(5), ..busy }
            }
            Error::WrongPassword => {
                Self::new(StatusCode::FORBIDDEN, "wrong_password", "Wrong password", detail)
            }
            Error::LastAdmin => Self::new(StatusCode::CONFLICT, "last_admin", "Last administrator", detail),
            Error::TooManyPortfolios(_) => {
                Self::new(StatusCode::CONFLICT, "too_many_portfolios", "Too many", detail)
            }
            Error::OrderUnconfirmed { client_order_id, source } => {
                Self::from(*source).fact("client_order_id", client_order_id)
            }
            Error::Store(cause) => of_database(&cause),
            Error::Internal(cause) => {
                tracing::error!(error = &*cause as &dyn std::error::Error, "internal error");
                Self::internal()
            }
        }
    }
}

/// When a client should retry after an outage of the database. The server uses the database as soon as it is back.
pub(super) const DATABASE_RETRY_S: i64 = 3;

/// The problem for an error of the database: an outage, or a bug of this program.
fn of_database(error: &StoreError) -> Problem {
    let cause = error as &dyn std::error::Error;
    match error.is_outage() {
        true => tracing::warn!(error = cause, "database"),
        false => tracing::error!(error = cause, "database"),
    }
    let unavailable = |code, detail| Problem::outage(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    match error {
        StoreError::Unavailable(_) | StoreError::LoginRefused(_) => Problem::database_unavailable(),
        StoreError::Busy(_) => {
            unavailable("database_busy", "The database is busy. Nothing was changed: try again in a moment.")
        }
        StoreError::ReadOnly(_) => unavailable(
            "database_read_only",
            "The database accepts no changes at the moment. Nothing was changed: try again later.",
        ),
        StoreError::OutcomeUnknown(_) => unavailable(
            "outcome_unknown",
            "The database did not confirm the change in time. It may or may not have been made: check before you \
             repeat it. You can find an order by its client_order_id; the same order is not placed twice with the \
             same client_order_id.",
        ),
        StoreError::Full(_) => Problem::outage(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage_full",
            "The disk of the database is full. Nothing was changed: try again when there is space.",
        ),
        StoreError::Duplicate(_)
        | StoreError::MissingReference(_)
        | StoreError::PendingMigrations
        | StoreError::NewerSchema { .. }
        | StoreError::ForeignTables
        | StoreError::Damaged(_)
        | StoreError::Migration(_)
        | StoreError::Corrupt(_)
        | StoreError::Query(_) => Problem::internal(),
    }
}

fn order_rejected(reason: &OrderRejected, detail: &str) -> Problem {
    let problem = |code, title| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail);
    match reason {
        OrderRejected::InsufficientBuyingPower { required, available } => {
            problem("insufficient_buying_power", "Not enough buying power")
                .fact("required", required)
                .fact("available", available)
        }
        OrderRejected::InsufficientShares { required, available } => {
            problem("insufficient_shares", "Not enough shares")
                .fact("required", required)
                .fact("available", available)
        }
        OrderRejected::NothingHeld => problem("insufficient_shares", "Not enough shares"),
        OrderRejected::TooSmall => problem("order_too_small", "Order too small"),
        OrderRejected::TooLarge => problem("order_too_large", "Order too large"),
        OrderRejected::NoFreshPrice { as_of } => {
            problem("no_fresh_price", "No fresh price").fact("as_of", as_of)
        }
        OrderRejected::TrailTooWide => problem("trail_too_wide", "Trail too wide"),
        OrderRejected::Unfit(issues) => words::api::unfit(issues),
        OrderRejected::NotOpen { .. }
        | OrderRejected::Transition(_)
        | OrderRejected::PriceFromFuture { .. } => Problem::from(Error::from(reason.clone())),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::header::RETRY_AFTER;
    use chrono::TimeDelta;
    use domain::{OrderStatus, Timestamp, TradingHold};
    use services::{FieldError, NotFound};

    use super::*;
    use crate::samples::{self, samples};

    #[test]
    fn every_missing_object_has_its_own_message() {
        let missing = samples!(NotFound {
            NotFound::User => NotFound::User,
            NotFound::Session => NotFound::Session,
            NotFound::Token => NotFound::Token,
            NotFound::Portfolio => NotFound::Portfolio,
            NotFound::Position => NotFound::Position,
            NotFound::Order => NotFound::Order,
            NotFound::Transaction => NotFound::Transaction,
            NotFound::Watchlist => NotFound::Watchlist,
            NotFound::WatchedStock => NotFound::WatchedStock,
            NotFound::Stock => NotFound::Stock,
            NotFound::CloseOut => NotFound::CloseOut,
        });
        let mut told = std::collections::BTreeSet::new();
        for missing in missing {
            let problem = Problem::from(Error::NotFound(missing));
            assert_eq!((problem.status().as_u16(), problem.code), (404, "not_found"));
            samples::assert_sentence(problem.detail(), &missing);
            assert!(told.insert(problem.detail), "{missing:?} is told like another one");
        }
    }

    #[test]
    fn every_refusal_of_a_use_case_is_a_sentence_with_its_values() {
        let symbol: domain::Symbol = "AAPL".parse().unwrap();
        let at: Timestamp = "2026-11-20T19:10:00Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap().into();
        let fields = || vec![FieldError::new("email", "use another one")];
        let refusals = samples!(Error {
            Error::NotFound(_) => Error::NotFound(NotFound::Order),
            Error::Invalid(_) => Error::Invalid([fields(), fields()].concat()),
            Error::Taken(_) => Error::Taken(fields()),
            Error::OrderRejected(_) => Error::OrderRejected(OrderRejected::TooSmall),
            Error::ClientOrderIdReused => Error::ClientOrderIdReused,
            Error::IdempotencyKeyReused => Error::IdempotencyKeyReused,
            Error::OrderNotOpen { .. } => Error::OrderNotOpen { status: OrderStatus::Expired },
            Error::Archived => Error::Archived,
            Error::NotARecord => Error::NotARecord,
            Error::Busy => Error::Busy,
            Error::InsufficientCash { .. } => Error::InsufficientCash {
                required: "1711.01".parse().unwrap(),
                available: "1622.02".parse().unwrap(),
            },
            Error::SharesReserved { .. } => Error::SharesReserved {
                symbol: symbol.clone(),
                required: "17.11".parse().unwrap(),
                available: "16.22".parse().unwrap(),
            },
            Error::UnknownSymbol(_) => Error::UnknownSymbol(symbol.clone()),
            Error::NotTradable { .. } => Error::NotTradable { symbol: symbol.clone(), reason: "it is an index" },
            Error::TradingHalted { .. } => Error::TradingHalted {
                symbol: symbol.clone(),
                hold: Box::new(TradingHold::SplitContradicted {
                    ratio: "10:1".parse().unwrap(),
                    compared: Some(("17.11".parse().unwrap(), "170.22".parse().unwrap())),
                }),
            },
            Error::NoSplitInDoubt(_) => Error::NoSplitInDoubt(symbol.clone()),
            Error::ClockBehind { .. } => Error::ClockBehind { by: TimeDelta::minutes(7) },
            Error::NoPrice { .. } => Error::NoPrice { symbol: symbol.clone(), retry_at: None },
            Error::CallsUsedUp { .. } => Error::CallsUsedUp {
                symbol: symbol.clone(),
                limit: market_data::CallLimit::PerDay(25),
                retry_at: at,
            },
            Error::PriceUnconfirmed { .. } => Error::PriceUnconfirmed {
                symbol: symbol.clone(),
                cause: market_data::QuoteError::Unreachable,
            },
            Error::SourceUnavailable { .. } => Error::SourceUnavailable { retry_at: None },
            Error::BadCredentials => Error::BadCredentials,
            Error::TooManyAttempts { .. } => Error::TooManyAttempts { retry_after: TimeDelta::seconds(3) },
            Error::PasswordChecksBusy => Error::PasswordChecksBusy,
            Error::WrongPassword => Error::WrongPassword,
            Error::LastAdmin => Error::LastAdmin,
            Error::TooManyPortfolios(_) => Error::TooManyPortfolios(50),
            Error::TooManyStreams(_) => Error::TooManyStreams(20),
            Error::StreamsFull => Error::StreamsFull,
            Error::OrderUnconfirmed { .. } => Error::OrderUnconfirmed {
                client_order_id: "mine".to_owned(),
                source: Box::new(Error::Busy),
            },
            Error::Store(_) => Error::Store(StoreError::PendingMigrations),
            Error::Internal(_) => Error::Internal("a fault".into()),
        });
        for refusal in refusals {
            let values: &[&str] = match &refusal {
                Error::Taken(_) => &["email"],
                Error::OrderNotOpen { .. } => &["expired"],
                Error::InsufficientCash { .. } => &["1711.01", "1622.02"],
                Error::SharesReserved { .. } => &["AAPL", "17.11", "16.22"],
                Error::UnknownSymbol(_) | Error::NoSplitInDoubt(_) | Error::NoPrice { .. } => &["AAPL"],
                Error::NotTradable { .. } => &["AAPL", "index"],
                Error::TradingHalted { .. } => &["AAPL", "10:1", "17.11", "170.22"],
                Error::ClockBehind { .. } => &["7 minutes"],
                Error::CallsUsedUp { .. } => &["AAPL", "25", "14:10 on 20 November"],
                Error::PriceUnconfirmed { .. } => &["AAPL"],
                Error::TooManyPortfolios(_) => &["50"],
                Error::TooManyStreams(_) => &["20"],
                _ => &[],
            };
            let told = format!("{refusal:?}");
            let problem = Problem::from(refusal);
            samples::assert_sentence(problem.detail(), &told);
            assert!(
                values.iter().all(|value| problem.detail().contains(value)),
                "{told}: {}",
                problem.detail()
            );
        }
    }

    #[test]
    fn a_full_order_desk_returns_a_retry_time() {
        let response = Problem::from(Error::Busy).error_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "1");
    }
}
