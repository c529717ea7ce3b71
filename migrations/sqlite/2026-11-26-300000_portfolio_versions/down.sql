ALTER TABLE portfolios DROP COLUMN version;
