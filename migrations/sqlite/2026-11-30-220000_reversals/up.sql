-- Splits that prices confirm or contradict, and reversals: lines of the journal that reverse earlier lines.

ALTER TABLE corporate_actions ADD COLUMN confirmation TEXT
    CHECK (confirmation IN ('awaiting', 'confirmed', 'suspended', 'withdrawn'));
-- The last accepted price before the split, in the shares of its market time.
ALTER TABLE corporate_actions ADD COLUMN reference_price TEXT;
ALTER TABLE corporate_actions ADD COLUMN reference_at TEXT;
-- The expected price and the first price after the split, in new shares.
ALTER TABLE corporate_actions ADD COLUMN expected_price TEXT;
ALTER TABLE corporate_actions ADD COLUMN found_price TEXT;
ALTER TABLE corporate_actions ADD COLUMN decided_by TEXT
    CHECK (decided_by IN ('price', 'news', 'administrator'));
ALTER TABLE corporate_actions ADD COLUMN decided_at TEXT;
-- The administrator's reason.
ALTER TABLE corporate_actions ADD COLUMN decision_reason TEXT;
-- When the split was reversed in all portfolios.
ALTER TABLE corporate_actions ADD COLUMN reversed_at TEXT;
UPDATE corporate_actions SET confirmation = CASE WHEN applied_at IS NULL THEN 'awaiting' ELSE 'confirmed' END
    WHERE kind = 'split';
CREATE INDEX corporate_actions_undecided ON corporate_actions (effective_at) WHERE confirmation IN ('awaiting', 'suspended');

ALTER TABLE portfolio_actions ADD COLUMN reversed_at TEXT;

-- The state of open orders before a split changed them, for a reversal of the split.
CREATE TABLE orders_before_splits (
    action_id BIGINT NOT NULL REFERENCES corporate_actions (id),
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    quantity TEXT,
    limit_price TEXT,
    stop_price TEXT,
    trail_price TEXT,
    high_water_price TEXT,
    reserved_quantity TEXT NOT NULL,
    PRIMARY KEY (action_id, order_id)
);
CREATE INDEX orders_before_splits_order ON orders_before_splits (order_id);

-- SQLite cannot change a table's checks, so the journal is created again.
CREATE TABLE new_transactions (
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
    reverses_id BIGINT,
    CHECK (transaction_type NOT IN ('buy', 'sell')
        OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
            AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL
            AND quoted_price IS NOT NULL)),
    CHECK (transaction_type NOT IN ('dividend', 'split') OR (stock_id IS NOT NULL AND quantity IS NOT NULL)),
    CHECK ((transaction_type IN ('dividend', 'split')) = (action_id IS NOT NULL)),
    CHECK (transaction_type NOT IN ('dividend', 'split') OR effective_at IS NOT NULL),
    CHECK (transaction_type <> 'split' OR (split_ratio IS NOT NULL AND quantity_before IS NOT NULL)),
    CHECK (transaction_type IN ('split', 'reversal') OR (split_ratio IS NULL AND quantity_before IS NULL)),
    CHECK ((transaction_type = 'dividend') = (per_share IS NOT NULL)),
    CHECK (transaction_type <> 'sell' OR realized_pnl IS NOT NULL),
    CHECK (transaction_type IN ('sell', 'split', 'reversal') OR realized_pnl IS NULL),
    CHECK (reverses_id IS NULL OR (transaction_type = 'reversal' AND stock_id IS NOT NULL
        AND quantity IS NOT NULL AND quantity_before IS NOT NULL AND effective_at IS NOT NULL))
);
INSERT INTO new_transactions
SELECT id, portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule, quoted_price, action_id, effective_at, split_ratio,
    quantity_before, per_share, NULL
FROM transactions;

-- The id of a deleted line is not used again.
DELETE FROM sqlite_sequence WHERE name = 'new_transactions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'new_transactions', seq FROM sqlite_sequence WHERE name = 'transactions';

DROP TABLE transactions;
ALTER TABLE new_transactions RENAME TO transactions;

CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id) WHERE action_id IS NOT NULL;
CREATE UNIQUE INDEX transactions_reverses ON transactions (reverses_id) WHERE reverses_id IS NOT NULL;

CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
