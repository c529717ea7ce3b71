-- Close-outs stay as lines about cash only; the older program computes other positions than they have led to.
ALTER TABLE transactions DROP CONSTRAINT transactions_exchange;
ALTER TABLE transactions DROP CONSTRAINT transactions_close_out;
ALTER TABLE transactions DROP CONSTRAINT transactions_realized;
ALTER TABLE transactions DROP CONSTRAINT transactions_of_action;
DROP INDEX transactions_action;
ALTER TABLE transactions DISABLE TRIGGER transactions_append_only;
UPDATE transactions SET transaction_type = 'reversal', stock_id = NULL, quantity = NULL, realized_pnl = NULL,
    action_id = NULL, effective_at = NULL WHERE transaction_type IN ('close_out', 'exchange');
ALTER TABLE transactions ENABLE TRIGGER transactions_append_only;
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id) WHERE action_id IS NOT NULL;
ALTER TABLE transactions ADD CONSTRAINT transactions_of_action
    CHECK ((transaction_type IN ('dividend', 'split')) = (action_id IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_realized
    CHECK (transaction_type IN ('sell', 'split', 'reversal') OR realized_pnl IS NULL);
ALTER TABLE transactions DROP CONSTRAINT transactions_transaction_type_check;
ALTER TABLE transactions ADD CONSTRAINT transactions_transaction_type_check CHECK (transaction_type IN
    ('deposit', 'withdrawal', 'buy', 'sell', 'dividend', 'split', 'fee', 'reversal'));
ALTER TABLE transactions DROP COLUMN quantity_given;
ALTER TABLE transactions DROP COLUMN exchange_ratio;
ALTER TABLE transactions DROP COLUMN cash_per_share;

DELETE FROM portfolio_actions WHERE action_id IN (SELECT id FROM corporate_actions WHERE kind = 'close_out');
DELETE FROM corporate_actions WHERE kind = 'close_out';
ALTER TABLE corporate_actions DROP CONSTRAINT corporate_actions_exchange;
ALTER TABLE corporate_actions DROP CONSTRAINT corporate_actions_close_out;
ALTER TABLE corporate_actions DROP COLUMN into_symbol;
ALTER TABLE corporate_actions DROP COLUMN into_stock_id;
ALTER TABLE corporate_actions DROP COLUMN exchange_ratio;
ALTER TABLE corporate_actions DROP COLUMN cash_per_share;
ALTER TABLE corporate_actions DROP COLUMN close_out;
ALTER TABLE corporate_actions DROP CONSTRAINT corporate_actions_kind_check;
ALTER TABLE corporate_actions ADD CONSTRAINT corporate_actions_kind_check
    CHECK (kind IN ('split', 'cash_dividend', 'symbol_change', 'delisting'));
