-- The earlier tables have only filled orders and no groups. Partly filled orders count as filled, so that the journal keeps
-- its trades.
UPDATE orders SET parent_order_id = NULL, replaces = NULL, order_type = 'market', limit_price = NULL,
    stop_price = NULL, trail_price = NULL, trail_percent = NULL, status = 'filled',
    filled_at = coalesce(filled_at, canceled_at, last_matched_at)
WHERE filled_quantity <> '0';
DELETE FROM orders WHERE filled_quantity = '0';

CREATE TABLE old_orders (
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
INSERT INTO old_orders
SELECT id, portfolio_id, stock_id, client_order_id, request, side, order_type, time_in_force, quantity, notional, status,
    filled_quantity, filled_price, submitted_at, filled_at
FROM orders;

CREATE TABLE old_transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT REFERENCES stocks (id),
    order_id TEXT REFERENCES old_orders (id) ON DELETE CASCADE,
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
INSERT INTO old_transactions
SELECT id, portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule
FROM transactions;

DROP TABLE transactions;
DROP TABLE orders;
ALTER TABLE old_orders RENAME TO orders;
ALTER TABLE old_transactions RENAME TO transactions;

CREATE INDEX orders_portfolio ON orders (portfolio_id, id DESC);
CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE INDEX transactions_stock ON transactions (stock_id);
CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

ALTER TABLE positions DROP COLUMN reserved_quantity;
ALTER TABLE portfolios DROP COLUMN reserved_cash;
ALTER TABLE portfolios DROP COLUMN archived_at;
