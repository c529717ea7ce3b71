ALTER TABLE portfolios DROP COLUMN benchmark;
