-- Raised by every change of a portfolio, its positions, orders and journal, so that a process can check with this number
-- whether its cached books are current.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
