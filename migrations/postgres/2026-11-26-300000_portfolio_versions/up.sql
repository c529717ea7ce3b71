-- Rises with every change of a portfolio, its positions, its orders and its journal: who remembers what it read asks
-- for this number alone to know whether it still holds.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Rows that each order writes anew: with room on their pages the new row needs no entry in any index.
ALTER TABLE portfolios SET (fillfactor = 80);
ALTER TABLE positions SET (fillfactor = 80);
