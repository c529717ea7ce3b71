-- The earlier tables have only filled orders and no groups. Partly filled orders count as filled, so that the journal keeps
-- its trades.
UPDATE orders SET parent_order_id = NULL, replaces = NULL, order_type = 'market', limit_price = NULL,
    stop_price = NULL, trail_price = NULL, trail_percent = NULL, status = 'filled',
    filled_at = coalesce(filled_at, canceled_at, last_matched_at)
WHERE filled_quantity <> 0;
DELETE FROM orders WHERE filled_quantity = 0;
ALTER TABLE orders ADD FOREIGN KEY (stock_id) REFERENCES stocks (id);
ALTER TABLE transactions
    ADD FOREIGN KEY (stock_id) REFERENCES stocks (id),
    ADD FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE;
CREATE INDEX transactions_stock ON transactions (stock_id);
ALTER TABLE transactions DROP COLUMN quoted_price;
DROP INDEX orders_open;
DROP INDEX orders_legs;
DROP INDEX orders_replacements;
ALTER TABLE orders
    DROP COLUMN order_class, DROP COLUMN parent_order_id, DROP COLUMN replaces, DROP COLUMN limit_price,
    DROP COLUMN stop_price, DROP COLUMN trail_price, DROP COLUMN trail_percent, DROP COLUMN triggered_at,
    DROP COLUMN high_water_price, DROP COLUMN reserved_cash, DROP COLUMN reserved_quantity,
    DROP COLUMN filled_amount, DROP COLUMN commission, DROP COLUMN last_matched_at, DROP COLUMN canceled_at,
    DROP COLUMN expires_at, DROP COLUMN reject_reason,
    ALTER COLUMN filled_price SET NOT NULL, ALTER COLUMN filled_at SET NOT NULL;
ALTER TABLE positions DROP COLUMN reserved_quantity;
ALTER TABLE portfolios DROP COLUMN reserved_cash, DROP COLUMN archived_at;
