-- Every change of a portfolio, its positions, orders or journal raises this number. A process uses it to check whether
-- its cached books are current.
ALTER TABLE portfolios ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
