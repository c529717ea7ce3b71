-- The earlier journal has no corporate actions: their cash stays, as deposits and withdrawals.
-- Shares from splits are in the positions, but no longer in the journal.
ALTER TABLE transactions DISABLE TRIGGER transactions_append_only;
DELETE FROM transactions WHERE transaction_type = 'split' OR (transaction_type = 'reversal' AND amount = 0);
DROP INDEX transactions_action;
ALTER TABLE transactions DROP COLUMN action_id, DROP COLUMN effective_at, DROP COLUMN split_ratio,
    DROP COLUMN quantity_before, DROP COLUMN per_share;
UPDATE transactions SET transaction_type = CASE WHEN amount < 0 THEN 'withdrawal' ELSE 'deposit' END, stock_id = NULL,
    quantity = NULL
WHERE transaction_type IN ('dividend', 'fee', 'reversal');
ALTER TABLE transactions ENABLE TRIGGER transactions_append_only;
DO $$
DECLARE rule TEXT;
BEGIN
    FOR rule IN SELECT conname FROM pg_constraint WHERE conrelid = 'transactions'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE transactions DROP CONSTRAINT %I', rule);
    END LOOP;
END $$;
ALTER TABLE transactions ADD CONSTRAINT transactions_transaction_type_check
    CHECK (transaction_type IN ('deposit', 'withdrawal', 'buy', 'sell'));
ALTER TABLE transactions ADD CONSTRAINT transactions_check CHECK (transaction_type IN ('deposit', 'withdrawal')
    OR (stock_id IS NOT NULL AND order_id IS NOT NULL AND quantity IS NOT NULL AND price IS NOT NULL
        AND quote_source IS NOT NULL AND quoted_at IS NOT NULL AND fill_rule IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_check1 CHECK ((transaction_type = 'sell') = (realized_pnl IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_check2
    CHECK (transaction_type NOT IN ('buy', 'sell') OR quoted_price IS NOT NULL);

ALTER TABLE portfolio_snapshots DROP COLUMN dividends_receivable;
ALTER TABLE portfolios DROP COLUMN dividends, DROP COLUMN dividends_receivable;
ALTER TABLE stocks DROP COLUMN delisted_on;
DROP TABLE former_symbols;
DROP TABLE portfolio_actions;
DROP TABLE corporate_actions;
