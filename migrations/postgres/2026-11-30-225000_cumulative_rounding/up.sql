-- Fills are rounded cumulatively per order. Each line of a trade says by which rule its amount was rounded; NULL is the rule
-- before, by which each fill was rounded alone. From now on orders.filled_amount is the exact sum of quantity × price; what
-- was booked before counts as exact.
ALTER TABLE transactions ADD COLUMN rounding INTEGER;
-- A split changes what has filled of an open order too. NULL: it was kept before it did.
ALTER TABLE orders_before_splits ADD COLUMN filled_quantity NUMERIC;
