ALTER TABLE positions RESET (fillfactor);
ALTER TABLE portfolios RESET (fillfactor);
ALTER TABLE portfolios DROP COLUMN version;
