-- Reversals stay as lines about cash only; the older program computes other positions than they have led to.
DROP INDEX transactions_reverses;
ALTER TABLE transactions DISABLE TRIGGER transactions_append_only;
UPDATE transactions SET stock_id = NULL, quantity = NULL, quantity_before = NULL, realized_pnl = NULL,
    split_ratio = NULL, effective_at = NULL WHERE reverses_id IS NOT NULL;
ALTER TABLE transactions ENABLE TRIGGER transactions_append_only;
ALTER TABLE transactions DROP CONSTRAINT transactions_reversal;
ALTER TABLE transactions DROP COLUMN reverses_id;
ALTER TABLE transactions DROP CONSTRAINT transactions_of_action;
ALTER TABLE transactions DROP CONSTRAINT transactions_effective;
ALTER TABLE transactions DROP CONSTRAINT transactions_split;
ALTER TABLE transactions DROP CONSTRAINT transactions_before;
ALTER TABLE transactions DROP CONSTRAINT transactions_realized;
ALTER TABLE transactions ADD CONSTRAINT transactions_check2 CHECK ((transaction_type IN ('dividend', 'split'))
    = (action_id IS NOT NULL AND effective_at IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_check3 CHECK ((transaction_type = 'split')
    = (split_ratio IS NOT NULL AND quantity_before IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_check6
    CHECK (transaction_type IN ('sell', 'split') OR realized_pnl IS NULL);

DROP TABLE orders_before_splits;
ALTER TABLE portfolio_actions DROP COLUMN reversed_at;
DROP INDEX corporate_actions_undecided;
ALTER TABLE corporate_actions DROP COLUMN confirmation, DROP COLUMN reference_price, DROP COLUMN reference_at,
    DROP COLUMN expected_price, DROP COLUMN found_price, DROP COLUMN decided_by, DROP COLUMN decided_at,
    DROP COLUMN decision_reason, DROP COLUMN reversed_at;
