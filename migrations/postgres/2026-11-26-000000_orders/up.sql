-- Working orders: all types and times in force, reservations, groups of orders, receipts with the quoted price; archived
-- portfolios.

ALTER TABLE portfolios ADD COLUMN reserved_cash NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE portfolios ADD COLUMN archived_at TIMESTAMPTZ;
ALTER TABLE portfolios ADD CHECK (reserved_cash >= 0 AND reserved_cash <= cash_balance);

ALTER TABLE positions ADD COLUMN reserved_quantity NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE positions ADD CHECK (reserved_quantity >= 0 AND reserved_quantity <= quantity);

ALTER TABLE orders ALTER COLUMN filled_price DROP NOT NULL;
ALTER TABLE orders ALTER COLUMN filled_at DROP NOT NULL;
ALTER TABLE orders ADD COLUMN order_class TEXT NOT NULL DEFAULT 'simple';
ALTER TABLE orders ADD COLUMN parent_order_id TEXT REFERENCES orders (id) ON DELETE CASCADE;
ALTER TABLE orders ADD COLUMN replaces TEXT REFERENCES orders (id) ON DELETE CASCADE;
ALTER TABLE orders ADD COLUMN limit_price NUMERIC;
ALTER TABLE orders ADD COLUMN stop_price NUMERIC;
ALTER TABLE orders ADD COLUMN trail_price NUMERIC;
ALTER TABLE orders ADD COLUMN trail_percent NUMERIC;
ALTER TABLE orders ADD COLUMN triggered_at TIMESTAMPTZ;
ALTER TABLE orders ADD COLUMN high_water_price NUMERIC;
ALTER TABLE orders ADD COLUMN reserved_cash NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN reserved_quantity NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN filled_amount NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN commission NUMERIC NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN last_matched_at TIMESTAMPTZ;
ALTER TABLE orders ADD COLUMN canceled_at TIMESTAMPTZ;
ALTER TABLE orders ADD COLUMN expires_at TIMESTAMPTZ;
ALTER TABLE orders ADD COLUMN reject_reason TEXT;
-- Until now every order was a market order with one fill and without commission.
UPDATE orders SET last_matched_at = submitted_at, filled_amount = abs(transactions.amount)
    FROM transactions WHERE transactions.order_id = orders.id;
ALTER TABLE orders ALTER COLUMN last_matched_at SET NOT NULL;
ALTER TABLE orders ALTER COLUMN order_class DROP DEFAULT;
ALTER TABLE orders ADD CHECK (order_type IN ('market', 'limit', 'stop', 'stop_limit', 'trailing_stop'));
ALTER TABLE orders ADD CHECK (time_in_force IN ('day', 'gtc', 'ioc', 'fok', 'opg', 'cls'));
ALTER TABLE orders ADD CHECK (order_class IN ('simple', 'bracket', 'oco', 'oto'));
ALTER TABLE orders ADD CHECK (status IN
    ('held', 'accepted', 'partially_filled', 'filled', 'canceled', 'expired', 'rejected', 'replaced'));
ALTER TABLE orders ADD CHECK ((limit_price IS NOT NULL) = (order_type IN ('limit', 'stop_limit')));
ALTER TABLE orders ADD CHECK ((stop_price IS NOT NULL) = (order_type IN ('stop', 'stop_limit')));
ALTER TABLE orders ADD CHECK ((order_type = 'trailing_stop') = (trail_price IS NOT NULL OR trail_percent IS NOT NULL));
ALTER TABLE orders ADD CHECK ((status = 'filled') = (filled_at IS NOT NULL));
ALTER TABLE orders ADD CHECK ((filled_price IS NULL) = (filled_quantity = 0));
CREATE INDEX orders_open ON orders (portfolio_id, id) WHERE status IN ('held', 'accepted', 'partially_filled');
CREATE INDEX orders_legs ON orders (parent_order_id) WHERE parent_order_id IS NOT NULL;
CREATE INDEX orders_replacements ON orders (replaces) WHERE replaces IS NOT NULL;

ALTER TABLE transactions ADD COLUMN quoted_price NUMERIC;
-- No order had slippage until now.
ALTER TABLE transactions DISABLE TRIGGER transactions_append_only;
UPDATE transactions SET quoted_price = price WHERE transaction_type IN ('buy', 'sell');
ALTER TABLE transactions ENABLE TRIGGER transactions_append_only;
ALTER TABLE transactions ADD CHECK (transaction_type NOT IN ('buy', 'sell') OR quoted_price IS NOT NULL);
-- No query uses this index.
DROP INDEX transactions_stock;

-- Checking a foreign key costs as much as writing the row. Stocks are never deleted, and an order is written together with
-- its fills. The foreign keys to the portfolio, which delete its rows with it, remain.
ALTER TABLE orders DROP CONSTRAINT orders_stock_id_fkey;
ALTER TABLE transactions DROP CONSTRAINT transactions_stock_id_fkey, DROP CONSTRAINT transactions_order_id_fkey;
