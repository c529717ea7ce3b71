//! The tables that the migrations of both databases create.

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    snapshot_versions (batch) {
        batch -> BigInt, version -> BigInt,
    }
}
table! {
    installation (key) { key -> Text, value -> Text, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    users (id) {
        id -> BigInt, username -> Text, email -> Text, password_hash -> Text, first_name -> Text, last_name -> Text,
        date_joined -> Moment, is_active -> Bool, is_admin -> Bool, password_changed_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    sessions (id) {
        id -> BigInt, key_hash -> Text, user_id -> Nullable<BigInt>, state -> Text, created_at -> Moment,
        last_seen_at -> Moment, expires_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    flash_messages (id_hash) {
        id_hash -> Text, owner -> Text, content -> Text, expires_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    idempotency_keys (user_id, key) {
        user_id -> BigInt, key -> Text, request -> Text, result_id -> BigInt, created_at -> Moment,
        answer -> Nullable<Text>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    api_tokens (id) {
        id -> Text, user_id -> BigInt, name -> Text, token_hash -> Text, scope -> Text, created_at -> Moment,
        expires_at -> Nullable<Moment>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    login_attempts (subject) { subject -> Text, failures -> Integer, last_failed_at -> Moment, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    stocks (id) {
        id -> BigInt, symbol -> Text, company_name -> Text, exchange -> Text, sector -> Text, currency -> Text,
        last_price -> Nullable<Exact>, previous_close -> Nullable<Exact>, last_updated -> Nullable<Moment>,
        price_source -> Nullable<Text>, freshness -> Nullable<Text>, delisted_on -> Nullable<Date>,
        listed_on -> Nullable<Date>, replaced_on -> Nullable<Date>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Exact;
    price_bars (stock_id, date) {
        stock_id -> BigInt, date -> Date, open -> Exact, high -> Exact, low -> Exact, close -> Exact,
        volume -> BigInt, source -> Text,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    portfolios (id) {
        id -> BigInt, user_id -> BigInt, name -> Text, description -> Text, cash_balance -> Exact,
        created_at -> Moment, updated_at -> Moment, reserved_cash -> Exact, archived_at -> Nullable<Moment>,
        dividends -> Exact, dividends_receivable -> Exact,
        version -> BigInt, benchmark -> Text,
        visibility -> Text, link_key -> Nullable<Text>, kind -> Text,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Exact;
    positions (id) {
        id -> BigInt, portfolio_id -> BigInt, stock_id -> BigInt, quantity -> Exact, cost_basis -> Exact,
        realized_pnl -> Exact, reserved_quantity -> Exact,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    orders (id) {
        id -> Text, portfolio_id -> BigInt, stock_id -> BigInt, client_order_id -> Nullable<Text>, request -> Text,
        side -> Text, order_type -> Text, time_in_force -> Text, quantity -> Nullable<Exact>,
        notional -> Nullable<Exact>, status -> Text, filled_quantity -> Exact,
        filled_price -> Nullable<Exact>, submitted_at -> Moment, filled_at -> Nullable<Moment>, order_class -> Text,
        parent_order_id -> Nullable<Text>, replaces -> Nullable<Text>, limit_price -> Nullable<Exact>,
        stop_price -> Nullable<Exact>, trail_price -> Nullable<Exact>, trail_percent -> Nullable<Exact>,
        triggered_at -> Nullable<Moment>, high_water_price -> Nullable<Exact>, reserved_cash -> Exact,
        reserved_quantity -> Exact, filled_amount -> Exact, commission -> Exact, last_matched_at -> Moment,
        canceled_at -> Nullable<Moment>, expires_at -> Nullable<Moment>, reject_reason -> Nullable<Text>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    transactions (id) {
        id -> BigInt, portfolio_id -> BigInt, stock_id -> Nullable<BigInt>, order_id -> Nullable<Text>,
        transaction_type -> Text, quantity -> Nullable<Exact>, price -> Nullable<Exact>, commission -> Exact,
        amount -> Exact, realized_pnl -> Nullable<Exact>, timestamp -> Moment, quote_source -> Nullable<Text>,
        quoted_at -> Nullable<Moment>, fill_rule -> Nullable<Text>, quoted_price -> Nullable<Exact>,
        action_id -> Nullable<BigInt>, effective_at -> Nullable<Moment>, split_ratio -> Nullable<Text>,
        quantity_before -> Nullable<Exact>, per_share -> Nullable<Exact>, reverses_id -> Nullable<BigInt>,
        rounding -> Nullable<Integer>, cash_per_share -> Nullable<Exact>, exchange_ratio -> Nullable<Text>,
        quantity_given -> Nullable<Exact>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Exact;
    portfolio_snapshots (id) {
        id -> BigInt, portfolio_id -> BigInt, date -> Date, total_value -> Exact, cash_balance -> Exact,
        positions_value -> Exact, net_flow -> Exact, provisional -> Bool,
        dividends_receivable -> Exact,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    watchlists (id) { id -> BigInt, user_id -> BigInt, name -> Text, created_at -> Moment, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    watchlist_items (watchlist_id, stock_id) { watchlist_id -> BigInt, stock_id -> BigInt, added_at -> Moment, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    imported_rows (portfolio_id, row_hash) {
        portfolio_id -> BigInt, row_hash -> Text, file_hash -> Text, line -> BigInt, imported_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    import_files (portfolio_id) {
        portfolio_id -> BigInt, file_hash -> Text, content -> Text, uploaded_at -> Moment,
    }
}
table! {
    concentration_limits (portfolio_id) {
        portfolio_id -> BigInt, stock_percent -> Nullable<Integer>, sector_percent -> Nullable<Integer>,
        cash_percent -> Nullable<Integer>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    job_runs (id) {
        id -> BigInt, kind -> Text, key -> Text, partition -> BigInt, status -> Text, attempts -> Integer,
        worker -> Nullable<Text>, queued_at -> Moment, started_at -> Nullable<Moment>, heartbeat_at -> Moment,
        finished_at -> Nullable<Moment>, outcome -> Nullable<Text>, requested -> Bool,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    workers (name) {
        name -> Text, host -> Text, process_id -> BigInt, version -> Text, mode -> Text, started_at -> Moment,
        last_seen_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    corporate_actions (id) {
        id -> BigInt, stock_id -> BigInt, action_key -> Text, kind -> Text, symbol -> Text, ex_on -> Date,
        effective_at -> Moment, split_ratio -> Nullable<Text>, per_share -> Nullable<Exact>,
        pays_on -> Nullable<Date>, pays_at -> Nullable<Moment>, new_symbol -> Nullable<Text>, known_at -> Moment,
        applied_at -> Nullable<Moment>, confirmation -> Nullable<Text>, reference_price -> Nullable<Exact>,
        reference_at -> Nullable<Moment>, expected_price -> Nullable<Exact>, found_price -> Nullable<Exact>,
        decided_by -> Nullable<Text>, decided_at -> Nullable<Moment>, decision_reason -> Nullable<Text>,
        reversed_at -> Nullable<Moment>, administrator -> Nullable<Text>, close_out -> Nullable<Text>,
        cash_per_share -> Nullable<Exact>, exchange_ratio -> Nullable<Text>, into_stock_id -> Nullable<BigInt>,
        into_symbol -> Nullable<Text>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Exact;
    orders_before_splits (action_id, order_id) {
        action_id -> BigInt, order_id -> Text, quantity -> Nullable<Exact>, limit_price -> Nullable<Exact>,
        stop_price -> Nullable<Exact>, trail_price -> Nullable<Exact>, high_water_price -> Nullable<Exact>,
        reserved_quantity -> Exact,
        filled_quantity -> Nullable<Exact>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    portfolio_actions (portfolio_id, action_id) {
        portfolio_id -> BigInt, action_id -> BigInt, quantity -> Exact, amount -> Exact, booked_at -> Moment,
        paid_at -> Nullable<Moment>, reversed_at -> Nullable<Moment>,
    }
}
table! {
    use diesel::sql_types::*;
    former_symbols (symbol, until_on) { symbol -> Text, stock_id -> BigInt, until_on -> Date, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    provider_budget (key) { key -> Text, used -> BigInt, ends_at -> Moment, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    providers (name) {
        name -> Text, next_call_at -> Moment, parked_until -> Nullable<Moment>, last_answered_at -> Nullable<Moment>,
        last_failed_at -> Nullable<Moment>, last_error -> Nullable<Text>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    provider_leases (name) { name -> Text, holder -> Text, ends_at -> Moment, }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    provider_quotes (symbol) {
        symbol -> Text, source -> Text, price -> Exact, previous_close -> Nullable<Exact>, bid -> Nullable<Exact>,
        ask -> Nullable<Exact>, volume -> Nullable<BigInt>, as_of -> Moment, freshness -> Text, fetched_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::{Exact, Moment};
    unconfirmed_prices (symbol) {
        symbol -> Text, source -> Text, price -> Exact, as_of -> Moment, freshness -> Text, doubt -> Text,
        accepted_price -> Exact, first_seen_at -> Moment, last_seen_at -> Moment,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    listings (symbol) {
        symbol -> Text, company_name -> Text, search_words -> Text, exchange -> Text, asset_type -> Text,
        status -> Text, source -> Text, refreshed_at -> Moment, listed_on -> Nullable<Date>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    delisting_evidence (stock_id, kind, seen_on) {
        stock_id -> BigInt, kind -> Text, seen_on -> Date, seen_at -> Moment, source -> Text,
        delisted_on -> Nullable<Date>,
    }
}
table! {
    use diesel::sql_types::*;
    use domain::sql::Moment;
    delisting_refusals (stock_id) {
        stock_id -> BigInt, refused_at -> Moment, administrator -> Text, reason -> Text,
    }
}

joinable!(api_tokens -> users (user_id));
joinable!(former_symbols -> stocks (stock_id));
joinable!(portfolio_actions -> corporate_actions (action_id));
joinable!(orders -> stocks (stock_id));
joinable!(portfolio_snapshots -> portfolios (portfolio_id));
joinable!(portfolios -> users (user_id));
joinable!(positions -> portfolios (portfolio_id));
joinable!(positions -> stocks (stock_id));
joinable!(sessions -> users (user_id));
joinable!(transactions -> stocks (stock_id));
joinable!(transactions -> portfolios (portfolio_id));
joinable!(watchlist_items -> stocks (stock_id));
joinable!(watchlist_items -> watchlists (watchlist_id));
allow_tables_to_appear_in_same_query!(
    api_tokens,
    corporate_actions,
    former_symbols,
    listings,
    orders,
    portfolio_actions,
    portfolio_snapshots,
    portfolios,
    positions,
    price_bars,
    sessions,
    snapshot_versions,
    stocks,
    transactions,
    users,
    watchlist_items,
    watchlists,
);
