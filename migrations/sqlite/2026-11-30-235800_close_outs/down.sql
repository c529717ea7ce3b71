-- Close-outs stay as lines about cash only; the older program computes other positions than they have led to.
DROP INDEX transactions_action;
DROP TRIGGER transactions_append_only;
UPDATE transactions SET transaction_type = 'reversal', stock_id = NULL, quantity = NULL, realized_pnl = NULL,
    action_id = NULL, effective_at = NULL, cash_per_share = NULL, exchange_ratio = NULL, quantity_given = NULL
WHERE transaction_type IN ('close_out', 'exchange');
ALTER TABLE transactions DROP COLUMN quantity_given;
ALTER TABLE transactions DROP COLUMN exchange_ratio;
ALTER TABLE transactions DROP COLUMN cash_per_share;
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id) WHERE action_id IS NOT NULL;
CREATE TRIGGER transactions_append_only BEFORE UPDATE ON transactions
BEGIN
    SELECT RAISE(ABORT, 'the journal is append-only');
END;

DELETE FROM portfolio_actions WHERE action_id IN (SELECT id FROM corporate_actions WHERE kind = 'close_out');
DELETE FROM corporate_actions WHERE kind = 'close_out';
-- The first column has the checks of the others, so it is dropped last.
ALTER TABLE corporate_actions DROP COLUMN into_symbol;
ALTER TABLE corporate_actions DROP COLUMN into_stock_id;
ALTER TABLE corporate_actions DROP COLUMN exchange_ratio;
ALTER TABLE corporate_actions DROP COLUMN cash_per_share;
ALTER TABLE corporate_actions DROP COLUMN close_out;
