-- Splits that prices confirm or contradict, and reversals: lines of the journal that reverse earlier lines.

ALTER TABLE corporate_actions ADD COLUMN confirmation TEXT
    CHECK (confirmation IN ('awaiting', 'confirmed', 'suspended', 'withdrawn'));
-- The last accepted price before the split, in the shares of its market time.
ALTER TABLE corporate_actions ADD COLUMN reference_price NUMERIC;
ALTER TABLE corporate_actions ADD COLUMN reference_at TIMESTAMPTZ;
-- The expected price and the first price after the split, in new shares.
ALTER TABLE corporate_actions ADD COLUMN expected_price NUMERIC;
ALTER TABLE corporate_actions ADD COLUMN found_price NUMERIC;
ALTER TABLE corporate_actions ADD COLUMN decided_by TEXT
    CHECK (decided_by IN ('price', 'news', 'administrator'));
ALTER TABLE corporate_actions ADD COLUMN decided_at TIMESTAMPTZ;
-- The administrator's reason.
ALTER TABLE corporate_actions ADD COLUMN decision_reason TEXT;
-- When the split was reversed in all portfolios.
ALTER TABLE corporate_actions ADD COLUMN reversed_at TIMESTAMPTZ;
UPDATE corporate_actions SET confirmation = CASE WHEN applied_at IS NULL THEN 'awaiting' ELSE 'confirmed' END
    WHERE kind = 'split';
CREATE INDEX corporate_actions_undecided ON corporate_actions (effective_at) WHERE confirmation IN ('awaiting', 'suspended');

ALTER TABLE portfolio_actions ADD COLUMN reversed_at TIMESTAMPTZ;

-- The state of open orders before a split changed them, for a reversal of the split.
CREATE TABLE orders_before_splits (
    action_id BIGINT NOT NULL REFERENCES corporate_actions (id),
    order_id TEXT NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    quantity NUMERIC,
    limit_price NUMERIC,
    stop_price NUMERIC,
    trail_price NUMERIC,
    high_water_price NUMERIC,
    reserved_quantity NUMERIC NOT NULL,
    PRIMARY KEY (action_id, order_id)
);
CREATE INDEX orders_before_splits_order ON orders_before_splits (order_id);

ALTER TABLE transactions ADD COLUMN reverses_id BIGINT;
ALTER TABLE transactions DROP CONSTRAINT transactions_check2;
ALTER TABLE transactions DROP CONSTRAINT transactions_check3;
ALTER TABLE transactions DROP CONSTRAINT transactions_check6;
ALTER TABLE transactions ADD CONSTRAINT transactions_of_action
    CHECK ((transaction_type IN ('dividend', 'split')) = (action_id IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_effective
    CHECK (transaction_type NOT IN ('dividend', 'split') OR effective_at IS NOT NULL);
ALTER TABLE transactions ADD CONSTRAINT transactions_split
    CHECK (transaction_type <> 'split' OR (split_ratio IS NOT NULL AND quantity_before IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_before
    CHECK (transaction_type IN ('split', 'reversal') OR (split_ratio IS NULL AND quantity_before IS NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_realized
    CHECK (transaction_type IN ('sell', 'split', 'reversal') OR realized_pnl IS NULL);
ALTER TABLE transactions ADD CONSTRAINT transactions_reversal
    CHECK (reverses_id IS NULL OR (transaction_type = 'reversal' AND stock_id IS NOT NULL
        AND quantity IS NOT NULL AND quantity_before IS NOT NULL AND effective_at IS NOT NULL));
CREATE UNIQUE INDEX transactions_reverses ON transactions (reverses_id) WHERE reverses_id IS NOT NULL;
