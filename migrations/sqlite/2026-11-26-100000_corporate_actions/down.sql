-- The earlier journal has no corporate actions: their cash stays, as deposits and withdrawals.
-- Shares from splits are in the positions, but no longer in the journal.
CREATE TABLE old_transactions (
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
INSERT INTO old_transactions
SELECT id, portfolio_id, CASE WHEN transaction_type IN ('buy', 'sell') THEN stock_id END, order_id,
    CASE WHEN transaction_type NOT IN ('dividend', 'fee', 'reversal') THEN transaction_type
        WHEN amount LIKE '-%' THEN 'withdrawal' ELSE 'deposit' END,
    CASE WHEN transaction_type IN ('buy', 'sell') THEN quantity END, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule, quoted_price
FROM transactions
WHERE transaction_type <> 'split' AND NOT (transaction_type = 'reversal' AND amount = '0.00');

DELETE FROM sqlite_sequence WHERE name = 'old_transactions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'old_transactions', seq FROM sqlite_sequence WHERE name = 'transactions';

DROP TABLE transactions;
ALTER TABLE old_transactions RENAME TO transactions;

CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

ALTER TABLE portfolio_snapshots DROP COLUMN dividends_receivable;
ALTER TABLE portfolios DROP COLUMN dividends;
ALTER TABLE portfolios DROP COLUMN dividends_receivable;
ALTER TABLE stocks DROP COLUMN delisted_on;
DROP TABLE former_symbols;
DROP TABLE portfolio_actions;
DROP TABLE corporate_actions;
