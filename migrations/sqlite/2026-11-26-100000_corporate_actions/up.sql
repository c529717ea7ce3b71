-- Splits, dividends, new symbols and delistings: the known actions, and what they have changed in each portfolio.
-- SQLite cannot change a column's constraints, so the journal is created again.

CREATE TABLE corporate_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    -- The source's id of the action, so that it is stored only once.
    action_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('split', 'cash_dividend', 'symbol_change', 'delisting')),
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
    CHECK ((kind = 'split') = (split_ratio IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (per_share IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (pays_on IS NOT NULL)),
    CHECK ((kind = 'cash_dividend') = (pays_at IS NOT NULL)),
    CHECK ((kind = 'symbol_change') = (new_symbol IS NOT NULL))
);
CREATE INDEX corporate_actions_stock ON corporate_actions (stock_id, ex_on);
CREATE INDEX corporate_actions_effective ON corporate_actions (effective_at);
CREATE INDEX corporate_actions_due ON corporate_actions (effective_at) WHERE applied_at IS NULL;

-- One row for each portfolio to which an action was applied, so that it is applied only once.
CREATE TABLE portfolio_actions (
    portfolio_id BIGINT NOT NULL REFERENCES portfolios (id) ON DELETE CASCADE,
    action_id BIGINT NOT NULL REFERENCES corporate_actions (id),
    -- Shares held when the action took effect; for a split, before the split.
    quantity TEXT NOT NULL CHECK (quantity NOT LIKE '-%'),
    -- The amount of a dividend.
    amount TEXT NOT NULL CHECK (amount NOT LIKE '-%'),
    booked_at TEXT NOT NULL,
    -- For a dividend: when it was paid.
    paid_at TEXT,
    PRIMARY KEY (portfolio_id, action_id)
);
CREATE INDEX portfolio_actions_action ON portfolio_actions (action_id, portfolio_id);
CREATE INDEX portfolio_actions_unpaid ON portfolio_actions (action_id, portfolio_id) WHERE paid_at IS NULL;

CREATE TABLE former_symbols (
    symbol TEXT NOT NULL,
    stock_id BIGINT NOT NULL REFERENCES stocks (id),
    -- The first day of the new symbol.
    until_on DATE NOT NULL,
    PRIMARY KEY (symbol, until_on)
);

ALTER TABLE stocks ADD COLUMN delisted_on DATE;

ALTER TABLE portfolios ADD COLUMN dividends TEXT NOT NULL DEFAULT '0.00' CHECK (dividends NOT LIKE '-%');
ALTER TABLE portfolios ADD COLUMN dividends_receivable TEXT NOT NULL DEFAULT '0.00'
    CHECK (dividends_receivable NOT LIKE '-%');

ALTER TABLE portfolio_snapshots ADD COLUMN dividends_receivable TEXT NOT NULL DEFAULT '0.00';

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
INSERT INTO new_transactions
SELECT id, portfolio_id, stock_id, order_id, transaction_type, quantity, price, commission, amount, realized_pnl,
    timestamp, quote_source, quoted_at, fill_rule, quoted_price, NULL, NULL, NULL, NULL, NULL
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

CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;
