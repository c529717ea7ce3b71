-- Close-outs of delisted stocks: all holders exchange their shares for cash, for shares of another stock, or for nothing.
-- SQLite cannot change a table's checks, so actions, the journal and the tables that refer to actions are created again.

CREATE TABLE new_corporate_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    -- The source's id of the action, so that it is stored only once.
    action_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('split', 'cash_dividend', 'symbol_change', 'delisting', 'close_out')),
    symbol TEXT NOT NULL,
    ex_on DATE NOT NULL,
    effective_at TEXT NOT NULL,
    split_ratio TEXT,
    per_share TEXT CHECK (per_share NOT LIKE '-%'),
    pays_on DATE,
    pays_at TEXT,
    new_symbol TEXT,
    known_at TEXT NOT NULL,
    -- When it was applied to all portfolios.
    applied_at TEXT,
    confirmation TEXT CHECK (confirmation IN ('awaiting', 'confirmed', 'suspended', 'withdrawn')),
    -- The last accepted price before the split, in the shares of its market time.
    reference_price TEXT,
    reference_at TEXT,
    -- The expected price and the first price after the split, in new shares.
    expected_price TEXT,
    found_price TEXT,
    decided_by TEXT CHECK (decided_by IN ('price', 'news', 'administrator')),
    decided_at TEXT,
    -- The administrator's reason.
    decision_reason TEXT,
    -- When the split was reversed in all portfolios.
    reversed_at TEXT,
    -- The name of the administrator who has decided on an action.
    administrator TEXT,
    -- A check of a column is dropped with the column.
    close_out TEXT CHECK (close_out IN ('cash', 'write_off', 'exchange') AND kind = 'close_out'
        OR close_out IS NULL AND kind <> 'close_out'),
    -- Cash per share.
    cash_per_share TEXT CHECK (cash_per_share NOT LIKE '-%'),
    -- New shares : old shares; '1:2' is one new share for two old ones.
    exchange_ratio TEXT CHECK (close_out <> 'exchange' OR exchange_ratio IS NOT NULL),
    into_stock_id BIGINT REFERENCES stocks (id) CHECK (close_out <> 'exchange' OR into_stock_id IS NOT NULL),
    -- Its symbol at the time of the decision.
    into_symbol TEXT,
    CHECK ((kind = 'split') = (split_ratio IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (per_share IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (pays_on IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (pays_at IS NOT NULL)),
    CHECK ((kind = 'symbol_change') = (new_symbol IS NOT NULL))
);
INSERT INTO new_corporate_actions
SELECT id, stock_id, action_key, kind, symbol, ex_on, effective_at, split_ratio, per_share, pays_on, pays_at, new_symbol,
    known_at, applied_at, confirmation, reference_price, reference_at, expected_price, found_price, decided_by,
    decided_at, decision_reason, reversed_at, administrator, NULL, NULL, NULL, NULL, NULL
FROM corporate_actions;

CREATE TABLE new_portfolio_actions (
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    action_id BIGINT NOT NULL REFERENCES new_corporate_actions (id),
    -- Shares held when the action took effect; for a split, before the split.
    quantity TEXT NOT NULL CHECK (quantity NOT LIKE '-%'),
    -- The amount of a dividend.
    amount TEXT NOT NULL CHECK (amount NOT LIKE '-%'),
    booked_at TEXT NOT NULL,
    -- For a dividend: when it was paid.
    paid_at TEXT,
    reversed_at TEXT,
    PRIMARY KEY (portfolio_id, action_id)
);
INSERT INTO new_portfolio_actions
SELECT portfolio_id, action_id, quantity, amount, booked_at, paid_at, reversed_at FROM portfolio_actions;

CREATE TABLE new_orders_before_splits (
    action_id BIGINT NOT NULL REFERENCES new_corporate_actions (id),
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    quantity TEXT,
    limit_price TEXT,
    stop_price TEXT,
    trail_price TEXT,
    high_water_price TEXT,
    reserved_quantity TEXT NOT NULL,
    filled_quantity TEXT,
    PRIMARY KEY (action_id, order_id)
);
INSERT INTO new_orders_before_splits
SELECT action_id, order_id, quantity, limit_price, stop_price, trail_price, high_water_price, reserved_quantity,
    filled_quantity
FROM orders_before_splits;

-- The id of a deleted row is not used again.
DELETE FROM sqlite_sequence WHERE name = 'new_corporate_actions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'new_corporate_actions', seq FROM sqlite_sequence WHERE name = 'corporate_actions';

DROP TABLE orders_before_splits;
DROP TABLE portfolio_actions;
DROP TABLE corporate_actions;
ALTER TABLE new_corporate_actions RENAME TO corporate_actions;
ALTER TABLE new_portfolio_actions RENAME TO portfolio_actions;
ALTER TABLE new_orders_before_splits RENAME TO orders_before_splits;

CREATE INDEX corporate_actions_stock ON corporate_actions (stock_id, ex_on);
CREATE INDEX corporate_actions_effective ON corporate_actions (effective_at);
CREATE INDEX corporate_actions_due ON corporate_actions (effective_at) WHERE applied_at IS NULL;
CREATE INDEX corporate_actions_undecided ON corporate_actions (effective_at) WHERE confirmation IN ('awaiting', 'suspended');
CREATE INDEX portfolio_actions_action ON portfolio_actions (action_id, portfolio_id);
CREATE INDEX portfolio_actions_unpaid ON portfolio_actions (action_id, portfolio_id) WHERE paid_at IS NULL;
CREATE INDEX orders_before_splits_order ON orders_before_splits (order_id);

CREATE TABLE new_transactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    stock_id BIGINT,
    order_id TEXT,
    transaction_type TEXT NOT NULL CHECK (transaction_type IN
        ('deposit', 'withdrawal', 'buy', 'sell', 'dividend', 'split', 'fee', 'reversal', 'close_out', 'exchange')),
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
    rounding INTEGER,
    cash_per_share TEXT CHECK (transaction_type = 'close_out' OR cash_per_share IS NULL),
    exchange_ratio TEXT CHECK (transaction_type IN ('close_out', 'exchange') OR exchange_ratio IS NULL),
    quantity_given TEXT CHECK ((transaction_type = 'exchange') = (quantity_given IS NOT NULL)),
    CHECK (transaction_type NOT IN ('buy', 'sell')
        OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
            AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL
            AND quoted_price IS NOT NULL)),
    CHECK (transaction_type NOT IN ('dividend', 'split', 'close_out', 'exchange')
        OR (stock_id IS NOT NULL AND quantity IS NOT NULL)),
    CHECK ((transaction_type IN ('dividend', 'split', 'close_out', 'exchange')) = (action_id IS NOT NULL)),
    CHECK (transaction_type NOT IN ('dividend', 'split', 'close_out', 'exchange') OR effective_at IS NOT NULL),
    CHECK (transaction_type <> 'split' OR (split_ratio IS NOT NULL AND quantity_before IS NOT NULL)),
    CHECK (transaction_type IN ('split', 'reversal') OR (split_ratio IS NULL AND quantity_before IS NULL)),
    CHECK ((transaction_type = 'dividend') = (per_share IS NOT NULL)),
    CHECK (transaction_type <> 'sell' OR realized_pnl IS NOT NULL),
    CHECK (transaction_type IN ('sell', 'split', 'reversal', 'close_out') OR realized_pnl IS NULL),
    CHECK (reverses_id IS NULL OR (transaction_type = 'reversal' AND stock_id IS NOT NULL
        AND quantity IS NOT NULL AND quantity_before IS NOT NULL AND effective_at IS NOT NULL))
);
INSERT INTO new_transactions
SELECT id, portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule, quoted_price, action_id, effective_at, split_ratio,
    quantity_before, per_share, reverses_id, rounding, NULL, NULL, NULL
FROM transactions;

DELETE FROM sqlite_sequence WHERE name = 'new_transactions';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'new_transactions', seq FROM sqlite_sequence WHERE name = 'transactions';

DROP TABLE transactions;
ALTER TABLE new_transactions RENAME TO transactions;

CREATE INDEX transactions_portfolio ON transactions (portfolio_id, timestamp DESC, id DESC);
CREATE INDEX transactions_order ON transactions (order_id);
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id, stock_id) WHERE action_id IS NOT NULL;
CREATE UNIQUE INDEX transactions_reverses ON transactions (reverses_id) WHERE reverses_id IS NOT NULL;

CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
