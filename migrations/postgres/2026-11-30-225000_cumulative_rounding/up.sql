-- Fills are rounded cumulatively per order. Each line of a trade has the rule by which its amount was rounded; NULL is the
-- earlier rule, which rounded each fill by itself. From now on orders.filled_amount is the exact sum of quantity × price;
-- earlier values count as exact.
ALTER TABLE transactions ADD COLUMN rounding INTEGER;
-- A split also changes the filled quantity of an open order. NULL: stored before this column existed.
ALTER TABLE orders_before_splits ADD COLUMN filled_quantity NUMERIC;
