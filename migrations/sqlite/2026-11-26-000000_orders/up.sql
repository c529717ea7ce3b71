-- Working orders: all types and times in force, reservations, groups of orders, receipts with the quoted price; archived
-- portfolios. SQLite cannot change a column's constraints, so two tables are created again.
--
-- Checking a foreign key costs as much as writing the row. Stocks are never deleted, and an order is written together with
-- its fills. The foreign keys to the portfolio, which delete its rows with it, remain.

ALTER TABLE portfolios ADD COLUMN reserved_cash TEXT NOT NULL DEFAULT '0.00' CHECK (reserved_cash NOT LIKE '-%');
ALTER TABLE portfolios ADD COLUMN archived_at TEXT;

ALTER TABLE positions ADD COLUMN reserved_quantity TEXT NOT NULL DEFAULT '0' CHECK (reserved_quantity NOT LIKE '-%');

CREATE TABLE new_orders (
    id TEXT PRIMARY KEY NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT NOT NULL,
    client_order_id TEXT,
    request TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    order_type TEXT NOT NULL CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit', 'trailing_stop')),
    time_in_force TEXT NOT NULL CHECK (time_in_force IN ('day', 'gtc', 'ioc', 'fok', 'opg', 'cls')),
    quantity TEXT,
    notional TEXT,
    status TEXT NOT NULL CHECK (status IN
        ('held', 'accepted', 'partially_filled', 'filled', 'canceled', 'expired', 'rejected', 'replaced')),
    filled_quantity TEXT NOT NULL,
    filled_price TEXT,
    submitted_at TEXT NOT NULL,
    filled_at TEXT,
    order_class TEXT NOT NULL CHECK (order_class IN ('simple', 'bracket', 'oco', 'oto')),
    parent_order_id TEXT REFERENCES new_orders (id) ON DELETE CASCADE,
    replaces TEXT REFERENCES new_orders (id) ON DELETE CASCADE,
    limit_price TEXT,
    stop_price TEXT,
    trail_price TEXT,
    trail_percent TEXT,
    triggered_at TEXT,
    high_water_price TEXT,
    reserved_cash TEXT NOT NULL DEFAULT '0.00',
    reserved_quantity TEXT NOT NULL DEFAULT '0',
    filled_amount TEXT NOT NULL DEFAULT '0.00',
    commission TEXT NOT NULL DEFAULT '0.00',
    last_matched_at TEXT NOT NULL,
    canceled_at TEXT,
    expires_at TEXT,
    reject_reason TEXT,
    UNIQUE (portfolio_id, client_order_id),
    CHECK ((quantity IS NULL) <> (notional IS NULL)),
    CHECK ((limit_price IS NOT NULL) = (order_type IN ('limit', 'stop_limit'))),
    CHECK ((stop_price IS NOT NULL) = (order_type IN ('stop', 'stop_limit'))),
    CHECK ((order_type = 'trailing_stop') = (trail_price IS NOT NULL OR trail_percent IS NOT NULL)),
    CHECK ((status = 'filled') = (filled_at IS NOT NULL)),
    CHECK ((filled_price IS NULL) = (filled_quantity = '0'))
);
-- Until now every order was a market order with one fill and without commission.
INSERT INTO new_orders (id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, quantity,
    notional, status, filled_quantity, filled_price, submitted_at, filled_at, order_class, filled_amount, last_matched_at)
SELECT id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, quantity, notional, status,
    filled_quantity, filled_price, submitted_at, filled_at, 'simple',
    (SELECT ltrim(amount, '-') FROM transactions WHERE order_id = orders.id), submitted_at
FROM orders;

CREATE TABLE new_transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT,
    order_id TEXT,
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
    quoted_price TEXT,
    CHECK (transaction_type IN ('deposit', 'withdrawal')
        OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
            AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL
            AND quoted_price IS NOT NULL)),
    CHECK ((transaction_type = 'sell') = (realized_pnl IS NOT NULL))
);
-- No order had slippage until now.
INSERT INTO new_transactions
SELECT id, portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule, price
FROM transactions;

-- The id of a deleted line is not used again.
DELETE FROM sqlite_sequence WHERE name = 'new_transactions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'new_transactions', seq FROM sqlite_sequence WHERE name = 'transactions';

-- The table that refers to the other is dropped first.
DROP TABLE transactions;
DROP TABLE orders;
ALTER TABLE new_orders RENAME TO orders;
ALTER TABLE new_transactions RENAME TO transactions;

CREATE INDEX orders_portfolio ON orders (portfolio_id, id DESC);
CREATE INDEX orders_open ON orders (portfolio_id, id) WHERE status IN ('held', 'accepted', 'partially_filled');
CREATE INDEX orders_legs ON orders (parent_order_id) WHERE parent_order_id IS NOT NULL;
CREATE INDEX orders_replacements ON orders (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);

CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
