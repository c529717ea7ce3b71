-- The symbol of the stock or fund that a portfolio is compared with.
ALTER TABLE portfolios ADD COLUMN benchmark TEXT NOT NULL DEFAULT 'SPY';
