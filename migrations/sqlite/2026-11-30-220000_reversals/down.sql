-- Reversals stay as lines about cash only; the older program computes other positions than they have led to.
CREATE TABLE old_transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT,
    order_id TEXT,
    transaction_type TEXT NOT NULL CHECK (transaction_type IN
        ('deposit', 'withdrawal', 'buy', 'sell', 'dividend', 'split', 'fee', 'reversal')),
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
    action_id BIGINT,
    effective_at TEXT,
    split_ratio TEXT,
    quantity_before TEXT,
    per_share TEXT,
    CHECK (transaction_type NOT IN ('buy', 'sell')
        OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
            AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL
            AND quoted_price IS NOT NULL)),
    CHECK (transaction_type NOT IN ('dividend', 'split') OR (stock_id IS NOT NULL AND quantity IS NOT NULL)),
    CHECK ((transaction_type IN ('dividend', 'split')) = (action_id IS NOT NULL AND effective_at IS NOT NULL)),
    CHECK ((transaction_type = 'split') = (split_ratio IS NOT NULL AND quantity_before IS NOT NULL)),
    CHECK ((transaction_type = 'dividend') = (per_share IS NOT NULL)),
    CHECK (transaction_type <> 'sell' OR realized_pnl IS NOT NULL),
    CHECK (transaction_type IN ('sell', 'split') OR realized_pnl IS NULL)
);
INSERT INTO old_transactions
SELECT id, portfolio_id, CASE WHEN reverses_id IS NULL THEN stock_id END, order_id, transaction_type,
    CASE WHEN reverses_id IS NULL THEN quantity END, price, commission, amount,
    CASE WHEN reverses_id IS NULL THEN realized_pnl END, timestamp, quote_source, quoted_at, fill_rule, quoted_price,
    action_id, CASE WHEN reverses_id IS NULL THEN effective_at END,
    CASE WHEN reverses_id IS NULL THEN split_ratio END, CASE WHEN reverses_id IS NULL THEN quantity_before END,
    per_share
FROM transactions;

DELETE FROM sqlite_sequence WHERE name = 'old_transactions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'old_transactions', seq FROM sqlite_sequence WHERE name = 'transactions';

DROP TABLE transactions;
ALTER TABLE old_transactions RENAME TO transactions;

CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id) WHERE action_id IS NOT NULL;
CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

DROP TABLE orders_before_splits;
ALTER TABLE portfolio_actions DROP COLUMN reversed_at;
DROP INDEX corporate_actions_undecided;
ALTER TABLE corporate_actions DROP COLUMN confirmation;
ALTER TABLE corporate_actions DROP COLUMN reference_price;
ALTER TABLE corporate_actions DROP COLUMN reference_at;
ALTER TABLE corporate_actions DROP COLUMN expected_price;
ALTER TABLE corporate_actions DROP COLUMN found_price;
ALTER TABLE corporate_actions DROP COLUMN decided_by;
ALTER TABLE corporate_actions DROP COLUMN decided_at;
ALTER TABLE corporate_actions DROP COLUMN decision_reason;
ALTER TABLE corporate_actions DROP COLUMN reversed_at;
