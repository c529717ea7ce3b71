DROP INDEX portfolios_link_key;
ALTER TABLE portfolios DROP COLUMN link_key;
ALTER TABLE portfolios DROP COLUMN visibility;
