-- Every change of a portfolio, its positions, orders or journal raises this number. A process uses it to check whether
-- its cached books are current.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Each order updates these rows. With free space on their pages, an update needs no new index entries.
ALTER TABLE portfolios SET (fillfactor = 80);
ALTER TABLE positions SET (fillfactor = 80);
