ALTER TABLE orders_before_splits DROP COLUMN filled_quantity;
ALTER TABLE transactions DROP COLUMN rounding;
