-- Close-outs of delisted stocks: all holders exchange their shares for cash, for shares of another stock, or for nothing.

ALTER TABLE corporate_actions DROP CONSTRAINT corporate_actions_kind_check;
ALTER TABLE corporate_actions ADD CONSTRAINT corporate_actions_kind_check
    CHECK (kind IN ('split', 'cash_dividend', 'symbol_change', 'delisting', 'close_out'));
ALTER TABLE corporate_actions ADD COLUMN close_out TEXT CHECK (close_out IN ('cash', 'write_off', 'exchange'));
-- Cash per share.
ALTER TABLE corporate_actions ADD COLUMN cash_per_share NUMERIC CHECK (cash_per_share > 0);
-- New shares : old shares; '1:2' is one new share for two old ones.
ALTER TABLE corporate_actions ADD COLUMN exchange_ratio TEXT;
ALTER TABLE corporate_actions ADD COLUMN into_stock_id BIGINT REFERENCES stocks (id);
-- Its symbol at the time of the decision.
ALTER TABLE corporate_actions ADD COLUMN into_symbol TEXT;
ALTER TABLE corporate_actions ADD CONSTRAINT corporate_actions_close_out
    CHECK ((kind = 'close_out') = (close_out IS NOT NULL));
ALTER TABLE corporate_actions ADD CONSTRAINT corporate_actions_exchange
    CHECK (close_out <> 'exchange' OR (exchange_ratio IS NOT NULL AND into_stock_id IS NOT NULL));

ALTER TABLE transactions ADD COLUMN cash_per_share NUMERIC;
ALTER TABLE transactions ADD COLUMN exchange_ratio TEXT;
ALTER TABLE transactions ADD COLUMN quantity_given NUMERIC;
ALTER TABLE transactions DROP CONSTRAINT transactions_transaction_type_check;
ALTER TABLE transactions ADD CONSTRAINT transactions_transaction_type_check CHECK (transaction_type IN
    ('deposit', 'withdrawal', 'buy', 'sell', 'dividend', 'split', 'fee', 'reversal', 'close_out', 'exchange'));
ALTER TABLE transactions DROP CONSTRAINT transactions_of_action;
ALTER TABLE transactions ADD CONSTRAINT transactions_of_action
    CHECK ((transaction_type IN ('dividend', 'split', 'close_out', 'exchange')) = (action_id IS NOT NULL));
ALTER TABLE transactions DROP CONSTRAINT transactions_realized;
ALTER TABLE transactions ADD CONSTRAINT transactions_realized
    CHECK (transaction_type IN ('sell', 'split', 'reversal', 'close_out') OR realized_pnl IS NULL);
ALTER TABLE transactions ADD CONSTRAINT transactions_close_out CHECK (transaction_type NOT IN ('close_out', 'exchange')
    OR (stock_id IS NOT NULL AND quantity IS NOT NULL AND effective_at IS NOT NULL));
ALTER TABLE transactions ADD CONSTRAINT transactions_exchange
    CHECK ((transaction_type = 'exchange') = (quantity_given IS NOT NULL));
DROP INDEX transactions_action;
CREATE UNIQUE INDEX transactions_action ON transactions (portfolio_id, action_id, stock_id) WHERE action_id IS NOT NULL;
