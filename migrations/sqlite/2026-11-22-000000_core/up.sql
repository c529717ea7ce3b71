-- Decimals are canonical TEXT and times UTC TEXT of fixed width; the same columns are NUMERIC and TIMESTAMPTZ on
-- PostgreSQL.

CREATE TABLE installation (
    key TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    username TEXT NOT NULL,
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    date_joined TEXT NOT NULL,
    is_active BOOLEAN NOT NULL,
    is_admin BOOLEAN NOT NULL,
    password_changed_at TEXT NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (lower(username));
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    key_hash TEXT NOT NULL UNIQUE,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL,
    last_seen_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE api_tokens (
    id TEXT PRIMARY KEY NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('trade', 'read')),
    created_at TEXT NOT NULL,
    expires_at TEXT
);
CREATE INDEX api_tokens_user ON api_tokens (user_id);

CREATE TABLE login_attempts (
    subject TEXT PRIMARY KEY NOT NULL,
    failures INTEGER NOT NULL,
    last_failed_at TEXT NOT NULL
);

CREATE TABLE stocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    symbol TEXT NOT NULL UNIQUE,
    company_name TEXT NOT NULL,
    exchange TEXT NOT NULL,
    sector TEXT NOT NULL,
    currency TEXT NOT NULL CHECK (currency = 'USD'),
    last_price TEXT CHECK (CAST(last_price AS REAL) > 0),
    previous_close TEXT CHECK (CAST(previous_close AS REAL) > 0),
    last_updated TEXT,
    price_source TEXT,
    freshness TEXT,
    CHECK (last_price IS NULL OR (last_updated IS NOT NULL AND price_source IS NOT NULL AND freshness IS NOT NULL))
);

CREATE TABLE price_bars (
    stock_id BIGINT NOT NULL REFERENCES stocks (id) ON DELETE CASCADE,
    date DATE NOT NULL,
    open TEXT NOT NULL,
    high TEXT NOT NULL,
    low TEXT NOT NULL,
    close TEXT NOT NULL,
    volume BIGINT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (stock_id, date)
);

CREATE TABLE portfolios (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    cash_balance TEXT NOT NULL CHECK (cash_balance NOT LIKE '-%'),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX portfolios_user ON portfolios (user_id, id);

CREATE TABLE positions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    quantity TEXT NOT NULL CHECK (quantity NOT LIKE '-%'),
    cost_basis TEXT NOT NULL CHECK (cost_basis NOT LIKE '-%'),
    realized_pnl TEXT NOT NULL,
    UNIQUE (portfolio_id, stock_id)
);
CREATE INDEX positions_stock ON positions (stock_id);

CREATE TABLE orders (
    id TEXT PRIMARY KEY NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    client_order_id TEXT,
    request TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    order_type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    quantity TEXT,
    notional TEXT,
    status TEXT NOT NULL,
    filled_quantity TEXT NOT NULL,
    filled_price TEXT NOT NULL,
    submitted_at TEXT NOT NULL,
    filled_at TEXT NOT NULL,
    UNIQUE (portfolio_id, client_order_id),
    CHECK ((quantity IS NULL) <> (notional IS NULL))
);
CREATE INDEX orders_portfolio ON orders (portfolio_id, id DESC);

CREATE TABLE transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT REFERENCES stocks (id),
    order_id TEXT REFERENCES orders (id) ON DELETE CASCADE,
    transaction_type TEXT NOT NULL CHECK (transaction_type IN ('deposit', 'withdrawal', 'buy', 'sell')),
    quantity TEXT,
    price TEXT,
    commission TEXT NOT NULL,
    amount TEXT NOT NULL,
    realized_pnl TEXT,
    timestamp TEXT NOT NULL,
    quote_source TEXT,
    quoted_at TEXT,
    fill_rule TEXT,
    CHECK (transaction_type IN ('deposit', 'withdrawal')
        OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
            AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL)),
    CHECK ((transaction_type = 'sell') = (realized_pnl IS NOT NULL))
);
CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE INDEX transactions_stock ON transactions (stock_id);

-- The journal is append-only: a correction is a new row.
CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

CREATE TABLE portfolio_snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    date DATE NOT NULL,
    total_value TEXT NOT NULL,
    cash_balance TEXT NOT NULL,
    positions_value TEXT NOT NULL,
    net_flow TEXT NOT NULL,
    provisional BOOLEAN NOT NULL,
    UNIQUE (portfolio_id, date)
);

CREATE TABLE watchlists (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX watchlists_user ON watchlists (user_id, id);

CREATE TABLE watchlist_items (
    watchlist_id BIGINT NOT NULL REFERENCES watchlists (id) ON DELETE CASCADE,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    added_at TEXT NOT NULL,
    PRIMARY KEY (watchlist_id, stock_id)
);
CREATE INDEX watchlist_items_stock ON watchlist_items (stock_id);

CREATE TABLE job_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    partition BIGINT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL,
    worker TEXT,
    queued_at TEXT NOT NULL,
    started_at TEXT,
    heartbeat_at TEXT NOT NULL,
    finished_at TEXT,
    outcome TEXT,
    UNIQUE (kind, key, partition)
);
CREATE INDEX job_runs_status ON job_runs (status, heartbeat_at);
