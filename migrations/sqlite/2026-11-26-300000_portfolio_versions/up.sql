-- Rises with every change of a portfolio, its positions, its orders and its journal: who remembers what it read asks
-- for this number alone to know whether it still holds.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
