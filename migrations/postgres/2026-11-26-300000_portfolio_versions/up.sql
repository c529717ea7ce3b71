-- Raised by every change of a portfolio, its positions, orders and journal, so that a process can check with this number
-- whether its cached books are current.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;

-- Each order updates these rows. With free space on their pages, an update needs no new index entries.
ALTER TABLE portfolios SET (fillfactor = 80);
ALTER TABLE positions SET (fillfactor = 80);
